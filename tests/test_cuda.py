"""Every task that can train on CUDA does, and what it leaves works where there is none. Skipped without a GPU."""

import math
import shutil
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file

import experiments  # noqa: F401  (importing the package registers them)
from lab.experiment import get, names
from lab.sweep.cluster import ray_session
from lab.sweep.population import train_population

DEVICE = "cuda"

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

TABLE = {"size": 11, "validation_pairs": 4, "iterations": 2}
SEQUENTIAL = {**TABLE, "envs": 4, "minibatch": 44, "width": 8, "validate_every": 1}
SMALL = {
    "l1_norm": {"iterations": 2, "steps": 5, "validation_sequences": 8},
    "l1_signs": {"iterations": 2, "steps": 5, "validation_sequences": 8},
    "parity": {"iterations": 2, "epochs": 1, "base_epochs": 2},
    "table_dqn": {**SEQUENTIAL, "capacity": 200, "target_every": 88},
    "table_one_shot": {"size": 13, "n_before": (3, 13), "n_after": (1, 13), "iterations": 2, "steps": 3},
    "table_ppo": {**SEQUENTIAL, "critic_width": 8, "epochs": 2},
    "table_supervised": {"size": 13, "n_before": (3, 13), "n_after": (1, 13), "iterations": 2, "steps": 3},
}


def on_cuda():
    """The experiments that have the device; the cells of the grid are other experiments' trainings."""
    devices = {name: get_args(get(name).config.model_fields["device"].annotation) for name in names()}
    return [name for name, known in devices.items() if "cuda" in known and name != "table_rl_grid"]


@pytest.fixture(scope="module")
def local_ray():
    with ray_session(None):
        yield


@pytest.mark.parametrize("name", on_cuda())
def test_a_training_on_the_device_learns_what_one_on_the_processor_does(tmp_path, local_ray, name):
    experiment = get(name)
    found = {}
    for device in ("cpu", DEVICE):
        rows = []

        def report(metrics, checkpoint=None, rows=rows, device=device):
            rows.append(dict(metrics))
            if checkpoint is not None:
                shutil.copytree(checkpoint, tmp_path / device, dirs_exist_ok=True)

        overrides = {**SMALL[name], "device": device}
        experiment.fit(experiment.resolve("quick", overrides), report)
        found[device] = rows[0][experiment.metric]
        assert all(math.isfinite(row[experiment.metric]) for row in rows)
    # The same numbers are drawn on both; sums are taken in another order.
    assert found[DEVICE] == pytest.approx(found["cpu"], rel=0.1)
    weights = {device: load_file(tmp_path / device / "model.safetensors") for device in found}
    assert {key: value.shape for key, value in weights["cpu"].items()} == {
        key: value.shape for key, value in weights[DEVICE].items()
    }


@pytest.mark.parametrize("name", [name for name in on_cuda() if get(name).population is not None])
def test_a_population_trains_on_the_device(tmp_path, name):
    experiment = get(name)
    configs = [experiment.resolve("quick", {**SMALL[name], "device": DEVICE, "seed": seed}) for seed in range(3)]
    rows = {index: [] for index in range(len(configs))}

    def report(given, folder):
        for index, metrics in given.rows.items():
            rows[index].append(metrics)

    train_population(experiment.population, dict(enumerate(configs)), report)
    for index, config in enumerate(configs):
        alone = []
        experiment.fit(config, lambda metrics, checkpoint=None, alone=alone: alone.append(dict(metrics)))
        assert rows[index][-1][experiment.metric] == pytest.approx(alone[-1][experiment.metric], rel=0.1)


@pytest.mark.parametrize("name", on_cuda())
def test_a_training_on_the_device_goes_on_from_its_checkpoint(tmp_path, local_ray, name):
    experiment = get(name)
    config = experiment.resolve("quick", {**SMALL[name], "device": DEVICE, "iterations": 2})
    iterations = []

    def report(metrics, checkpoint=None):
        iterations.append(metrics["iteration"])
        if checkpoint is not None and not (tmp_path / "first").exists():
            shutil.copytree(checkpoint, tmp_path / "first")

    experiment.fit(config, report)
    assert iterations == [1, 2]
    iterations.clear()
    experiment.fit(config, report, resume=tmp_path / "first")
    assert set(iterations) <= {2}

"""The training: it learns, it resumes bit for bit, and what it leaves behind is whole."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from envs.scenarios import sample_batch, stream
from lab.config import parse
from lab.errors import RequestError
from lab.runs import ARTEFACT
from lab.tables import get
from lab.tables.judging import judge
from lab.tasks.table_supervised import TASK, TableSupervisedConfig, fit, task

TINY = {
    "size": 13,
    "n_before": (3, 13),
    "n_after": (1, 13),
    "iterations": 4,
    "steps": 3,
    "batch_size": 4,
    "validation_scenarios": 24,
    "width": 8,
    "depth": 1,
}
SEEDLESS = {"seconds"}


class Recorder:
    """A report that keeps metrics and a copy of each checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: list[dict[str, float]] = []
        self.checkpoints: list[Path] = []

    def __call__(self, metrics: dict[str, float], checkpoint: Path | None = None) -> None:
        self.metrics.append(metrics)
        if checkpoint is not None:
            target = self.folder / f"{int(metrics['iteration']):03d}"
            shutil.copytree(checkpoint, target)
            self.checkpoints.append(target)


def train(folder: Path, resume: Path | None = None, **fields) -> Recorder:
    recorder = Recorder(folder)
    fit(TableSupervisedConfig(**{**TINY, **fields}), recorder, resume=resume)
    return recorder


def without_time(metrics: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if key not in SEEDLESS}


FORMS = [{}, {"network": "notebook", "decoder": "argmax"}, {"sees_set": True}, {"decoder": "ranking"}]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_training_that_was_cut_goes_on_bit_for_bit(tmp_path, form):
    straight = train(tmp_path / "straight", **form)
    resumed = train(tmp_path / "resumed", resume=straight.checkpoints[1], **form)
    assert [m["iteration"] for m in resumed.metrics] == [3, 4]
    assert [without_time(m) for m in resumed.metrics] == [without_time(m) for m in straight.metrics[2:]]
    for name in ("model.safetensors", "population.safetensors", "untrained.safetensors"):
        assert (resumed.checkpoints[-1] / name).read_bytes() == (straight.checkpoints[-1] / name).read_bytes(), name
    assert resumed.metrics[-1]["seconds"] > straight.metrics[1]["seconds"], "time goes on where it stopped"


def test_the_same_seed_gives_the_same_metrics_and_another_seed_others(tmp_path):
    first, again, other = (
        train(tmp_path / str(k), seed=seed, iterations=1).metrics[0] for k, seed in enumerate((0, 0, 1))
    )
    assert without_time(first) == without_time(again)
    assert without_time(first) != without_time(other)


def test_what_every_trial_reports(tmp_path):
    recorder = train(tmp_path)
    assert len(recorder.metrics) == 4
    for k, metrics in enumerate(recorder.metrics, start=1):
        assert metrics["iteration"] == k
        for name in ("churn_ratio", "even_churn_ratio", "excess", "imbalance", "invalid"):
            assert math.isfinite(metrics[f"validation/{name}"])
        assert metrics["validation/imbalance"] == metrics["validation/invalid"] == 0.0
        assert metrics["train/gradient_norm"] > 1e-6
        assert all(isinstance(value, float) for value in metrics.values())
    seconds = [metrics["seconds"] for metrics in recorder.metrics]
    assert seconds == sorted(seconds)


def test_the_artefact_is_the_best_network_by_validation(tmp_path):
    recorder = train(tmp_path)
    config = TableSupervisedConfig(**TINY)
    validation = sample_batch(config.scenarios(), config.validation_scenarios, stream("validation", 0, config.size))

    class OfArtefact:
        def __init__(self, name: str) -> None:
            self.builder = get(name)

        def build_batch(self, hashes, present, size):
            return self.builder.build_batch(hashes, present, size, None)

    last = recorder.checkpoints[-1]
    best = min(metrics["validation/even_churn_ratio"] for metrics in recorder.metrics)
    assert judge(OfArtefact(f"learned:{last}"), validation)["even_churn_ratio"] == best
    untrained = judge(OfArtefact(f"learned:{last}@untrained"), validation)["even_churn_ratio"]
    assert untrained == recorder.metrics[0]["untrained/even_churn_ratio"]


def test_training_makes_tables_more_stable_at_exact_evenness(tmp_path):
    metrics = train(tmp_path, iterations=6, steps=10, batch_size=16, validation_scenarios=128, frequencies=0).metrics
    assert metrics[-1]["best/even_churn_ratio"] < metrics[0]["untrained/even_churn_ratio"] - 0.01


def test_training_and_validation_never_share_a_stream(tmp_path, monkeypatch):
    asked = []

    def spy(purpose, seed, *extra):
        asked.append((purpose, seed, *extra))
        return stream(purpose, seed, *extra)

    monkeypatch.setattr(task, "stream", spy)
    task._validation.cache_clear()
    train(tmp_path / "a", iterations=2, seed=3)
    task._validation.cache_clear()
    train(tmp_path / "b", iterations=1, seed=4)
    assert {purpose for purpose, *_ in asked} == {"train", "validation"}
    assert len([call for call in asked if call[0] == "validation"]) == 2
    assert len({call for call in asked if call[0] == "validation"}) == 1, "trials are compared on the same scenarios"
    trained = [call for call in asked if call[0] == "train"]
    assert len(trained) == len(set(trained)) == 9, "every step sees fresh scenarios"


def test_checkpoints_come_as_often_as_asked_and_at_the_end(tmp_path):
    recorder = train(tmp_path, iterations=5, checkpoint_every=2)
    assert [path.name for path in recorder.checkpoints] == ["002", "004", "005"]


def test_a_loss_that_is_not_finite_is_reported_and_ends_the_training(tmp_path, monkeypatch):
    real = TASK.loss

    def explode(*given):
        loss, parts = real(*given)
        return loss * math.nan, parts

    monkeypatch.setattr(TASK, "loss", explode)
    recorder = train(tmp_path)
    assert len(recorder.metrics) == 1
    assert math.isnan(recorder.metrics[0]["train/loss"])
    assert math.isnan(recorder.metrics[0]["validation/even_churn_ratio"])
    assert recorder.checkpoints == []


def test_the_threads_of_the_caller_are_left_as_they_were(tmp_path):
    before = torch.get_num_threads()
    train(tmp_path, iterations=1, threads=before + 1)
    assert torch.get_num_threads() == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


DAMAGE = {
    "state cut short": lambda c: cut(c / "population.safetensors"),
    "state gone": lambda c: (c / "population.safetensors").unlink(),
    "progress cut short": lambda c: cut(c / "population.json"),
    "progress empty": lambda c: (c / "population.json").write_text("{}"),
    "progress of something else": lambda c: (c / "population.json").write_text("[]"),
    "no checkpoint": lambda c: shutil.rmtree(c),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("trained"), iterations=1).checkpoints[0]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path, checkpoint, damage):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    DAMAGE[damage](copy)
    with pytest.raises(RequestError) as refused:
        train(tmp_path / "more", resume=copy)
    assert "\n" not in str(refused.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, checkpoint):
    with pytest.raises(RequestError, match="a network with"):
        train(tmp_path, resume=checkpoint, width=9)


def test_a_checkpoint_holds_tensors_and_json_alone(checkpoint):
    assert {path.name for path in checkpoint.iterdir()} == {*ARTEFACT, "population.safetensors", "population.json"}
    assert load_file(checkpoint / "population.safetensors")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RequestError, match="cuda"):
        train(tmp_path, device="cuda")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"decoder": "ranking", "sees_set": True}, "do not see the set"),
        ({"network": "notebook", "decoder": "ranking"}, "do not see the set"),
        ({"frequencies": 0, "strata": 0}, "something to read"),
        ({"n_before": (9, 3)}, "n_before"),
        ({"n_before": (5, 5), "n_after": (5, 5)}, "no scenario"),
        ({"weight_stability": 0, "weight_validity": 0, "weight_evenness": 0}, "at least one weight"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"decoder": "greedy"}, "decoder"),
        ({"device": "tpu"}, "device"),
        ({"widht": 32}, "Did you mean 'width'"),
        ({"temperature_end": 0}, "temperature_end"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_in_one_line(fields, says):
    with pytest.raises(RequestError, match=says) as refused:
        parse(TableSupervisedConfig, fields)
    assert "\n" not in str(refused.value)


def test_the_schedules_start_and_end_where_the_configuration_says():
    config = TableSupervisedConfig(iterations=10, steps=10, learning_rate=0.01)
    knobs = TASK.knobs(config, np.arange(101))
    temperatures, rates = knobs["temperature"], knobs["learning_rate"]
    assert temperatures[0] == config.temperature_start
    assert temperatures[100] == pytest.approx(config.temperature_end)
    assert rates[0] < rates[19] > rates[50] > rates[100] == pytest.approx(0.001)


def test_every_field_says_what_it_is():
    assert all(field.description for field in TableSupervisedConfig.model_fields.values())

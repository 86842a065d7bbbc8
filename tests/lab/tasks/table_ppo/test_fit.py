"""The training as the lab calls it: what it reports, what it leaves, and how it goes on."""

import importlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from safetensors.torch import load_file

from envs.scenarios import ScenarioConfig, sample_batch, stream
from lab.errors import RequestError, WorkError
from lab.sweep.cluster import ray_session
from lab.tables import learned
from lab.tasks.table_ppo import OBJECTIVE, TablePpoConfig, algorithm, checkpoint, fit

pytestmark = pytest.mark.ray

SMALL = {
    "iterations": 3,
    "size": 11,
    "envs": 4,
    "minibatch": 44,
    "epochs": 2,
    "width": 8,
    "critic_width": 8,
    "validate_every": 2,
    "validation_pairs": 4,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def local_ray():
    with ray_session(None):
        yield


class Recorder:
    """A report that keeps everything."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.checkpoints = folder, [], []

    def __call__(self, metrics, directory=None):
        self.rows.append(dict(metrics))
        if directory is not None:
            target = self.folder / f"{int(metrics['iteration'])}"
            shutil.copytree(directory, target)
            self.checkpoints.append(target)


def run(folder, resume=None, **fields):
    recorder = Recorder(folder)
    result = fit(TablePpoConfig(**{**SMALL, **fields}), recorder, resume=resume)
    assert {key: result.metrics[key] for key in recorder.rows[-1]} == recorder.rows[-1]
    return recorder


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def trained(local_ray, tmp_path_factory):
    return run(tmp_path_factory.mktemp("trained"))


def test_every_report_has_the_objective_and_finite_metrics(trained):
    assert [row["iteration"] for row in trained.rows] == [1, 2, 3]
    assert [row["env_steps"] for row in trained.rows] == [88, 176, 264]
    for row in trained.rows:
        assert {OBJECTIVE, "validation/churn_ratio", "validation/excess", "entropy", "kl", "episode_return"} <= set(row)
        assert all(math.isfinite(value) for value in row.values()), row
        assert row["validation/imbalance"] == row["validation/invalid"] == 0
        assert row[OBJECTIVE] == row["validation/churn_ratio"]
    assert trained.rows[0]["learning_rate"] > trained.rows[-1]["learning_rate"]


def test_the_same_seed_gives_the_same_metrics_bit_for_bit(trained, tmp_path):
    again = run(tmp_path)
    assert without_seconds(again.rows) == without_seconds(trained.rows)
    other = run(tmp_path / "other", seed=1, iterations=1)
    assert other.rows[0]["episode_return"] != trained.rows[0]["episode_return"]


def test_a_checkpoint_is_a_table_builder_of_the_best_policy(trained):
    assert [folder.name for folder in trained.checkpoints] == ["2", "3"]
    best = min(row[OBJECTIVE] for row in trained.rows)
    progress, _, _ = checkpoint.load(trained.checkpoints[-1])
    assert progress.best_score == best
    batch = sample_batch(ScenarioConfig(), 4, stream("validation", 0))
    tables = {}
    for weights in (learned.MODEL, learned.UNTRAINED):
        builder = learned.load(trained.checkpoints[-1], weights)
        tables[weights] = builder.build_batch(batch.hashes, batch.before, 47, None)
        assert builder.exact
    assert (tables[learned.MODEL] != tables[learned.UNTRAINED]).any()


def test_a_resumed_training_goes_on_where_it_was(trained, tmp_path):
    resumed = run(tmp_path, resume=trained.checkpoints[0])
    assert [row["iteration"] for row in resumed.rows] == [3]
    row, straight = resumed.rows[0], trained.rows[2]
    assert row["env_steps"] == straight["env_steps"]
    assert row["learning_rate"] == pytest.approx(straight["learning_rate"])
    assert row["seconds"] > trained.rows[1]["seconds"]
    # RLlib keeps no environments: the scenarios that follow are new ones, not the first again.
    assert row["episode_return"] not in {each["episode_return"] for each in trained.rows}
    untrained = [load_file(each.checkpoints[-1] / learned.UNTRAINED) for each in (trained, resumed)]
    for name, tensor in untrained[0].items():
        assert torch.equal(tensor, untrained[1][name])


def test_the_time_went_somewhere_and_a_resumed_training_adds_to_it(trained, tmp_path):
    recorder = Recorder(tmp_path)
    result = fit(TablePpoConfig(**SMALL), recorder, resume=trained.checkpoints[0])
    parts = {part["name"]: part for part in result.timing["children"]}
    assert parts["iteration"]["calls"] == 3
    assert parts["set-up"]["calls"] == 2
    blocks = {block["name"]: {part["name"] for part in block["children"]} for block in parts["iteration"]["children"]}
    assert blocks == {
        "sampling": {"environment", "forward", "draw"},
        "learning": {"batch", "gather", "forward", "backward", "optimizer"},
        "weights": set(),
    }


def test_the_stock_path_goes_on_with_what_the_fast_one_left(trained, tmp_path):
    recorder = Recorder(tmp_path)
    result = fit(TablePpoConfig(**SMALL, runner="stock"), recorder, resume=trained.checkpoints[0])
    assert [row["iteration"] for row in recorder.rows] == [3]
    assert recorder.rows[0]["env_steps"] == trained.rows[2]["env_steps"]
    assert set(recorder.rows[0]) == set(trained.rows[2])
    assert {part["name"] for part in result.timing["children"]} >= {"iteration", "validation", "checkpoint"}


def test_a_finished_training_resumed_is_finished(trained, tmp_path):
    recorder = Recorder(tmp_path)
    result = fit(TablePpoConfig(**SMALL), recorder, resume=trained.checkpoints[-1])
    assert not recorder.rows
    assert result.metrics[OBJECTIVE] == trained.rows[-1][OBJECTIVE]


def _truncate(folder):
    path = max(folder.rglob("*.pkl"), key=lambda each: each.stat().st_size)
    path.write_bytes(path.read_bytes()[:-7])


def _lose(folder):
    (folder / learned.MODEL).unlink()


def _add(folder):
    (folder / "algorithm" / "extra.pkl").write_bytes(b"?")


def _tear(folder):
    path = folder / "progress.json"
    path.write_text(path.read_text()[:40])


def _retype(folder):
    path = folder / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "iteration": "many"}))


def _empty(folder):
    shutil.rmtree(folder)


@pytest.mark.parametrize("harm", [_truncate, _lose, _add, _tear, _retype, _empty])
def test_a_checkpoint_that_is_not_whole_is_refused_before_anything_of_it_is_used(trained, tmp_path, harm):
    folder = tmp_path / "harmed"
    shutil.copytree(trained.checkpoints[0], folder)
    harm(folder)
    with pytest.raises(RequestError, match="expected a") as error:
        fit(TablePpoConfig(**SMALL), Recorder(tmp_path), resume=folder)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_network_is_refused(trained, tmp_path):
    with pytest.raises(RequestError, match="same network") as error:
        run(tmp_path, resume=trained.checkpoints[0], width=9)
    assert "\n" not in str(error.value)


def test_weights_that_are_not_finite_fail_the_training(local_ray, tmp_path, monkeypatch):
    def broken(algorithm):
        return {"weight": torch.tensor([math.nan])}

    # By its name in full: the package's `fit` is the function.
    monkeypatch.setattr(importlib.import_module("lab.tasks.table_ppo.fit"), "policy_weights", broken)
    recorder = Recorder(tmp_path)
    with pytest.raises(WorkError, match="not finite after iteration 1"):
        fit(TablePpoConfig(**SMALL), recorder)
    assert math.isnan(recorder.rows[-1][OBJECTIVE])


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "mlp", "size": 47, "minibatch": 94},
        {"attention": 2, "features": "all", "reward": "terminal", "gamma": 1.0, "gae_lambda": 0.95},
        {"balance": "reward", "validity": "penalty", "features": "offsets"},
    ],
    ids=str,
)
def test_every_form_of_the_task_trains(local_ray, tmp_path, fields):
    recorder = run(tmp_path, iterations=1, **fields)
    assert all(math.isfinite(value) for value in recorder.rows[0].values())
    assert learned.load(recorder.checkpoints[0]).exact == ("balance" not in fields)


def test_remote_runners_sample_for_the_policy_that_is_trained(local_ray, tmp_path):
    recorder = run(tmp_path, iterations=2, env_runners=1, envs=4)
    weights = load_file(recorder.checkpoints[-1] / learned.MODEL)
    untrained = load_file(recorder.checkpoints[-1] / learned.UNTRAINED)
    assert recorder.rows[-1]["env_steps"] == 176
    assert any(not torch.equal(weights[name], untrained[name]) for name in weights)


def test_runners_that_no_core_is_left_for_are_refused(local_ray, tmp_path):
    """Ray would wait for cores that never come."""
    with pytest.raises(RequestError, match="env_runners of at most"):
        run(tmp_path, envs=1000, env_runners=1000)


def test_a_device_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RequestError, match="device=cpu"):
        fit(TablePpoConfig(**SMALL, device="cuda"), Recorder(tmp_path))


def test_a_ray_of_its_own_is_started_and_stopped(tmp_path):
    if ray.is_initialized():
        ray.shutdown()  # the module's: no test after this one needs it
    threads, level = torch.get_num_threads(), np.geterr()
    with algorithm.local_ray(TablePpoConfig(**SMALL)):
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert (torch.get_num_threads(), np.geterr()) == (threads, level)

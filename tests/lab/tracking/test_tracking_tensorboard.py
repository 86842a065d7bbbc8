"""TensorBoard's files: each step once, also after a kill."""

from __future__ import annotations

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lab.config import Config
from lab.experiment import Experiment, Result
from lab.runs import Plan, Run
from lab.tracking import TensorBoardTracker
from lab.tracking.tensorboard import OBJECTIVE


class Few(Config):
    seed: int = 0


@pytest.fixture
def run() -> Run:
    experiment = Experiment(
        name="few",
        summary="",
        config=Few,
        fit=lambda config, report, *, resume=None: Result({}),
        space={},
        metric="validation/loss",
        mode="min",
        presets={"default": {}},
    )
    run = Run.create(experiment, kind="train", preset="default", config={}, plan=Plan(samples=2))
    run.add_trial(0, {"rate": 0.5, "shape": [4, 4], "name": "x", "on": True, "none": None})
    return run


def events(run: Run, index: int = 0) -> EventAccumulator:
    return EventAccumulator(str(run.trial_folder(index) / "tensorboard")).Reload()


def add(run: Run, *iterations: int) -> None:
    for iteration in iterations:
        run.add_result(0, {"iteration": iteration, "validation/loss": 1 / iteration})


def test_scalars_and_hyperparameters_of_a_trial(run: Run) -> None:
    tracker = TensorBoardTracker()
    tracker.start(run)
    for iteration in (1, 2, 3):
        add(run, iteration)
        tracker.result(run.trials[0], iteration)
    run.end_trial(0, "finished")
    tracker.trial_end(run.trials[0])
    tracker.end("finished")
    found = events(run)
    scalars = found.Scalars("validation/loss")
    assert [event.step for event in scalars] == [1, 2, 3]
    assert [event.value for event in scalars] == pytest.approx([1, 1 / 2, 1 / 3])
    assert scalars[1].wall_time == pytest.approx(run.trials[0].times[2])
    assert found.Scalars(OBJECTIVE)[0].value == pytest.approx(1 / 3)
    assert "iteration" not in found.Tags()["scalars"]
    plugin = found.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugin.plugin_name == "hparams"
    assert b"rate" in plugin.content
    assert b"[4, 4]" in plugin.content
    assert found.SummaryMetadata("_hparams_/session_end_info").plugin_data.plugin_name == "hparams"


def test_a_resume_repeats_no_step_misses_none_and_leaves_no_torn_file(run: Run) -> None:
    first = TensorBoardTracker()
    first.start(run)
    add(run, 1, 2)
    first.result(run.trials[0], 1)
    # The kill: iteration 2 is in the journal only, and the file ends inside a record.
    first.close()
    (file,) = (run.trial_folder(0) / "tensorboard").glob("events*")
    file.write_bytes(file.read_bytes()[:-5])
    second = TensorBoardTracker()
    second.start(Run(run.folder))
    add(run, 3)
    second._run = run
    second.result(run.trials[0], 3)
    run.end_trial(0, "finished")
    second.trial_end(run.trials[0])
    second.end("finished")
    assert [event.step for event in events(run).Scalars("validation/loss")] == [1, 2, 3]


def test_a_step_that_a_clone_comes_over_again_is_written_once(run: Run) -> None:
    tracker = TensorBoardTracker()
    tracker.start(run)
    add(run, 1)
    for _ in range(2):
        tracker.result(run.trials[0], 1)
    tracker.end("interrupted")
    assert [event.step for event in events(run).Scalars("validation/loss")] == [1]


def test_a_complete_trial_is_not_written_again(run: Run) -> None:
    add(run, 1)
    run.end_trial(0, "finished")
    TensorBoardTracker().start(run)
    before = sorted((run.trial_folder(0) / "tensorboard").iterdir())
    TensorBoardTracker().start(run)
    assert sorted((run.trial_folder(0) / "tensorboard").iterdir()) == before

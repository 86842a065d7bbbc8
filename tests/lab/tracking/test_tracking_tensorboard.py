"""TensorBoard's files: each step once, also after a kill."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from lab.config import Config
from lab.experiment import Experiment, Result
from lab.runs import Plan, Run
from lab.tracking import TensorBoardTracker
from lab.tracking.pace import Pace
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
        tracker.results([(run.trials[0], iteration)])
    run.end_trial(0, "finished")
    tracker.trial_ends([run.trials[0]])
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
    first.results([(run.trials[0], 1)])
    # The kill: iteration 2 is in the journal only, and the file ends inside a record.
    (file,) = (run.trial_folder(0) / "tensorboard").glob("events*")
    file.write_bytes(file.read_bytes()[:-5])
    second = TensorBoardTracker()
    second.start(Run(run.folder))
    add(run, 3)
    second._run = run
    second.results([(run.trials[0], 3)])
    run.end_trial(0, "finished")
    second.trial_ends([run.trials[0]])
    second.end("finished")
    assert [event.step for event in events(run).Scalars("validation/loss")] == [1, 2, 3]


def test_a_step_that_a_clone_comes_over_again_is_written_once(run: Run) -> None:
    tracker = TensorBoardTracker()
    tracker.start(run)
    add(run, 1)
    for _ in range(2):
        tracker.results([(run.trials[0], 1)])
    tracker.end("interrupted")
    assert [event.step for event in events(run).Scalars("validation/loss")] == [1]


def test_a_complete_trial_is_not_written_again(run: Run) -> None:
    add(run, 1)
    run.end_trial(0, "finished")
    TensorBoardTracker().start(run)
    before = sorted((run.trial_folder(0) / "tensorboard").iterdir())
    TensorBoardTracker().start(run)
    assert sorted((run.trial_folder(0) / "tensorboard").iterdir()) == before


SHARD = range(1, 9)
"""Trials besides the one of the fixture."""


def report(run: Run, iteration: int) -> list:
    for index in SHARD:
        run.add_result(index, {"iteration": iteration, "validation/loss": index / iteration, "train/loss": 1.0})
    return [(run.trials[index], iteration) for index in SHARD]


def test_a_shard_of_trials_is_written_without_a_thread_or_an_open_file_for_each(run: Run) -> None:
    tracker = TensorBoardTracker()
    tracker.start(run)
    before = threading.active_count(), len(list(Path("/dev/fd").iterdir()))
    tracker.trial_starts([run.add_trial(index, {"rate": 0.1 * index, "name": "x"}) for index in SHARD])
    for iteration in (1, 2, 3):
        tracker.results(report(run, iteration))
    assert (threading.active_count(), len(list(Path("/dev/fd").iterdir()))) == before
    for index in SHARD[:-1]:
        run.end_trial(index, "finished")
    tracker.trial_ends([run.trials[index] for index in SHARD[:-1]])
    tracker.end("interrupted")
    for index in SHARD:
        found = events(run, index)
        assert [(event.step, event.value) for event in found.Scalars("validation/loss")] == [
            (step, pytest.approx(index / step)) for step in (1, 2, 3)
        ]
        assert len(found.Scalars("train/loss")) == 3
        assert (OBJECTIVE in found.Tags()["scalars"]) == (index != SHARD[-1])


def test_the_hparams_page_has_a_row_for_each_trial(run: Run) -> None:
    tracker = TensorBoardTracker()
    tracker.start(run)
    tracker.trial_starts([run.add_trial(index, {"rate": 0.5 * index, "name": "x"}) for index in SHARD])
    tracker.results(report(run, 1))
    for index in SHARD:
        run.end_trial(index, "finished")
    tracker.trial_ends([run.trials[index] for index in SHARD])
    tracker.end("finished")
    files = EventMultiplexer().AddRunsFromDirectory(str(run.folder / "trials"))
    files.Reload()
    context = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(files, str(run.folder))))
    asked = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS], col_params=[{"metric": {"tag": OBJECTIVE}}], slice_size=100
    )
    page = list_session_groups.Handler(RequestContext(), context, "", asked).run()
    rows = {
        group.hparams["rate"].number_value: value.value
        for group in page.session_groups
        for value in group.metric_values
    }
    assert rows == {0.5 * index: pytest.approx(index) for index in SHARD}


@pytest.mark.parametrize("seconds", [0.0, 1e6])
@pytest.mark.parametrize("killed_after", range(5))
def test_a_shard_that_was_killed_anywhere_is_made_up_for(run: Run, killed_after: int, seconds: float) -> None:
    first = TensorBoardTracker()
    first.start(run)
    first._pace = Pace(seconds)
    trials = [run.add_trial(index, {"rate": 0.1 * index}) for index in SHARD]
    ends = SHARD[:4]

    def end() -> list:
        for index in ends:
            run.end_trial(index, "finished")
        return [run.trials[index] for index in ends]

    steps = [
        lambda: first.trial_starts(trials),
        lambda: first.results(report(run, 1)),
        lambda: first.results(report(run, 2)),
        lambda: first.trial_ends(end()),
    ]
    for step in steps[:killed_after]:
        step()
    if killed_after < 3:
        # What the journal has and the tracker was not told any more.
        report(run, killed_after + 1)
    again = Run(run.folder)
    second = TensorBoardTracker()
    second.start(again)
    second.end("interrupted")
    for index in SHARD:
        written = [event.step for event in events(again, index).Scalars("validation/loss")]
        assert written == sorted(again.trials[index].results)
        assert ((again.trial_folder(index) / "tensorboard" / ".complete").exists()) == again.trials[index].ended

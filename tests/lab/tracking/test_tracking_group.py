"""A tracker that fails costs a line on standard error, never the training."""

from __future__ import annotations

import io
import json

import pytest

from lab.config import Config
from lab.errors import RequestError
from lab.experiment import Experiment, Result
from lab.runs import Plan, Run
from lab.tracking import BEHIND, ProgressTracker, Tracking


class Few(Config):
    seed: int = 0
    iterations: int = 4


EXPERIMENT = Experiment(
    name="few",
    summary="",
    config=Few,
    fit=lambda config, report, *, resume=None: Result({}),
    space={},
    metric="loss",
    mode="min",
    presets={"default": {}},
)


@pytest.fixture
def run() -> Run:
    config = {"seed": 0, "iterations": 4}
    return Run.create(EXPERIMENT, kind="train", preset="default", config=config, plan=Plan(samples=2))


class Moody:
    """A tracker that raises when it is told to."""

    name = "moody"

    def __init__(self, failing: set[str]) -> None:
        self.failing, self.told = failing, []

    def _hear(self, what: str) -> None:
        if what in self.failing:
            raise OSError(f"{what}: database is\nlocked")
        self.told.append(what)

    def start(self, run: Run) -> None:
        self._hear("start")

    def trial_start(self, trial) -> None:
        self._hear("trial_start")

    def result(self, trial, iteration: int) -> None:
        self._hear("result")

    def trial_end(self, trial) -> None:
        self._hear("trial_end")

    def end(self, status: str) -> None:
        self._hear("end")


def go(tracking: Tracking, run: Run) -> None:
    tracking.start(run)
    trial = run.add_trial(0, {"seed": 0})
    tracking.trial_start(trial)
    for iteration in (1, 2):
        run.add_result(0, {"iteration": iteration, "loss": 1.0})
        tracking.result(trial, iteration)
    run.end_trial(0, "finished")
    tracking.trial_end(trial)
    tracking.end("finished")


def test_a_failing_tracker_is_set_aside_and_made_up_for_at_the_end(run: Run) -> None:
    lines: list[str] = []
    moody, good = Moody({"result"}), Moody(set())
    go(Tracking([moody, good], lines.append), run)
    assert lines == ["warning: moody fails, the training goes on without it: OSError: result: database is locked"]
    assert moody.told == ["start", "trial_start", "start", "end"]
    assert not (run.folder / BEHIND).exists()


def test_others_are_not_touched_by_a_failing_tracker(run: Run) -> None:
    moody, good = Moody({"trial_start"}), Moody(set())
    good.name = "good"
    go(Tracking([moody, good], lambda line: None), run)
    assert good.told == ["start", "trial_start", "result", "result", "trial_end", "end"]


def test_a_tracker_that_stays_behind_is_named_and_tried_again_by_the_next_resume(run: Run) -> None:
    lines: list[str] = []
    moody = Moody({"start", "end"})
    go(Tracking([moody], lines.append), run)
    assert len(lines) == 2
    assert "lab resume tries again" in lines[1]
    assert list(json.loads((run.folder / BEHIND).read_text())) == ["moody"]
    well = Moody(set())
    Tracking([well], lines.append).catch_up(run)
    assert well.told == ["start", "end"]
    assert not (run.folder / BEHIND).exists()
    Tracking([well], lines.append).catch_up(run)
    assert well.told == ["start", "end"], "nothing is behind any more"


def test_a_wrong_request_of_a_tracker_is_not_hidden(run: Run) -> None:
    class Corrupt(Moody):
        def start(self, run: Run) -> None:
            raise RequestError("expected an SQLite database")

    with pytest.raises(RequestError, match="SQLite"):
        Tracking([Corrupt(set())]).start(run)


def test_progress_is_plain_lines_where_there_is_no_terminal(run: Run) -> None:
    stream = io.StringIO()
    go(Tracking([ProgressTracker(stream)]), run)
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"{run.name}: 0 of 2 trials"
    assert lines[1].startswith("trial 0 finished, loss 1; 1 of 2 trials, best loss 1, about")
    assert lines[-1] == f"{run.name}: finished, 1 of 2 trials, best loss 1"
    assert "\x1b" not in stream.getvalue()


def test_progress_is_a_bar_on_a_terminal(run: Run) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    go(Tracking([ProgressTracker(stream)]), run)
    assert "━" in stream.getvalue()
    assert "4/8" in stream.getvalue(), "iterations, the ones of ended trials all done"

"""A tracker that fails costs a line on standard error, never the training."""

from __future__ import annotations

import json

import pytest

from lab.config import Config
from lab.errors import RequestError
from lab.experiment import Experiment, Result
from lab.runs import Plan, Run
from lab.tracking import BEHIND, Tracking
from lab.tracking.pace import Pace


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

    def trial_starts(self, trials) -> None:
        self._hear("starts")

    def results(self, pairs) -> None:
        self._hear("results")

    def trial_ends(self, trials) -> None:
        self._hear("ends")

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
    moody, good = Moody({"results"}), Moody(set())
    go(Tracking([moody, good], lines.append), run)
    assert lines == ["warning: moody fails, the training goes on without it: OSError: results: database is locked"]
    assert moody.told == ["start", "starts", "start", "end"]
    assert not (run.folder / BEHIND).exists()


def test_others_are_not_touched_by_a_failing_tracker(run: Run) -> None:
    moody, good = Moody({"starts"}), Moody(set())
    good.name = "good"
    go(Tracking([moody, good], lambda line: None), run)
    assert good.told == ["start", "starts", "results", "results", "ends", "end"]


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


def test_one_call_tells_of_many_trials_and_one_trial_is_told_as_many(run: Run) -> None:
    class Log(Moody):
        def trial_starts(self, trials) -> None:
            self.told.append([trial.index for trial in trials])

        def results(self, pairs) -> None:
            self.told.append([(trial.index, iteration) for trial, iteration in pairs])

        trial_ends = trial_starts

    log = Log(set())
    tracking = Tracking([log])
    tracking.start(run)
    trials = [run.add_trial(index, {"seed": index}) for index in range(3)]
    tracking.trial_starts(trials)
    tracking.results([(trial, 1) for trial in trials])
    tracking.trial_ends(trials)
    tracking.trial_start(trials[1])
    tracking.result(trials[1], 2)
    tracking.trial_end(trials[1])
    assert log.told == ["start", [0, 1, 2], [(0, 1), (1, 1), (2, 1)], [0, 1, 2], [1], [(1, 2)], [1]]


def test_what_takes_long_is_due_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("lab.tracking.pace.time.monotonic", lambda: clock[0])
    pace = Pace(2)
    assert pace.due, "what comes first is shown at once"
    with pace.work():
        clock[0] += 0.01
    clock[0] += 1.9
    assert not pace.due
    clock[0] += 0.2
    assert pace.due
    with pace.work():
        clock[0] += 3
    clock[0] += 29
    assert not pace.due, "no more than a tenth of the time"
    clock[0] += 2
    assert pace.due

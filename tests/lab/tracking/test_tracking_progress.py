"""Progress for one trial and for thousands: one bar on a terminal, and elsewhere lines that a person can read."""

from __future__ import annotations

import io
from functools import partialmethod

import pytest
from rich.progress import Progress

from lab.config import Config
from lab.experiment import Experiment, Result
from lab.runs import Plan, Run, Trial
from lab.tracking import ProgressTracker, Tracking


class Few(Config):
    seed: int = 0
    iterations: int = 4


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make(samples: int) -> Run:
    experiment = Experiment(
        name="few",
        summary="",
        config=Few,
        fit=lambda config, report, *, resume=None: Result({}),
        space={},
        metric="loss",
        mode="min",
        presets={"default": {}},
    )
    config = {"seed": 0, "iterations": 4}
    return Run.create(experiment, kind="train", preset="default", config=config, plan=Plan(samples=samples))


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


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    stream, run = io.StringIO(), make(2)
    go(Tracking([ProgressTracker(stream)]), run)
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"{run.name}: 0 of 2 trials"
    assert lines[1].startswith("trial 0 finished, loss 1; 1 of 2 trials, best loss 1, about")
    assert lines[-1] == f"{run.name}: finished, 1 of 2 trials, best loss 1"
    assert "\x1b" not in stream.getvalue()


def test_progress_is_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    go(Tracking([ProgressTracker(stream)]), make(2))
    assert "━" in stream.getvalue()
    assert "4/8" in stream.getvalue(), "iterations, the ones of ended trials all done"


def train(run: Run, stream: io.StringIO, clock: list[float], *, failing: set[int]) -> None:
    """A sweep whose trials come in shards of a hundred, without a journal: a report a second."""
    tracker = ProgressTracker(stream)
    tracker.start(run)
    samples = run.manifest.plan.samples
    run.trials.update({index: Trial(index, {"seed": index}) for index in range(samples)})
    trials = list(run.trials.values())
    tracker.trial_starts(trials)
    for first in range(0, samples, 100):
        shard = trials[first : first + 100]
        for iteration in range(1, 5):
            clock[0] += 1
            for trial in shard:
                trial.results[iteration] = {"loss": 1 / (iteration + trial.index)}
            tracker.results([(trial, iteration) for trial in shard])
        for trial in shard:
            trial.status, trial.reason = ("failed", "loss is nan") if trial.index in failing else ("finished", None)
        tracker.trial_ends(shard)
    tracker.end("finished")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("lab.tracking.progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr("lab.tracking.pace.time.monotonic", lambda: now[0])
    return now


def test_thousands_of_trials_are_a_few_lines_that_count_them(clock: list[float]) -> None:
    stream, run = io.StringIO(), make(5000)
    train(run, stream, clock, failing=set(range(7)))
    lines = stream.getvalue().splitlines()
    assert len(lines) < 50, "200 seconds of ten each, seven failures, a beginning and an end"
    assert [line for line in lines if line.startswith("trial")] == [
        f"trial {index} failed (loss is nan), loss {1 / (4 + index):.4g}" for index in range(7)
    ]
    assert any(" 100 running, best loss " in line for line in lines)
    assert lines[-1] == f"{run.name}: finished, 5000 of 5000 trials (7 failed), best loss 0.0001999"


def test_a_sweep_that_fails_throughout_does_not_fill_the_screen(clock: list[float]) -> None:
    stream = io.StringIO()
    train(make(5000), stream, clock, failing=set(range(5000)))
    lines = stream.getvalue().splitlines()
    assert sum("loss is nan" in line for line in lines) == 10
    assert len(lines) < 50


def test_a_day_of_work_is_a_few_hundred_lines(clock: list[float]) -> None:
    stream, run = io.StringIO(), make(64)
    tracker = ProgressTracker(stream)
    tracker.start(run)
    run.trials[0] = trial = Trial(0, {"seed": 0})
    for _ in range(24 * 360):
        clock[0] += 10.5
        tracker.results([(trial, 1)])
    assert 50 < len(stream.getvalue().splitlines()) < 300


def test_hundreds_of_trials_are_one_bar(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    # A picture for each report, at whatever pace this machine has.
    monkeypatch.setattr(Progress, "update", partialmethod(Progress.update, refresh=True))
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    train(make(400), stream, clock, failing={3})
    text = stream.getvalue()
    assert "1600/1600" in text
    assert "300 of 400 (1 failed), 100 running, best 0.0" in text, "all of it in eighty columns"
    assert "trial 3" not in text

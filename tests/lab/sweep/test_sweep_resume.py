"""A sweep that is killed again and again ends as one that never was: the same trials, none lost, none twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation import Killed, drive, killed_after
from toy import toy

from lab.experiment import Experiment
from lab.runs import Run
from lab.sweep.plan import make_plan

PLANS = {
    "random": {"samples": 5, "max_concurrent": 3},
    "grid": {"search": "grid", "grid_points": 2, "max_concurrent": 2},
    "optuna": {"samples": 12, "search": "optuna", "max_concurrent": 1},
    "asha": {"samples": 9, "scheduler": "asha", "max_concurrent": 1},
    "pbt": {"samples": 8, "scheduler": "pbt", "max_concurrent": 3},
}


def new_run(experiment: Experiment, every: int, options: dict) -> Path:
    base = experiment.resolve(overrides={"iterations": 9, "every": every})
    plan = make_plan(experiment, **options)
    return Run.create(experiment, kind="sweep", preset="default", config=base.model_dump(mode="json"), plan=plan).folder


def outcome(run: Run) -> list:
    """All that a person would compare."""
    return [
        (trial.index, trial.config, trial.status, trial.reason, trial.results, trial.checkpoint)
        for _, trial in sorted(run.trials.items())
    ]


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """These kills are exceptions: the disk need not keep up."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("kind", PLANS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=5))
def test_any_kills_leave_the_planned_sweep(kind: str, every: int, kills: list[tuple[int, bool]]) -> None:
    experiment = toy()
    whole = drive(experiment, new_run(experiment, every, PLANS[kind]), np.random.default_rng(0))
    folder = new_run(experiment, every, PLANS[kind])
    for number, (events, torn) in enumerate(kills):
        try:
            with killed_after(events, torn=torn):
                drive(experiment, folder, np.random.default_rng(number))
        except Killed:
            continue
    run = drive(experiment, folder, np.random.default_rng(99))
    assert outcome(run) == outcome(whole)
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    begun = [event["trial"] for event in lines if event["event"] == "trial"]
    ended = [event["trial"] for event in lines if event["event"] == "end"]
    assert begun == list(range(run.manifest.plan.samples))
    assert sorted(ended) == begun
    results = [(event["trial"], event["iteration"]) for event in lines if event["event"] == "result"]
    assert len(set(results)) == len(results)
    before = (folder / "journal.jsonl").read_bytes()
    drive(experiment, folder, np.random.default_rng(1))
    assert (folder / "journal.jsonl").read_bytes() == before, "a second resume does nothing"

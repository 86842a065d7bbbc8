"""A fused sweep that is killed at any line of its journal ends as one that never was: every member, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fused_simulation import drive_fused
from fused_toy import lines
from ray import tune
from simulation import Killed, killed_after

from lab.experiment import Experiment
from lab.runs import ARTEFACT, Run
from lab.sweep.plan import make_plan

SPACE = {"rate": tune.loguniform(1e-3, 1e-1), "seed": tune.randint(0, 9)}
MIXED = SPACE | {
    # One in four is trained alone, one in four diverges, and some are no configuration at all.
    "alone": tune.choice([False, False, False, True]),
    "trouble": tune.choice(["", "", "", "nan"]),
    "width": tune.choice([0, 2, 2, 3, 3, 3]),
}
SWEEPS: dict[str, tuple[dict, dict, dict]] = {
    "plain": (SPACE, {"samples": 5, "max_concurrent": 2}, {"iterations": 5, "checkpoint_every": 2}),
    "mixed": (MIXED, {"samples": 12, "max_concurrent": 2, "seed": 4}, {"iterations": 4, "checkpoint_every": 3}),
    "halving": (MIXED, {"samples": 14, "scheduler": "asha", "seed": 4}, {"iterations": 9, "checkpoint_every": 4}),
}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """These kills are exceptions: the disk need not keep up."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def new_run(kind: str) -> tuple[Experiment, Path]:
    space, options, overrides = SWEEPS[kind]
    experiment = lines(space=space)
    base = experiment.resolve(overrides=overrides).model_dump(mode="json")
    plan = make_plan(experiment, **{"max_concurrent": 1} | options)
    return experiment, Run.create(experiment, kind="sweep", preset="default", config=base, plan=plan).folder


def artefacts(run: Run, index: int) -> dict[str, bytes]:
    folder = run.trial_folder(index)
    return {name: (folder / name).read_bytes() for name in ARTEFACT if (folder / name).exists()}


def outcome(run: Run) -> list[Any]:
    """All that a person would compare; only the wall clock differs."""
    rows = []
    for _, trial in sorted(run.trials.items()):
        results = {
            step: {key: value for key, value in row.items() if key != "seconds"} for step, row in trial.results.items()
        }
        rows.append((trial.index, trial.config, trial.status, trial.reason, results, artefacts(run, trial.index)))
    return rows


def each_thing_once(run: Run) -> None:
    """Every trial, result and end is on one line of the journal, and no more."""
    seen: Counter = Counter()
    for line in (run.folder / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        kind = event["event"]
        if kind in ("trial", "end"):
            seen[kind, event["trial"]] += 1
        elif kind == "result":
            seen["result", event["trial"], event["iteration"]] += 1
        elif kind == "results":
            seen.update(("result", int(index), event["iteration"]) for index in event["rows"])
        elif kind == "shards":
            seen["shards"] += 1
        seen.update(("end", int(index)) for index in event.get("ends", {}))
    assert set(seen.values()) == {1}
    for index, trial in run.trials.items():
        assert seen["trial", index] == seen["end", index] == 1
        assert all(("result", index, step) in seen for step in trial.results)


def ended_members_have_their_artefact(folder: Path) -> None:
    run = Run(folder)
    for index in (index for shard in run.shards for index in shard):
        if run.trials[index].status in ("finished", "stopped"):
            assert set(artefacts(run, index)) == set(ARTEFACT)


@pytest.mark.parametrize("kind", ["plain", "mixed", pytest.param("halving", marks=pytest.mark.slow)])
def test_a_kill_at_any_line_loses_and_repeats_nothing(kind: str) -> None:
    experiment, folder = new_run(kind)
    whole = drive_fused(experiment, folder, np.random.default_rng(0))
    assert whole.shards
    if kind == "plain":
        assert {trial.status for trial in whole.trials.values()} == {"finished"}
    else:
        fused = {index for shard in whole.shards for index in shard}
        statuses = {trial.status for trial in whole.trials.values()}
        assert {"finished", "failed"} <= statuses
        assert any(index not in fused and t.status == "finished" for index, t in whole.trials.items())
        assert ("stopped" in statuses) == (kind == "halving")
    events = (whole.folder / "journal.jsonl").read_bytes().count(b"\n")
    for event in range(events):
        _, folder = new_run(kind)
        with pytest.raises(Killed), killed_after(event, torn=event % 2 == 0):
            drive_fused(experiment, folder, np.random.default_rng(event))
        ended_members_have_their_artefact(folder)
        run = drive_fused(experiment, folder, np.random.default_rng(99))
        assert outcome(run) == outcome(whole), event
        each_thing_once(run)
    before = (folder / "journal.jsonl").read_bytes()
    drive_fused(experiment, folder, np.random.default_rng(1))
    assert (folder / "journal.jsonl").read_bytes() == before, "a second resume does nothing"


@pytest.mark.parametrize("kind", ["mixed", "halving"])
def test_kills_of_driver_and_workers_together_change_nothing(kind: str) -> None:
    experiment, folder = new_run(kind)
    whole = drive_fused(experiment, folder, np.random.default_rng(0))
    rng = np.random.default_rng(7)
    experiment, folder = new_run(kind)
    for _ in range(4):
        try:
            with killed_after(int(rng.integers(5, 40)), torn=bool(rng.integers(2))):
                drive_fused(experiment, folder, rng, deaths=0.2)
        except Killed:
            continue
    run = drive_fused(experiment, folder, rng, deaths=0.1)
    assert outcome(run) == outcome(whole)
    each_thing_once(run)


def test_a_shard_without_its_checkpoints_is_trained_again_and_halved_as_it_was() -> None:
    experiment, folder = new_run("halving")
    whole = drive_fused(experiment, folder, np.random.default_rng(0))
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    halved = next(n for n, event in enumerate(events) if event["event"] == "checkpoints" and event["ends"])
    experiment, folder = new_run("halving")
    with pytest.raises(Killed), killed_after(halved + 3, torn=False):
        drive_fused(experiment, folder, np.random.default_rng(0))
    assert any(trial.status == "stopped" for trial in Run(folder).trials.values())
    shutil.rmtree(folder / "tune")
    run = drive_fused(experiment, folder, np.random.default_rng(0))
    assert outcome(run) == outcome(whole)
    each_thing_once(run)

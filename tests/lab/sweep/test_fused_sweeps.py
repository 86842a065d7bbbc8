"""Fused sweeps on a Ray of this machine, with real processes that die."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from fused_toy import LineConfig, lines
from ray import tune
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_sweep_kills import mlflow_has_each_trial_once, ray_processes, signal_after, spawn

from lab.config import parse
from lab.paths import list_runs
from lab.runs import Run
from lab.sweep import run_sweep
from lab.sweep.asha import rungs
from lab.sweep.population import PopulationReport, train_population

pytestmark = pytest.mark.ray


def undisturbed(run: Run, *, halving: bool = False) -> tuple[dict[int, dict[int, Any]], dict[int, bytes]]:
    """Rows and networks of all members, of shards that nothing interrupts, without Ray and without a run."""
    rows: dict[int, dict[int, Any]] = {}
    networks: dict[int, bytes] = {}

    def report(told: PopulationReport, checkpoint: Path | None) -> None:
        for index, row in told.rows.items():
            rows.setdefault(index, {})[told.iteration] = without_seconds(row)
        for index in told.ends:
            assert checkpoint is not None
            networks[index] = (checkpoint / "members" / str(index) / "model.safetensors").read_bytes()

    for shard in run.shards:
        configs = {index: parse(LineConfig, run.trials[index].config) for index in shard}
        length = next(iter(configs.values())).iterations
        train_population(lines().population, configs, report, rungs=rungs(length) if halving else [])
    return rows, networks


def without_seconds(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key != "seconds"}


def is_undisturbed(run: Run, *, halving: bool = False) -> None:
    rows, networks = undisturbed(run, halving=halving)
    assert rows
    for index, mine in rows.items():
        assert {i: without_seconds(row) for i, row in run.trials[index].results.items()} == mine, index
        assert (run.trial_folder(index) / "model.safetensors").read_bytes() == networks[index]


@pytest.mark.usefixtures("ray_here")
def test_a_shard_whose_process_is_killed_goes_on_and_others_train_beside_it(tmp_path: Path) -> None:
    space = lines().space | {"alone": tune.choice([False, False, True])}
    overrides = {"trouble": f"die:{tmp_path / 'died'}", "checkpoint_every": 2}
    run = run_sweep(lines(space=space), samples=8, seed=1, max_concurrent=1, overrides=overrides)
    assert (tmp_path / "died").exists()
    assert run.manifest.status == "finished"
    (shard,) = run.shards
    assert shard == [index for index, trial in run.trials.items() if not trial.config["alone"]]
    assert 1 < len(shard) < 8
    assert {(trial.status, trial.iteration) for trial in run.trials.values()} == {("finished", 6)}
    is_undisturbed(run)
    again = Run(run.folder)
    assert again.trials == run.trials
    assert len(again.metrics()) == 48
    assert {f"trials/{index:05d}/model.safetensors" for index in range(8)} < set(again.manifest.artefacts)
    assert json.loads((run.trial_folder(shard[0]) / "config.json").read_text()) == run.trials[shard[0]].config


@pytest.mark.usefixtures("ray_here")
def test_asha_halves_within_shards() -> None:
    run = run_sweep(lines(), samples=20, scheduler="asha", overrides={"iterations": 9}, max_concurrent=2)
    assert [len(shard) for shard in run.shards] == [10, 10]
    for shard in run.shards:
        lengths = sorted(run.trials[index].iteration for index in shard)
        assert lengths == [1] * 6 + [3] * 2 + [9] * 2
    stopped = [trial for trial in run.trials.values() if trial.status == "stopped"]
    assert {trial.reason for trial in stopped} == {f"by halving at iteration {step}" for step in (1, 3)}
    is_undisturbed(run, halving=True)


@pytest.mark.slow
def test_kills_of_the_driver_lose_and_repeat_no_member(runs: Path) -> None:
    left = []
    options = {"samples": 18, "max_concurrent": 2, "overrides": {"pause": 0.02, "iterations": 8, "checkpoint_every": 2}}
    verb = ("start", "lines", json.dumps(options))
    try:
        for number, lines_more in ((signal.SIGKILL, 25), (signal.SIGINT, 5)):
            process = spawn(*verb)
            signal_after(process, lines_more, number, runs)
            errors = process.communicate()[1].decode()
            left += ray_processes(process.pid)
            verb = ("resume", "lines")
            if number == signal.SIGINT:
                assert process.returncode == 130, errors
                assert Run(list_runs()[-1]).manifest.status == "interrupted"
            assert "Traceback" not in errors
        process = spawn("resume", "lines")
        errors = process.communicate()[1].decode()
        assert process.returncode == 0, errors
    finally:
        for pid in left:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)
    (folder,) = list_runs()
    run = Run(folder)
    assert [len(shard) for shard in run.shards] == [9, 9]
    assert {(trial.status, trial.iteration) for trial in run.trials.values()} == {("finished", 8)}
    is_undisturbed(run)
    for index in run.trials:
        events = EventAccumulator(str(run.trial_folder(index) / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("validation/loss")] == list(range(1, 9))
    mlflow_has_each_trial_once(run, runs)

"""Real drivers and real trials, killed by the signal that nobody can catch, in the middle of their work."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy import toy

from lab.paths import list_runs
from lab.runs import Run
from lab.sweep.plan import make_plan, planned_values
from lab.tracking import DATABASE

pytestmark = [pytest.mark.ray, pytest.mark.slow]

OPTIONS = {"samples": 4, "max_concurrent": 2, "seed": 11, "overrides": {"pause": 0.1, "every": 2}}


def spawn(*arguments: str) -> subprocess.Popen:
    script = Path(__file__).with_name("sweep_process.py")
    return subprocess.Popen([sys.executable, str(script), *arguments], stderr=subprocess.PIPE)


def journal_lines(runs: Path) -> int:
    found = [path / "journal.jsonl" for path in list_runs()]
    return found[-1].read_bytes().count(b"\n") if found and found[-1].exists() else 0


def signal_after(process: subprocess.Popen, lines: int, number: signal.Signals, runs: Path) -> None:
    """Sends the signal when the journal has this many lines more."""
    target = journal_lines(runs) + lines
    while process.poll() is None and journal_lines(runs) < target:
        time.sleep(0.01)
    process.send_signal(number)


def ray_processes(driver: int) -> list[int]:
    """Ray's daemons that a driver started; they carry its process id in the name of their session."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if f"_{driver}/" in command and "/session_" in command:
                found.append(int(folder.name))
    return found


def test_kills_of_the_driver_lose_and_repeat_nothing(runs: Path) -> None:
    rng = random.Random(5)
    left = []
    verb = ("start", "toy", json.dumps(OPTIONS))
    try:
        for number in (signal.SIGKILL, signal.SIGINT):
            process = spawn(*verb)
            signal_after(process, rng.randint(4, 14), number, runs)
            errors = process.communicate()[1].decode()
            left += ray_processes(process.pid)
            verb = ("resume", "toy")
            if number == signal.SIGINT:
                assert process.returncode == 130, errors
                assert Run(list_runs()[-1]).manifest.status == "interrupted"
            assert "Traceback" not in errors
        process = spawn("resume", "toy")
        errors = process.communicate()[1].decode()
        assert process.returncode == 0, errors
    finally:
        for pid in left:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)
    assert len(list_runs()) == 1
    run = Run(list_runs()[0])
    assert run.manifest.status == "finished"
    values = planned_values(toy(), make_plan(toy(), samples=4, seed=11))
    assert sorted(run.trials) == [0, 1, 2, 3]
    for index, trial in run.trials.items():
        plain = json.loads(json.dumps(values(index)))
        assert {key: trial.config[key] for key in plain} == plain
        assert trial.status == "finished"
        assert sorted(trial.results) == [1, 2, 3, 4, 5, 6]
        for iteration, row in trial.results.items():
            assert row["total"] == pytest.approx(iteration * plain["rate"] * plain["width"])
        events = EventAccumulator(str(run.trial_folder(index) / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("validation/loss")] == [1, 2, 3, 4, 5, 6]
    mlflow_has_each_trial_once(run, runs)


def mlflow_has_each_trial_once(run: Run, runs: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs / DATABASE}")
    experiment = client.get_experiment_by_name(run.manifest.experiment).experiment_id
    found = client.search_runs([experiment], f"tags.`lab.run` = '{run.name}'")
    parents = [entry for entry in found if "lab.kind" in entry.data.tags]
    children = {entry.data.tags["lab.trial"]: entry for entry in found if "lab.trial" in entry.data.tags}
    assert len(parents) == 1
    assert len(found) == 1 + len(run.trials)
    assert {int(index) for index in children} == set(run.trials)
    for entry in found:
        assert entry.info.status == "FINISHED"
    for index, child in children.items():
        steps = [metric.step for metric in client.get_metric_history(child.info.run_id, "validation/loss")]
        assert sorted(steps) == sorted(run.trials[int(index)].results)

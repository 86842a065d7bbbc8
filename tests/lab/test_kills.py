"""`lab sweep` and `lab resume` as a person types them, on a real experiment, with real kills at random moments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import experiments  # noqa: F401  (importing the package registers them)
from lab.config import parse
from lab.experiment import get
from lab.paths import list_runs
from lab.runs import Run
from lab.sweep import make_plan
from lab.sweep.plan import narrow, planned_values
from lab.sweep.population import PopulationReport, train_population
from lab.tracking import DATABASE

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

FIELDS = {
    **{"iterations": 8, "steps": 2, "batch_size": 4, "validation_scenarios": 16},
    # Widths are drawn: those of one width train as one, and the others alone beside them.
    **{"frequencies": 1, "strata": 1},
}
SAMPLES, SEED = 4, 3
SWEEP = [
    *("sweep", "table_supervised", "--preset", "quick", *(f"{key}={value}" for key, value in FIELDS.items())),
    *("--samples", str(SAMPLES), "--seed", str(SEED), "--max-concurrent", "2"),
    *("--scheduler", "none", "--search", "random"),
]


class Verb:
    """A command line in a session of its own, in which Ray's daemons and the trials' processes stay."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.errors = folder / f"stderr-{time.monotonic_ns()}"
        with self.errors.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lab", *arguments],
                cwd=folder,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )

    def processes(self) -> dict[int, str]:
        """Process id -> command line of all that this command started and that is still there."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                # The name of the program, in parentheses, may hold anything; the session is the fourth field after it.
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found[int(folder.name)] = (folder / "cmdline").read_text().rstrip("\0")
            except (OSError, ValueError):
                continue
        return found

    def trials(self) -> list[int]:
        """Processes in which a trial trains."""
        return sorted(pid for pid, title in self.processes().items() if title.startswith("ray::") and ".train" in title)

    def wait_for_results(self, more: int) -> None:
        """Returns when the journal has this many results more than now."""
        target = len(results()) + more
        while len(results()) < target:
            assert self.process.poll() is None, f"ended before it was killed: {self.errors.read_text()}"
            time.sleep(0.01)

    def kill_a_trial(self, rng: np.random.Generator) -> None:
        while not (found := self.trials()):
            assert self.process.poll() is None, f"ended before it was killed: {self.errors.read_text()}"
            time.sleep(0.01)
        os.kill(int(rng.choice(found)), signal.SIGKILL)

    def kill(self) -> None:
        """Kills the driver; what it leaves behind has to be put up with."""
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL, f"ended before it was killed: {self.errors.read_text()}"

    def clean_up(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def results() -> list[tuple[int, int]]:
    """(trial, iteration) of every whole line of the journal that is a result, repetitions included."""
    for folder in list_runs():
        if (folder / "journal.jsonl").exists():
            events = map(json.loads, (folder / "journal.jsonl").read_bytes().rpartition(b"\n")[0].splitlines())
            found = []
            for event in events:
                members = event.get("rows", []) if event["event"] == "results" else [event.get("trial")]
                if event["event"] in ("result", "results"):
                    found += [(int(index), event["iteration"]) for index in members]
            return found
    return []


def undisturbed(config: Any) -> tuple[dict[int, dict[str, float]], bytes]:
    """Iteration -> metrics, and the network, of a training that nothing interrupts, without Ray and without a run."""
    rows: dict[int, dict[str, float]] = {}
    network = b""

    def report(metrics: dict[str, float], checkpoint: Path | None = None) -> None:
        nonlocal network
        rows[int(metrics["iteration"])] = dict(metrics)
        assert checkpoint is not None
        network = (checkpoint / "model.safetensors").read_bytes()

    get("table_supervised").fit(config, report)
    return rows, network


def undisturbed_shard(configs: dict[int, Any]) -> dict[int, tuple[dict[int, dict[str, float]], bytes]]:
    """The same for each member of a shard."""
    rows: dict[int, dict[int, dict[str, float]]] = {index: {} for index in configs}
    networks: dict[int, bytes] = {}

    def report(told: PopulationReport, checkpoint: Path | None) -> None:
        assert checkpoint is not None
        for index, row in told.rows.items():
            rows[index][told.iteration] = row
        for index in told.ends:
            networks[index] = (checkpoint / "members" / str(index) / "model.safetensors").read_bytes()

    train_population(get("table_supervised").population, configs, report)
    return {index: (rows[index], networks[index]) for index in configs}


def without_seconds(metrics: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if key != "seconds"}


def test_resume_finishes_exactly_the_planned_trials_whatever_is_killed(runs: Path, tmp_path: Path) -> None:
    """A person who lost a trial's process, then the driver, then the driver again gets the sweep that was asked for."""
    rng = np.random.default_rng(20)
    verbs = []

    def start(*arguments: str) -> Verb:
        verbs.append(Verb(tmp_path, *arguments))
        return verbs[-1]

    try:
        sweep = start(*SWEEP)
        sweep.wait_for_results(1)
        time.sleep(rng.uniform(0, 0.3))
        sweep.kill_a_trial(rng)
        sweep.wait_for_results(int(rng.integers(1, 6)))
        time.sleep(rng.uniform(0, 0.1))
        sweep.kill()
        (folder,) = list_runs()
        name = Run(folder).name

        again = start("resume", name)
        again.wait_for_results(int(rng.integers(1, 5)))
        time.sleep(rng.uniform(0, 0.1))
        again.kill()

        last = start("resume", name)
        assert last.process.wait() == 0, last.errors.read_text()
        assert all("Traceback" not in verb.errors.read_text() for verb in verbs)
    finally:
        for verb in verbs:
            verb.clean_up()

    (folder,) = list_runs()
    run = Run(folder)
    assert run.manifest.status == "finished"
    assert sorted(run.trials) == list(range(SAMPLES))
    expected = [(trial, iteration) for trial in range(SAMPLES) for iteration in range(1, FIELDS["iterations"] + 1)]
    assert Counter(results()) == Counter(expected)

    experiment = narrow(get("table_supervised"), [key for key in get("table_supervised").space if key not in FIELDS])
    base = experiment.resolve("quick", FIELDS).model_dump(mode="json")
    values = planned_values(
        experiment, make_plan(experiment, samples=SAMPLES, seed=SEED, search="random", scheduler="none")
    )
    configs = {index: parse(experiment.config, base | values(index)) for index in run.trials}
    fused = {index for shard in run.shards for index in shard}
    assert 2 <= len(fused) < SAMPLES
    expectations = {index: undisturbed(configs[index]) for index in configs if index not in fused}
    for shard in run.shards:
        expectations |= undisturbed_shard({index: configs[index] for index in shard})
    for index, trial in run.trials.items():
        assert trial.config == configs[index].model_dump(mode="json")
        assert trial.status == "finished"
        rows, network = expectations[index]
        assert {i: without_seconds(row) for i, row in trial.results.items()} == {
            i: without_seconds(row) for i, row in rows.items()
        }
        seconds = [trial.results[i]["seconds"] for i in sorted(trial.results)]
        assert seconds == sorted(seconds), "the training time starts again after a kill"
        assert (run.trial_folder(index) / "model.safetensors").read_bytes() == network
    mlflow_has_each_step_once(run, runs)


def mlflow_has_each_step_once(run: Run, runs: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs / DATABASE}")
    found = client.search_runs([client.get_experiment_by_name("table_supervised").experiment_id])
    (parent,) = [entry for entry in found if "lab.kind" in entry.data.tags]
    children = {int(entry.data.tags["lab.trial"]): entry for entry in found if "lab.trial" in entry.data.tags}
    assert len(found) == SAMPLES + 1
    assert sorted(children) == list(range(SAMPLES))
    assert {entry.info.status for entry in found} == {"FINISHED"}
    for index, child in children.items():
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        for metric in sorted(run.trials[index].results[1].keys() - {"iteration"}):
            history = client.get_metric_history(child.info.run_id, metric)
            logged = sorted((entry.step, entry.value) for entry in history)
            assert logged == [(i, row[metric]) for i, row in sorted(run.trials[index].results.items())], metric

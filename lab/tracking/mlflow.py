"""MLflow 3 in one SQLite file: a parent run for each run of the lab, a child for each trial."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from lab.errors import RequestError
from lab.paths import runs_root
from lab.runs import Run, RunStatus, Trial, TrialStatus

__all__ = ["DATABASE", "MLflowTracker", "check_database"]

DATABASE = "mlflow.db"
"""The file under the folder of all runs."""

_BATCH = 1000
"""MLflow takes this many metrics at once."""

_FLUSH_SECONDS = 2.0
_TRIAL_STATUS: dict[TrialStatus, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    # Stopped early by the scheduler: its results count.
    "stopped": "FINISHED",
    "failed": "FAILED",
}
_RUN_STATUS: dict[RunStatus, str] = {
    "running": "RUNNING",
    "interrupted": "KILLED",
    "finished": "FINISHED",
    "failed": "FAILED",
}


def check_database(path: Path) -> None:
    """Makes sure that `path` is an SQLite database that can be read, or is not there yet.

    Raises:
        RequestError: it is something else, or damaged. It is left as it is.
    """
    if not path.exists():
        return
    try:
        # Read-only: a look must not make a journal file beside it.
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
        try:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return
        answer = str(error)
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer != "ok":
        raise RequestError(f"expected an SQLite database at {path}, but: {answer} (move it away to start a new one)")


class MLflowTracker:
    """Writes to `runs/mlflow.db`: parameters, metrics by step, and status, in batches of about two seconds.

    Runs are found again by their tags `lab.run` (and `lab.trial` for a child), so a resume goes on in the same ones. A
    metric is written with the time at which it came, and MLflow keeps one row for the same run, key, step and time, so
    writing twice changes nothing.

    Raises:
        RequestError: the database is damaged.
    """

    name = "MLflow"

    def __init__(self, database: Path | None = None) -> None:
        self._database = Path(database or runs_root() / DATABASE)
        check_database(self._database)
        self._children: dict[int, str] = {}
        self._pending: dict[int, list[int]] = {}
        self._steps: dict[int, set[int]] = {}
        self._flushed = 0.0

    def start(self, run: Run) -> None:
        """Opens the database, finds or makes the parent, and writes what the journal holds beyond it."""
        check_database(self._database)
        self._run = run
        self._client = _open(self._database)
        self._experiment = self._find_experiment()
        self._parent = self._find_parent()
        self._children, self._pending, self._steps = self._find_children(), {}, {}
        for _, trial in sorted(run.trials.items()):
            self._catch_up(trial)

    def trial_start(self, trial: Trial) -> None:
        """Makes the child of a trial, with its configuration as parameters."""
        tags = {"mlflow.parentRunId": self._parent, "lab.trial": str(trial.index), **self._tags()}
        child = self._client.create_run(
            self._experiment, tags=tags, run_name=f"{self._run.folder.name}-{trial.index:05d}"
        )
        self._children[trial.index] = child.info.run_id
        self._log_params(trial)

    def _log_params(self, trial: Trial) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)) for key, value in trial.config.items()]
        self._client.log_batch(self._children[trial.index], params=params)

    def result(self, trial: Trial, iteration: int) -> None:
        """Writes the metrics of an iteration, now or with the next ones; a step that is there stays as it is."""
        steps = self._steps.setdefault(trial.index, set())
        if iteration in steps:
            # The clone of a population goes over some iterations again.
            return
        steps.add(iteration)
        self._pending.setdefault(trial.index, []).append(iteration)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._flush()

    def trial_end(self, trial: Trial) -> None:
        """Writes what is left of a trial, its best objective as `best`, and its status."""
        from mlflow.entities import Metric, RunTag

        self._flush(trial.index)
        child, manifest = self._children[trial.index], self._run.manifest
        best = trial.best(manifest.metric, manifest.mode)
        when = int(1000 * max(trial.times.values(), default=time.time()))
        tags = [RunTag("lab.status", trial.status), *([RunTag("lab.reason", trial.reason)] if trial.reason else [])]
        metrics = [] if best is None else [Metric("best", best, when, trial.iteration)]
        self._client.log_batch(child, metrics=metrics, tags=tags)
        self._client.set_terminated(child, _TRIAL_STATUS[trial.status])

    def end(self, status: RunStatus) -> None:
        """Writes what is left, and the status of the run; trials that did not end get the run's."""
        self._flush()
        for index, child in self._children.items():
            if not self._run.trials[index].ended:
                self._client.set_terminated(child, _RUN_STATUS[status])
        best = self._run.best_trial()
        if best is not None:
            self._client.set_tag(self._parent, "lab.best_trial", str(best))
        self._client.set_terminated(self._parent, _RUN_STATUS[status])

    def _flush(self, only: int | None = None) -> None:
        from mlflow.entities import Metric

        for index in list(self._pending) if only is None else [only]:
            trial, rows = self._run.trials[index], []
            for iteration in self._pending.get(index, []):
                when = int(1000 * (trial.times.get(iteration) or time.time()))
                row = trial.results[iteration]
                rows += [Metric(key, value, when, iteration) for key, value in row.items() if key != "iteration"]
            for first in range(0, len(rows), _BATCH):
                self._client.log_batch(self._children[index], metrics=rows[first : first + _BATCH])
            self._pending.pop(index, None)
        if only is None:
            self._flushed = time.monotonic()

    def _tags(self) -> dict[str, str]:
        return {"lab.run": self._run.name, "lab.experiment": self._run.manifest.experiment}

    def _find_experiment(self) -> str:
        name = self._run.manifest.experiment
        with _lock(self._database):
            found = self._client.get_experiment_by_name(name)
            if found is None:
                files = (self._database.parent / "mlflow-artefacts" / name).absolute().as_uri()
                return str(self._client.create_experiment(name, artifact_location=files))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _search(self, condition: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs([self._experiment], condition, max_results=1000, page_token=token)
            found, token = [*found, *page], page.token
            if not token:
                return found

    def _find_parent(self) -> str:
        kind = self._run.manifest.kind
        found = self._search(f"tags.`lab.run` = '{self._run.name}' and tags.`lab.kind` = '{kind}'")
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        tags = {"lab.kind": kind, "lab.preset": self._run.manifest.preset, **self._tags()}
        return str(self._client.create_run(self._experiment, tags=tags, run_name=self._run.folder.name).info.run_id)

    def _find_children(self) -> dict[int, str]:
        found = self._search(f"tags.`mlflow.parentRunId` = '{self._parent}'")
        return {int(child.data.tags["lab.trial"]): child.info.run_id for child in found}

    def _catch_up(self, trial: Trial) -> None:
        new = trial.index not in self._children
        if new:
            self.trial_start(trial)
        child = self._client.get_run(self._children[trial.index])
        if not child.data.params:
            # A kill came after the child was made and before it had them.
            self._log_params(trial)
        if trial.ended and child.data.tags.get("lab.status") == trial.status and child.info.status != "RUNNING":
            return
        metric = self._run.manifest.metric
        logged = {m.step for m in self._client.get_metric_history(child.info.run_id, metric)} if not new else set()
        self._pending[trial.index] = [iteration for iteration in sorted(trial.results) if iteration not in logged]
        self._steps[trial.index] = logged | set(trial.results)
        self._flush(trial.index)
        if trial.ended:
            self.trial_end(trial)
        elif not new:
            self._client.update_run(child.info.run_id, status="RUNNING")


def _lock(database: Path) -> FileLock:
    return FileLock(database.with_name(f".{database.name}.lock"))


def _open(database: Path) -> Any:
    """A client of the database, which is made and migrated first, by one process at a time.

    Two processes that open a new file at once race in MLflow's migrations.
    """
    from mlflow import MlflowClient

    # They report each migration of a new file on standard error, where the progress bar is.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)

    database.parent.mkdir(parents=True, exist_ok=True)
    with _lock(database):
        client = MlflowClient(tracking_uri=f"sqlite:///{database.absolute()}")
        client.search_experiments(max_results=1)
    return client

"""MLflow 3 in one SQLite file: a parent run for each run of the lab, a child for each trial."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from lab.errors import RequestError
from lab.paths import runs_root
from lab.runs import Run, RunStatus, Trial, TrialStatus
from lab.tracking.mlflow_rows import RunRows
from lab.tracking.pace import Pace

__all__ = ["DATABASE", "MLflowTracker", "check_database"]

DATABASE = "mlflow.db"
"""The file under the folder of all runs."""

_MOST_ROWS = 50_000
"""So many rows wait in memory at most while a run is caught up with."""

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
    # Read-only: a look must not make a journal file beside it.
    answer = _quick_check(path, "ro")
    if answer != "ok" and path.with_name(f"{path.name}-journal").exists():
        # A writer was killed in the middle of a transaction: SQLite takes it back at the first look that may write.
        answer = _quick_check(path, "rw")
    if answer != "ok":
        raise RequestError(f"expected an SQLite database at {path}, but: {answer} (move it away to start a new one)")


def _quick_check(path: Path, mode: str) -> str:
    """What SQLite finds in a database: `ok`, also where somebody else is writing, or what is wrong."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=30)
        try:
            return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        return "ok" if isinstance(error, sqlite3.OperationalError) and "locked" in str(error) else str(error)


class MLflowTracker:
    """Writes to `runs/mlflow.db`: parameters, metrics by step, and status, in one go every two seconds or less often.

    Runs are found again by their tags `lab.run` (and `lab.trial` for a child), so a resume goes on in the same ones. A
    metric is written with the time at which it came, and a step that a child has is not written again.

    Raises:
        RequestError: the database is damaged.
    """

    name = "MLflow"

    def __init__(self, database: Path | None = None) -> None:
        self._database = Path(database or runs_root() / DATABASE)
        check_database(self._database)
        self._pace = Pace(_FLUSH_SECONDS)

    def start(self, run: Run) -> None:
        """Opens the database, finds or makes the parent, and writes what the journal holds beyond it."""
        check_database(self._database)
        self._run = run
        self._client = _open(self._database)
        experiment = self._find_experiment()
        self._experiment = str(experiment.experiment_id)
        self._parent = self._find_parent()
        self._rows = RunRows(self._database, experiment)
        self._children: dict[int, str] = {}
        self._steps: dict[int, set[int]] = {}
        children = self._find_children()
        steps = self._rows.steps(self._parent, run.manifest.metric) if children else {}
        for _, trial in sorted(run.trials.items()):
            self._catch_up(trial, children.get(trial.index), steps)
            if len(self._rows) > _MOST_ROWS:
                self._flush()
        self._flush()

    def trial_starts(self, trials: Sequence[Trial]) -> None:
        """Makes the children of trials, with their configurations as parameters."""
        for trial in trials:
            self._begin(trial)
        self._flush_if_due()

    def results(self, pairs: Sequence[tuple[Trial, int]]) -> None:
        """Writes the metrics of iterations, now or with the next ones; a step that is there stays as it is."""
        for trial, iteration in pairs:
            self._add(trial, iteration)
        self._flush_if_due()

    def trial_ends(self, trials: Sequence[Trial]) -> None:
        """Writes the best objectives of trials as `best`, and their status."""
        for trial in trials:
            self._finish(trial)
        self._flush_if_due()

    def end(self, status: RunStatus) -> None:
        """Writes what is left, and the status of the run; trials that did not end get the run's."""
        for index, child in self._children.items():
            if not self._run.trials[index].ended:
                self._rows.set_status(child, _RUN_STATUS[status], _now())
        self._flush()
        best = self._run.best_trial()
        if best is not None:
            self._client.set_tag(self._parent, "lab.best_trial", str(best))
        self._client.set_terminated(self._parent, _RUN_STATUS[status])

    def _begin(self, trial: Trial) -> None:
        self._children[trial.index] = self._rows.add_run(
            name=f"{self._run.folder.name}-{trial.index:05d}",
            started=int(1000 * min(filter(None, trial.times.values()), default=time.time())),
            tags={"mlflow.parentRunId": self._parent, "lab.trial": str(trial.index), **self._tags()},
            params=trial.config,
        )
        self._steps[trial.index] = set()

    def _add(self, trial: Trial, iteration: int) -> None:
        steps = self._steps[trial.index]
        if iteration in steps:
            # The clone of a population goes over some iterations again.
            return
        steps.add(iteration)
        when = int(1000 * (trial.times.get(iteration) or time.time()))
        values = {key: value for key, value in trial.results[iteration].items() if key != "iteration"}
        self._rows.add_metrics(self._children[trial.index], iteration, when, values)

    def _finish(self, trial: Trial) -> None:
        child, manifest = self._children[trial.index], self._run.manifest
        best = trial.best(manifest.metric, manifest.mode)
        if best is not None:
            when = int(1000 * (max(trial.times.values(), default=0.0) or time.time()))
            self._rows.add_metrics(child, trial.iteration, when, {"best": best})
        tags = {"lab.status": trial.status, **({"lab.reason": trial.reason} if trial.reason else {})}
        self._rows.add_tags(child, tags)
        self._rows.set_status(child, _TRIAL_STATUS[trial.status], _now())

    def _flush_if_due(self) -> None:
        if self._pace.due:
            self._flush()

    def _flush(self) -> None:
        with self._pace.work():
            self._rows.write()

    def _tags(self) -> dict[str, str]:
        return {"lab.run": self._run.name, "lab.experiment": self._run.manifest.experiment}

    def _find_experiment(self) -> Any:
        name = self._run.manifest.experiment
        with _lock(self._database):
            if self._client.get_experiment_by_name(name) is None:
                files = (self._database.parent / "mlflow-artefacts" / name).absolute().as_uri()
                self._client.create_experiment(name, artifact_location=files)
        found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return found

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

    def _find_children(self) -> dict[int, Any]:
        found = self._search(f"tags.`mlflow.parentRunId` = '{self._parent}'")
        return {int(child.data.tags["lab.trial"]): child for child in found}

    def _catch_up(self, trial: Trial, child: Any | None, steps: Mapping[str, set[int]]) -> None:
        if child is None:
            self._begin(trial)
        else:
            self._children[trial.index] = child.info.run_id
            if trial.ended and child.data.tags.get("lab.status") == trial.status and child.info.status != "RUNNING":
                return
            self._steps[trial.index] = set(steps.get(child.info.run_id, ()))
        for iteration in sorted(trial.results):
            self._add(trial, iteration)
        if trial.ended:
            self._finish(trial)
        elif child is not None:
            self._rows.set_status(child.info.run_id, "RUNNING", None)


def _now() -> int:
    return int(1000 * time.time())


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
    # It writes the whole traceback of an error that is raised as well, and told in a line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

    database.parent.mkdir(parents=True, exist_ok=True)
    with _lock(database):
        client = MlflowClient(tracking_uri=f"sqlite:///{database.absolute()}")
        client.search_experiments(max_results=1)
    return client

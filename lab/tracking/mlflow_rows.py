"""Rows for MLflow's database: what happened to many runs, written in one transaction."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["RunRows"]

# What MLflow's own client cuts longer texts to.
_PARAM_LENGTH = 6000
_TAG_LENGTH = 8000
_LOCKED_SECONDS = 20


class RunRows:
    """Collects new runs, parameters, tags, metrics and ends, and writes them together: all of them or none.

    MLflow's client takes one run a call, four calls a run at least, and makes an object of each metric: 15 ms of
    processor time a run and 0.1 ms a metric, which is 15 s for a sweep of 256 trials, 20 iterations and 15 metrics.
    The same rows through MLflow's own definitions of its tables take a tenth of that. Its client, which must have
    opened the database before, checks that the tables are those of its version; a column that a later version adds
    gets the default it has there.

    Args:
        database: the SQLite file, which has MLflow's tables.
        experiment: the `mlflow.entities.Experiment` of the runs.
    """

    def __init__(self, database: Path, experiment: Any) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        # Waits as long as MLflow does for another process that writes.
        options = {"timeout": _LOCKED_SECONDS}
        self._engine = create_engine(f"sqlite:///{database.absolute()}", connect_args=options, poolclass=NullPool)
        self._experiment = experiment
        self._clear()

    def __len__(self) -> int:
        """How many rows wait."""
        return sum(map(len, (self._runs, self._params, self._tags, self._metrics, self._states)))

    def add_run(self, name: str, started: int, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        """Adds a run that goes on.

        Args:
            name: shown to people.
            started: milliseconds since the epoch.
            tags: name -> value.
            params: name -> value, written as text.

        Returns:
            Its identifier.
        """
        run = uuid.uuid4().hex
        self._runs.append(
            {
                "run_uuid": run,
                "name": name,
                "artifact_uri": f"{self._experiment.artifact_location}/{run}/artifacts",
                "experiment_id": int(self._experiment.experiment_id),
                "source_type": "UNKNOWN",
                "source_name": "",
                "entry_point_name": "",
                "source_version": "",
                "user_id": "unknown",
                "status": "RUNNING",
                "start_time": started,
                "lifecycle_stage": "active",
            }
        )
        self.add_tags(run, {**tags, "mlflow.runName": name})
        self._params += [
            {"run_uuid": run, "key": key, "value": str(value)[:_PARAM_LENGTH]} for key, value in params.items()
        ]
        return run

    def add_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a run: name -> value."""
        self._tags += [{"run_uuid": run, "key": key, "value": value[:_TAG_LENGTH]} for key, value in tags.items()]

    def add_metrics(self, run: str, step: int, when: int, values: Mapping[str, float]) -> None:
        """Adds metrics of one step; a row that is there already stays the only one.

        Args:
            run: its identifier.
            step: of all of them.
            when: milliseconds since the epoch.
            values: name -> finite value.
        """
        for key, value in values.items():
            row = {"run_uuid": run, "key": key, "value": value, "timestamp": when, "step": step, "is_nan": False}
            self._metrics.append(row)
            last = self._latest.get((run, key))
            if last is None or (last["step"], last["timestamp"]) <= (step, when):
                self._latest[run, key] = row

    def set_status(self, run: str, status: str, ended: int | None) -> None:
        """Sets the status of a run, and when it ended, in milliseconds since the epoch; None if it goes on."""
        self._states.append({"run": run, "new_status": status, "ended": ended})

    def write(self) -> None:
        """Writes what was added.

        Raises:
            SQLAlchemyError: the database cannot be written, or stays locked.
        """
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
        from sqlalchemy import bindparam, tuple_, update
        from sqlalchemy.dialects.sqlite import insert

        if not len(self):
            return
        runs, latest = SqlRun.__table__, SqlLatestMetric.__table__
        tag, late = insert(SqlTag.__table__), insert(latest)
        order = ("step", "timestamp", "value")
        newer = tuple_(*(late.excluded[name] for name in order)) > tuple_(*(latest.c[name] for name in order))
        changed = {name: late.excluded[name] for name in (*order, "is_nan")}
        state = update(runs).where(runs.c.run_uuid == bindparam("run"))
        statements: list[tuple[Any, list[dict[str, Any]]]] = [
            (insert(runs), self._runs),
            (
                tag.on_conflict_do_update(index_elements=["key", "run_uuid"], set_={"value": tag.excluded.value}),
                self._tags,
            ),
            (insert(SqlParam.__table__).on_conflict_do_nothing(), self._params),
            (insert(SqlMetric.__table__).on_conflict_do_nothing(), self._metrics),
            (
                late.on_conflict_do_update(index_elements=["key", "run_uuid"], set_=changed, where=newer),
                list(self._latest.values()),
            ),
            (state.values(status=bindparam("new_status"), end_time=bindparam("ended")), self._states),
        ]
        with self._engine.begin() as connection:
            for statement, rows in statements:
                if rows:
                    connection.execute(statement, rows)
        self._clear()

    def steps(self, parent: str, metric: str) -> dict[str, set[int]]:
        """The steps at which the children of the run `parent` have `metric`: identifier -> steps."""
        from mlflow.store.tracking.dbmodels.models import SqlMetric, SqlTag
        from sqlalchemy import select

        tag, row = SqlTag.__table__, SqlMetric.__table__
        query = (
            select(row.c.run_uuid, row.c.step)
            .join(tag, tag.c.run_uuid == row.c.run_uuid)
            .where(tag.c.key == "mlflow.parentRunId", tag.c.value == parent, row.c.key == metric)
        )
        found: dict[str, set[int]] = defaultdict(set)
        with self._engine.connect() as connection:
            for run, step in connection.execute(query):
                found[run].add(step)
        return found

    def _clear(self) -> None:
        self._runs: list[dict[str, Any]] = []
        self._params: list[dict[str, Any]] = []
        self._tags: list[dict[str, Any]] = []
        self._metrics: list[dict[str, Any]] = []
        self._latest: dict[tuple[str, str], dict[str, Any]] = {}
        self._states: list[dict[str, Any]] = []

"""The journal of a run: one JSON object a line, synced before it counts, whole again after any kill."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lab.errors import RequestError, WorkError
from lab.files import write_bytes

__all__ = ["End", "Journal", "Trial", "TrialStatus"]

TrialStatus = Literal["running", "finished", "stopped", "failed"]

End = tuple[TrialStatus, str | None]
"""How a trial ended, and in one line why."""


@dataclass
class Trial:
    """One trial as the journal tells it.

    Attributes:
        index: its number in the run, from 0.
        config: the whole configuration it trains with; in a population, the one it was last given.
        status: `running` until it ended; `stopped` is the scheduler's doing.
        reason: in one line, why it failed or was stopped.
        results: iteration -> metrics; of a clone, its donor's up to the checkpoint that it was given.
        times: iteration -> when it was recorded, in seconds since the epoch.
        checkpoint: where its last whole checkpoint lies (a path, or a URI of the storage), if there is one.
        checkpoint_iteration: the iteration of that checkpoint, 0 without one.
        arrived: the last boundary of a population at which it waited for the others, 0 before the first.
    """

    index: int
    config: dict[str, Any]
    status: TrialStatus = "running"
    reason: str | None = None
    results: dict[int, dict[str, float]] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    checkpoint: str | None = None
    checkpoint_iteration: int = 0
    arrived: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for it."""
        return self.status != "running"

    @property
    def iteration(self) -> int:
        """The last iteration that was recorded, 0 before the first."""
        return max(self.results, default=0)

    def best(self, metric: str, mode: str) -> float | None:
        """The best finite value of `metric` over its iterations."""
        values = [m[metric] for m in self.results.values() if metric in m and math.isfinite(m[metric])]
        return (min if mode == "min" else max)(values) if values else None


class Journal:
    """What happened in a run, in order; the state of every trial is what its lines say.

    A torn last line, which a kill leaves, is dropped on reading. An event counts when its line is on the disk.

    Attributes:
        trials: index -> trial.
        history: (trial, iteration) of every result, in the order in which they came.
        generation: the last iteration at which a population was renewed, 0 before the first.
        shards: the trials that train as one, shard by shard; empty where each trains alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trials: dict[int, Trial] = {}
        self.history: list[tuple[int, int]] = []
        self.generation = 0
        self.shards: list[list[int]] = []
        self._again: set[int] = set()
        self._replay()

    def add_trial(self, index: int, config: Mapping[str, Any]) -> Trial:
        """Records that trial `index` exists, with its whole configuration, before anything runs."""
        self._record({"event": "trial", "trial": index, "config": dict(config)})
        return self.trials[index]

    def add_trials(self, configs: Mapping[int, Mapping[str, Any]]) -> list[Trial]:
        """Records that these trials exist, a line each, with one write; a kill may leave the first of them alone."""
        self._record(*({"event": "trial", "trial": index, "config": dict(c)} for index, c in configs.items()))
        return [self.trials[index] for index in configs]

    def add_shards(self, shards: Iterable[Sequence[int]]) -> None:
        """Records which trials train as one, before anything runs; it holds for as long as the run does."""
        self._record({"event": "shards", "shards": [list(shard) for shard in shards]})

    def add_result(self, index: int, metrics: Mapping[str, float]) -> bool:
        """Records the metrics of one iteration. An iteration that is recorded already is left as it is.

        Returns:
            Whether it was new.
        """
        iteration = int(metrics["iteration"])
        if iteration in self.trials[index].results:
            self._again.add(index)
            return False
        row = self._row(index, iteration, metrics)
        now = round(time.time(), 3)
        self._record({"event": "result", "trial": index, "iteration": iteration, "time": now, "metrics": row})
        return True

    def add_results(self, iteration: int, rows: Mapping[int, Mapping[str, float]]) -> list[int]:
        """Records the metrics of one iteration of many trials: one line, so that it holds for all or for none.

        Rows of trials that have ended, and iterations that are recorded already, are left as they are.

        Args:
            iteration: the same for all.
            rows: trial -> metrics.

        Returns:
            The trials for which it was new.
        """
        self._again.update(index for index in rows if iteration in self.trials[index].results)
        new = {
            index: self._row(index, iteration, row)
            for index, row in rows.items()
            if not self.trials[index].ended and iteration not in self.trials[index].results
        }
        if new:
            now = round(time.time(), 3)
            plain = {str(index): row for index, row in new.items()}
            self._record({"event": "results", "iteration": iteration, "time": now, "rows": plain})
        return list(new)

    def _row(self, index: int, iteration: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """The metrics as they are recorded. Where a kill had an iteration done again, training time does not fall."""
        row = {key: float(value) for key, value in metrics.items()}
        before = self.trials[index].results.get(iteration - 1, {})
        if index in self._again and "seconds" in row and "seconds" in before:
            row["seconds"] = max(row["seconds"], before["seconds"])
        return row

    def add_checkpoint(self, index: int, iteration: int, path: str) -> None:
        """Records that a whole checkpoint of trial `index` lies at `path` (a path, or a URI of the storage)."""
        self._record({"event": "checkpoint", "trial": index, "iteration": iteration, "path": path})

    def add_checkpoints(self, iteration: int, path: str, trials: Sequence[int], ends: Mapping[int, End]) -> None:
        """Records that a whole checkpoint of many trials lies at `path`: one line, which also ends some of them.

        Args:
            iteration: the same for all.
            path: a path, or a URI of the storage.
            trials: those that go on, and could from there.
            ends: those that ended at this iteration; nothing is left of them to go on from.
        """
        self._record(
            {
                "event": "checkpoints",
                "iteration": iteration,
                "path": path,
                "trials": list(trials),
                "ends": _plain(ends),
            }
        )

    def add_arrival(self, index: int, iteration: int) -> None:
        """Records that trial `index` of a population waits at `iteration`, with its result and checkpoint recorded."""
        self._record({"event": "arrival", "trial": index, "iteration": iteration})

    def add_generation(self, iteration: int, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Records that a population was renewed at `iteration`: one line, so that it holds for all trials or for none.

        Args:
            iteration: where in the training it happened.
            changes: trial -> the `config` that it goes on with, the `donor` it was cloned from, and the donor's
                `checkpoint` and `checkpoint_iteration`. Trials that go on as they were are left out.
        """
        plain = {str(index): dict(change) for index, change in changes.items()}
        self._record({"event": "generation", "iteration": iteration, "changes": plain})

    def add_end(self, index: int, status: TrialStatus, reason: str | None = None) -> None:
        """Records the end of trial `index`."""
        self._record({"event": "end", "trial": index, "status": status, "reason": reason})

    def add_ends(self, ends: Mapping[int, End]) -> None:
        """Records the ends of many trials in one line."""
        self._record({"event": "ends", "ends": _plain(ends)})

    def _record(self, *events: dict[str, Any]) -> None:
        # One write call for the lines: Ctrl-C falls between two calls, never inside one.
        line = "".join(json.dumps(event, allow_nan=False) + "\n" for event in events).encode()
        try:
            with self._path.open("ab", buffering=0) as file:
                before = file.tell()
                try:
                    if file.write(line) != len(line):
                        raise OSError("the disk is full")
                    os.fsync(file.fileno())
                except OSError:
                    # Half a line would be glued to whatever is written next, and spoil both.
                    file.truncate(before)
                    raise
        except OSError as error:
            raise WorkError(f"cannot write the journal {self._path}: {error.strerror or error}") from error
        for event in events:
            self._apply(event)

    def _replay(self, *, mend: bool = False) -> None:
        self.trials, self.history, self.generation, self.shards = {}, [], 0, []
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if mend and len(whole) < len(data):
            # The line a kill tore: what follows must start on a line of its own.
            write_bytes(self._path, whole)
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise RequestError(
                    f"expected a journal event at {self._path} line {number}, but got {line[:60]!r}"
                ) from None

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind in ("generation", "shards", "results", "checkpoints", "ends"):
            self._apply_to_many(kind, event)
            return
        index = int(event["trial"])
        if kind == "trial":
            self.trials[index] = Trial(index, event["config"])
            return
        trial = self.trials[index]
        if kind == "result":
            self._apply_result(trial, int(event["iteration"]), float(event.get("time", 0.0)), event["metrics"])
        elif kind == "checkpoint":
            trial.checkpoint, trial.checkpoint_iteration = event["path"], int(event["iteration"])
        elif kind == "arrival":
            trial.arrived = int(event["iteration"])
        elif kind == "end":
            trial.status, trial.reason = event["status"], event["reason"]
        else:
            raise ValueError(kind)

    def _apply_result(self, trial: Trial, iteration: int, when: float, metrics: dict[str, float]) -> None:
        if iteration not in trial.results:
            trial.results[iteration], trial.times[iteration] = metrics, when
            self.history.append((trial.index, iteration))

    def _apply_to_many(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "generation":
            self.generation = int(event["iteration"])
            for key, change in event["changes"].items():
                clone, donor = self.trials[int(key)], self.trials[int(change["donor"])]
                # What it has now was learnt by the donor: its own results, and what they were worth, went with its
                # weights. Donors and clones are different trials.
                last = int(change["checkpoint_iteration"])
                clone.results = {step: row for step, row in donor.results.items() if step <= last}
                clone.times = {step: when for step, when in donor.times.items() if step <= last}
                clone.config, clone.checkpoint = change["config"], change["checkpoint"]
                clone.checkpoint_iteration = last
        elif kind == "shards":
            shards = [[int(index) for index in shard] for shard in event["shards"]]
            if not all(index in self.trials for shard in shards for index in shard):
                raise ValueError("a shard of trials that are not there")
            self.shards = shards
        elif kind == "results":
            iteration, when = int(event["iteration"]), float(event["time"])
            for key, row in event["rows"].items():
                self._apply_result(self.trials[int(key)], iteration, when, row)
        else:
            for index in event.get("trials", []):
                trial = self.trials[int(index)]
                trial.checkpoint, trial.checkpoint_iteration = event["path"], int(event["iteration"])
            for key, end in event["ends"].items():
                trial = self.trials[int(key)]
                trial.status, trial.reason = end["status"], end["reason"]
                # The checkpoint holds nothing that it could go on from, and an older one will be gone.
                trial.checkpoint, trial.checkpoint_iteration = None, 0


def _plain(ends: Mapping[int, End]) -> dict[str, dict[str, str | None]]:
    return {str(index): {"status": status, "reason": reason} for index, (status, reason) in ends.items()}

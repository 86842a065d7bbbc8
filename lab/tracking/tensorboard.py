"""TensorBoard: scalars of each trial, and its hyperparameters with the best objective."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from lab.runs import Run, RunStatus, Trial
from lab.tracking.pace import Pace

__all__ = ["OBJECTIVE", "TensorBoardTracker"]

OBJECTIVE = "objective/best"
"""The tag under which the HParams page shows a trial's best value of the experiment's metric."""

_COMPLETE = ".complete"
_FLUSH_SECONDS = 2.0


class TensorBoardTracker:
    """Writes `trials/<index>/tensorboard/` in the run folder, every two seconds or less often, and at a trial's end.

    What a kill left there is written anew from the journal, with the times at which the results came: an event file
    cannot be continued where it was torn, and appending would repeat steps.
    """

    name = "TensorBoard"

    def __init__(self) -> None:
        self._files: dict[int, _EventFile] = {}
        self._steps: dict[int, set[int]] = {}
        self._pace = Pace(_FLUSH_SECONDS)

    def start(self, run: Run) -> None:
        """Writes what the journal holds for every trial whose events are not complete."""
        self._files, self._steps, self._run = {}, {}, run
        for _, trial in sorted(run.trials.items()):
            folder = self._folder(trial)
            if trial.ended and (folder / _COMPLETE).exists():
                continue
            shutil.rmtree(folder, ignore_errors=True)
            self._begin(trial)
            for iteration in sorted(trial.results):
                self._add(trial, iteration)
            if trial.ended:
                self._finish(trial)
            # One after the other: all that hundreds of trials ever reported would fill the memory.
            self._flush()

    def trial_starts(self, trials: Sequence[Trial]) -> None:
        """Begins the event files of trials with their hyperparameters."""
        for trial in trials:
            self._begin(trial)
        self._flush_if_due()

    def results(self, pairs: Sequence[tuple[Trial, int]]) -> None:
        """Writes the metrics of iterations at their steps; a step that is there stays as it is."""
        for trial, iteration in pairs:
            self._add(trial, iteration)
        self._flush_if_due()

    def trial_ends(self, trials: Sequence[Trial]) -> None:
        """Writes the best objectives, marks the sessions as ended and completes the event files."""
        for trial in trials:
            self._finish(trial)

    def end(self, status: RunStatus) -> None:
        """Writes what is left of trials that have not ended."""
        self._flush()

    def _begin(self, trial: Trial) -> None:
        from torch.utils.tensorboard.summary import hparams

        events = self._files[trial.index] = _EventFile(self._folder(trial))
        self._steps[trial.index] = set()
        values = {
            key: value if isinstance(value, int | float | str) else str(value) for key, value in trial.config.items()
        }
        # `SummaryWriter.add_hparams` would do this in a folder of its own, with a name of its own, at the end only.
        for summary in hparams(values, {OBJECTIVE: None})[:2]:
            events.add(summary)

    def _add(self, trial: Trial, iteration: int) -> None:
        steps = self._steps[trial.index]
        if iteration in steps:
            # The clone of a population goes over some iterations again.
            return
        steps.add(iteration)
        values = {key: value for key, value in trial.results[iteration].items() if key != "iteration"}
        self._files[trial.index].add_scalars(values, iteration, trial.times.get(iteration) or time.time())

    def _finish(self, trial: Trial) -> None:
        from torch.utils.tensorboard.summary import hparams

        events, manifest = self._files.pop(trial.index), self._run.manifest
        best = trial.best(manifest.metric, manifest.mode)
        if best is not None:
            events.add_scalars({OBJECTIVE: best}, trial.iteration, time.time())
        events.add(hparams({}, {OBJECTIVE: None})[2])
        events.flush()
        # Not synced, as the events are not: after a loss of power there is the journal to write them from.
        (self._folder(trial) / _COMPLETE).touch()

    def _flush_if_due(self) -> None:
        if self._pace.due:
            self._flush()

    def _flush(self) -> None:
        with self._pace.work():
            for events in self._files.values():
                events.flush()

    def _folder(self, trial: Trial) -> Path:
        return self._run.trial_folder(trial.index) / "tensorboard"


class _EventFile:
    """One event file, kept in memory until it is flushed.

    TensorBoard's own `EventFileWriter` has a thread and an open file for as long as it lives, and a sweep has hundreds
    of trials at once; the record format is taken from the same package.

    Args:
        folder: where to; it is made.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self._path = folder / f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._waiting = BytesIO()
        self._records = RecordWriter(self._waiting)
        self._record(now, file_version="brain.Event:2")

    def add(self, summary: Any) -> None:
        """Adds a `Summary` without a step."""
        self._record(time.time(), summary=summary)

    def add_scalars(self, values: Mapping[str, float], step: int, when: float) -> None:
        """Adds scalars of one step: tag -> value.

        Args:
            values: kept as float32.
            step: of all of them.
            when: in seconds since the epoch.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._record(when, step=step, summary=Summary(value=scalars))

    def flush(self) -> None:
        """Writes what was added.

        Raises:
            OSError: the file cannot be written, or the disk is full.
        """
        data = self._waiting.getvalue()
        if data:
            with self._path.open("ab") as file:
                file.write(data)
            self._waiting.seek(0)
            self._waiting.truncate()

    def _record(self, when: float, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=when, **content).SerializeToString())

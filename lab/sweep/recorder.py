"""What the trials of a sweep report, written down by the driver as it comes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ray import tune

from lab.errors import RequestError, WorkError
from lab.files import write_text
from lab.runs import Run, Trial, TrialStatus
from lab.sweep.halt import DriverOnly, Halt
from lab.sweep.storage import Storage
from lab.tracking import Tracking

__all__ = ["Recorder"]


class Recorder(DriverOnly, tune.Callback):
    """Puts every result, checkpoint and end into the journal, then tells the trackers.

    A trial that goes back to its last checkpoint reports some iterations again: what is in the journal stays.

    Args:
        run: claimed by this process.
        tracking: is told what is new.
        storage: of the checkpoints.
        halt: ends the sweep when something cannot be written.
        scheduler: its name, for the reason of a stop.
        overdue: trial -> iteration at which the scheduler had stopped it when the last driver was killed.
    """

    def __init__(
        self, run: Run, tracking: Tracking, storage: Storage, halt: Halt, *, scheduler: str, overdue: dict[int, int]
    ) -> None:
        self._run, self._tracking, self._storage, self._halt = run, tracking, storage, halt
        self._scheduler, self._overdue = scheduler, overdue
        self._closings: dict[str, dict[str, Any]] = {}

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            index = trial.config["index"]
            if "closing" in result:
                self._closings[trial.trial_id] = result
            elif self._run.add_result(index, result["lab"]):
                self._tracking.result(self._run.trials[index], int(result["lab"]["iteration"]))

    def on_checkpoint(self, iteration: int, trials: list, trial: Any, checkpoint: tune.Checkpoint, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            # Tune takes the checkpoint of a result before it lets the trial go on.
            step = int(trial.last_result["lab"]["iteration"])
            self._run.add_checkpoint(trial.config["index"], step, self._storage.address(checkpoint))

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            index = trial.config["index"]
            closing = self._closings.pop(trial.trial_id, None)
            if closing is None:
                # The trial did not end by itself: the scheduler stopped it.
                self._stop(index, self._run.trials[index].iteration)
            elif closing["closing"] == "failed":
                if closing.get("traceback"):
                    write_text(self._run.trial_folder(index) / "error.txt", closing["traceback"])
                self._end(index, "failed", closing["reason"])
            elif closing["closing"] == "refused":
                raise RequestError(closing["reason"])
            elif closing["closing"] == "unwritable":
                raise WorkError(closing["reason"])
            elif closing["closing"] == "finished":
                self._end(index, "finished")
            elif index in self._overdue:
                self._stop(index, self._overdue[index])
            else:
                self._run.add_arrival(index, trial.config["until"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            died = self._run.manifest.plan.max_failures + 1
            self._end(trial.config["index"], "failed", f"its process died {died} times")

    def settle(self, boundary: int | None = None) -> None:
        """Ends the trials that had nothing left to do when the last driver was killed.

        Args:
            boundary: where the trials of a population wait next.
        """
        for index, trial in sorted(self._run.trials.items()):
            if not trial.ended and trial.checkpoint_iteration >= _length(trial):
                self._end(index, "finished")
            elif not trial.ended and trial.checkpoint_iteration >= self._overdue.get(index, _length(trial)):
                self._stop(index, self._overdue[index])
            elif not trial.ended and boundary is not None and trial.arrived < boundary <= trial.checkpoint_iteration:
                self._run.add_arrival(index, boundary)

    def _stop(self, index: int, iteration: int) -> None:
        if iteration < _length(self._run.trials[index]):
            self._end(index, "stopped", f"by {self._scheduler} at iteration {iteration}")
        else:
            self._end(index, "finished")

    def _end(self, index: int, status: TrialStatus, reason: str | None = None) -> None:
        trial = self._run.trials[index]
        with ExitStack() as stack:
            checkpoint = self._storage.checkpoint(trial.checkpoint) if status != "failed" else None
            folder = None if checkpoint is None else Path(stack.enter_context(checkpoint.as_directory()))
            self._run.end_trial(index, status, reason, folder)
        self._tracking.trial_end(trial)


def _length(trial: Trial) -> int:
    return max(1, int(trial.config.get("iterations", 1)))

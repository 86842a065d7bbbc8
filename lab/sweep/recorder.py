"""What the trials of a sweep report, written down by the driver as it comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ray import tune

from lab.errors import RequestError, WorkError
from lab.files import write_files, write_text
from lab.runs import End, Run, Trial, TrialStatus
from lab.sweep.halt import DriverOnly, Halt
from lab.sweep.progress import Progress, decode_progress
from lab.sweep.storage import Storage
from lab.tracking import Tracking

__all__ = ["Recorder"]


class Recorder(DriverOnly, tune.Callback):
    """Puts every result, checkpoint and end into the journal, then tells the trackers.

    A trial that goes back to its last checkpoint reports some iterations again: what is in the journal stays.

    Of a shard, the results of an iteration are one line, then the ends of members that failed in it, then its
    checkpoint, and with that the ends of members that finished or were stopped: so a member's artefact is in its folder
    before anything says that it has ended, and a kill between two lines leaves all members to go on from one place.

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
        self._progress: dict[str, Progress] = {}

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            index = trial.config["index"]
            if "closing" in result:
                self._closings[trial.trial_id] = result
            elif "shard" in result:
                self._progress[trial.trial_id] = progress = decode_progress(result["shard"])
                new = self._run.add_results(progress.iteration, progress.rows)
                self._tracking.results([(self._run.trials[i], progress.iteration) for i in new])
                self._end_all({index: end for index, end in progress.ends.items() if end[0] == "failed"})
            elif self._run.add_result(index, result["lab"]):
                self._tracking.result(self._run.trials[index], int(result["lab"]["iteration"]))

    def on_checkpoint(self, iteration: int, trials: list, trial: Any, checkpoint: tune.Checkpoint, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            # Tune takes the checkpoint of a result before it lets the trial go on.
            if "shard" in trial.config:
                self._keep(trial, self._progress[trial.trial_id], checkpoint)
                return
            step = int(trial.last_result["lab"]["iteration"])
            self._run.add_checkpoint(trial.config["index"], step, self._storage.address(checkpoint))

    def _keep(self, trial: Any, progress: Progress, checkpoint: tune.Checkpoint) -> None:
        """Records a checkpoint of a shard, with the ends of the members whose artefacts it holds."""
        members = self._going(trial)
        ends = {index: progress.ends[index] for index in members if index in progress.ends}
        if ends:
            with checkpoint.as_directory() as folder:
                self._run.save_artefacts({index: Path(folder) / "members" / str(index) for index in ends})
        going = [index for index in members if index not in ends]
        if members:
            self._run.add_checkpoints(progress.iteration, self._storage.address(checkpoint), going, ends)
            self._tracking.trial_ends([self._run.trials[index] for index in ends])

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            index = trial.config["index"]
            closing = self._closings.pop(trial.trial_id, None)
            if closing is not None and closing["closing"] in ("refused", "unwritable"):
                raise (RequestError if closing["closing"] == "refused" else WorkError)(closing["reason"])
            if "shard" in trial.config:
                self._complete_shard(trial, closing or {})
            elif closing is None:
                # The trial did not end by itself: the scheduler stopped it.
                self._stop(index, self._run.trials[index].iteration)
            elif closing["closing"] == "failed":
                if closing.get("traceback"):
                    write_text(self._run.trial_folder(index) / "error.txt", closing["traceback"])
                self._end(index, "failed", closing["reason"])
            elif closing["closing"] == "finished":
                timing = closing.get("timing")
                self._end(index, "finished", timing=None if timing is None else json.loads(timing))
            elif index in self._overdue:
                self._stop(index, self._overdue[index])
            else:
                self._run.add_arrival(index, trial.config["until"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if self._halt.broken:
            return
        with self._halt.guard():
            reason = f"its process died {self._run.manifest.plan.max_failures + 1} times"
            if "shard" in trial.config:
                self._end_all(dict.fromkeys(self._going(trial), ("failed", reason)))
            else:
                self._end(trial.config["index"], "failed", reason)

    def _complete_shard(self, trial: Any, closing: dict[str, Any]) -> None:
        """Ends the members that a shard left: all that had not ended, where its training raised an error."""
        left = self._going(trial)
        if left and closing.get("traceback"):
            text = closing["traceback"].encode()
            write_files({self._run.trial_folder(index) / "error.txt": text for index in left})
        reason = closing.get("reason") or "its shard ended without it"
        self._end_all(dict.fromkeys(left, ("failed", reason)))
        self._progress.pop(trial.trial_id, None)

    def _going(self, trial: Any) -> list[int]:
        """The members of a shard that have not ended."""
        members = self._run.shards[trial.config["shard"]]
        return [index for index in members if not self._run.trials[index].ended]

    def _end_all(self, ends: Mapping[int, End]) -> None:
        new = {index: end for index, end in ends.items() if not self._run.trials[index].ended}
        if new:
            self._run.add_ends(new)
            self._tracking.trial_ends([self._run.trials[index] for index in new])

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

    def _end(
        self, index: int, status: TrialStatus, reason: str | None = None, *, timing: Mapping[str, Any] | None = None
    ) -> None:
        trial = self._run.trials[index]
        with ExitStack() as stack:
            checkpoint = self._storage.checkpoint(trial.checkpoint) if status != "failed" else None
            folder = None if checkpoint is None else Path(stack.enter_context(checkpoint.as_directory()))
            self._run.end_trial(index, status, reason, folder, timing=timing)
        self._tracking.trial_end(trial)


def _length(trial: Trial) -> int:
    return max(1, int(trial.config.get("iterations", 1)))

"""TensorBoard: scalars of each trial, and its hyperparameters with the best objective."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from lab.files import write_text
from lab.runs import Run, RunStatus, Trial

__all__ = ["OBJECTIVE", "TensorBoardTracker"]

OBJECTIVE = "objective/best"
"""The tag under which the HParams page shows a trial's best value of the experiment's metric."""

_COMPLETE = ".complete"


class TensorBoardTracker:
    """Writes `trials/<index>/tensorboard/` in the run folder.

    What a kill left there is written anew from the journal, with the times at which the results came: an event file
    cannot be continued where it was torn, and appending would repeat steps.
    """

    name = "TensorBoard"

    def __init__(self) -> None:
        self._writers: dict[int, Any] = {}
        self._steps: dict[int, set[int]] = {}

    def start(self, run: Run) -> None:
        """Writes what the journal holds for every trial whose events are not complete."""
        self.close()
        self._run = run
        for _, trial in sorted(run.trials.items()):
            folder = self._folder(trial)
            if trial.ended and (folder / _COMPLETE).exists():
                continue
            shutil.rmtree(folder, ignore_errors=True)
            self.trial_start(trial)
            for iteration in sorted(trial.results):
                self.result(trial, iteration)
            if trial.ended:
                self.trial_end(trial)

    def trial_start(self, trial: Trial) -> None:
        """Opens the event file of a trial and writes its hyperparameters."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        writer = self._writers[trial.index] = SummaryWriter(str(self._folder(trial)), flush_secs=10)
        self._steps[trial.index] = set()
        events: Any = writer.file_writer
        values = {
            key: value if isinstance(value, int | float | str) else str(value) for key, value in trial.config.items()
        }
        # `SummaryWriter.add_hparams` would do this in a folder of its own, with a name of its own, at the end only.
        for summary in hparams(values, {OBJECTIVE: None})[:2]:
            events.add_summary(summary)

    def result(self, trial: Trial, iteration: int) -> None:
        """Writes the metrics of an iteration at their step; a step that is there stays as it is."""
        if iteration in self._steps[trial.index]:
            # The clone of a population goes over some iterations again.
            return
        self._steps[trial.index].add(iteration)
        writer, when = self._writers[trial.index], trial.times.get(iteration) or time.time()
        for key, value in trial.results[iteration].items():
            if key != "iteration":
                writer.add_scalar(key, value, global_step=iteration, walltime=when)

    def trial_end(self, trial: Trial) -> None:
        """Writes the best objective, marks the session as ended and closes the event file."""
        from torch.utils.tensorboard.summary import hparams

        writer = self._writers.pop(trial.index)
        manifest = self._run.manifest
        best = trial.best(manifest.metric, manifest.mode)
        if best is not None:
            writer.add_scalar(OBJECTIVE, best, global_step=trial.iteration)
        writer.file_writer.add_summary(hparams({}, {OBJECTIVE: None})[2])
        writer.close()
        write_text(self._folder(trial) / _COMPLETE, "")

    def end(self, status: RunStatus) -> None:
        """Closes every event file."""
        self.close()

    def close(self) -> None:
        """Closes the files of trials that have not ended."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _folder(self, trial: Trial) -> Path:
        return self._run.trial_folder(trial.index) / "tensorboard"

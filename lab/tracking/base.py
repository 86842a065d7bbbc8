"""What a tracker is, and how several of them are kept from stopping a training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from lab.errors import RequestError
from lab.files import write_json
from lab.runs import Run, RunStatus, Trial

__all__ = ["BEHIND", "Tracker", "Tracking"]

BEHIND = "tracking-behind.json"
"""In a run folder: the trackers that could not be brought up to date, and why."""


class Tracker(Protocol):
    """A view of a run for people, made from the journal on the driver.

    The journal is the truth and a tracker its copy: `start` brings the copy up to date with everything that the
    journal holds already, without a step twice, and the other calls add what is new. It may be started again at any
    time. Hundreds of trials may come in one call; what it is told may be written later, by `end` at the latest.
    """

    name: str

    def start(self, run: Run) -> None: ...

    def trial_starts(self, trials: Sequence[Trial]) -> None: ...

    def results(self, pairs: Sequence[tuple[Trial, int]]) -> None: ...

    def trial_ends(self, trials: Sequence[Trial]) -> None: ...

    def end(self, status: RunStatus) -> None: ...


class Tracking:
    """Several trackers as one, which never stops a training.

    A tracker that raises is set aside with one line on standard error, and the training goes on. When the run ends it
    is started once more, which makes up for what it missed; if that fails too, a second line says so, and the run's
    `BEHIND` file names it, so that the next `lab resume` tries again.

    Args:
        trackers: in the order in which they are told.
        warn: takes the lines.
    """

    def __init__(self, trackers: Iterable[Tracker], warn: Callable[[str], None] | None = None) -> None:
        self._trackers = list(trackers)
        self._warn = warn or (lambda line: print(line, file=sys.stderr))
        self._aside: dict[str, str] = {}
        self._run: Run | None = None

    def start(self, run: Run) -> None:
        """Brings every tracker up to date with the run.

        Raises:
            RequestError: a tracker's files are not what they should be (a corrupt database).
        """
        self._run = run
        for tracker in self._trackers:
            self._tell(tracker, partial(tracker.start, run), refuse=True)

    def trial_starts(self, trials: Sequence[Trial]) -> None:
        """Trials were added to the journal."""
        for tracker in self._trackers:
            self._tell(tracker, partial(tracker.trial_starts, trials))

    def results(self, pairs: Sequence[tuple[Trial, int]]) -> None:
        """The results of iterations, (trial, iteration) each, were added to the journal."""
        for tracker in self._trackers:
            self._tell(tracker, partial(tracker.results, pairs))

    def trial_ends(self, trials: Sequence[Trial]) -> None:
        """Trials ended."""
        for tracker in self._trackers:
            self._tell(tracker, partial(tracker.trial_ends, trials))

    def trial_start(self, trial: Trial) -> None:
        """A trial was added to the journal."""
        self.trial_starts([trial])

    def result(self, trial: Trial, iteration: int) -> None:
        """The result of an iteration was added to the journal."""
        self.results([(trial, iteration)])

    def trial_end(self, trial: Trial) -> None:
        """A trial ended."""
        self.trial_ends([trial])

    def end(self, status: RunStatus) -> None:
        """The run ended, or was interrupted."""
        if self._run is None:
            return
        run, behind = self._run, {}
        for tracker in self._trackers:
            try:
                if tracker.name in self._aside:
                    tracker.start(run)
                tracker.end(status)
            except Exception as error:
                behind[tracker.name] = _line(error)
                self._warn(f"warning: {tracker.name} is behind the run, lab resume tries again: {_line(error)}")
        mark = run.folder / BEHIND
        if behind:
            write_json(mark, behind)
        else:
            mark.unlink(missing_ok=True)

    def catch_up(self, run: Run) -> None:
        """Tells a finished run once more to trackers that were left behind; does nothing if none was."""
        if (run.folder / BEHIND).exists():
            self._run = run
            for tracker in self._trackers:
                self._tell(tracker, partial(tracker.start, run))
            self.end(run.manifest.status)

    def _tell(self, tracker: Tracker, call: Callable[[], None], *, refuse: bool = False) -> None:
        if tracker.name in self._aside:
            return
        try:
            call()
        except Exception as error:
            if refuse and isinstance(error, RequestError):
                raise
            # Whatever a logger of metrics does, the training is worth more.
            self._aside[tracker.name] = _line(error)
            self._warn(f"warning: {tracker.name} fails, the training goes on without it: {_line(error)}")


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

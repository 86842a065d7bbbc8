"""How far a run is, on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from lab.runs import Run, RunStatus, Trial
from lab.tracking.pace import Pace

__all__ = ["ProgressTracker"]

_LINE_SECONDS = 10.0
_LINE_SHARE = 1 / 30
"""So much of the time since the start lies between two lines at least: a day has a few hundred."""

_FEW = 32
"""Trials of a run, up to which each has a line of its own when it ends."""

_MOST_FAILURES = 10
"""So many failed trials of a larger run have one; the others are counted."""

_BAR_SECONDS = 0.2


class ProgressTracker:
    """Shows trials that ended, the best objective so far and the time that is left.

    The time left goes by iterations: those done in this process, and those that are left at the same pace. Plain lines
    come at most every ten seconds, in a long run at most every thirtieth of its length so far; besides, there is one
    at each end of a trial if the run has few, and one for each of the first failures if it has many.

    Args:
        stream: where to; standard error by default.
    """

    name = "the progress bar"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Progress | None = None

    def start(self, run: Run) -> None:
        """Shows where the run stands."""
        self._run = run
        self._samples = run.manifest.plan.samples
        self._length = max(1, int(run.manifest.config.get("iterations", 1)))
        self._begun, self._before = time.monotonic(), self._done()
        self._said, self._failures = self._begun, 0
        self._pace = Pace(_BAR_SECONDS)
        if self._stream.isatty() and self._bar is None:
            columns = (
                TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(bar_width=12, table_column=Column(min_width=12)),
                MofNCompleteColumn(table_column=Column(no_wrap=True)),
                # What does not fit is cut off here, and not from the bar.
                TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, ratio=1)),
            )
            console = Console(file=self._stream)
            self._bar = Progress(*columns, console=console, transient=False, refresh_per_second=4, expand=True)
            self._task = self._bar.add_task(run.manifest.experiment, total=self._samples * self._length, note="")
            self._bar.start()
        self._show(force=True)

    def trial_starts(self, trials: Sequence[Trial]) -> None:
        """Nothing: a trial shows with its first result."""

    def results(self, pairs: Sequence[tuple[Trial, int]]) -> None:
        """Moves the bar."""
        self._show()

    def trial_ends(self, trials: Sequence[Trial]) -> None:
        """Says how trials ended."""
        if self._bar is None:
            for trial in trials:
                if self._samples <= _FEW:
                    self._say(f"{self._ending(trial)}; {self._note()}{self._left(self._done())}")
                elif trial.status == "failed":
                    self._failures += 1
                    if self._failures <= _MOST_FAILURES:
                        self._say(self._ending(trial))
                    if self._failures == _MOST_FAILURES:
                        self._say("more trials that fail are counted only")
        self._show()

    def end(self, status: RunStatus) -> None:
        """Takes the bar away and says how the run ended."""
        if self._bar is not None:
            self._show(force=True)
            self._bar.stop()
            self._bar = None
        best = self._best(f"{self._run.manifest.metric} ")
        self._say(f"{self._run.name}: {status}, {self._counts()}{best}")

    def _ending(self, trial: Trial) -> str:
        best = trial.best(self._run.manifest.metric, self._run.manifest.mode)
        value = "" if best is None else f", {self._run.manifest.metric} {best:.4g}"
        why = f" ({trial.reason})" if trial.reason else ""
        return f"trial {trial.index} {trial.status}{why}{value}"

    def _done(self) -> int:
        """Iterations that need not be trained any more; an early end counts as all of a trial's."""
        trials = self._run.trials.values()
        return sum(self._length if trial.ended else min(trial.iteration, self._length) for trial in trials)

    def _counts(self, unit: str = " trials") -> str:
        trials = self._run.trials.values()
        ended = sum(trial.ended for trial in trials)
        failed = sum(trial.status == "failed" for trial in trials)
        return f"{ended} of {self._samples}{unit}{f' ({failed} failed)' if failed else ''}"

    def _running(self) -> str:
        # Of a shard, all run at once; one that waits for its turn has no result.
        running = sum(bool(trial.results) for trial in self._run.trials.values() if not trial.ended)
        return f", {running} running" if running > 1 else ""

    def _best(self, name: str = "") -> str:
        metric, mode = self._run.manifest.metric, self._run.manifest.mode
        values = [best for t in self._run.trials.values() if (best := t.best(metric, mode)) is not None]
        return f", best {name}{(min if mode == 'min' else max)(values):.4g}" if values else ""

    def _note(self) -> str:
        return self._counts() + self._running() + self._best(f"{self._run.manifest.metric} ")

    def _left(self, done: int) -> str:
        total = self._samples * self._length
        if done <= self._before or done >= total:
            return ""
        seconds = (time.monotonic() - self._begun) * (total - done) / (done - self._before)
        return f", about {seconds:.0f} s left" if seconds < 120 else f", about {seconds / 60:.0f} min left"

    def _show(self, *, force: bool = False) -> None:
        # Counting hundreds of trials takes its time too.
        if not (force or (self._pace.due if self._bar is not None else self._line_due())):
            return
        with self._pace.work():
            done = self._done()
            if self._bar is not None:
                # Short, for eighty columns: what is counted and what the metric is called is said at the end.
                note = self._counts(unit="") + self._running() + self._best() + self._left(done)
                self._bar.update(self._task, completed=done, note=note)
            else:
                self._say(f"{self._run.name}: {self._note()}{self._left(done)}")

    def _line_due(self) -> bool:
        now = time.monotonic()
        return now - self._said > max(_LINE_SECONDS, _LINE_SHARE * (now - self._begun))

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        print(line, file=self._stream, flush=True)

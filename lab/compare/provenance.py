"""Where the figures of a report come from: the runs it holds while it reads, and what is noted of that."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.runs import Reading, Run, git_commit, versions

__all__ = ["claimed", "note_readings", "origin", "provenance", "read_before"]


@contextmanager
def claimed(folders: Iterable[Path]) -> Iterator[list[Run]]:
    """The runs in `folders`, each once, held for writing until the block ends.

    Raises:
        RequestError: one is in use.
    """
    with ExitStack() as stack:
        runs = []
        for folder in dict.fromkeys(folders):
            run = Run(folder)
            run.claim()
            stack.callback(run.release)
            runs.append(run)
        yield runs


def note_readings(readings: Iterable[tuple[Run, str, Sequence[int]]]) -> None:
    """Notes in each run which held-out suite was read of which trials: what is read often is no longer held out.

    Args:
        readings: run, name of the suite, trials.

    Raises:
        WorkError: a manifest cannot be written.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    changed: dict[Path, Run] = {}
    for run, suite, trials in readings:
        found = [Reading(suite=suite, trial=trial, when=when) for trial in trials]
        run.manifest.readings += [reading for reading in found if reading not in run.manifest.readings]
        changed[run.folder] = run
    for run in changed.values():
        run.save_manifest()


def read_before(run: Run) -> int:
    """How many comparisons have read held-out data with networks of a run."""
    return len({reading.when for reading in run.manifest.readings})


def provenance() -> dict[str, Any]:
    """When, by which command, at which commit, with which packages."""
    return {
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": git_commit(),
        "versions": versions(),
    }


def origin(run: Run, read: int) -> dict[str, Any]:
    """What a report says of a run; `read` is `read_before` as it was then."""
    return {
        "run": run.name,
        "kind": run.manifest.kind,
        "preset": run.manifest.preset,
        "commit": run.manifest.commit,
        "created": run.manifest.created,
        "read_before": read,
    }

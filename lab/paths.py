"""Where runs live, and how a run is found from what a person types."""

from __future__ import annotations

import os
from pathlib import Path

from lab.errors import RequestError, unknown_name

__all__ = ["CHECKPOINT", "MANIFEST", "find_run", "list_runs", "runs_root", "trial_folder"]

MANIFEST = "run.json"

CHECKPOINT = "checkpoint"
"""Below the folder of a trial: where its training can go on from, if it lies here."""


def runs_root() -> Path:
    """The folder of all runs: `$LAB_RUNS`, or `runs` in the working directory. Absolute."""
    return Path(os.environ.get("LAB_RUNS") or "runs").absolute()


def list_runs() -> list[Path]:
    """Every run folder under `runs_root()`, oldest first (folder names start with a UTC stamp)."""
    # A kill while a run is made leaves a part of it under a hidden name.
    found = (path.parent for path in runs_root().glob(f"*/*/{MANIFEST}") if not path.parent.name.startswith("."))
    return sorted(found, key=lambda path: path.name)


def find_run(name: str) -> Path:
    """The folder of the run called `name`.

    Args:
        name: a path to a run folder, `<experiment>/<run id>`, a run id, an unambiguous part of one (such as the
            short id at its end), or the name of an experiment, which stands for its newest run.

    Raises:
        RequestError: no run, or more than one, answers to the name.
    """
    direct = Path(name)
    if (direct / MANIFEST).is_file():
        return direct.absolute()
    runs = list_runs()
    by_name = {f"{path.parent.name}/{path.name}": path for path in runs} | {path.name: path for path in runs}
    if name in by_name:
        return by_name[name]
    newest = [path for path in runs if path.parent.name == name]
    if newest:
        return newest[-1]
    found = [path for path in runs if len(name) >= 4 and name in path.name]
    if len(found) == 1:
        return found[0]
    if found:
        raise RequestError(
            f"expected the name of one run, but {name!r} fits {len(found)}: {', '.join(p.name for p in found)}"
        )
    raise unknown_name(f"run (under {runs_root()})", name, [path.name for path in runs])


def trial_folder(run: Path, index: int) -> Path:
    """The folder of trial `index` of the run folder `run`."""
    return run / "trials" / f"{index:05d}"

"""Many files at once: each whole or not there, synced together instead of one after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.errors import WorkError

__all__ = ["write_files"]

_SYNCS = 16
"""So many are asked of the disk at a time, which writes them out as one."""


def write_files(files: Mapping[Path, bytes]) -> None:
    """Writes every file under a temporary name, syncs them all, and then renames each.

    A kill leaves some of the files, and of none a part.

    Args:
        files: path -> content; folders are made as needed.

    Raises:
        WorkError: a folder cannot be written, or the disk is full; no file is replaced then.
    """
    temporary: dict[Path, Path] = {}
    path = Path()
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # One process writes a run, so the name need not be a random one; what a kill left is written over.
            temporary[path] = path.with_name(f".{path.name}.tmp")
            temporary[path].write_bytes(data)
        with ThreadPoolExecutor(_SYNCS) as pool:
            list(pool.map(_sync, temporary.values()))
        for path, part in temporary.items():
            part.replace(path)
    except OSError as error:
        raise WorkError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for part in temporary.values():
            part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

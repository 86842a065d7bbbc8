"""Files that are whole or not there: written under a temporary name, synced and renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import RequestError, WorkError

__all__ = [
    "atomic_path",
    "read_json",
    "replace_directory",
    "sha256",
    "write_bytes",
    "write_files",
    "write_json",
    "write_text",
]


_SYNCS = 16
"""So many are asked of the disk at a time, which writes them out as one."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Hands out a temporary path beside `path`, and renames it to `path` when the block ends without an error.

    Raises:
        WorkError: the folder cannot be written or the disk is full; `path` is as it was before.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise WorkError(f"cannot write {path}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; a run folder is read by other people and by MLflow's server.
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise WorkError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_files(files: Mapping[Path, bytes]) -> None:
    """Writes every file under a temporary name, syncs them all, and then renames each.

    A kill leaves some of the files, and of none a part.

    Args:
        files: path -> content; folders are made as needed.

    Raises:
        WorkError: a folder cannot be written, or the disk is full; each file is whole then, old or new.
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


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, whole or not at all. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Reads the JSON file `path`.

    Args:
        path: the file.
        what: what the file is, for the message ("run manifest").

    Raises:
        RequestError: the file is missing, unreadable, truncated or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"expected a {what} at {path}, but there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"expected a readable {what} at {path}, but got: {error}") from None
    except json.JSONDecodeError as error:
        raise RequestError(
            f"expected a {what} in JSON at {path}, but line {error.lineno} is not JSON ({error.msg}): "
            "truncated or edited?"
        ) from None


def replace_directory(source: Path, target: Path) -> None:
    """Copies the directory `source` to `target`, which appears under its name only when the copy is whole.

    A kill between removing the old directory and the rename leaves the new one under `<target>.new`, which
    `settle_directory` puts in place.
    """
    fresh = target.with_name(target.name + ".new")
    part = target.with_name(target.name + ".part")
    try:
        for stale in (part, fresh):
            shutil.rmtree(stale, ignore_errors=True)
        shutil.copytree(source, part)
        part.rename(fresh)
        settle_directory(target)
    except OSError as error:
        raise WorkError(f"cannot write {target}: {error.strerror or error}") from error


def settle_directory(target: Path) -> None:
    """Finishes a `replace_directory` of `target` that a kill cut short; does nothing otherwise."""
    fresh = target.with_name(target.name + ".new")
    if fresh.exists():
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def sha256(path: Path) -> str:
    """The SHA-256 of the file `path` as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The file of a checkpoint directory that says how far a training is, and vouches for all others in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lab.config import Config
from lab.errors import RequestError
from lab.files import read_json, sha256, write_json

__all__ = ["read_progress", "read_weights", "write_progress"]

_FORMAT = 1

P = TypeVar("P", bound=Config)


def write_progress(path: Path, progress: Config) -> None:
    """Writes `progress` to `path`, with the SHA-256 of every other file below its directory: the last to be written."""
    write_json(path, {"format": _FORMAT, **progress.model_dump(), "files": _digests(path)})


def read_progress(path: Path, kind: type[P], what: str) -> P:
    """Reads what `write_progress` wrote, and compares every other file below the directory with its hash.

    Args:
        path: the file.
        kind: of the progress.
        what: what the directory is, for the message ("checkpoint of table_ppo").

    Raises:
        RequestError: no such checkpoint, or one in which a file is new, missing, truncated or changed.
    """
    raw, directory = read_json(path, what), path.parent
    try:
        files = dict(raw.pop("files"))
        if raw.pop("format") != _FORMAT:
            raise ValueError("format")
        progress = kind.model_validate(raw)
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError):
        raise RequestError(f"expected a {what} at {directory}, but {path.name} is of another kind") from None
    found = _digests(path)
    for name in sorted(set(found) ^ set(files)):
        raise RequestError(
            f"expected a whole {what} at {directory}, but {name} is {'new' if name in found else 'missing'}"
        )
    for name, digest in files.items():
        if found[name] != digest:
            raise RequestError(f"expected a whole {what} at {directory}, but {name} is truncated or changed")
    return progress


def read_weights(path: Path, what: str) -> dict[str, Tensor]:
    """The tensors of a file that `read_progress` has vouched for.

    Raises:
        RequestError: it is no safetensors.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RequestError(f"expected a whole {what} at {path.parent}, but got: {error}") from None
    return tensors


def _digests(path: Path) -> dict[str, str]:
    directory = path.parent
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file != path)
    return {str(file.relative_to(directory)): sha256(file) for file in files}

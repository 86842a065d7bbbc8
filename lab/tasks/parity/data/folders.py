"""Files and folders of samples below the data folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.errors import RequestError

__all__ = ["class_files", "find", "find_folder"]


def find_folder(data_dir: Path, folders: Sequence[str]) -> Path:
    """The first of `folders` below `data_dir` that there is.

    Raises:
        RequestError: there is none.
    """
    for folder in folders:
        if (data_dir / folder).is_dir():
            return data_dir / folder
    raise RequestError(f"expected a folder {' or '.join(folders)} in {data_dir}, but there is none")


def find(data_dir: Path, folders: Sequence[str], names: Sequence[str]) -> Path:
    """The first of the files `names` that is in one of `folders` below `data_dir`.

    Raises:
        RequestError: there is none.
    """
    for folder in folders:
        for name in names:
            if (data_dir / folder / name).is_file():
                return data_dir / folder / name
    raise RequestError(f"expected {' or '.join(names)} in {data_dir / folders[0]}, but there is no such file")


def class_files(root: Path, classes: Sequence[str], suffixes: Iterable[str]) -> list[tuple[Path, int]]:
    """The files of each class's folder below `root`, sorted, each with the place of its class.

    Raises:
        RequestError: a class has no folder or no files.
    """
    known = {suffix.lower() for suffix in suffixes}
    found = []
    for label, name in enumerate(classes):
        if not (root / name).is_dir():
            raise RequestError(f"expected a folder {name} in {root}, but there is none")
        files = sorted(path for path in (root / name).iterdir() if path.suffix.lower() in known and path.is_file())
        if not files:
            raise RequestError(f"expected {' or '.join(sorted(known))} files in {root / name}, but there are none")
        found += [(path, label) for path in files]
    return found

"""The folder of a report: refused before any work where it cannot be written, and written whole, the page last."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.compare.drawing import Figure
from lab.errors import RequestError, WorkError
from lab.files import write_bytes, write_json, write_text

__all__ = ["HTML", "JSON", "Written", "refuse_report", "write_report"]

HTML, JSON = "report.html", "report.json"


@dataclass(frozen=True)
class Written:
    """The files of a report.

    Attributes:
        html: the page.
        json: every figure in it.
        figures: the pictures.
    """

    html: Path
    json: Path
    figures: list[Path]


def refuse_report(out: Path, *, force: bool) -> None:
    """Raises RequestError if a report in the folder `out` would replace another or cannot be written."""
    try:
        if out.exists() and not out.is_dir():
            raise RequestError(f"expected a folder for the report, but {out} is a file")
        there = [name for name in (HTML, JSON) if (out / name).exists()]
        if there and not force:
            raise RequestError(f"expected a folder without a report, but {out / there[0]} exists: --force replaces it")
        _refuse_unwritable(out)
    except OSError as error:
        raise RequestError(f"expected a folder that can be written, but got {out}: {error.strerror or error}") from None


def _refuse_unwritable(out: Path) -> None:
    """Raises OSError where no file can be made in `out`; leaves nothing behind, for the request may yet be refused."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            made.append(folder)
        with tempfile.TemporaryFile(dir=out):
            pass
    finally:
        for folder in reversed(made):
            # Somebody else may have put a file there since.
            with suppress(OSError):
                folder.rmdir()


def write_report(out: Path, page: str, content: Mapping[str, Any], figures: Sequence[Figure]) -> Written:
    """Writes a report into the folder `out`.

    Raises:
        WorkError: the folder cannot be written after all, as on a full disk.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(f"cannot write the report to {out}: {error.strerror or error}") from error
    paths = [out / figure.file for figure in figures]
    for path, figure in zip(paths, figures, strict=True):
        write_bytes(path, figure.wide)
    write_json(out / JSON, content)
    # The page comes last: where it is, everything it speaks of is.
    write_text(out / HTML, page)
    return Written(out / HTML, out / JSON, paths)

"""`lab compare`: runs go to the comparison of their kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lab.compare import comparison, l1
from lab.compare.comparison import Progress
from lab.compare.kinds import TABLES, kind_of
from lab.compare.methods import finished_runs
from lab.errors import RequestError
from lab.paths import find_run
from lab.runs import Run
from lab.tables.learned import split_trial
from lab.tables.registry import spectrum

__all__ = ["Compared", "compare_runs"]

_WORDS = {TABLES: "lookup tables", l1.KIND: "networks for the L1 norm"}


class Compared(Protocol):
    """What a comparison of any kind found and wrote.

    Attributes:
        content: what stands in `report.json`.
        html: the page.
    """

    @property
    def content(self) -> dict[str, Any]: ...

    @property
    def html(self) -> Path: ...

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """What is printed: title, columns and rows of each table."""
        ...


def compare_runs(
    names: Sequence[str] = (),
    suites: Sequence[str] = (),
    out: Path = Path("report"),
    *,
    builders: Sequence[str] = (),
    count: int | None = None,
    force: bool = False,
    progress: Progress = lambda done, total, what: None,
) -> Compared:
    """Compares runs of one kind: tables (`lab.compare.comparison.compare`) or L1 norms (`lab.compare.l1.compare`).

    Without names it is tables, unless networks for the L1 norm are all that was trained.

    Args:
        names: runs, and for tables builders too.
        suites, builders: of tables alone.
        out, force, progress: as both have them.
        count: pairs of each suite, or held-out sequences.

    Raises:
        RequestError: names of both kinds, suites or builders where there are no tables, and all that the comparison of
            the kind refuses.
        WorkError: the report or the runs' manifests cannot be written.
    """
    if _kind(names, suites, builders) == TABLES:
        return comparison.compare(names, suites, out, builders=builders, count=count, force=force, progress=progress)
    if suites or builders:
        option = f"--suite {suites[0]}" if suites else f"--builder {builders[0]}"
        raise RequestError(f"expected neither suites nor builders with {_WORDS[l1.KIND]}, but got {option}")
    return l1.compare(names, out, count=count, force=force, progress=progress)


def _kind(names: Sequence[str], suites: Sequence[str], builders: Sequence[str]) -> str:
    if not names:
        if suites or builders or finished_runs(TABLES):
            return TABLES
        return l1.KIND if finished_runs(l1.KIND) else TABLES
    found: dict[str, str] = {}
    for name in names:
        kind = _kind_of_name(name)
        if kind is not None:
            found.setdefault(kind, name)
    if len(found) > 1:
        given = " and ".join(f"{name!r} ({_WORDS[kind]})" for kind, name in found.items())
        raise RequestError(f"expected runs of one kind in a comparison, but got {given}: compare each by itself")
    return next(iter(found), TABLES)


def _kind_of_name(name: str) -> str | None:
    """The kind behind a name; None where it stands for nothing, which the comparison itself says best."""
    if name.partition("@")[0] in {builder.name for builder in spectrum()} or name.startswith(("supervised:", "ppo:")):
        return TABLES
    try:
        return kind_of(Run(find_run(split_trial(name)[0])))
    except RequestError:
        return None

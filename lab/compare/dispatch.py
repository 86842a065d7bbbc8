"""`lab compare`: runs go to the comparison of their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from lab.compare import comparison, l1, parity, roster
from lab.compare.comparison import Progress
from lab.compare.kinds import TABLES, kind_of
from lab.compare.methods import FAMILIES, finished_runs
from lab.errors import RequestError, unknown_name
from lab.experiment import names as experiments
from lab.paths import find_run, list_runs
from lab.runs import Run
from lab.tables.learned import split_trial
from lab.tables.registry import spectrum

__all__ = ["Compared", "compare_runs"]


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
    data_dir: Path | None = None,
    count: int | None = None,
    force: bool = False,
    progress: Progress = lambda done, total, what: None,
) -> Compared:
    """Compares runs of one kind: tables (`lab.compare.comparison.compare`), rankings of a roster
    (`lab.compare.roster.compare`), L1 norms (`lab.compare.l1.compare`) or codes that rebuild predictions
    (`lab.compare.parity.compare`).

    Without names it is what has the suites, builders or data sets that are given; where none are, tables, or where none
    were trained L1 norms, or else codes. If there is more than one kind, a line on stderr says how to see the others.

    Args:
        names: runs, and for tables builders too.
        suites: of tables alone.
        builders: of tables and rankings.
        data_dir: of codes: where the data sets are now that do not come with the lab.
        out, force, progress: as both have them.
        count: pairs or subsets of each suite, held-out sequences, or test samples.

    Raises:
        RequestError: a name that nothing answers to, runs of two kinds or of one that nothing compares, suites,
            builders or data sets with a kind that has none, and all that the comparison of the kind refuses.
        WorkError: the report or the runs' manifests cannot be written.
    """
    given = {"suites": suites, "builders": builders, "data_dir": data_dir}
    own = {name: value for name, value in given.items() if value}
    kind = _kind(names, own)
    if kind not in _KINDS:
        raise unknown_name("kind of comparison", kind, _KINDS)
    _refuse_options(kind, own)
    for other in _ALONE[_ALONE.index(kind) + 1 :] if not names else ():
        experiments_of = [run.manifest.experiment for run in finished_runs(other)]
        if experiments_of:
            # Said before the work, which takes minutes.
            click.echo(f"There are runs of {_KINDS[other].words} too: lab compare {' '.join(experiments_of)}", err=True)
    return _KINDS[kind].compare(names, out=out, count=count, force=force, progress=progress, **own)


@dataclass(frozen=True)
class _Kind:
    """What a kind of run is called, what compares runs of it, and which options that takes that not all do."""

    words: str
    compare: Callable[..., Compared]
    options: tuple[str, ...] = ()


_KINDS = {
    TABLES: _Kind("lookup tables", comparison.compare, ("suites", "builders")),
    roster.KIND: _Kind("rankings of a roster", roster.compare, ("builders",)),
    l1.KIND: _Kind("networks for the L1 norm", l1.compare),
    parity.KIND: _Kind("codes that rebuild predictions", parity.compare, ("data_dir",)),
}

_SPELLED = {"suites": "--suite", "builders": "--builder", "data_dir": "--data-dir"}
"""Options that not all kinds take, as they are given on the command line."""

_ALONE = (TABLES, l1.KIND, parity.KIND)
"""What can be compared without being named: the first of these of which there is something."""


def _refuse_options(kind: str, own: Mapping[str, Any]) -> None:
    """Raises RequestError if the kind does not take one of the options `own`."""
    for name, value in own.items():
        if name not in _KINDS[kind].options:
            option, first = _SPELLED[name], value if isinstance(value, Path) else value[0]
            raise RequestError(f"expected no {option} with {_KINDS[kind].words}, but got {option} {first}")


def _kind(names: Sequence[str], own: Mapping[str, Any]) -> str:
    """The kind of what is named, or else the first that can be compared alone and takes an option of `own`."""
    if not names:
        if own:
            return next(kind for kind in _ALONE if set(own) & set(_KINDS[kind].options))
        return next((kind for kind in _ALONE if finished_runs(kind)), TABLES)
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(_kind_of_name(name), name)
    if len(found) > 1:
        given = " and ".join(
            f"{name!r} ({_KINDS[kind].words if kind in _KINDS else kind})" for kind, name in found.items()
        )
        raise RequestError(f"expected runs of one kind in a comparison, but got {given}: compare each by itself")
    return next(iter(found))


def _kind_of_name(name: str) -> str:
    """The kind behind a name.

    Raises:
        RequestError: there is nothing behind it, more than one run, or one that cannot be read.
    """
    builders = [builder.name for builder in spectrum()]
    if name.partition("@")[0] in builders or name.startswith(tuple(f"{family}:" for family in FAMILIES)):
        return TABLES
    plain = split_trial(name.removeprefix(f"{parity.KIND}:"))[0]
    try:
        folder = find_run(plain)
    except RequestError as error:
        if "fits" in str(error):
            raise
        registered = experiments()
        if plain in registered:
            raise RequestError(f"no run of {plain} yet: lab train {plain}") from None
        runs = [f"{path.parent.name}/{path.name}" for path in list_runs()]
        raise unknown_name("table builder or run", name, [*builders, *registered, *runs]) from None
    return kind_of(Run(folder))

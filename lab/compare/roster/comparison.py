"""One comparison of rankings of a known roster, from names of runs to a written report."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.compare.drawing import Figure
from lab.compare.methods import Method, methods
from lab.compare.output import refuse_report, write_report
from lab.compare.page import render_page
from lab.compare.provenance import claimed, note_readings, origin, provenance, read_before
from lab.compare.roster import words
from lab.compare.roster.evaluate import PEER, SCORES, Row, ordered, score
from lab.compare.roster.figures import draw
from lab.compare.roster.suite import RosterSuite, roster_suite
from lab.compare.statistics import REPLICATES
from lab.runs import Run

__all__ = ["BUILDERS", "FORMATS", "KIND", "Comparison", "compare"]

KIND = "roster"
"""`lab.experiment.Experiment.comparison` of what is compared here."""

BUILDERS = (PEER, "rendezvous", "maglev", "balanced-stratified")
"""Compared with, unless others are named: two that move nothing needlessly, and two that are exactly even."""

FORMATS: dict[str, Callable[[Any], str]] = {**words.SHOWN, "whole": lambda value: f"{value:,.0f}", "text": str}
"""How a value of report.json stands in the page: a `data-format` names its entry, a `data-path` the value."""


_Asked = tuple[RosterSuite, list[Method]]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found and wrote.

    Attributes:
        found: the rows of each suite, in their order.
        content: what stands in `report.json`.
        html, json: the report.
        figures: the PNGs.
    """

    found: list[tuple[RosterSuite, list[Row]]]
    content: dict[str, Any]
    html: Path
    json: Path
    figures: list[Path]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of what is printed."""
        columns = ["method", "uneven", *list(SCORES.values())[1:], "seeds"]
        return [
            (
                f"{suite.label}, {words.subsets(suite)}",
                columns,
                [
                    [
                        row.method.label,
                        f"{words.uneven(row)}, {words.interval('uneven', row.scores['uneven'])}",
                        *(words.interval(key, row.scores[key]) for key in SCORES if key != "uneven"),
                        row.method.seeds_note,
                    ]
                    for row in rows
                ],
            )
            for suite, rows in self.found
        ]


def compare(
    names: Sequence[str],
    out: Path = Path("report"),
    *,
    builders: Sequence[str] = (),
    count: int | None = None,
    force: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Comparison:
    """Scores rankings on the subsets of their rosters and writes `report.html`, `report.json` and PNGs.

    Args:
        names: runs of `table_roster`; each is asked about the suite of its own roster and size.
        out: folder of the report.
        builders: classical builders to compare with; `BUILDERS` if none. Stratified rendezvous always is.
        count: subsets of each suite, if not all.
        force: replace a report that is in `out` already.
        progress: told how many builders were scored, of how many.

    Raises:
        RequestError: an unknown run or builder, a run without a finished trial or with a damaged artefact, a run that
            is being worked on, a report that is there already, or a folder that cannot be written. Nothing has been
            written then.
        WorkError: the report or the runs' manifests cannot be written after all, as on a full disk.
    """
    out = Path(out)
    refuse_report(out, force=force)
    compared = methods(names, [PEER, *(builders or BUILDERS)])
    classical = [method for method in compared if method.training is None and method.kind == "classical"]
    classical.sort(key=lambda method: method.label != PEER)
    with claimed({m.training.folder: None for m in compared if m.training is not None}) as runs:
        held = {run.folder: run for run in runs}
        asked = _asked(compared, held, count)
        found = list(_score(asked, classical, progress))
        before = {run.name: read_before(run) for run in runs}
        note_readings(_readings(found, held))
    figures = [draw(suite, rows, number) for number, (suite, rows) in enumerate(found)]
    origins = [{**origin(run, before[run.name]), "made_by": " ".join(run.manifest.command)} for run in runs]
    content = _document(found, figures, {**provenance(), "runs": origins})
    page = render_page("roster.html.j2", [Path(__file__).parent], content, figures, FORMATS)
    written = write_report(out, page, content, figures)
    return Comparison(found, content, written.html, written.json, written.figures)


def _asked(compared: Sequence[Method], held: Mapping[Path, Run], count: int | None) -> dict[tuple[int, int], _Asked]:
    """(size, backends) -> its suite, and the trained methods that belong to it, before training too."""
    asked: dict[tuple[int, int], _Asked] = {}
    rosters: dict[str, tuple[int, int]] = {}
    for method in compared:
        if method.training is not None:
            config = held[method.training.folder].trials[method.training.trials[0]].config
            rosters[method.seed_key] = int(config["size"]), int(config["backends"])
    for method in compared:
        if method.seed_key in rosters:
            key = rosters[method.seed_key]
            if key not in asked:
                asked[key] = roster_suite(key[1], key[0], count), []
            asked[key][1].append(method)
    return asked


def _score(
    asked: Mapping[tuple[int, int], _Asked], classical: Sequence[Method], progress: Callable[[int, int, str], None]
) -> Iterator[tuple[RosterSuite, list[Row]]]:
    total = sum(len(classical) + len(members) for _, members in asked.values())
    done = 0
    for suite, members in asked.values():
        rows: list[Row] = []
        for method in [*classical, *members]:
            progress(done, total, f"{method.label} on {suite.label}")
            rows.append(score(method, suite, rows[0] if rows else None))
            done += 1
        yield suite, ordered(rows)
    progress(done, total, "the report")


def _readings(
    found: Sequence[tuple[RosterSuite, Sequence[Row]]], held: Mapping[Path, Run]
) -> Iterator[tuple[Run, str, Sequence[int]]]:
    for suite, rows in found:
        for row in rows:
            if row.method.training is not None:
                yield held[row.method.training.folder], suite.label, row.method.training.trials


def _document(
    found: Sequence[tuple[RosterSuite, Sequence[Row]]], figures: Sequence[Figure], origins: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "format": 1,
        **origins,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "replicates": REPLICATES,
        "scores": dict(SCORES),
        "lead": [sentence for suite, rows in found for sentence in words.lead(suite, rows)],
        "suites": [
            {
                "label": suite.label,
                "size": suite.size,
                "backends": suite.backends,
                "subsets": suite.count,
                "subsets_of_the_whole_suite": suite.full,
                "subsets_in_words": words.subsets(suite),
                "digest": suite.digest,
                "rows": [_row(row) for row in rows],
            }
            for suite, rows in found
        ],
        "figures": [{"name": f.name, "title": f.title, "caption": f.caption, "alt": f.alt} for f in figures],
    }


def _row(row: Row) -> dict[str, Any]:
    training = row.method.training
    return {
        "method": row.method.label,
        "kind": row.method.kind,
        "trained": row.method.trained,
        "seeds": row.method.seeds,
        "seeds_note": row.method.seeds_note,
        "scores": {key: asdict(found) for key, found in row.scores.items()},
        "uneven": list(row.uneven),
        "uneven_in_words": words.uneven(row),
        "by_count": {str(n): list(values) for n, values in row.by_count.items()},
        "against_peer": None if row.against_peer is None else asdict(row.against_peer),
        "verdict": row.verdict,
        "seconds": None if training is None else list(training.seconds),
        "run": None if training is None else training.run,
    }

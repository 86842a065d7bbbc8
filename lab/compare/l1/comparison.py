"""One comparison of networks for the L1 norm, from names of runs to a written report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.compare.l1 import sign_words, words
from lab.compare.l1.analysis import Row
from lab.compare.l1.document import document
from lab.compare.l1.evaluate import SEQUENCES, Question
from lab.compare.l1.figures import draw
from lab.compare.l1.measured import Measured, measure
from lab.compare.l1.report import render
from lab.compare.l1.sign_figures import draw_signs
from lab.compare.l1.success import DECIDES, SUCCESS
from lab.compare.methods import folders_of_kind
from lab.compare.output import refuse_report, write_report
from lab.compare.provenance import claimed, note_readings, origin, provenance, read_before
from lab.runs import Run

__all__ = ["KIND", "LENGTHS", "Comparison", "compare", "rows"]

KIND = "l1_norm"
"""`lab.experiment.Experiment.comparison` of what is compared here."""

LENGTHS = (10, 100, 1000, 10_000, 100_000)

_QUICK = Question((10, 1000, DECIDES), 32, ranges=False)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found and wrote.

    Attributes:
        measured: rows of the methods, studies of initial signs.
        content: what stands in `report.json`.
        html, json: the report.
        figures: the PNGs.
    """

    measured: Measured
    content: dict[str, Any]
    html: Path
    json: Path
    figures: list[Path]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of what is printed."""
        found = []
        if self.measured.rows:
            floor = words.error(self.measured.floor[DECIDES].value)
            title = (
                f"L1 norm; success: a relative error of at most {words.error(SUCCESS)} at {DECIDES:,} numbers, where "
                f"float32 summation itself has {floor}"
            )
            found.append((title, *_table(self.measured.rows)))
        for study, outcomes in self.measured.studies:
            columns = [
                "initial signs",
                "activation",
                "converged",
                "at the last validation",
                "both exactly 1, at the last",
                "steps",
                "notebook",
                "finding",
            ]
            found.append(
                (
                    f"{study.label}: which initial signs converge",
                    columns,
                    [
                        [
                            sign_words.pattern(o.pattern),
                            words.activation(o.activation),
                            f"{words.count(o.converged)}, {words.share(o.converged)}",
                            str(o.kept.count),
                            f"{o.exact.count}, {o.exact_last.count}",
                            words.step(o.steps.value),
                            sign_words.NOTEBOOK[o.pattern.finding],
                            sign_words.finding(o),
                        ]
                        for o in outcomes
                    ],
                )
            )
        return found


def compare(
    names: Sequence[str] = (),
    out: Path = Path("report"),
    *,
    count: int | None = None,
    force: bool = False,
    progress: Progress = lambda done, total, what: None,
) -> Comparison:
    """Asks the networks of runs of `l1_norm` and `l1_signs` about held-out sequences, and writes `report.html`,
    `report.json` and PNGs into the folder `out`.

    Args:
        names: runs; the newest finished one of each experiment if none.
        out: folder of the report.
        count: held-out sequences that each network reads; `SEQUENCES` unless said otherwise.
        force: replace a report that is in `out` already.
        progress: told how many entries were read, of how many, by which networks.

    Raises:
        RequestError: an unknown run, one of another kind, one trial of a run, a run without a trial that ended or with
            a missing or damaged network, a run that is being worked on, a report that is there already, or a folder
            that cannot be written. Nothing has been written then.
        WorkError: the report or the runs' manifests cannot be written after all, as on a full disk.
    """
    out = Path(out)
    refuse_report(out, force=force)
    question = Question(LENGTHS, SEQUENCES if count is None else count)
    with claimed(folders_of_kind(names, KIND, "l1_norm or l1_signs")) as runs:
        measured = measure(runs, question, progress)
        before = {run.name: read_before(run) for run in runs}
        note_readings(_readings(runs, measured))
    figures = draw(measured.rows, measured.floor, measured.grids)
    for number, (study, outcomes) in enumerate(measured.studies):
        figures += draw_signs(study, outcomes, number)
    origins = [_origin(run, before[run.name]) for run in runs]
    content = document(measured, question, figures, {**provenance(), "runs": origins})
    written = write_report(out, render(content, figures), content, figures)
    return Comparison(measured, content, written.html, written.json, written.figures)


def rows(run: Run, progress: Progress = lambda done, total, what: None) -> tuple[list[str], list[list[str]]]:
    """A table of one run for a quick look: few held-out sequences, no longer than success asks for.

    Args:
        run: of `l1_norm`; the reading is noted in it.
        progress: as for `compare`.

    Returns:
        Columns, and a row for each method, the best first.

    Raises:
        RequestError: as `compare`.
    """
    with claimed([run.folder]) as held:
        measured = measure(held, _QUICK, progress)
        note_readings(_readings(held, measured))
    return _table(measured.rows)


def _table(found: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    lengths = [length for length in (DECIDES, LENGTHS[-1]) if all(length in row.median for row in found)]
    searched = any(row.of_cell is not None for row in found)
    columns = [
        "method",
        "within the rule",
        "success",
        *(["all trials of the cell"] if searched else []),
        *(f"median error at {length:,}" for length in lengths),
        "steps to solve",
        "time to solve",
        "seeds",
    ]
    return columns, [
        [
            row.method.label,
            "yes" if row.rule else "no",
            words.success(row),
            *([f"{words.count(row.of_cell)}, {words.share(row.of_cell)}" if row.of_cell else ""] if searched else []),
            *(words.error_interval(row.median[length]) for length in lengths),
            words.solved(row),
            words.solved_time(row),
            row.method.seeds_note,
        ]
        for row in found
    ]


def _readings(runs: Sequence[Run], measured: Measured) -> Iterator[tuple[Run, str, Sequence[int]]]:
    """What was read of which trials."""
    for run in runs:
        for index in run.trials:
            for suite in measured.read.get((run.name, index), []):
                yield run, suite, [index]


def _origin(run: Run, read: int) -> dict[str, Any]:
    more = {"trials": len(run.trials), "machine": run.manifest.machine, "command": " ".join(run.manifest.command)}
    return {**origin(run, read), **more}

"""One comparison from names to a written report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.compare import words
from lab.compare.analysis import Analysis, Difference, analyse
from lab.compare.animation import animation
from lab.compare.curves import curves, levels
from lab.compare.evaluate import Evaluation, evaluate
from lab.compare.explain import explain
from lab.compare.explain_figures import draw_explanation
from lab.compare.figures import draw
from lab.compare.methods import Method, methods
from lab.compare.output import refuse_report, write_report
from lab.compare.provenance import claimed, note_readings, origin, provenance, read_before
from lab.compare.report import document, render
from lab.compare.suites import Suite, suite
from lab.errors import RequestError
from lab.runs import Run
from lab.tables.registry import get
from lab.threads import torch_threads

__all__ = ["SUITES_BY_DEFAULT", "Comparison", "Progress", "compare", "refuse_report"]

SUITES_BY_DEFAULT = ("churn-47", "scenarios-47")
"""The first one is the one that the report's first figure and its advice are about."""

Progress = Callable[[int, int, str], None]
"""`progress(done, total, what)`: pairs scored so far, pairs in all, and on which suite and method."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found and wrote.

    Attributes:
        analyses: one for each suite, in the order asked for.
        content: what stands in `report.json`.
        html, json: the report.
        figures: the pictures.
    """

    analyses: list[Analysis]
    content: dict[str, Any]
    html: Path
    json: Path
    figures: list[Path]

    @property
    def against_untrained(self) -> list[Difference]:
        """Every trained method against its own network before training, on every suite."""
        return [d for a in self.analyses for d in a.differences if d.against == "its untrained network"]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of the main table of each suite."""
        return [(analysis.suite.title, *self.table(analysis)) for analysis in self.analyses]

    @staticmethod
    def table(analysis: Analysis) -> tuple[list[str], list[list[str]]]:
        """The main table of a suite as text: columns, and rows with the best first."""
        columns = ["method", "excess", "churn ratio", "evenness", "seeds", "against Maglev", "against the best even"]
        rows = []
        for heading, found in analysis.ordered():
            for row in found:
                label = row.method.label
                maglev = words.find(analysis, label, "Maglev")
                best = words.find(analysis, label, "best exactly even classical")
                rows.append(
                    [
                        label + (" (not ranked)" if heading == "Not ranked" else ""),
                        words.percent_interval(row.scores["excess"]),
                        words.ratio_interval(row.scores["churn_ratio"]),
                        "exact" if row.exact else f"busiest {row.scores['max_over_mean'].value:.2f} x mean",
                        words.seeds(row),
                        words.says_by(maglev) if maglev else "",
                        words.says_by(best) if best else "",
                    ]
                )
        return columns, rows


@torch_threads(1)
def compare(
    names: Sequence[str] = (),
    suites: Sequence[str] = (),
    out: Path = Path("report"),
    *,
    builders: Sequence[str] = (),
    count: int | None = None,
    force: bool = False,
    progress: Progress = lambda done, total, what: None,
) -> Comparison:
    """Scores tables on held-out suites and writes `report.html`, `report.json` and PNGs into the folder `out`.

    Args:
        names: runs and classical builders (see `lab.compare.methods.methods`); if none, the newest finished run of
            each experiment that trains tables.
        suites: names of suites; `churn-47` and `scenarios-47` if none.
        out: folder of the report.
        builders: classical builders to compare with; all of them, if none is named here or in `names`.
        count: score the first `count` pairs of each group only; the report says so.
        force: replace a report that is in `out` already.
        progress: told how far it is.

    Raises:
        RequestError: an unknown suite, builder or run, a run without a finished trial or with a damaged network, a run
            that is being worked on, a report that is there already, or a folder that cannot be written. Nothing has
            been written then.
        WorkError: the report or the runs' manifests cannot be written after all, as on a full disk.
    """
    out = Path(out)
    refuse_report(out, force=force)
    asked = [suite(name, count) for name in dict.fromkeys(suites or SUITES_BY_DEFAULT)]
    compared = methods(names, builders)
    trained = {m.label: m.training.folder for m in compared if m.trained and m.training is not None}
    # Once for each folder: two trials of a run are two methods, but its lock lets in one holder only.
    with claimed(trained.values()) as held:
        by_folder = {run.folder: run for run in held}
        runs = {label: by_folder[folder] for label, folder in trained.items()}
        for method in compared:
            for name in method.builders:
                get(name)
        fits, skipped = _fitting(compared, asked)
        analyses = [analyse(each, found) for each, found in zip(asked, _score(asked, fits, progress), strict=True)]
        before = {label: read_before(run) for label, run in runs.items()}
        note_readings(_readings(runs, compared, asked, fits))
    lines = curves(compared)
    beside = levels(lines, [name for name in dict.fromkeys(("maglev", analyses[0].best_exact)) if name])
    explanations = explain([row.method for row in words.best_first(analyses[0])])
    figures = [*draw(analyses, lines, beside), *animation(analyses[0]), *map(draw_explanation, explanations)]
    origins = {label: {**origin(run, before[label]), "trials": _trials(compared, label)} for label, run in runs.items()}
    content = document(
        analyses, compared, lines, beside, explanations, figures, {**provenance(), "runs": origins}, skipped
    )
    written = write_report(out, render(content, figures), content, figures)
    return Comparison(analyses, content, written.html, written.json, written.figures)


def _fitting(compared: list[Method], asked: list[Suite]) -> tuple[dict[str, list[Method]], list[dict[str, str]]]:
    """Which methods can build tables for which suite, and why the others cannot."""
    fits: dict[str, list[Method]] = {each.name: [] for each in asked}
    skipped = []
    for each in asked:
        largest = max(int(max(batch.n_before.max(), batch.n_after.max())) for batch in each.groups.values())
        for method in compared:
            try:
                get(method.builders[0]).check(each.size, largest)
            except RequestError as error:
                skipped.append({"method": method.label, "suite": each.name, "reason": str(error)})
            else:
                fits[each.name].append(method)
    return fits, skipped


def _score(asked: list[Suite], fits: dict[str, list[Method]], progress: Progress) -> Iterator[dict[Method, Evaluation]]:
    def pairs(each: Suite, method: Method) -> int:
        return each.count * len(each.groups) * len(method.builders)

    total = sum(pairs(each, method) for each in asked for method in fits[each.name])
    done = 0
    for each in asked:
        found = {}
        for method in fits[each.name]:
            what = f"{method.label} on {each.title}"

            def advance(scored: int, what: str = what) -> None:
                nonlocal done
                done += scored
                progress(done, total, what)

            progress(done, total, what)
            found[method] = evaluate(method.builders, each, advance)
        yield found


def _readings(
    runs: dict[str, Run], compared: list[Method], asked: list[Suite], fits: dict[str, list[Method]]
) -> Iterator[tuple[Run, str, Sequence[int]]]:
    """Which suites were read of which trials."""
    for method in compared:
        run = runs.get(method.label)
        if run is None or method.training is None:
            continue
        for each in asked:
            if method in fits[each.name]:
                yield run, each.label, method.training.trials


def _trials(compared: list[Method], label: str) -> list[int]:
    training = next(method.training for method in compared if method.label == label)
    assert training is not None
    return list(training.trials)

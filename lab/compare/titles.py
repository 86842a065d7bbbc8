"""What a figure shows, in words: its title as a finding, and its numbers for those who cannot see it."""

from __future__ import annotations

from lab.compare.analysis import Analysis, Row
from lab.compare.curves import Curve
from lab.compare.words import WINS, against_best, at_groups, best_first, count, duration, percent, says, seeds, sides

__all__ = ["MANY", "by_n_title", "curve_end", "curve_ends", "learning_title", "pareto_title", "points", "series"]

MANY = 6
"""More trained tables than that are too many for one pair of axes, or for a line of text each."""


def pareto_title(analysis: Analysis) -> str:
    """Who moves least among the exactly even, and whether that is shown."""
    exact = [r for r in analysis.rows if r.exact and r.ranked]
    if not exact:
        return f"On {analysis.suite.title} every table trades evenness for stability"
    lead = min(exact, key=lambda r: r.scores["excess"].value or 0.0)
    moved = percent(lead.scores["excess"].value)
    if lead.method.kind == "classical":
        return (
            f"{lead.method.label} moves least of the exactly even tables: {moved} needlessly ({analysis.suite.title})"
        )
    difference = against_best(analysis, lead.method.label)
    note = f" ({seeds(lead)})" if difference and difference.too_few_seeds else ""
    if difference and difference.verdict == "better":
        best = analysis.best_exact
        old = percent(analysis.row(best).scores["excess"].value) if best else ""
        both = f"{lead.method.label} moves {moved} needlessly, {best} {old}"
        return f"{both}, both exactly even ({analysis.suite.title}){note}"
    return f"No exactly even table is shown to move less than {analysis.best_exact} ({analysis.suite.title})"


def by_n_title(analysis: Analysis) -> str:
    """Where the best trained table wins and loses; without one, where Maglev moves most."""
    for row in best_first(analysis):
        difference = against_best(analysis, row.method.label)
        if difference:
            by_word = sides(difference)
            parts = [
                f"{says(difference, word)} at {at_groups(by_word[word], difference)}" for word in WINS if by_word[word]
            ]
            text = " and ".join(parts) or "no difference shown at any n"
            note = f" ({seeds(row)})" if difference.too_few_seeds else ""
            return f"{row.method.label}{note} against {difference.baseline}: {text} ({analysis.suite.title})"
    maglev = analysis.row("maglev").by_group
    worst = max(maglev, key=lambda group: maglev[group]["excess"].value or 0.0)
    moved = percent(maglev[worst]["excess"].value)
    return f"Maglev moves most at n = {worst}: {moved} needlessly ({analysis.suite.title})"


def learning_title(curves: list[Curve], axis: str) -> str:
    """When training passes Maglev; of many learners, how many end below it."""
    if len(curves) <= MANY:
        parts = [f"{curve.method} {_when(_passes(curve), curve, axis)}" for curve in curves]
        return "Passing Maglev in validation: " + "; ".join(parts)
    best, below = min(curves, key=curve_end), sum(curve_end(curve) < 1 for curve in curves)
    return (
        f"{below} of {len(curves)} learners end below Maglev in validation, {best.method} lowest: "
        f"{curve_end(best):.2f} times its churn ratio"
    )


def _passes(curve: Curve) -> float | None:
    """Where the average, or the one seed, is first below Maglev."""
    x, y = (curve.band_x, [i.value or 0.0 for i in curve.band]) if curve.band else curve.lines[0]
    return next((float(at) for at, value in zip(x, y, strict=True) if value < 1), None)


def _when(at: float | None, curve: Curve, axis: str) -> str:
    if at is None:
        return "does not"
    if at == (curve.band_x if curve.band else curve.lines[0][0])[0]:
        return "from the first time on"
    return f"after {duration(at) if axis == 'seconds' else count(at) + ' steps'}"


def curve_ends(curves: list[Curve]) -> str:
    """The last value of each curve, for those who cannot see it."""
    return "; ".join(f"{curve.method} ends at {curve_end(curve):.2f}" for curve in curves)


def curve_end(curve: Curve) -> float:
    """Where a curve ends: the interquartile mean over seeds, or the mean where they have none."""
    return (
        float(curve.band[-1].value or 0.0)
        if curve.band
        else sum(float(y[-1]) for _, y in curve.lines) / len(curve.lines)
    )


def points(rows: list[Row]) -> str:
    """The coordinates of a Pareto plot, for those who cannot see it."""
    return "; ".join(
        f"{r.method.label} {percent(r.scores['imbalance'].value)}, {percent(r.scores['excess'].value)}" for r in rows
    )


def series(rows: list[Row]) -> str:
    """The lines of a plot by n, for those who cannot see it."""
    return "; ".join(
        f"{row.method.label} " + ", ".join(f"n={g} {percent(by['excess'].value)}" for g, by in row.by_group.items())
        for row in rows
    )

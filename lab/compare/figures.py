"""The figures of a report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from lab.compare import titles
from lab.compare.analysis import Analysis, Row
from lab.compare.curves import Curve
from lab.compare.drawing import LINES, MARKERS, Figure, Format, color_of, make
from lab.compare.front_figure import draw_fronts
from lab.compare.learning_figures import learning
from lab.compare.pareto import pareto
from lab.compare.statistics import Interval
from lab.compare.words import best_first

__all__ = ["Figure", "draw"]


def draw(analyses: list[Analysis], curves: list[Curve], levels: Mapping[str, float]) -> list[Figure]:
    """The figures of a report; the first is the Pareto plot of the first suite.

    Args:
        analyses: one for each suite.
        curves: learning curves.
        levels: builder -> the churn ratio over Maglev's, drawn as a horizontal line beside them.
    """
    figures = [pareto(analysis) for analysis in analyses]
    figures += [draw_fronts(analysis.suite, analysis.fronts) for analysis in analyses if analysis.fronts is not None]
    figures += [_by_n(analysis) for analysis in analyses if analysis.suite.by_n]
    for axis in dict.fromkeys(curve.axis for curve in curves):
        figures.append(learning([c for c in curves if c.axis == axis], axis, levels))
    return figures


def _by_n(analysis: Analysis) -> Figure:
    chosen = _lines_by_n(analysis)
    many = len(best_first(analysis)) > titles.MANY
    caption = (
        "One of n backends leaves. Bars are 95 % intervals: over seeds for trained networks, over fleets for others. "
        "Shown are Maglev, the best classical table that is exactly even, the best of any evenness, and "
        f"{'the best of what was trained' if many else 'what was trained'}; report.json has all."
    )
    return make(
        f"excess-by-n-{analysis.suite.name}",
        titles.by_n_title(analysis),
        caption,
        f"Excess share of entries by number of backends on {analysis.suite.title}: " + titles.series(chosen),
        lambda axes, form: _paint_by_n(axes, analysis, chosen, form),
    )


def _lines_by_n(analysis: Analysis) -> list[Row]:
    wanted = ["maglev", analysis.best_exact, analysis.best_classical]
    wanted += [row.method.label for row in best_first(analysis)[: titles.MANY]]
    return [row for row in analysis.rows if row.method.label in wanted]


def _paint_by_n(axes: Axes, analysis: Analysis, rows: list[Row], form: Format) -> None:
    groups = list(analysis.suite.groups)
    places = np.arange(len(groups))
    used: dict[str, int] = {}
    for index, row in enumerate(rows):
        color = color_of(row, analysis)
        style = LINES[used.setdefault(color, 0) % len(LINES)]
        used[color] += 1
        intervals = [row.by_group[group]["excess"] for group in groups]
        values = [100 * (i.value or 0.0) for i in intervals]
        # Side by side, or the bars of two methods that agree would hide each other.
        x = places + 0.045 * (index - (len(rows) - 1) / 2)
        axes.plot(
            x, values, style, marker=MARKERS[row.method.kind], ms=4.5, lw=1.5, color=color, label=row.method.label
        )
        axes.vlines(x, *_bounds(intervals), color=color, lw=1.6)
    axes.set_xticks(places, groups)
    axes.set_ylim(bottom=0)
    axes.margins(y=0.3)
    axes.set_ylim(0, axes.get_ylim()[1])
    axes.set_xlabel("n: backends before one of them leaves")
    axes.set_ylabel("excess: entries moved needlessly (%)")
    axes.legend(loc="upper left", ncols=1 if form.narrow else 2, handlelength=2.4, borderaxespad=0.1)


def _bounds(intervals: list[Interval]) -> tuple[list[float], list[float]]:
    return (
        [100 * (i.value or 0.0) if i.low is None else 100 * i.low for i in intervals],
        [100 * (i.value or 0.0) if i.high is None else 100 * i.high for i in intervals],
    )

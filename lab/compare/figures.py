"""The figures of a report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

from lab.compare import titles, words
from lab.compare.analysis import Analysis, Row
from lab.compare.curves import LEVEL_PAIRS, Curve
from lab.compare.drawing import COLORS, GREEN, INK, LINES, MARKERS, Figure, Format, color_of, make
from lab.compare.front_figure import draw_fronts
from lab.compare.pareto import pareto
from lab.compare.statistics import Interval

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
        figures.append(_learning([c for c in curves if c.axis == axis], axis, levels))
    return figures


# ---- excess by n


def _by_n(analysis: Analysis) -> Figure:
    chosen = _lines_by_n(analysis)
    caption = (
        "One of n backends leaves. Bars are 95 % intervals: over seeds for trained networks, over fleets for others. "
        "Shown are Maglev, the best classical table that is exactly even, the best of any evenness, and what was "
        "trained; report.json has all."
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
    return [
        row
        for row in analysis.rows
        if row.method.label in wanted or (row.method.kind != "classical" and row.method.trained)
    ]


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


# ---- learning curves


_APART = 6.0
"""Where one method takes so many times the steps of another, steps are drawn on a logarithmic axis."""


def _learning(curves: list[Curve], axis: str, levels: Mapping[str, float]) -> Figure:
    what = words.AXES[axis]
    caption = (
        f"Churn ratio in validation, over that of Maglev on the same scenarios, against {what}: below 1 fewer entries "
        "change than with Maglev. Thin lines are seeds; the thick line is their interquartile mean and the band its "
        "95 % interval. One seed has no band: it is not a result."
    )
    if axis == "env_steps":
        caption += (
            " A step gives out one entry: a pair of tables that a supervised network, or a member of a search, was "
            "judged by counts as 2 x size steps."
        )
    if levels:
        caption += (
            f" The horizontal lines are tables without training, on {LEVEL_PAIRS:,} scenarios; a validation has fewer, "
            "so that a small distance from a line may be chance."
        )
    if others := [curve.method for curve in curves if not curve.own]:
        caption += f" Of {words.names(others)} Maglev's is that on other scenarios of the same distribution."
    return make(
        "learning-curves" if axis == "seconds" else "learning-curves-env-steps",
        titles.learning_title(curves, axis),
        caption,
        f"Learning curves against {what}: " + titles.curve_ends(curves),
        lambda axes, form: _paint_learning(axes, curves, axis, levels, form),
    )


def _paint_learning(axes: Axes, curves: list[Curve], axis: str, levels: Mapping[str, float], form: Format) -> None:
    ends = [max(float(x[-1]) for x, _ in curve.lines) for curve in curves]
    unit, divisor = "environment steps: entries given out", 1.0
    if axis == "seconds":
        unit, divisor = ("minutes of training", 60.0) if max(ends) > 180 else ("seconds of training", 1.0)
    logarithmic = axis == "env_steps" and max(ends) > _APART * min(ends)
    used: dict[str, int] = {}
    for curve in curves:
        color, style = COLORS[curve.kind], LINES[used.setdefault(curve.kind, 0) % len(LINES)]
        used[curve.kind] += 1
        alone = not curve.band
        for x, y in curve.lines:
            axes.plot(x / divisor, y, style, color=color, lw=1.6 if alone else 0.7, alpha=1 if alone else 0.35)
        note = f"{curve.method} ({len(curve.lines)} seeds)" if curve.band else f"{curve.method} (one seed)"
        if curve.band:
            x = curve.band_x / divisor
            axes.fill_between(
                x, [i.low or 0.0 for i in curve.band], [i.high or 0.0 for i in curve.band], color=color, alpha=0.2, lw=0
            )
            axes.plot(x, [i.value or 0.0 for i in curve.band], style, color=color, lw=2, label=note)
        else:
            axes.plot([], [], style, color=color, lw=1.6, label=note)
    low, high = axes.get_ylim()
    for name, value in levels.items():
        color = INK if name == "maglev" else GREEN
        low, high = min(low, value - 0.03), max(high, value + 0.03)
        axes.axhline(value, color=color, lw=1.2, ls=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{name} {value:.2f}",
            (0, value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 2),
            textcoords="offset points",
            va="bottom",
            color=color,
            fontsize=form.text - 1,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
    # An untrained network may start far above everything that matters.
    axes.set_ylim(low, min(high, max(1.5, low + 0.6)))
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:g}" if axis == "seconds" else EngFormatter(sep=""))
    axes.set_xlabel(unit)
    axes.set_ylabel("churn ratio in validation, over Maglev's")
    axes.legend(loc="upper right", handlelength=2.4, borderaxespad=0.1)

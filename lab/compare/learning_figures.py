"""The figures of learning curves: all learners in one pair of axes, or many in a panel each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullFormatter, NullLocator

from lab.compare import titles, words
from lab.compare.curves import LEVEL_PAIRS, Curve, Floats
from lab.compare.drawing import COLORS, GREEN, INK, LINES, Figure, Format, make, make_panels

__all__ = ["learning"]

_APART = 6.0
"""Where one method takes so many times the steps or seconds of another, they are drawn on a logarithmic axis."""

_HIGHEST = 3.0
"""Of a panel: who ends further above Maglev than that ends at its upper edge."""

_OTHERS = "#c4c8ce"


def learning(curves: list[Curve], axis: str, levels: Mapping[str, float]) -> Figure:
    """The curves along one axis.

    Args:
        curves: of that axis; more than `titles.MANY` have a panel each.
        axis: `seconds` or `env_steps`.
        levels: builder -> the churn ratio over Maglev's, drawn as a horizontal line.
    """
    many = len(curves) > titles.MANY
    what = words.AXES[axis]
    caption = (
        f"Churn ratio in validation, over that of Maglev on the same scenarios, against {what}: below 1 fewer entries "
        "change than with Maglev. Thin lines are seeds; the thick line is their interquartile mean and the band its "
        "95 % interval. One seed has no band: it is not a result."
    )
    if axis == "seconds":
        caption += " Seeds are averaged where they are equally far in their own time, drawn at its median."
    if many:
        caption += " Every panel has the means of all others in grey; the number is where its own mean ends."
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
    name = "learning-curves" if axis == "seconds" else "learning-curves-env-steps"
    title, alt = titles.learning_title(curves, axis), f"Learning curves against {what}: " + titles.curve_ends(curves)
    if not many:
        return make(name, title, caption, alt, lambda axes, form: _paint_together(axes, curves, axis, levels, form))
    wide, narrow = (1.5 + 1.65 * -(-len(curves) // columns) for columns in (4, 2))
    return make_panels(
        name,
        title,
        caption,
        alt,
        lambda canvas, form: _paint_panels(canvas, curves, axis, levels, form),
        heights=(wide, 0.75 * narrow),
    )


def _unit(curves: list[Curve], axis: str) -> tuple[str, float]:
    """What the axis says, and what its numbers are divided by."""
    if axis == "env_steps":
        return "environment steps: entries given out", 1.0
    minutes = max(_ends(curves)) > 180 and not _logarithmic(curves)
    return ("minutes of training", 60.0) if minutes else ("seconds of training", 1.0)


def _ends(curves: list[Curve]) -> list[float]:
    return [max(float(x[-1]) for x, _ in curve.lines) for curve in curves]


def _logarithmic(curves: list[Curve]) -> bool:
    ends = _ends(curves)
    return max(ends) > _APART * min(ends)


def _paint_together(axes: Axes, curves: list[Curve], axis: str, levels: Mapping[str, float], form: Format) -> None:
    unit, divisor = _unit(curves, axis)
    used: dict[str, int] = {}
    for curve in curves:
        style = LINES[used.setdefault(curve.kind, 0) % len(LINES)]
        used[curve.kind] += 1
        note = f"{curve.method} ({len(curve.lines)} seeds)" if len(curve.lines) > 1 else f"{curve.method} (one seed)"
        _paint_curve(axes, curve, divisor, style, note)
    low, high = axes.get_ylim()
    for name, value in levels.items():
        low, high = min(low, value - 0.03), max(high, value + 0.03)
        _paint_level(axes, name, value)
        axes.annotate(
            f"{name} {value:.2f}",
            (0, value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 2),
            textcoords="offset points",
            va="bottom",
            color=_level_color(name),
            fontsize=form.text - 1,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
    # An untrained network may start far above everything that matters.
    axes.set_ylim(low, min(high, max(1.5, low + 0.6)))
    _scale(axes, curves, axis)
    axes.set_xlabel(unit)
    axes.set_ylabel("churn ratio in validation, over Maglev's")
    axes.legend(loc="upper right", handlelength=2.4, borderaxespad=0.1)


def _paint_panels(canvas: Canvas, curves: list[Curve], axis: str, levels: Mapping[str, float], form: Format) -> None:
    unit, divisor = _unit(curves, axis)
    columns = 2 if form.narrow else 4
    grid = canvas.subplots(
        -(-len(curves) // columns),
        columns,
        sharex=True,
        sharey=True,
        squeeze=False,
        gridspec_kw={"wspace": 0.07, "hspace": 0.24},
    )
    lows = [float(y.min()) for curve in curves for _, y in curve.lines]
    ends = [titles.curve_end(curve) for curve in curves]
    # A ratio is as far above 1 as its inverse is below, and many end far above.
    low, high = 0.97 * min([*lows, *levels.values()]), min(_HIGHEST, max(1.5, 1.1 * max(ends)))
    for axes, curve, end in zip(grid.flat, curves, ends, strict=False):
        for other in curves:
            x, y = _mean(other)
            axes.plot(x / divisor, y, color=_OTHERS, lw=0.7, zorder=1.5)
        for name, value in levels.items():
            _paint_level(axes, name, value)
        _paint_curve(axes, curve, divisor, "-", None)
        seeds = "" if len(curve.lines) > 1 else " (one seed)"
        axes.set_title(
            f"{curve.method}{seeds}: {end:.2f}", fontsize=form.text - 1.5, loc="left", color=COLORS[curve.kind], pad=3
        )
    for axes in grid.flat[len(curves) :]:
        axes.set_visible(False)
    first = grid.flat[0]
    first.set_yscale("log")
    first.set_ylim(low, high)
    first.yaxis.set_major_locator(FixedLocator([0.7, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0]))
    first.yaxis.set_major_formatter("{x:g}")
    first.yaxis.set_minor_locator(NullLocator())
    _scale(first, curves, axis)
    for axes in grid.flat:
        axes.tick_params(labelsize=form.text - 2)
    inches = form.size[1]
    below_title = form.text * 1.6 / (72 * inches)
    canvas.subplots_adjust(bottom=0.66 / inches, top=canvas.subplotpars.top - below_title)
    note = "   ".join(f"- - {name} {value:.2f}" for name, value in levels.items())
    canvas.text(0.53, 0.26 / inches, unit, ha="center", fontsize=form.text - 0.5)
    if note:
        canvas.text(0.53, 0.06 / inches, note, ha="center", fontsize=form.text - 1.5, color=GREEN)
    canvas.text(
        0.012,
        0.5,
        "churn ratio in validation, over Maglev's",
        rotation=90,
        va="center",
        fontsize=form.text - 0.5,
    )


def _paint_curve(axes: Axes, curve: Curve, divisor: float, style: str, note: str | None) -> None:
    color, alone = COLORS[curve.kind], not curve.band
    for x, y in curve.lines:
        axes.plot(x / divisor, y, style, color=color, lw=1.6 if alone else 0.7, alpha=1 if alone else 0.35)
    if alone:
        axes.plot([], [], style, color=color, lw=1.6, label=note)
        return
    x = curve.band_x / divisor
    low, high = [i.low or 0.0 for i in curve.band], [i.high or 0.0 for i in curve.band]
    axes.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    axes.plot(x, [i.value or 0.0 for i in curve.band], style, color=color, lw=2, label=note)


def _mean(curve: Curve) -> tuple[Floats, Floats]:
    return (curve.band_x, np.array([i.value or 0.0 for i in curve.band])) if curve.band else curve.lines[0]


def _level_color(name: str) -> str:
    return INK if name == "maglev" else GREEN


def _paint_level(axes: Axes, name: str, value: float) -> None:
    axes.axhline(value, color=_level_color(name), lw=1.2, ls=(0, (4, 3)), zorder=1)


def _scale(axes: Axes, curves: list[Curve], axis: str) -> None:
    """The horizontal axis: logarithmic where the ends of the curves are far apart."""
    if _logarithmic(curves):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4 if len(curves) > titles.MANY else 5))
    axes.xaxis.set_major_formatter("{x:g}" if axis == "seconds" else EngFormatter(sep=""))

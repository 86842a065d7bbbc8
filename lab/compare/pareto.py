"""The Pareto plot: evenness against excess."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lab.compare import titles, words
from lab.compare.analysis import Analysis, Row
from lab.compare.drawing import COLORS, GREEN, GREY, MARKERS, Figure, Format, color_of, make
from lab.compare.labels import Label, place
from lab.compare.methods import Method

__all__ = ["pareto"]


def pareto(analysis: Analysis) -> Figure:
    rows = analysis.rows
    label = analysis.suite.title
    caption = (
        "Down is steadier, left is more even; the best place is the corner. Each mark is a table builder with its 95 % "
        "intervals. Nothing ranked lies below and left of the line (the Pareto front). Hollow marks are not ranked: an "
        "untrained network, or a table that must be told the table in force."
    )
    if len(words.best_first(analysis)) > titles.MANY:
        caption += " Named are the best that were trained and those on the front; the table below has all."
    return make(
        f"pareto-{analysis.suite.name}",
        titles.pareto_title(analysis),
        caption,
        f"Pareto plot on {label}, uneven share against excess share of entries: " + titles.points(rows),
        lambda axes, form: _paint_pareto(axes, analysis, form),
    )


def _paint_pareto(axes: Axes, analysis: Analysis, form: Format) -> None:
    rows = analysis.rows
    reference = next((r for r in rows if r.method.label == "maglev"), rows[0])
    scale = max(100 * (reference.scores["excess"].value or 0.0), 1.0)
    xs = [100 * (row.scores["imbalance"].value or 0.0) for row in rows]
    ys = [100 * (row.scores["excess"].value or 0.0) for row in rows]
    # One table that moves nearly everything would press all others into a line.
    top = 1.22 * max([scale, *(y for y in ys if y <= 1.7 * scale)])
    right = max([4.0, *(x * 1.18 for x in xs)])
    axes.set_xlim(-0.035 * right, right)
    axes.set_ylim(-0.05 * top, top)
    best = words.best_first(analysis)
    crowded = len(best) > titles.MANY
    named = {"maglev", analysis.best_exact, *(row.method.label for row in best[: titles.MANY] if row.ranked)}
    points, labels, beyond = [], [], []
    for row, x, y in zip(rows, xs, ys, strict=True):
        color, ranked = color_of(row, analysis), row.ranked
        if y > top:
            beyond.append((row.method, y))
            axes.plot(x, 0.975 * top, "^", ms=6, mfc="white", mec=GREY, zorder=4)
            continue
        points.append((x, y))
        _cross(axes, x, y, row, color)
        axes.plot(
            x,
            y,
            MARKERS[row.method.kind],
            ms=6.5 if row.method.kind != "classical" or row.on_front else 5,
            mfc=color if ranked else "white",
            mec=color,
            zorder=5 if row.method.kind != "classical" else 4,
        )
        bold = row.method.label in named
        if not (form.narrow or crowded) or bold or row.on_front or not ranked:
            rank = 0 if bold else 1 if not ranked else 2 if row.on_front else 3
            labels.append((rank, -x, Label(row.method.label, x, y, color, bold)))
    stairs = _stairs([(x, y) for row, x, y in zip(rows, xs, ys, strict=True) if row.on_front], right)
    axes.plot(*stairs.T, color=GREEN, lw=1.2, alpha=0.7, zorder=2)
    axes.xaxis.set_major_formatter("{x:g}")
    kind = "wrong backend" if form.narrow else "a backend that an even table would not give them"
    axes.set_xlabel(f"unevenness: entries on {kind} (%)")
    axes.set_ylabel("excess: entries moved needlessly (%)")
    _legend(axes, rows, beyond)
    ordered = [label for *_, label in sorted(labels, key=lambda each: each[:2])]
    if form.narrow:
        ordered = _apart(ordered, 0.09 * right, 0.09 * top)
    place(axes, ordered, np.array(points), form.text - 1, line=stairs)


def _apart(labels: list[Label], x: float, y: float) -> list[Label]:
    """Leaves out the texts of points that are close to one with a text already, save those of note (bold)."""
    kept: list[Label] = []
    for label in labels:
        if label.bold or all(abs(label.x - other.x) > x or abs(label.y - other.y) > y for other in kept):
            kept.append(label)
    return kept


def _stairs(front: list[tuple[float, float]], right: float) -> NDArray[np.float64]:
    """Corners of the line through the front: no one point of it is to be had both more even and steadier."""
    if not front:
        return np.empty((0, 2))
    front = sorted(front)
    x = [front[0][0], *np.repeat([x for x, _ in front[1:]], 2), right]
    return np.column_stack([x, np.repeat([y for _, y in front], 2)])


def _cross(axes: Axes, x: float, y: float, row: Row, color: str) -> None:
    for score, horizontal in (("imbalance", True), ("excess", False)):
        interval = row.scores[score]
        if interval.low is None or interval.high is None:
            continue
        ends = [100 * interval.low, 100 * interval.high]
        axes.plot(*((ends, [y, y]) if horizontal else ([x, x], ends)), color=color, lw=1.4, alpha=0.75, zorder=3)


def _legend(axes: Axes, rows: list[Row], beyond: list[tuple[Method, float]]) -> None:
    handles = [
        Line2D([], [], ls="", marker=MARKERS[kind], color=COLORS[kind], ms=5, label=words.KINDS[kind])
        for kind in dict.fromkeys(row.method.kind for row in rows)
    ]
    if any(not row.ranked for row in rows):
        handles.append(Line2D([], [], ls="", marker="o", mfc="white", mec=GREY, ms=5, label="not ranked"))
    handles.append(Line2D([], [], color=GREEN, lw=1.2, label="Pareto front"))
    if beyond:
        lines = [f"{method.label} {y:.0f} %" for method, y in beyond if method.trained]
        before = [y for method, y in beyond if not method.trained]
        if before:
            least, most = f"{min(before):.0f}", f"{max(before):.0f}"
            lines.append("before training " + (least if least == most else f"{least} to {most}") + " %")
        lines[0] = "off the chart: " + lines[0]
        handles.append(Line2D([], [], ls="", marker="^", mfc="white", mec=GREY, ms=6, label="\n".join(lines)))
    legend = axes.legend(handles=handles, loc="upper right", handlelength=1.4, borderaxespad=0.1, frameon=True)
    legend.get_frame().set(edgecolor="none", facecolor="white", alpha=0.9)

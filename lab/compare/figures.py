"""The figures of a report, each drawn twice: for a screen and for a phone."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lab.compare import words
from lab.compare.analysis import Analysis, Row
from lab.compare.curves import Curve
from lab.compare.labels import Label, place
from lab.compare.methods import Method
from lab.compare.statistics import Interval

__all__ = ["Figure", "draw"]

# Okabe & Ito's palette: told apart with any colour vision, each dark enough for text on white.
_INK, _GREY, _GREEN = "#1f2328", "#6b7280", "#00664b"
_COLORS = {"classical": _GREY, "supervised": "#0060a8", "ppo": "#b34700"}
_MARKERS = {"classical": "o", "supervised": "s", "ppo": "^"}
_LINES = ("-", "--", "-.", ":")

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "text.color": _INK,
    "svg.hashsalt": "lookup-lab",
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        name: file name without its ending.
        title: what it shows, as a sentence.
        caption: how to read it.
        alt: what a person who cannot see it needs to know.
        wide, narrow: PNG for a screen, and for a phone.
    """

    name: str
    title: str
    caption: str
    alt: str
    wide: bytes
    narrow: bytes


@dataclass(frozen=True)
class _Format:
    narrow: bool

    @property
    def size(self) -> tuple[float, float]:
        return (3.75, 4.3) if self.narrow else (8.2, 4.9)

    @property
    def dpi(self) -> int:
        return 260 if self.narrow else 170

    @property
    def text(self) -> float:
        return 7.6 if self.narrow else 9.5


def draw(analyses: list[Analysis], curves: list[Curve]) -> list[Figure]:
    """All figures of a report; the first is the Pareto plot of the first suite."""
    figures = [_pareto(analysis) for analysis in analyses]
    figures += [_by_n(analysis) for analysis in analyses if analysis.suite.by_n]
    levels = next((a for a in analyses if not a.suite.by_n), None)
    for axis in dict.fromkeys(curve.axis for curve in curves):
        figures.append(_learning([c for c in curves if c.axis == axis], axis, levels))
    return figures


def _render(title: str, paint: Callable[[Canvas, Axes, _Format], None], narrow: bool) -> bytes:
    form = _Format(narrow)
    style: Any = {**_STYLE, "font.size": form.text}
    with mpl.rc_context(style):
        canvas = Canvas(figsize=form.size, dpi=form.dpi)
        axes = canvas.add_subplot()
        lines = textwrap.wrap(title, 46 if narrow else 84)
        height = form.size[1] * 72
        canvas.subplots_adjust(
            left=0.155 if narrow else 0.085,
            right=0.97,
            bottom=0.125 if narrow else 0.115,
            top=1 - (len(lines) * (form.text + 1.5) * 1.35 + 12) / height,
        )
        canvas.text(
            0.02,
            1 - 6 / height,
            "\n".join(lines),
            va="top",
            fontsize=form.text + 1.5,
            fontweight="bold",
            linespacing=1.3,
        )
        paint(canvas, axes, form)
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="png", metadata={"Software": "lookup-lab"})
        return buffer.getvalue()


def _make(name: str, title: str, caption: str, alt: str, paint: Callable[[Canvas, Axes, _Format], None]) -> Figure:
    return Figure(name, title, caption, alt, _render(title, paint, False), _render(title, paint, True))


def _color(row: Row, analysis: Analysis) -> str:
    if row.method.label == "maglev":
        return _INK
    return _GREEN if row.method.label == analysis.best_exact else _COLORS[row.method.kind]


# ---- Pareto: evenness against excess


def _pareto(analysis: Analysis) -> Figure:
    rows = analysis.rows
    label = analysis.suite.title
    caption = (
        "Down is steadier, left is more even; the best place is the corner. Each mark is a table builder with its 95 % "
        "intervals. Nothing ranked lies below and left of the line (the Pareto front). Hollow marks are not ranked: an "
        "untrained network, or a table that must be told the table in force."
    )
    return _make(
        f"pareto-{analysis.suite.name}",
        words.pareto_title(analysis),
        caption,
        f"Pareto plot on {label}, uneven share against excess share of entries: " + words.points(rows),
        lambda canvas, axes, form: _paint_pareto(axes, analysis, form),
    )


def _paint_pareto(axes: Axes, analysis: Analysis, form: _Format) -> None:
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
    points, labels, beyond = [], [], []
    for row, x, y in zip(rows, xs, ys, strict=True):
        color, ranked = _color(row, analysis), row.ranked
        if y > top:
            beyond.append((row.method, y))
            axes.plot(x, 0.975 * top, "^", ms=6, mfc="white", mec=_GREY, zorder=4)
            continue
        points.append((x, y))
        _cross(axes, x, y, row, color)
        axes.plot(
            x,
            y,
            _MARKERS[row.method.kind],
            ms=6.5 if row.method.kind != "classical" or row.on_front else 5,
            mfc=color if ranked else "white",
            mec=color,
            zorder=5 if row.method.kind != "classical" else 4,
        )
        bold = row.method.label in ("maglev", analysis.best_exact) or (row.method.kind != "classical" and ranked)
        if not form.narrow or bold or row.on_front or not ranked:
            rank = 0 if bold else 1 if not ranked else 2 if row.on_front else 3
            labels.append((rank, -x, Label(row.method.label, x, y, color, bold)))
    stairs = _stairs([(x, y) for row, x, y in zip(rows, xs, ys, strict=True) if row.on_front], right)
    axes.plot(*stairs.T, color=_GREEN, lw=1.2, alpha=0.7, zorder=2)
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
        Line2D([], [], ls="", marker=_MARKERS[kind], color=_COLORS[kind], ms=5, label=words.KINDS[kind])
        for kind in dict.fromkeys(row.method.kind for row in rows)
    ]
    if any(not row.ranked for row in rows):
        handles.append(Line2D([], [], ls="", marker="o", mfc="white", mec=_GREY, ms=5, label="not ranked"))
    handles.append(Line2D([], [], color=_GREEN, lw=1.2, label="Pareto front"))
    if beyond:
        lines = [f"{method.label} {y:.0f} %" for method, y in beyond if method.trained]
        before = [y for method, y in beyond if not method.trained]
        if before:
            least, most = f"{min(before):.0f}", f"{max(before):.0f}"
            lines.append("before training " + (least if least == most else f"{least} to {most}") + " %")
        lines[0] = "off the chart: " + lines[0]
        handles.append(Line2D([], [], ls="", marker="^", mfc="white", mec=_GREY, ms=6, label="\n".join(lines)))
    legend = axes.legend(handles=handles, loc="upper right", handlelength=1.4, borderaxespad=0.1, frameon=True)
    legend.get_frame().set(edgecolor="none", facecolor="white", alpha=0.9)


# ---- excess by n


def _by_n(analysis: Analysis) -> Figure:
    chosen = _lines_by_n(analysis)
    caption = (
        "One of n backends leaves. Bars are 95 % intervals: over seeds for trained networks, over fleets for others. "
        "Shown are Maglev, the best classical table that is exactly even, the best of any evenness, and what was "
        "trained; report.json has all."
    )
    return _make(
        f"excess-by-n-{analysis.suite.name}",
        words.by_n_title(analysis),
        caption,
        f"Excess share of entries by number of backends on {analysis.suite.title}: " + words.series(chosen),
        lambda canvas, axes, form: _paint_by_n(axes, analysis, chosen, form),
    )


def _lines_by_n(analysis: Analysis) -> list[Row]:
    wanted = ["maglev", analysis.best_exact, analysis.best_classical]
    return [
        row
        for row in analysis.rows
        if row.method.label in wanted or (row.method.kind != "classical" and row.method.trained)
    ]


def _paint_by_n(axes: Axes, analysis: Analysis, rows: list[Row], form: _Format) -> None:
    groups = list(analysis.suite.groups)
    places = np.arange(len(groups))
    used: dict[str, int] = {}
    for index, row in enumerate(rows):
        color = _color(row, analysis)
        style = _LINES[used.setdefault(color, 0) % len(_LINES)]
        used[color] += 1
        intervals = [row.by_group[group]["excess"] for group in groups]
        values = [100 * (i.value or 0.0) for i in intervals]
        # Side by side, or the bars of two methods that agree would hide each other.
        x = places + 0.045 * (index - (len(rows) - 1) / 2)
        axes.plot(
            x, values, style, marker=_MARKERS[row.method.kind], ms=4.5, lw=1.5, color=color, label=row.method.label
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


def _learning(curves: list[Curve], axis: str, levels: Analysis | None) -> Figure:
    unit = words.AXES.get(axis, axis)
    caption = (
        f"Validation churn ratio (entries changed over the least possible; 1 is the best) against {unit}. Thin lines "
        "are seeds; the thick line is their interquartile mean and the band its 95 % interval. One seed has no band: "
        "it is not a result."
    )
    if levels:
        caption += (
            f" The horizontal lines are measured on {levels.suite.title}, whose fleets have the same distribution."
        )
    return _make(
        "learning-curves" if axis == "seconds" else f"learning-curves-{axis.replace('_', '-')}",
        words.learning_title(curves, axis, levels),
        caption,
        f"Learning curves against {unit}: " + words.curve_ends(curves),
        lambda canvas, axes, form: _paint_learning(axes, curves, axis, levels, form),
    )


def _paint_learning(axes: Axes, curves: list[Curve], axis: str, levels: Analysis | None, form: _Format) -> None:
    unit, divisor = ("minutes of training", 60.0) if axis == "seconds" else (words.AXES.get(axis, axis), 1.0)
    used: dict[str, int] = {}
    for curve in curves:
        kind = "ppo" if "ppo" in curve.method else "supervised"
        color, style = _COLORS[kind], _LINES[used.setdefault(kind, 0) % len(_LINES)]
        used[kind] += 1
        alone = not curve.band
        for x, y in curve.lines:
            axes.plot(x / divisor, y, style, color=color, lw=1.6 if alone else 0.7, alpha=1 if alone else 0.35)
        note = (
            f"{curve.method} ({len(curve.lines)} seeds)" if curve.band else f"{curve.method} (one seed: not a result)"
        )
        if curve.band:
            x = curve.band_x / divisor
            axes.fill_between(
                x, [i.low or 0.0 for i in curve.band], [i.high or 0.0 for i in curve.band], color=color, alpha=0.2, lw=0
            )
            axes.plot(x, [i.value or 0.0 for i in curve.band], style, color=color, lw=2, label=note)
        else:
            axes.plot([], [], style, color=color, lw=1.6, label=note)
    low, high = axes.get_ylim()
    if levels:
        for name, color in (("maglev", _INK), (levels.best_exact, _GREEN)):
            if name is None or (name == "maglev" and levels.best_exact == "maglev" and color == _GREEN):
                continue
            value = levels.row(name).scores["churn_ratio"].value or 0.0
            low, high = min(low, value - 0.05), max(high, value + 0.05)
            axes.axhline(value, color=color, lw=1.2, ls=(0, (4, 3)), zorder=1)
            axes.annotate(
                f"{name} {value:.2f}",
                (1, value),
                xycoords=("axes fraction", "data"),
                xytext=(-3, 3),
                textcoords="offset points",
                ha="right",
                va="bottom",
                color=color,
                fontsize=form.text - 1,
            )
    # An untrained network may start far above everything that matters.
    axes.set_ylim(low, min(high, max(2.6, low + 1)))
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_ylabel("validation churn ratio")
    axes.legend(loc="upper right", handlelength=2.4, borderaxespad=0.1)

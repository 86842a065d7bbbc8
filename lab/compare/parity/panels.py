"""How the figures of a report on codes look: one colour for a method in all of them, panels in a grid, one legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from lab.compare.drawing import GREY, INK, Format
from lab.compare.parity.analysis import Analysis, Row
from lab.compare.parity.evaluate import Floats

__all__ = [
    "AIM_LABEL",
    "BASE_LABEL",
    "Style",
    "grid",
    "heights",
    "labels_of",
    "legend",
    "series",
    "stretch",
    "styles",
    "title",
]

BASE_LABEL, AIM_LABEL = "the base model itself", "the lab's aim"

# Okabe & Ito's palette, dark enough for lines on white.
_CODES = ("#0060a8", "#b34700", "#00664b", "#a1286a", "#8a6d00", "#7a3e9d", "#2b7a8c", "#5c4033", "#c0392b")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_LINES: Mapping[str, Any] = {"parity": "-", "interpolation": "--"}
_BESIDE: Mapping[str, tuple[str, str]] = {
    "replication": (INK, "*"),
    "cheap-model": (GREY, "p"),
    "majority": (GREY, "x"),
}


@dataclass(frozen=True)
class Style:
    """How a series is drawn: trained codes are solid, untrained ones dashed, what codes nothing is dotted."""

    color: str
    marker: str
    line: Any
    face: str


def series(row: Row) -> str:
    """What a row is a point of: a method, whatever its k."""
    return row.method.label + (f", r = {row.method.r}" if row.method.r > 1 else "")


def styles(analyses: Sequence[Analysis]) -> dict[str, Style]:
    """Series -> style, the same in every figure."""
    found: dict[str, Style] = {}
    coded = 0
    for analysis in analyses:
        for row in sorted(analysis.rows, key=lambda each: (each.method.kind != "parity", series(each))):
            name, kind = series(row), row.method.kind
            if name in found:
                continue
            if kind in _BESIDE:
                color, marker = _BESIDE[kind]
                found[name] = Style(color, marker, ":", "white" if kind == "cheap-model" else color)
            else:
                color = _CODES[coded % len(_CODES)]
                found[name] = Style(color, _MARKERS[coded % len(_MARKERS)], _LINES[kind], color)
                coded += 1
    return found


def _columns(panels: int, form: Format) -> int:
    return 1 if form.narrow else min(panels, 3)


def heights(panels: int, labels: Sequence[str], each: float = 3.6) -> tuple[float, float]:
    """Inches of a figure with so many panels and these labels in its legend, for a screen and for a phone."""
    found = []
    for form in (Format(narrow=False), Format(narrow=True)):
        rows = -(-panels // _columns(panels, form))
        height = (each if not form.narrow else 3.1) * rows + 0.6
        found.append(height + _room(labels, form) / 72)
    return found[0], found[1]


def _in_a_row(labels: Sequence[str], form: Format) -> int:
    """Labels beside each other in a legend, as many as fit."""
    if form.narrow:
        return 1
    # A handle and the space around it are as wide as seven letters.
    letters = 7 + max(map(len, labels), default=0)
    return max(1, min(3, int(form.size[0] * 72 / (0.56 * form.text * letters))))


def _room(labels: Sequence[str], form: Format) -> float:
    """Points under the axes: their labels, and the legend."""
    return form.text * (4.6 + 1.6 * -(-len(labels) // _in_a_row(labels, form)))


def grid(canvas: Canvas, panels: int, labels: Sequence[str], form: Format, *, share_y: bool = False) -> list[Axes]:
    """Axes for `panels` panels, row by row, above the room that a legend of `labels` takes."""
    columns = _columns(panels, form)
    rows = -(-panels // columns)
    canvas.subplots_adjust(
        bottom=_room(labels, form) / (form.size[1] * 72),
        top=canvas.subplotpars.top - form.text * 1.9 / (form.size[1] * 72),
        left=0.15 if form.narrow else 0.085,
        wspace=0.08 if share_y else 0.24,
        hspace=0.36,
    )
    found = canvas.subplots(rows, columns, squeeze=False, sharey=share_y)
    flat = list(found.flat)
    for axes in flat[panels:]:
        axes.set_visible(False)
    return flat[:panels]


def labels_of(handles: Sequence[Line2D]) -> list[str]:
    """What a legend of `handles` says."""
    return [str(handle.get_label()) for handle in handles]


def legend(canvas: Canvas, handles: Sequence[Line2D], form: Format) -> None:
    """One legend for all panels, at the bottom."""
    canvas.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0.02, 0.0),
        ncols=_in_a_row(labels_of(handles), form),
        handlelength=2.6,
        columnspacing=1.4,
        fontsize=form.text - 0.4,
    )


def title(axes: Axes, text: str, form: Format) -> None:
    """The title of a panel."""
    axes.set_title(text, loc="left", fontsize=form.text)


_TICKS = (10, 30, 50, 60, 70, 80, 90, 95, 97, 98, 99, 99.5, 100)
_FINE = tuple(half / 2 for half in range(201))
_FEW = 9
_OFFSET = 0.5
"""Per cent: where an accuracy of 100 % is on an axis that has no end for it."""


def stretch(axes: Axes, values: Sequence[float]) -> None:
    """Makes the y axis, accuracies in per cent, one of the logarithm of errors: 60, 80, 90 are equally far apart.

    Args:
        axes: with all that is drawn.
        values: what has to be inside.
    """
    low, high = max(0.0, min(values)), min(100.0, max(values))
    axes.set_yscale("function", functions=(_forth, _back))
    room = 0.06 * float(_forth(np.array(high)) - _forth(np.array(low))) or 0.05
    bounds = _back(np.array([_forth(np.array(low)) - room, _forth(np.array(high)) + room]))
    axes.set_ylim(float(bounds[0]), min(100.2, float(bounds[1])))
    coarse = [tick for tick in _TICKS if bounds[0] <= tick <= bounds[1]]
    ticks = coarse if len(coarse) >= 4 else [tick for tick in _FINE if bounds[0] <= tick <= bounds[1]]
    ticks = ticks or sorted({low, high})
    gap = float(_forth(np.array(bounds[1])) - _forth(np.array(bounds[0]))) / _FEW / 1.6
    shown: list[float] = []
    for tick in reversed(ticks):
        if not shown or float(_forth(np.array(shown[-1])) - _forth(np.array(tick))) >= gap:
            shown.append(tick)
    axes.set_yticks(shown, [f"{tick:.4g}" for tick in shown])
    axes.minorticks_off()


def _forth(accuracy: Floats) -> Floats:
    return np.asarray(-np.log(np.maximum(100 + _OFFSET - accuracy, 1e-3)))


def _back(place: Floats) -> Floats:
    return np.asarray(100 + _OFFSET - np.exp(-place))

"""Text beside the points of a scatter plot, where it covers neither points nor other text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

__all__ = ["Label", "place"]

_DISTANCES = (8, 15, 24, 36, 50, 66)
"""Tried from near to far, in points."""

_ANGLES = tuple(np.deg2rad([0, 35, -35, 180, 145, -145, 90, -90, 65, -65, 115, -115]))


@dataclass(frozen=True)
class Label:
    """A text for the point `x`, `y` (data coordinates)."""

    text: str
    x: float
    y: float
    color: str
    bold: bool = False


def place(
    axes: Axes, labels: Sequence[Label], points: NDArray[np.float64], size: float, *, line: NDArray[np.float64]
) -> None:
    """Writes `labels` beside their points, the first ones first, each at the nearest place that is free.

    Args:
        axes: with its limits and position final.
        labels: the most important first.
        points: shape (count, 2), data coordinates of all markers, which no text may cover.
        size: font size in points.
        line: shape (count, 2), corners of a line that texts should rather not cross.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    scale = figure.dpi / 72
    radius = 5 * scale
    markers = axes.transData.transform(points)
    taken = [Bbox.from_extents(x - radius, y - radius, x + radius, y + radius) for x, y in markers]
    corners = axes.transData.transform(line) if len(line) else np.empty((0, 2))
    crossed = [
        Bbox.from_extents(min(a[0], b[0]) - 1, min(a[1], b[1]) - 1, max(a[0], b[0]) + 1, max(a[1], b[1]) + 1)
        for a, b in pairwise(corners)
    ]
    frame = axes.get_window_extent()
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    for label in labels:
        anchor = axes.transData.transform((label.x, label.y))
        extent = _extent(axes, label, size)
        best: tuple[float, _Place, Bbox] | None = None
        for where in _PLACES:
            box = where.box(anchor, extent, scale)
            cost = sum(_overlap(box, other) for other in taken) + 4 * _outside(box, frame)
            cost += sum(_overlap(box, other) for other in crossed)
            if best is None or cost < best[0] - 1e-9:
                best = (cost, where, box)
            if cost == 0:
                break
        assert best is not None
        taken.append(best[2])
        _write(axes, label, best[1], size)


@dataclass(frozen=True)
class _Place:
    """A place for a text, by its distance (points) and direction (radians) from the point."""

    distance: float
    angle: float

    @property
    def offset(self) -> tuple[float, float]:
        return self.distance * float(np.cos(self.angle)), self.distance * float(np.sin(self.angle))

    @property
    def alignment(self) -> tuple[Literal["left", "center", "right"], Literal["bottom", "center", "top"]]:
        dx, dy = np.cos(self.angle), np.sin(self.angle)
        return (
            "left" if dx > 0.3 else "right" if dx < -0.3 else "center",
            "bottom" if dy > 0.8 else "top" if dy < -0.8 else "center",
        )

    def box(self, anchor: NDArray[np.float64], extent: tuple[float, float], scale: float) -> Bbox:
        """What a text of `extent` pixels would cover here."""
        width, height = extent
        x, y = anchor + scale * np.array(self.offset)
        across, up = self.alignment
        x -= {"left": 0.0, "center": width / 2, "right": width}[across]
        y -= {"bottom": 0.0, "center": height / 2, "top": height}[up]
        return Bbox.from_bounds(x, y, width, height)


_PLACES = [_Place(distance, float(angle)) for distance in _DISTANCES for angle in _ANGLES]


def _extent(axes: Axes, label: Label, size: float) -> tuple[float, float]:
    text = axes.text(label.x, label.y, label.text, fontsize=size, fontweight=_weight(label))
    box = text.get_window_extent()
    text.remove()
    return box.width, box.height


def _weight(label: Label) -> str:
    return "bold" if label.bold else "normal"


def _write(axes: Axes, label: Label, where: _Place, size: float) -> None:
    line = {"arrowstyle": "-", "color": label.color, "lw": 0.6, "alpha": 0.6, "shrinkA": 1, "shrinkB": 4}
    across, up = where.alignment
    axes.annotate(
        label.text,
        (label.x, label.y),
        xytext=where.offset,
        textcoords="offset points",
        ha=across,
        va=up,
        fontsize=size,
        fontweight=_weight(label),
        color=label.color,
        # Beside its point a text needs no line.
        arrowprops=line if where.distance > 10 else None,
        zorder=6,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Bbox, frame: Bbox) -> float:
    return max(0.0, float(box.width * box.height) - _overlap(box, frame))

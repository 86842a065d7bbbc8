"""The figure of the fronts."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from lab.compare.drawing import COLORS, GREY, MARKERS, Figure, Format, make
from lab.compare.front import LARGEST, Fronts
from lab.compare.suites import Suite

__all__ = ["draw_fronts"]


def draw_fronts(suite: Suite, both: Fronts) -> Figure:
    """The figure: two stairs, and the points on them."""
    learned, classical = both.learned.area, both.classical.area
    ratio = (learned.value or 0.0) / (classical.value or 1.0)
    title = (
        f"Up to {LARGEST} times the mean, learned tables dominate {ratio:.2f} times the area of the classical ones"
        if abs(ratio - 1) >= 0.005
        else "Learned and classical tables dominate the same area"
    )
    caption = (
        "Down is steadier, left is more even: the busiest backend's load over the mean against the entries that move "
        "needlessly. A line is what its tables offer at no more than that load. The area above it, up to the dashed "
        f"corner, is {classical.value:.4f} for classical tables and {learned.value:.4f}"
        + ("" if learned.low is None else f" [{learned.low:.4f}, {learned.high:.4f}]")
        + " for learned ones."
    )
    points = "; ".join(
        f"{label} {x:.2f} x mean, {100 * y:.2f} %"
        for front in (both.learned, both.classical)
        for label, (x, y) in zip(front.labels, front.points.tolist(), strict=True)
    )
    return make(
        f"front-{suite.name}",
        title,
        caption,
        f"Fronts of largest load against excess on {suite.title}: {points}",
        lambda axes, form: _paint(axes, form, both),
    )


def _paint(axes: Axes, form: Format, both: Fronts) -> None:
    right, top = both.corner
    sides = (("classical", GREY, both.classical), ("learned", COLORS["learned"], both.learned))
    left = min(front.points[:, 0].min() for _, _, front in sides)
    axes.set_xlim(left - 0.03 * (right - left), right + 0.06 * (right - left))
    axes.set_ylim(-0.04 * 100 * top, 108 * top)
    axes.plot([left, right, right], [100 * top, 100 * top, 0], color=GREY, lw=0.8, ls="--", zorder=1)
    for kind, color, front in sides:
        x, y = front.points.T
        corners_x = np.concatenate([x[:1], np.repeat(x[1:], 2), [max(right, x[-1])]])
        axes.plot(corners_x, 100 * np.repeat(y, 2), color=color, lw=1.3, zorder=2)
        axes.plot(x, 100 * y, MARKERS[kind], ms=5, color=color, zorder=3, label=kind)
        if kind == "classical" and not form.narrow:
            for label, (px, py) in zip(front.labels, front.points.tolist(), strict=True):
                # What stands at the right end stands there with others, and says little.
                if px <= right - 0.05 * (right - left):
                    axes.annotate(
                        label,
                        (px, 100 * py),
                        xytext=(5, 5),
                        textcoords="offset points",
                        fontsize=form.text - 2,
                        color=color,
                    )
    axes.set_xlabel("largest load, over the mean")
    axes.set_ylabel("excess: entries moved needlessly (%)")
    axes.legend(loc="upper right")

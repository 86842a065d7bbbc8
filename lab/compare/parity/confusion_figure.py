"""What rebuilt predictions are taken for, beside what the base model takes them for, and what coding adds."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas

from lab.compare.drawing import INK, Figure, Format, make_panels
from lab.compare.parity import words
from lab.compare.parity.analysis import Analysis, Row
from lab.compare.parity.evaluate import Floats
from lab.compare.parity.sentences import added_errors

__all__ = ["draw_confusions"]

_NUMBERED = 12
"""Up to so many classes have their numbers in the cells."""


def draw_confusions(analysis: Analysis, number: int) -> list[Figure]:
    """A figure for each k and r: of the best code by validation."""
    rows = [row for place in analysis.places() if (row := analysis.best(*place)) is not None]
    return [_draw(analysis, row, number) for row in rows]


def _draw(analysis: Analysis, row: Row, number: int) -> Figure:
    added = added_errors(row)
    said = ", ".join(
        f"{true} taken for {other} in {words.percent(rebuilt)} % of cases instead of {words.percent(base)} %"
        for true, other, rebuilt, base in added
    )
    worst = f" What coding adds most: {said}." if added else " Coding adds no mistakes here."
    name = f"confusion-{number}-k{row.method.k}" + (f"-r{row.method.r}" if row.method.r > 1 else "")
    return make_panels(
        name,
        f"{analysis.setting.label}, {words.title(row)}: what classes are taken for",
        "Rows are true classes, columns what they are taken for, in % of the row; over all seeds, groups and ways to "
        "lose answers. The first is the base model, the second what the best code by validation rebuilds, the third "
        "the second less the first in percentage points: blue is what coding adds, red what it takes away. Shares "
        f"that round to 0 have no number.{worst} The largest of many cells are partly chance.",
        f"Confusion of the base model and of rebuilt predictions.{worst}",
        lambda canvas, form: _paint(canvas, row, form),
        heights=(3.9, 9.6),
    )


def _paint(canvas: Canvas, row: Row, form: Format) -> None:
    canvas.subplots_adjust(
        left=0.1 if form.narrow else 0.06,
        right=0.97 if form.narrow else 0.985,
        bottom=0.055 if form.narrow else 0.12,
        top=canvas.subplotpars.top - form.text * 1.6 / (form.size[1] * 72),
        wspace=0.14,
        hspace=0.28,
    )
    panels = canvas.subplots(*((3, 1) if form.narrow else (1, 3)))
    size = form.text - (1.4 if form.narrow else 2.9)
    shares = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#9dbfdd", "#003c6e"])
    signed = LinearSegmentedColormap.from_list("signed", ["#8c1d18", "#ffffff", "#003c6e"])
    added = row.confusion - row.base_confusion
    largest = float(np.nanmax(np.abs(added), initial=0.01))
    # The root shows rare mistakes beside the diagonal.
    _matrix(panels[0], row.base_confusion, np.sqrt(row.base_confusion), (0, 1), shares, size)
    _matrix(panels[1], row.confusion, np.sqrt(row.confusion), (0, 1), shares, size)
    _matrix(panels[2], added, added, (-largest, largest), signed, size, signed_numbers=True)
    for place, (axes, text) in enumerate(zip(panels, ("base model", "rebuilt", "rebuilt less base"), strict=True)):
        axes.set_title(text + (" (points)" if place == 2 else " (%)"), loc="left", fontsize=form.text)
        axes.set_xlabel("taken for")
        if place == 0 or form.narrow:
            axes.set_ylabel("true class")


def _matrix(
    axes: Axes,
    values: Floats,
    shades: Floats,
    limits: tuple[float, float],
    colors: Colormap,
    size: float,
    *,
    signed_numbers: bool = False,
) -> None:
    axes.imshow(shades, cmap=colors, vmin=limits[0], vmax=limits[1], aspect="equal", interpolation="nearest")
    classes = len(values)
    step = 1 if classes <= 2 * _NUMBERED else 10
    axes.set_xticks(range(0, classes, step))
    axes.set_yticks(range(0, classes, step))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    if classes > _NUMBERED:
        return
    span = limits[1] - limits[0]
    for (y, x), value in np.ndenumerate(values):
        # A matrix of zeros hides the other numbers.
        if np.isnan(value) or round(100 * abs(value)) == 0:
            continue
        place = (shades[y, x] - limits[0]) / span
        dark = place > 0.72 or (signed_numbers and place < 0.28)
        text = f"{100 * value:+.0f}".replace("-", "\N{MINUS SIGN}") if signed_numbers else f"{100 * value:.0f}"
        axes.text(x, y, text, ha="center", va="center", fontsize=size, color="white" if dark else INK)

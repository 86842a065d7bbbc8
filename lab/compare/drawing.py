"""How figures look, and how they become PNGs: each is painted twice, for a screen and for a phone."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from lab.compare.analysis import Analysis, Row

__all__ = [
    "COLORS",
    "GREEN",
    "GREY",
    "INK",
    "LINES",
    "MARKERS",
    "Figure",
    "Format",
    "Paint",
    "color_of",
    "make",
    "make_panels",
]

# Okabe & Ito's palette: told apart with any colour vision, each dark enough for text on white.
INK, GREY, GREEN = "#1f2328", "#6b7280", "#00664b"
COLORS = {
    "classical": GREY,
    "supervised": "#0060a8",
    "ppo": "#b34700",
    "es": "#a1286a",
    "rl": "#8a6d00",
    "learned": "#7a3e9d",
}
MARKERS = {"classical": "o", "supervised": "s", "ppo": "^", "es": "P", "rl": "v", "learned": "D"}
LINES = ("-", "--", "-.", ":")

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "text.color": INK,
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
        wide, narrow: for a screen, and for a phone.
        ending: of their format: `png`, or `webp` for what moves.
    """

    name: str
    title: str
    caption: str
    alt: str
    wide: bytes
    narrow: bytes
    ending: str = "png"

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.{self.ending}"


@dataclass(frozen=True)
class Format:
    """The two sizes a figure is painted in; one with many rows may be higher than others (inches)."""

    narrow: bool
    height: float | None = None

    @property
    def size(self) -> tuple[float, float]:
        width, height = (3.75, 4.3) if self.narrow else (8.2, 4.9)
        return width, self.height or height

    @property
    def dpi(self) -> int:
        return 260 if self.narrow else 170

    @property
    def text(self) -> float:
        return 7.6 if self.narrow else 9.5


Paint = Callable[[Axes, Format], None]
PaintAll = Callable[[Canvas, Format], None]


def _render(title: str, paint: PaintAll, form: Format) -> bytes:
    narrow = form.narrow
    style: Any = {**_STYLE, "font.size": form.text}
    with mpl.rc_context(style):
        canvas = Canvas(figsize=form.size, dpi=form.dpi)
        lines = textwrap.wrap(title, 46 if narrow else 84)
        height = form.size[1] * 72
        canvas.subplots_adjust(
            left=0.155 if narrow else 0.085,
            right=0.97,
            bottom=(0.125 if narrow else 0.115) * (4.3 if narrow else 4.9) / form.size[1],
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
        paint(canvas, form)
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="png", metadata={"Software": "lookup-lab"})
        return buffer.getvalue()


def make(
    name: str, title: str, caption: str, alt: str, paint: Paint, *, heights: tuple[float, float] | None = None
) -> Figure:
    """A figure with one pair of axes.

    Args:
        name, title, caption, alt: as in `Figure`.
        paint: draws into the axes.
        heights: in inches, for a screen and for a phone, where the usual ones do not do.
    """
    return make_panels(
        name, title, caption, alt, lambda canvas, form: paint(canvas.add_subplot(), form), heights=heights
    )


def make_panels(
    name: str, title: str, caption: str, alt: str, paint: PaintAll, *, heights: tuple[float, float] | None = None
) -> Figure:
    """A figure whose axes `paint` makes itself, below the title; otherwise as `make`."""
    wide, narrow = (_render(title, paint, Format(n, heights[n] if heights else None)) for n in (False, True))
    return Figure(name, title, caption, alt, wide, narrow)


def color_of(row: Row, analysis: Analysis) -> str:
    if row.method.label == "maglev":
        return INK
    return GREEN if row.method.label == analysis.best_exact else COLORS[row.method.kind]

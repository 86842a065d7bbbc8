"""An animation of a fleet whose backends leave and come back, under two table builders side by side.

An entry is drawn in the colour of its owner. In the frame in which it moves it has a frame of its own if it had to
(its owner left, or its new owner joined), and is red if it moved needlessly.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from envs.backends import hashes_of, sort_order
from envs.rendering import EXCESS, FORCED, Frame
from lab.errors import RequestError, unknown_name
from lab.table_files import read_backends
from lab.tables.registry import get

__all__ = [
    "FORMATS",
    "MOST_BACKENDS",
    "MOST_ENTRIES",
    "Fleet",
    "Moves",
    "animate",
    "follow",
    "format_of",
    "keys_of",
    "sides_of",
    "summary",
]

FORMATS = {".webp": "WEBP", ".gif": "GIF"}
"""Ending of a file's name -> Pillow's name of the format."""

MOST_BACKENDS, MOST_ENTRIES = 16, 1024
"""What can still be told apart."""

_WAVE = 3
"""So many backends are away at most, before the first comes back."""

_OWNERS = (
    *("#77aadd", "#eedd88", "#44bb99", "#d5b8e8", "#bbcc33", "#99ddff", "#e8b27a", "#b7b7b7"),
    *("#8fd4a8", "#f4c6d7", "#aaaa55", "#8f9fd8", "#e9efc0", "#63c7c7", "#d3bfa0", "#e6e6f5"),
)
"""After Paul Tol's light scheme: all lighter than the red by far, so that it stands out in any colour vision."""
_RED, _INK, _SOFT, _LINE, _PAPER = "#b3001b", "#1f2328", "#57606a", "#d0d7de", "#ffffff"

_SCALE = 2
"""Pixels for each unit of length below: sharp on dense screens too."""
_STEP_MS, _FIRST_MS, _LAST_MS = 800, 1600, 4000


@dataclass(frozen=True)
class Fleet:
    """A fleet over time.

    Attributes:
        keys: N backends, in the order of identity.
        present: bool (steps + 1, N), at first all; each row differs from the one before it in one backend.
    """

    keys: tuple[str, ...]
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, keys: Sequence[str], steps: int, seed: int = 0) -> Fleet:
        """Backends leave one by one until three are away (one must stay), come back one by one, and so on.

        Args:
            keys: 2 to `MOST_BACKENDS` backends.
            steps: how many leave or come back.
            seed: who leaves and who comes back.

        Raises:
            RequestError: too few or too many backends, or a step too few.
        """
        if not 2 <= len(keys) <= MOST_BACKENDS:
            raise RequestError(f"expected 2 to {MOST_BACKENDS} backends, told apart by colour, but got {len(keys)}")
        if steps < 1:
            raise RequestError(f"expected at least one step, but got {steps}")
        rng = np.random.default_rng(seed)
        here = np.ones(len(keys), dtype=bool)
        rows, leaving, wave = [here.copy()], True, min(_WAVE, len(keys) - 1)
        for _ in range(steps):
            away = int((~here).sum())
            leaving = away == 0 or (leaving and away < wave)
            column = rng.choice(np.flatnonzero(here if leaving else ~here))
            here[column] = not leaving
            rows.append(here.copy())
        return cls(tuple(keys[place] for place in sort_order(keys)), np.array(rows))

    def event(self, step: int) -> str:
        """What happens at a step from 1 on: `10.0.0.3:80 leaves`."""
        (column,) = np.flatnonzero(self.present[step] != self.present[step - 1])
        return f"{self.keys[column]} {'comes back' if self.present[step, column] else 'leaves'}"


@dataclass(frozen=True)
class Moves:
    """The tables of one builder over a fleet's time.

    Attributes:
        label: what the builder is called.
        tables: int32 (steps + 1, size), columns of the fleet.
        needless, forced: bool (steps + 1, size), the entries that moved at a step; none at first.
    """

    label: str
    tables: NDArray[np.int32]
    needless: NDArray[np.bool_]
    forced: NDArray[np.bool_]

    def needless_so_far(self, step: int) -> int:
        """Entries moved needlessly, over all steps up to this one."""
        return int(self.needless[: step + 1].sum())


def follow(fleet: Fleet, builders: Mapping[str, str], size: int) -> list[Moves]:
    """The tables of builders over a fleet's time.

    Args:
        fleet: the fleet.
        builders: label -> what `lab.tables` calls the builder. Stateless ones: a table is that of the present set.
        size: entries of a table, at most `MOST_ENTRIES`.

    Raises:
        RequestError: an unknown builder, a stateful one, or a size that it or the picture cannot take.
    """
    if not 1 <= size <= MOST_ENTRIES:
        raise RequestError(f"expected 1 to {MOST_ENTRIES} entries, which a picture can show, but got {size}")
    found = []
    hashes = np.broadcast_to(hashes_of(fleet.keys), (len(fleet.present), len(fleet.keys), 4))
    for label, name in builders.items():
        builder = get(name)
        if not builder.stateless:
            raise RequestError(f"expected a stateless builder, but got {name!r}, which needs the table in force")
        builder.check(size, len(fleet.keys))
        tables = builder.build_batch(np.ascontiguousarray(hashes), fleet.present, size, None)
        kinds = np.zeros(tables.shape, dtype=np.int64)
        whole = np.ones((2, size), dtype=np.bool_)
        for step in range(1, len(tables)):
            before, after = fleet.present[step - 1 : step + 1]
            kinds[step] = Frame(list(fleet.keys), before, after, tables[step - 1 : step + 1], whole).moves
        found.append(Moves(label, tables, kinds == EXCESS, kinds == FORCED))
    return found


def keys_of(path: Path | None, n: int | None) -> tuple[str, ...]:
    """The backends of a file, or 10.0.0.1:80 and on: `n` of them, or seven if neither is given.

    Raises:
        RequestError: both are given, or a file that cannot be read (`read_backends`) or has weights.
    """
    if path is None:
        return tuple(f"10.0.0.{i}:80" for i in range(1, 8 if n is None else n + 1))
    if n is not None:
        raise RequestError(f"expected a file of backends or their number, but got both {path} and {n}")
    backends = read_backends(path)
    if backends.weights is not None:
        raise RequestError(f"expected backends without weights in {path}: the animation counts moves of even tables")
    return backends.keys


def sides_of(algorithms: Sequence[str]) -> dict[str, str]:
    """What `follow` takes, of two builders by name.

    Raises:
        RequestError: not two that differ.
    """
    if len(algorithms) != 2 or len(set(algorithms)) != 2:
        raise RequestError(f"expected two algorithms that differ, one for each side, but got {', '.join(algorithms)}")
    return {name: name for name in algorithms}


def format_of(path: Path) -> str:
    """Pillow's format for a file's name.

    Raises:
        RequestError: another ending than those of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise unknown_name("ending of an animation's name", path.suffix, FORMATS)
    return FORMATS[path.suffix.lower()]


def summary(moves: Sequence[Moves]) -> str:
    """The end of it in words: `needless moves: maglev 41, learned 17, of 12 × 47 entries`."""
    steps, size = len(moves[0].tables) - 1, moves[0].tables.shape[1]
    counts = ", ".join(f"{each.label} {each.needless_so_far(steps)}" for each in moves)
    return f"needless moves: {counts}, of {steps} × {size} entries"


def animate(fleet: Fleet, moves: Sequence[Moves], form: str, *, narrow: bool = False) -> bytes:
    """Draws the animation: a picture for each step, about 0.8 s each, for ever again.

    Args:
        fleet: the fleet.
        moves: what `follow` found for it, two builders.
        form: `WEBP` or `GIF`.
        narrow: one table below the other, for a phone.

    Returns:
        The file; the same bytes for the same arguments (and versions of Pillow).
    """
    frames = [_picture(fleet, moves, step, narrow) for step in range(len(fleet.present))]
    durations = [_FIRST_MS, *[_STEP_MS] * (len(frames) - 2), _LAST_MS]
    if form == "GIF":
        # One palette for all, of the picture with the most colours: frames with palettes of their own flicker.
        richest = max(frames, key=lambda frame: len(frame.getcolors(1 << 24) or []))
        palette = richest.quantize(64, Image.Quantize.MAXCOVERAGE)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        form,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        **({"lossless": True, "quality": 50, "method": 4} if form == "WEBP" else {"optimize": False}),
    )
    return buffer.getvalue()


# ---- one picture; lengths are in units of _SCALE pixels


@dataclass(frozen=True)
class _Layout:
    """Where things are.

    Attributes:
        width, height: of the picture.
        corners: of the panel of each builder.
        panel: width of a panel.
        columns, cell: entries in a row of a table, and the side of each.
        legend: top of the legend.
        across: backends in a row of it.
    """

    width: int
    height: int
    corners: tuple[tuple[int, int], ...]
    panel: int
    columns: int
    cell: int
    legend: int
    across: int


_MARGIN, _GAP, _TOP, _HEAD, _FOOT, _ROW = 16, 28, 78, 28, 62, 24


def _layout(size: int, panels: int, backends: int, narrow: bool) -> _Layout:
    width, across = (460, 2) if narrow else (920, 4)
    side_by_side = 1 if narrow else panels
    panel = (width - 2 * _MARGIN - _GAP * (side_by_side - 1)) // side_by_side
    # Twice as wide as high: both tables fit a page.
    columns = min(size, math.ceil(math.sqrt(2 * size)))
    cell = panel // columns
    height = _HEAD + cell * math.ceil(size / columns) + _FOOT
    corners = [
        (_MARGIN, _TOP + i * (height + 14)) if narrow else (_MARGIN + i * (panel + _GAP), _TOP) for i in range(panels)
    ]
    legend = corners[-1][1] + height + 10
    rows = math.ceil(backends / across) + (2 if narrow else 1)
    return _Layout(width, legend + rows * _ROW + _MARGIN, tuple(corners), panel, columns, cell, legend, across)


def _picture(fleet: Fleet, moves: Sequence[Moves], step: int, narrow: bool) -> Image.Image:
    last = len(fleet.present) - 1
    layout = _layout(moves[0].tables.shape[1], len(moves), len(fleet.keys), narrow)
    image = Image.new("RGB", (layout.width * _SCALE, layout.height * _SCALE), _PAPER)
    pen = _Pen(ImageDraw.Draw(image))
    question = "Who moves entries needlessly?"
    title = question if narrow else f"Backends leave and come back: {question.lower()}"
    pen.text((_MARGIN, 12), title, 18, bold=True)
    here = f"{fleet.present[step].sum()} of {len(fleet.keys)} backends are there"
    event = f"step {step} of {last}: {fleet.event(step)}" if step else "at first"
    pen.text((_MARGIN, 44), f"{event}; {here}", 13 if narrow else 15, color=_INK)
    most = max(1, *(each.needless_so_far(last) for each in moves))
    for each, corner in zip(moves, layout.corners, strict=True):
        _panel(pen, each, step, corner, layout, most)
    _legend(pen, fleet, step, layout)
    return image


def _panel(pen: _Pen, moves: Moves, step: int, corner: tuple[int, int], layout: _Layout, most: int) -> None:
    left, top = corner
    pen.text((left, top), pen.fitting(moves.label, layout.panel, 16, bold=True), 16, bold=True)
    top += _HEAD
    for entry, owner in enumerate(moves.tables[step].tolist()):
        row, column = divmod(entry, layout.columns)
        box = (left + column * layout.cell, top + row * layout.cell, layout.cell - 2, layout.cell - 2)
        red = bool(moves.needless[step, entry])
        pen.cell(box, owner, red=red, framed=bool(moves.forced[step, entry]))
    size = moves.tables.shape[1]
    top += layout.cell * math.ceil(size / layout.columns) + 6
    had_to, needless = int(moves.forced[step].sum()), int(moves.needless[step].sum())
    pen.text((left, top), f"moved now: {had_to} had to, {needless} needlessly", 13, color=_SOFT)
    so_far = moves.needless_so_far(step)
    pen.text((left, top + 20), f"needless so far: {so_far} of {step} × {size} entries", 14, bold=True, color=_RED)
    bar = (left, top + 43, layout.panel - 4, 8)
    pen.box(bar, "#eceff2")
    if so_far:
        pen.box((*bar[:2], max(2, round(bar[2] * so_far / most)), bar[3]), _RED)


def _legend(pen: _Pen, fleet: Fleet, step: int, layout: _Layout) -> None:
    width = (layout.width - 2 * _MARGIN) // layout.across
    for column, key in enumerate(fleet.keys):
        row, place = divmod(column, layout.across)
        left, top = _MARGIN + place * width, layout.legend + row * _ROW
        there = bool(fleet.present[step, column])
        pen.cell((left, top, 17, 17), column, faded=not there)
        text = pen.fitting(key if there else f"{key} (away)", width - 30, 12)
        pen.text((left + 24, top + 1), text, 12, color=_INK if there else _SOFT)
    top = layout.legend + _ROW * math.ceil(len(fleet.keys) / layout.across)
    marks = (
        (True, False, "moved needlessly"),
        (False, True, "had to move: its owner left, or its new owner came back"),
    )
    left = _MARGIN
    for red, framed, text in marks:
        if left + 24 + pen.length(text, 12) > layout.width - _MARGIN:
            left, top = _MARGIN, top + _ROW
        pen.cell((left, top, 17, 17), None, red=red, framed=framed)
        pen.text((left + 24, top + 1), text, 12)
        left += 24 + math.ceil(pen.length(text, 12)) + 28


class _Pen:
    """Draws in units."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def text(self, at: tuple[int, int], text: str, size: int, *, bold: bool = False, color: str = _INK) -> None:
        self._draw.text((at[0] * _SCALE, at[1] * _SCALE), text, fill=color, font=_font(size, bold))

    def length(self, text: str, size: int, *, bold: bool = False) -> float:
        return float(self._draw.textlength(text, font=_font(size, bold))) / _SCALE

    def fitting(self, text: str, width: int, size: int, *, bold: bool = False) -> str:
        """The text, or its beginning and end where it is too long."""
        whole = text
        for kept in range(len(whole) // 2, 1, -1):
            if self.length(text, size, bold=bold) <= width:
                break
            text = f"{whole[:kept]}…{whole[-kept:]}"
        return text

    def box(self, box: tuple[int, int, int, int], fill: str, outline: str | None = None, width: int = 1) -> None:
        left, top, across, down = (value * _SCALE for value in box)
        self._draw.rectangle((left, top, left + across - 1, top + down - 1), fill, outline, width * _SCALE)

    def cell(
        self,
        box: tuple[int, int, int, int],
        owner: int | None,
        *,
        red: bool = False,
        framed: bool = False,
        faded: bool = False,
    ) -> None:
        """An entry, or the sign of a backend: its colour and its letter."""
        fill = _PAPER if owner is None or owner < 0 or faded else _OWNERS[owner]
        self.box(box, _RED if red else fill, _INK if framed else _LINE if fill == _PAPER else None, 2 if framed else 1)
        size = round(0.5 * box[2])
        if owner is not None and owner >= 0 and size >= 6:
            middle = ((box[0] + box[2] / 2) * _SCALE, (box[1] + box[3] / 2) * _SCALE)
            color = _PAPER if red else _SOFT if faded else _INK
            self._draw.text(middle, chr(ord("A") + owner), fill=color, font=_font(min(size, 18), red), anchor="mm")


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size * _SCALE)

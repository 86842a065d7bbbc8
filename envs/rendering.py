"""Frames of two lookup tables: entries coloured by owner, what moved and what had to."""

from __future__ import annotations

import colorsys
import dataclasses
import string
import uuid
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from envs.errors import unknown_name
from envs.scenarios import ScenarioBatch
from envs.scoring import loads, optimal_change

MODES = ("ansi", "rgb_array")
YET_TO_COME, KEPT, FORCED, EXCESS = range(4)

_SYMBOLS = string.digits[1:] + string.ascii_letters
_MOVES = {YET_TO_COME: " ", KEPT: ".", FORCED: "f", EXCESS: "X"}
_MOVE_COLORS = {YET_TO_COME: "#ffffff", KEPT: "#d9ead3", FORCED: "#f6b26b", EXCESS: "#cc0000"}
_WIDTH = 64  # entries a line


@dataclasses.dataclass(frozen=True)
class Frame:
    """One episode so far.

    Attributes:
        names: the short names of the union's backends, by column.
        before: bool (N,), the set before.
        after: bool (N,), the set after.
        tables: int (2, size), in columns; -1 is nobody, or yet to come.
        given: bool (2, size), the entries that each of the two tables has been given.
    """

    names: list[str]
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    tables: NDArray[np.int32]
    given: NDArray[np.bool_]

    @property
    def moves(self) -> NDArray[np.int64]:
        """For each entry YET_TO_COME, KEPT, FORCED or EXCESS, int (size,)."""
        former, owner = self.tables
        left, joined = np.append(self.before & ~self.after, False), np.append(self.after & ~self.before, False)
        moves = np.where(former == owner, KEPT, np.where(left[former] | joined[owner], FORCED, EXCESS))
        moves[~self.given[1]] = YET_TO_COME
        return moves

    @property
    def headline(self) -> str:
        """What the two tables come to so far, in words."""
        moves, size = self.moves, self.tables.shape[1]
        least = round(float(optimal_change(self.before[None], self.after[None], size)[0]) * size)
        forced, excess = int((moves == FORCED).sum()), int((moves == EXCESS).sum())
        return (
            f"{forced + excess} of {size} entries moved: {forced} had to (owner left, or new owner joined), "
            f"{excess} needlessly; two even tables move at least {least}"
        )

    def fate(self, column: int) -> str:
        """What becomes of a backend and of its entries."""
        had, has = loads(self.tables, len(self.names))[:, column]
        if self.before[column] and self.after[column]:
            return f"stays, {had} -> {has}"
        return f"leaves, had {had}" if self.before[column] else f"joins, has {has}"

    def title(self, which: int) -> str:
        """What the before (0) or after (1) table is, and how far."""
        n, size = int((self.before, self.after)[which].sum()), self.tables.shape[1]
        name = ("before", "after")[which]
        return f"{name}: {n} backend{'s' if n > 1 else ''}, {self.given[which].sum()} of {size} entries given"


def checked_mode(mode: str | None) -> str | None:
    """The render mode.

    Raises:
        RequestError: for an unknown mode.
    """
    if mode is not None and mode not in MODES:
        raise unknown_name("render mode", mode, MODES)
    return mode


def render(
    mode: str | None, scenarios: ScenarioBatch, tables: NDArray[np.int32], given: NDArray[np.bool_]
) -> list[Any]:
    """The frames of B episodes.

    Args:
        mode: "ansi" or "rgb_array"; None renders nothing, with a warning, as Gymnasium's environments do.
        scenarios: B scenarios.
        tables: int32 (2, B, size), in columns.
        given: bool (2, B, size), the entries that each of the two tables has been given.

    Returns:
        B strings with ANSI colours, or B uint8 arrays of shape (height, width, 3), or B times None.

    Raises:
        DependencyNotInstalled: for "rgb_array" without matplotlib.
    """
    if mode is None:
        gym.logger.warn('render() without a render_mode does nothing: make the environment with render_mode="ansi".')
        return [None] * len(scenarios)
    draw = _ansi if mode == "ansi" else _rgb_array
    frames = []
    for row in range(len(scenarios)):
        union = scenarios.before[row] | scenarios.after[row]
        place = np.append(np.cumsum(union) - 1, -1)
        names = [uuid.UUID(bytes=raw.tobytes()).hex[:8] for raw in scenarios.ids[row][union]]
        before, after = scenarios.before[row][union], scenarios.after[row][union]
        frames.append(draw(Frame(names, before, after, place[tables[:, row]].astype(np.int32), given[:, row])))
    return frames


def _lines(size: int) -> list[slice]:
    lines = -(-size // _WIDTH)
    width = -(-size // lines)
    return [slice(start, min(start + width, size)) for start in range(0, size, width)]


def _colors(n: int) -> list[tuple[float, float, float]]:
    """n colours that neighbours can be told apart by: golden-ratio hues at three lightnesses."""
    return [colorsys.hls_to_rgb(i * 0.618034 % 1, (0.62, 0.78, 0.48)[i % 3], 0.65) for i in range(n)]


def _ansi(frame: Frame) -> str:
    colors = [tuple(round(255 * c) for c in color) for color in _colors(len(frame.names))]

    def cell(column: int, come: bool) -> str:
        if column < 0:
            return "!" if come else " "
        red, green, blue = colors[column]
        return f"\x1b[30;48;2;{red};{green};{blue}m{_SYMBOLS[column % len(_SYMBOLS)]}\x1b[0m"

    size = frame.tables.shape[1]
    text = [frame.title(0), frame.title(1)]
    for line in _lines(size):
        for which, name in enumerate(("before", "after")):
            cells = (cell(int(frame.tables[which, e]), bool(frame.given[which, e])) for e in range(size)[line])
            text.append(f"{name:>7} {''.join(cells)}")
        text.append(f"{'moved':>7} {''.join(_MOVES[int(move)] for move in frame.moves[line])}")
    text += [". kept, f had to move, X moved needlessly, ! no backend", frame.headline]
    text.append("backends, and how many entries they have:")
    for column, name in enumerate(frame.names):
        text.append(f"{cell(column, True)} {name} {frame.fate(column)}")
    return "\n".join(text) + "\n"


def _rgb_array(frame: Frame) -> NDArray[np.uint8]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as error:
        raise DependencyNotInstalled('matplotlib is not installed, run `pip install "matplotlib>=3.9"`') from error

    size, lines = frame.tables.shape[1], _lines(frame.tables.shape[1])
    width = lines[0].stop
    colors = _colors(len(frame.names))
    legend_rows = -(-len(frame.names) // 6)
    figure = Figure(figsize=(13, 1.9 + 1.45 * len(lines) + 0.24 * legend_rows), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    height = figure.get_size_inches()[1]
    top = 1 - 0.85 / height
    bottom = (0.7 + 0.24 * legend_rows) / height
    axes = figure.add_axes((0.065, bottom, 0.925, top - bottom))
    axes.set_xlim(0, width + 0.05)
    axes.set_ylim(len(lines) * 3.6 - 0.2, 0)
    axes.axis("off")
    for number, line in enumerate(lines):
        base = 3.6 * number
        for which, name in enumerate(("before", "after", "moved?")):
            y = base + which
            axes.text(-0.4, y + 0.5, name, ha="right", va="center", fontsize=11)
            for entry in range(size)[line]:
                if which < 2:
                    column, come = int(frame.tables[which, entry]), bool(frame.given[which, entry])
                    color: Any = colors[column] if column >= 0 else ("#000000" if come else "#ffffff")
                    label = str(column + 1) if column >= 0 else ("none" if come else "")
                else:
                    move = int(frame.moves[entry])
                    color, label = _MOVE_COLORS[move], {FORCED: "f", EXCESS: "X"}.get(move, "")
                x = entry - line.start
                axes.add_patch(_cell(x, y, color))
                ink = "white" if color in ("#000000", "#cc0000") else "black"
                axes.text(x + 0.5, y + 0.5, label, ha="center", va="center", fontsize=7, color=ink)
        for entry in range(size)[line]:
            if entry % 5 == 0:
                axes.text(entry - line.start + 0.5, base + 3.22, str(entry), ha="center", va="center", fontsize=7)
    figure.text(0.01, 1 - 0.28 / height, f"{frame.title(0)};  {frame.title(1)}", fontsize=13, weight="bold")
    figure.text(0.01, 1 - 0.58 / height, frame.headline, fontsize=11)
    kinds = ((KEPT, "kept its backend"), (FORCED, "f  had to move"), (EXCESS, "X  moved needlessly"))
    meaning = [Patch(facecolor=_MOVE_COLORS[move], edgecolor="#999999", label=label) for move, label in kinds]
    meaning.append(Patch(facecolor="#000000", label="no backend"))
    backends = [
        Patch(facecolor=colors[c], edgecolor="#999999", label=f"{c + 1}: {name} {frame.fate(c)}")
        for c, name in enumerate(frame.names)
    ]
    style: dict[str, Any] = {
        "loc": "lower left",
        "frameon": False,
        "fontsize": 8.5,
        "borderpad": 0,
        "handlelength": 1.2,
    }
    figure.legend(handles=meaning, ncols=4, bbox_to_anchor=(0.01, (0.34 + 0.24 * legend_rows) / height), **style)
    style |= {"title": "backends, and how many entries they have", "title_fontsize": 8.5, "alignment": "left"}
    figure.legend(handles=backends, ncols=6, bbox_to_anchor=(0.01, 0.08 / height), columnspacing=1.2, **style)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _cell(x: float, y: float, color: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), 1, 1, facecolor=color, edgecolor="#666666", linewidth=0.5)

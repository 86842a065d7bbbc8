"""The figures about methods: error against length, success over seeds, and success by what a sweep searched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lab.compare.drawing import GREY, INK, LINES, Figure, Format, make
from lab.compare.l1 import sentences, words
from lab.compare.l1.analysis import Row
from lab.compare.l1.grid import Grid
from lab.compare.l1.success import DECIDES, SUCCESS, Proportion
from lab.compare.statistics import Interval

__all__ = ["draw", "heat_cell"]

# Okabe & Ito's palette, dark enough for lines on white: the first is for cells within the rule.
_RULE = ("#0060a8", "#00664b", "#7a3e9d")
_OTHER = ("#b34700", "#8a6d00", "#a8326e", "#4d4d4d", "#2b7a8c", "#5c4033")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MANY = 12
"""From so many seeds on, the line of each seed is drawn thinner still."""


def draw(rows: Sequence[Row], floor: dict[int, Interval], grids: Sequence[Grid]) -> list[Figure]:
    """All figures about methods, the main one first."""
    figures = [_by_length(rows, floor), _success(rows)] if rows else []
    return figures + [_grid(each, index) for index, each in enumerate(grids)]


def _colors(rows: Sequence[Row]) -> list[str]:
    used = {True: 0, False: 0}
    colors = []
    for row in rows:
        palette = _RULE if row.rule else _OTHER
        colors.append(palette[used[row.rule] % len(palette)])
        used[row.rule] += 1
    return colors


# ---- error against length


def _by_length(rows: Sequence[Row], floor: dict[int, Interval]) -> Figure:
    caption = (
        "Relative error of the sum of absolute values against the length of the sequence, both axes logarithmic; down "
        "is better. A line is the median over seeds and held-out sequences, its band the 95 % bootstrap interval over "
        "seeds; one seed has no band and is not a result. Thin lines are the medians of single seeds. The thin dashed "
        "line is what summing exactly the right numbers in float32 costs: no network that adds in float32 can be "
        "expected below it. What lies above 100 is drawn there. The dotted lines mark success: at most "
        f"{words.error(SUCCESS)} at {DECIDES:,} numbers."
    )
    ends = "; ".join(
        f"{row.method.label} "
        + ", ".join(f"{words.error(interval.value)} at {length:,}" for length, interval in row.median.items())
        for row in rows
    )
    return make(
        "error-by-length",
        sentences.length_title(rows),
        caption,
        f"Median relative error by length of the sequence: {ends}; float32 summation itself "
        + ", ".join(f"{words.error(interval.value)} at {length:,}" for length, interval in floor.items()),
        lambda axes, form: _paint_by_length(axes, rows, floor, form),
        heights=(5.4, 5.6) if len(rows) > 4 else None,
    )


def _paint_by_length(axes: Axes, rows: Sequence[Row], floor: dict[int, Interval], form: Format) -> None:
    for index, (row, color) in enumerate(zip(rows, _colors(rows), strict=True)):
        lengths = list(row.median)
        thin = 0.5 if row.method.seeds < _MANY else 0.25
        if row.method.seeds > 1:
            for seed in range(row.method.seeds):
                axes.plot(
                    lengths, [_shown(row.by_seed[n][seed]) for n in lengths], "-", color=color, lw=0.5, alpha=thin * 0.6
                )
            axes.fill_between(
                lengths,
                [_shown(row.median[n].low) for n in lengths],
                [_shown(row.median[n].high) for n in lengths],
                color=color,
                alpha=0.22,
                lw=0,
            )
        axes.plot(
            lengths,
            [_shown(row.median[n].value) for n in lengths],
            LINES[index % len(LINES)],
            marker=_MARKERS[index % len(_MARKERS)],
            ms=4.5,
            lw=1.7,
            color=color,
            label=f"{row.method.label} ({words.short_seeds(row)})",
        )
    axes.plot(
        list(floor),
        [_shown(i.value) for i in floor.values()],
        ls=(0, (4, 3)),
        color=INK,
        lw=1.1,
        zorder=5,
        label="float32 summation itself",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    # Divergence has no end: what lies above 100 is drawn at the edge.
    axes.set_ylim(max(low, 1e-9), min(high, _TOP * 1.6))
    axes.axhline(SUCCESS, color=INK, lw=0.9, ls=":")
    axes.axvline(DECIDES, color=INK, lw=0.9, ls=":")
    axes.set_xlabel("length of the sequence (numbers)")
    axes.set_ylabel("relative error (share of the sum)")
    _legend_below(axes, form, len(rows) + 1)


_TOP = 100.0
_BOTTOM = 1e-9


def _shown(value: float | None) -> float:
    """A value where it can be drawn: a logarithmic axis has no 0 and no end."""
    return min(max(_TOP if value is None else value, _BOTTOM), _TOP)


def _legend_below(axes: Axes, form: Format, entries: int) -> None:
    """The legend under the axes, where it covers no line; its rows are taken from the height of the axes."""
    columns = 1 if form.narrow else 2
    lines = -(-entries // columns)
    room = (lines * form.text * 1.75 + form.text * 5.4) / (form.size[1] * 72)
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    canvas.subplots_adjust(bottom=room)
    box = axes.get_position()
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -form.text * 4.2 / (box.height * form.size[1] * 72)),
        ncols=columns,
        handlelength=2.6,
        borderaxespad=0.0,
    )


# ---- success


def _success(rows: Sequence[Row]) -> Figure:
    caption = (
        f"A seed succeeds if the median relative error of its network is at most {words.error(SUCCESS)} on held-out "
        f"sequences of {DECIDES:,} numbers. Marks are shares of seeds, bars their Wilson 95 % intervals; the numbers "
        "are seeds that succeeded, and seeds in all. Filled marks are cells within the rule, hollow ones are not."
    )
    if any(map(words.one_of_many, rows)):
        caption += (
            " Squares are sweeps: all trials of the cell, whatever their configuration, for the best of them has one "
            "seed, which is no result."
        )
    return make(
        "success-by-method",
        sentences.success_title(rows),
        caption,
        "Success over seeds: "
        + "; ".join(f"{words.shown_label(row)} {words.count(words.shown_share(row))}" for row in rows),
        lambda axes, form: _paint_success(axes, rows, form),
        heights=(1.5 + 0.42 * len(rows), 1.6 + 0.5 * len(rows)),
    )


def _paint_success(axes: Axes, rows: Sequence[Row], form: Format) -> None:
    for place, (row, color) in enumerate(zip(rows, _colors(rows), strict=True)):
        share, mark = words.shown_share(row), "s" if words.one_of_many(row) else "o"
        if share.value is None or share.low is None or share.high is None:
            continue
        axes.hlines(place, 100 * share.low, 100 * share.high, color=color, lw=2)
        axes.plot(
            100 * share.value, place, mark, ms=7, mfc=color if row.rule else "white", mec=color, mew=1.6, zorder=4
        )
        axes.annotate(
            f"{share.count}/{share.of}",
            (105, place),
            va="center",
            ha="left",
            annotation_clip=False,
        )
    labels = [words.shown_label(row) for row in rows]
    _names_left(axes, labels, form, right=0.92 if not form.narrow else 0.87)
    axes.set_xlim(-2, 102)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(
        "seeds (squares: trials) that succeed (%)" if any(map(words.one_of_many, rows)) else "seeds that succeed (%)"
    )
    axes.grid(axis="y", visible=False)


def _names_left(axes: Axes, labels: Sequence[str], form: Format, right: float = 0.97) -> None:
    """Names down the left side, with as much room as they need (wrapped on a phone)."""
    import textwrap

    wrapped = ["\n".join(textwrap.wrap(label, 17 if form.narrow else 34)) for label in labels]
    longest = max(len(line) for label in wrapped for line in label.split("\n"))
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    canvas.subplots_adjust(left=(longest * form.text * 0.60 + 12) / (form.size[0] * 72), right=right)
    axes.set_yticks(range(len(wrapped)), wrapped)
    axes.tick_params(axis="y", length=0)


# ---- heat maps


def heat_cell(axes: Axes, x: float, y: float, share: Proportion, size: float) -> None:
    """A cell of a heat map: the darker, the larger the share; the count in it; a dash where nothing was tried."""
    if share.value is None:
        axes.text(x, y, "–", ha="center", va="center", color=GREY, fontsize=size)
        return
    axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fc=shade(share.value), ec="none", zorder=2))
    ink = "white" if share.value > 0.55 else INK
    axes.text(x, y, f"{share.count}/{share.of}", ha="center", va="center", color=ink, fontsize=size, zorder=3)


def shade(share: float) -> tuple[float, float, float]:
    """White-blue at 0 to dark blue at 1: one hue, told apart by lightness in any colour vision."""
    light, dark = np.array([0.925, 0.945, 0.965]), np.array([0.0, 0.235, 0.43])
    r, g, b = light + (dark - light) * share
    return float(r), float(g), float(b)


def _grid(grid: Grid, index: int) -> Figure:
    row_field, column_field = words.field(grid.row_field), words.field(grid.column_field)
    tried = sum(share.of for line in grid.shares for share in line)
    seeds = (
        "All trials share one seed: this says where to look, not how reliable a configuration is."
        if grid.seeds == 1
        else f"Trials have weights and sequences of their own ({grid.seeds} seeds in all), and a single configuration "
        "few of them: this says how often a region succeeds, not how reliable one configuration in it is."
    )
    caption = (
        f"All {tried} trials of the sweep {grid.run}, by {row_field} and {column_field}: how many succeeded, of how "
        f"many; copies of one another count once. The darker, the larger the share; a dash: nothing was tried. What "
        f"else was searched differs within a cell of the figure. {seeds}"
    )
    flat = "; ".join(
        f"{name}: "
        + ", ".join(f"{column} {words.count(s)}" for column, s in zip(grid.columns, line, strict=True) if s.of)
        for name, line in zip(grid.rows, grid.shares, strict=True)
    )
    return make(
        "success-by-search" + (f"-{index + 1}" if index else ""),
        sentences.grid_title(grid),
        caption,
        f"Successes by {row_field} (rows) and {column_field} (columns): {flat}",
        lambda axes, form: _paint_grid(axes, grid, form),
        heights=(1.7 + 0.4 * len(grid.rows), 2.0 + 0.38 * len(grid.rows)),
    )


def _paint_grid(axes: Axes, grid: Grid, form: Format) -> None:
    for y, line in enumerate(grid.shares):
        for x, share in enumerate(line):
            heat_cell(axes, x, y, share, form.text - (0.8 if form.narrow else 0))
    _names_left(axes, grid.rows, form)
    columns = [name.replace(" to ", "\nto ") for name in grid.columns]
    axes.set_xticks(range(len(columns)), columns)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(grid.rows) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.set_xlabel(words.field(grid.column_field))
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    canvas.subplots_adjust(bottom=form.text * 5.4 / (form.size[1] * 72))

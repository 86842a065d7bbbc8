"""The figures about initial signs: success by pattern, and the ways of the weights through their plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from lab.compare.drawing import GREY, INK, Figure, Format, make, make_panels
from lab.compare.l1 import sign_words, words
from lab.compare.l1.figures import heat_cell
from lab.compare.l1.patterns import CONVERGED, CONVERGED_AT, Outcome, Path, Study

__all__ = ["draw_signs"]

_YES, _NO = "#0060a8", "#b34700"
_LIMIT = 2.0
"""The plane is shown from -2 to 2: what leaves it does not come back to (1, 1) in a way worth seeing."""


def draw_signs(study: Study, outcomes: Sequence[Outcome], number: int) -> list[Figure]:
    """The heat map of a study, and its ways through the plane for each activation, with and without biases."""
    suffix = f"-{number + 1}" if number else ""
    figures = [_heat(study, outcomes, suffix)]
    for activation in study.activations:
        for bias in (False, True):
            chosen = [o for o in outcomes if o.activation == activation and o.pattern.bias == bias]
            if any(len(path.recurrent) for outcome in chosen for path in outcome.paths):
                figures.append(_paths(chosen, activation, bias, suffix))
    return figures


def _heat(study: Study, outcomes: Sequence[Outcome], suffix: str) -> Figure:
    names = list(dict.fromkeys(o.pattern.name for o in outcomes))
    caption = (
        f"Seeds of each pattern that converge, of how many: the best network in {study.steps:,} steps (by validation) "
        f"has a median relative error of at most {words.error(CONVERGED)} on held-out sequences of {CONVERGED_AT:,} "
        "numbers. The darker, the larger the share. The first column is what the notebook found in one run of its ReLU "
        "cell. A tick: that finding holds; a cross: it is contradicted; a question mark: "
        "undecided. A column without these is shown beside: the notebook's lines are not about it. h is the recurrent "
        "weight, i the input weight, bh and bi are the biases."
    )
    flat = "; ".join(
        f"{sign_words.pattern(o.pattern)}, {words.activation(o.activation)}: {words.count(o.converged)}, the finding: "
        f"{sign_words.finding(o)}"
        for o in outcomes
    )
    rows = len(names) + 1
    return make(
        "success-by-pattern" + suffix,
        sign_words.heat_title(outcomes),
        caption,
        f"Converged seeds by pattern of initial signs. {flat}",
        lambda axes, form: _paint_heat(axes, names, study.activations, outcomes, form),
        heights=(1.15 + 0.31 * rows, 1.35 + 0.31 * rows),
    )


_SIGNS = {"holds": "✓", "contradicted": "✗", "undecided": "?"}


def _paint_heat(
    axes: Axes, names: Sequence[str], activations: Sequence[str], outcomes: Sequence[Outcome], form: Format
) -> None:
    by_place = {(o.pattern.name, o.activation): o for o in outcomes}
    patterns = {o.pattern.name: o.pattern for o in outcomes}
    size = form.text - (0.4 if form.narrow else 0)
    for y, name in enumerate(names):
        axes.text(0, y, sign_words.NOTEBOOK[patterns[name].finding], ha="center", va="center", fontsize=size)
        for x, activation in enumerate(activations, start=1):
            outcome = by_place.get((name, activation))
            if outcome is None:
                continue
            heat_cell(axes, x, y, outcome.converged, size)
            share = outcome.converged.value or 0.0
            sign = "" if outcome.finding is None else _SIGNS[outcome.finding]
            axes.text(
                x + 0.36,
                y,
                sign,
                ha="center",
                va="center",
                fontsize=size,
                zorder=3,
                color="white" if share > 0.55 else INK,
            )
    bare = sum(not patterns[name].bias for name in names)
    if 0 < bare < len(names):
        axes.axhline(bare - 0.5, color=GREY, lw=1.2)
    labels = [sign_words.pattern(patterns[name]) for name in names]
    longest = max(map(len, labels))
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    canvas.subplots_adjust(
        left=(longest * form.text * 0.56 + 12) / (form.size[0] * 72), bottom=form.text * 0.8 / (form.size[1] * 72)
    )
    top = canvas.subplotpars.top
    canvas.subplots_adjust(top=top - form.text * 1.9 / (form.size[1] * 72))
    axes.set_yticks(range(len(labels)), labels)
    notebook = "notebook" if form.narrow else "notebook, one run"
    axes.set_xticks(range(len(activations) + 1), [notebook, *map(words.activation, activations)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, len(activations) + 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _paths(outcomes: Sequence[Outcome], activation: str, bias: bool, suffix: str) -> Figure:
    what = "with biases" if bias else "without biases"
    caption = (
        "The recurrent weight h against the input weight i through training, one line a seed: blue where it converged, "
        "orange where it did not. A ring is the first point, a dot the last (a dot alone never moved), the cross the "
        f"solution (1, 1). Shown is the plane from −{_LIMIT:g} to {_LIMIT:g}; what lies outside is drawn at the edge."
        + (" With biases the plane is a shadow of a space of four dimensions." if bias else "")
    )
    columns, narrow_columns = 4 if len(outcomes) > 6 else 3, 2
    rows, narrow_rows = -(-len(outcomes) // columns), -(-len(outcomes) // narrow_columns)
    return make_panels(
        f"paths-{activation}-{'bias' if bias else 'no-bias'}{suffix}",
        sign_words.paths_title(outcomes, activation, bias),
        caption,
        f"Paths of the two weights, {words.activation(activation)}, {what}: "
        + "; ".join(f"{sign_words.pattern(o.pattern)}: {words.count(o.converged)} converge" for o in outcomes),
        lambda canvas, form: _paint_paths(canvas, outcomes, narrow_columns if form.narrow else columns, form),
        heights=(1.1 + 2.25 * rows, 1.2 + 1.95 * narrow_rows),
    )


def _paint_paths(canvas: Canvas, outcomes: Sequence[Outcome], columns: int, form: Format) -> None:
    rows = -(-len(outcomes) // columns)
    height = form.size[1] * 72
    canvas.subplots_adjust(
        left=form.text * 4.6 / (form.size[0] * 72),
        right=0.985,
        bottom=form.text * 6.2 / height,
        top=canvas.subplotpars.top - form.text * 1.6 / height,
        hspace=0.34,
        wspace=0.12,
    )
    grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(outcomes):
            axes.set_visible(False)
            # The panel above it is the last of its column: it needs the numbers.
            above = place - columns
            if above >= 0:
                grid.flat[above].tick_params(labelbottom=True)
            continue
        outcome = outcomes[place]
        for converged, color in ((False, _NO), (True, _YES)):
            _paint_ways(axes, [path for path in outcome.paths if path.converged == converged], color)
        axes.plot(1, 1, "+", color=INK, ms=9, mew=1.6, zorder=6)
        axes.set_title(
            f"{sign_words.pattern(outcome.pattern)}\n{words.count(outcome.converged)} converge",
            fontsize=form.text - 0.6,
            pad=3,
        )
        axes.set_xlim(-_LIMIT * 1.04, _LIMIT * 1.04)
        axes.set_ylim(-_LIMIT * 1.04, _LIMIT * 1.04)
        axes.set_xticks([-2, -1, 0, 1, 2])
        axes.set_yticks([-2, -1, 0, 1, 2])
    canvas.text(0.5, form.text * 3.2 / height, "h: recurrent weight", ha="center", va="center")
    middle = (canvas.subplotpars.top + canvas.subplotpars.bottom) / 2
    canvas.text(form.text * 1.1 / (form.size[0] * 72), middle, "i: input weight", rotation=90, ha="center", va="center")
    handles = [
        Line2D([], [], color=_YES, label="converged"),
        Line2D([], [], color=_NO, label="did not"),
        Line2D([], [], color=GREY, marker="o", mfc="white", ls="", label="start"),
        Line2D([], [], color=GREY, marker="o", ls="", label="end"),
        Line2D([], [], color=INK, marker="+", ls="", label="(1, 1)"),
    ]
    canvas.legend(
        handles=handles,
        loc="lower center",
        ncols=5,
        handlelength=1.3,
        columnspacing=1.0,
        handletextpad=0.4,
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=0.2,
    )


def _paint_ways(axes: Axes, paths: Sequence[Path], color: str) -> None:
    ways = [
        np.clip(np.nan_to_num(np.stack([path.recurrent, path.input], axis=1), nan=_LIMIT), -_LIMIT, _LIMIT)
        for path in paths
        if len(path.recurrent)
    ]
    if not ways:
        return
    axes.add_collection(LineCollection(ways, colors=color, linewidths=0.8, alpha=0.6, zorder=3))
    axes.plot(*np.stack([way[0] for way in ways]).T, "o", ms=3.2, mfc="white", mec=color, mew=0.8, zorder=4)
    axes.plot(*np.stack([way[-1] for way in ways]).T, "o", ms=3.2, mfc=color, mec=color, zorder=5)

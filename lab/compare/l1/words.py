"""What a report on the L1 norm says in words: every sentence follows from a figure of its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lab.compare.l1.success import SUCCESS, Proportion
from lab.compare.methods import ENOUGH_SEEDS
from lab.compare.statistics import Interval
from lab.compare.words import duration, names

if TYPE_CHECKING:
    from lab.compare.l1.analysis import Row
    from lab.compare.l1.grid import Grid
    from lab.compare.l1.patterns import Outcome
    from lab.tasks.l1_norm.signs import Pattern

__all__ = [
    "CELLS",
    "FINDINGS",
    "NOTEBOOK",
    "activation",
    "count",
    "error",
    "error_interval",
    "field",
    "grid_title",
    "heat_title",
    "lead",
    "length_title",
    "of_pattern",
    "of_seeds",
    "one_of_many",
    "paths_title",
    "pattern",
    "share",
    "short_seeds",
    "shown_share",
    "sign_lead",
    "solved",
    "step",
    "success_title",
    "summary",
]

AIM_SHARE, AIM_LOW, AIM_ERROR, AIM_SEEDS = 0.95, 0.87, 1e-5, 64
"""What a cell within the rule is to reach: this share of so many seeds, the lower bound, the median error at 10,000."""

CELLS = {
    "notebook": "the notebook's: the absolute value by a comparison, then one recurrent unit",
    "relu": "a dense layer of ReLU units that can learn the absolute value, and a linear state that adds up",
    "leaky": "a dense layer of leaky ReLU units that can learn the absolute value, and a state with a leaky ReLU on it",
    "irnn": "a ReLU network whose recurrent weights start as the identity (Le, Jaitly and Hinton 2015)",
    "tanh": "Elman's recurrent network with tanh units",
    "gru": "a gated recurrent unit (GRU)",
    "lstm": "a long short-term memory (LSTM)",
    "nau": "a Neural Addition Unit behind a layer of ReLU units (Madsen and Johansen 2020)",
}
"""Name of a cell -> what it is, for a reader who has not seen the code."""

FINDINGS = {"holds": "holds", "contradicted": "is contradicted", "undecided": "is undecided"}
NOTEBOOK = {"converges": "yes", "slowly": "yes, slowly", "fast": "yes, fast", "not": "no"}
_FOUND = {"converges": "converges", "slowly": "converges slowly", "fast": "converges fast", "not": "does not converge"}
_LISTED = 4
"""More undecided patterns than these are counted, not listed."""

_ENDLESS = 1e9
"""Relative errors from here on are as wrong as can be: the state grows without end."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def error(value: float | None) -> str:
    """A relative error: `0`, `3.1×10⁻⁶`, `10⁻⁴`, `0.0042`, `0.63`, `12`; `over 10⁹` for what has no end."""
    if value is None or value >= _ENDLESS:
        return "over 10⁹"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}×{power}"


def error_interval(interval: Interval) -> str:
    """`3.1×10⁻⁶ [2.9×10⁻⁶, 3.4×10⁻⁶]`."""
    if interval.low is None or interval.high is None:
        return error(interval.value)
    return f"{error(interval.value)} [{error(interval.low)}, {error(interval.high)}]"


def step(value: float | None) -> str:
    """A number of gradient steps; `never` where half of the seeds did not get there."""
    return "never" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    return "never" if value is None else duration(value)


def solved(row: Row) -> str:
    """When a method came to stay at success, for a table: the median seed's steps, or that half never did."""
    if not row.solved.of:
        return "not validated at this length"
    return step(row.steps.value) if row.steps.value is not None else f"never ({count(row.solved)} did)"


def share(proportion: Proportion) -> str:
    """`98 % [92, 100]`."""
    if proportion.value is None or proportion.low is None or proportion.high is None:
        return "none tried"
    return f"{100 * proportion.value:.0f} % [{100 * proportion.low:.0f}, {100 * proportion.high:.0f}]"


def count(proportion: Proportion) -> str:
    """`63 of 64`."""
    return f"{proportion.count} of {proportion.of}"


def cell(name: str) -> str:
    """What a cell is."""
    return CELLS.get(name, f"called {name}")


def field(name: str) -> str:
    """A field of a configuration in words."""
    return name.replace("_", " ")


def activation(name: str) -> str:
    return {"relu": "ReLU", "leaky": "leaky ReLU"}.get(name, name)


def pattern(of: Pattern) -> str:
    """`h+, i small −, bh+, bi−`."""
    parts = [("h", of.h), ("i", of.i), ("bh", of.bh), ("bi", of.bi)]
    return ", ".join(
        f"{name}{' small ' if start.largest < 1 else ''}{'+' if start.sign > 0 else '−'}"
        for name, start in parts
        if start is not None
    )


def short_seeds(row: Row) -> str:
    """For a legend: `64 seeds`, `one seed`."""
    return "one seed" if row.method.seeds == 1 else f"{row.method.seeds} seeds"


# ---- methods


def lead(rows: Sequence[Row], floor: Mapping[int, Interval], decides: int) -> list[str]:
    """The result in a few sentences, the best method first."""
    shown = [row for row in rows if row.method.seeds >= ENOUGH_SEEDS]
    if not shown:
        return [
            "A first look: no method here has five seeds or more, so nothing is said to succeed reliably. "
            + " ".join(_sentence(row, decides) for row in rows[:2])
        ]
    sentences = [_sentence(shown[0], decides)]
    within = next((row for row in shown if row.rule), None)
    if within is not None and within is not shown[0]:
        sentences.append("Within the rule: " + _sentence(within, decides))
    if within is None:
        sentences.append("None of these cells is within the rule.")
    for row in [row for row in shown if row.rule]:
        sentences.append(aim(row, decides))
    if decides in floor:
        sentences.append(
            f"Summing the right numbers in float32 itself costs {error(floor[decides].value)} at {decides:,} numbers."
        )
    return sentences


def _sentence(row: Row, decides: int) -> str:
    return (
        f"{row.method.label}: {of_seeds(row.success)} know the sum of {decides:,} numbers to a relative error of at "
        f"most {error(SUCCESS)} ({share(row.success)}); the median error is {error(row.median[decides].value)}."
    )


def of_seeds(proportion: Proportion) -> str:
    """`63 of 64 seeds`."""
    return f"{count(proportion)} seed{'' if proportion.of == 1 else 's'}"


def aim(row: Row, decides: int) -> str:
    """Whether a cell within the rule reaches what was aimed at."""
    value, low, median = row.success.value or 0.0, row.success.low or 0.0, row.median[decides].value
    missed = []
    if row.method.seeds < AIM_SEEDS:
        missed.append(f"it has {row.method.seeds} seeds")
    if value < AIM_SHARE or low < AIM_LOW:
        missed.append(f"{share(row.success)} succeed")
    if median is None or median > AIM_ERROR:
        missed.append(f"the median error is {error(median)}")
    wanted = (
        f"at least {100 * AIM_SHARE:.0f} % of {AIM_SEEDS} seeds (lower Wilson bound {AIM_LOW}), median error at most "
        f"{error(AIM_ERROR)} at {decides:,} numbers"
    )
    if missed:
        return f"{row.method.label} is not at the aim ({wanted}): {names(missed)}."
    return f"{row.method.label} reaches the aim: {wanted}."


def summary(rows: Sequence[Row], decides: int) -> list[tuple[str, list[str]]]:
    """A heading and sentences for each method."""
    return [(f"{row.method.label} ({row.method.seeds_note})", _sentences(row, decides)) for row in rows]


def _sentences(row: Row, decides: int) -> list[str]:
    lengths = sorted(row.median)
    errors = [f"{error_interval(row.median[n])} at {n:,}" for n in lengths]
    found = [
        f"The cell is {cell(row.method.cell)}; {'within' if row.rule else 'not within'} the rule.",
        f"{_capital(of_seeds(row.success))} succeed{'s' if row.success.of == 1 else ''}: {share(row.success)}.",
        f"Median relative error {names(errors)} numbers; the 95th percentile is {error(row.p95[decides].value)} at "
        f"{decides:,}.",
    ]
    if row.failed:
        found.append(
            f"{row.failed} of {row.method.seeds} trainings ended in figures that are not finite; they count as not "
            "successful, and their errors as without end."
        )
    if not row.solved.of:
        found.append(
            f"Validation was on sequences of {row.validated_at:,} numbers, so nothing is said of the steps to solve."
        )
    elif row.steps.value is None:
        found.append(f"In validation {of_seeds(row.solved)} came to stay at success; half of them never did.")
    else:
        time = f", {seconds(row.seconds.value)} of training" if row.seconds.value is not None else ""
        by = " (each seed's share of the time of all that were trained as one)" if row.shared and time else ""
        who = "the median seed after" if row.method.seeds > 1 else "after"
        found.append(
            f"In validation {of_seeds(row.solved)} came to stay at success, {who} {step(row.steps.value)} "
            f"steps{time}{by}."
        )
    if row.of_cell is not None:
        found.append(
            f"The configuration was picked by validation out of {row.method.searched} trials of this cell, of which "
            f"{count(row.of_cell)} succeed: {share(row.of_cell)}."
        )
    return found


def length_title(rows: Sequence[Row]) -> str:
    best = rows[0]
    lengths = sorted(best.median)
    short, long = best.median[lengths[0]].value, best.median[lengths[-1]].value
    return (
        f"{best.method.label}: median relative error {error(short)} at {lengths[0]:,} numbers, {error(long)} at "
        f"{lengths[-1]:,}"
    )


def success_title(rows: Sequence[Row]) -> str:
    parts = [f"{row.method.label} {count(shown_share(row))}" for row in rows[:2]]
    return f"{'Trials' if all(one_of_many(row) for row in rows) else 'Seeds'} that succeed: {'; '.join(parts)}"


def one_of_many(row: Row) -> bool:
    """Whether a single seed stands for a search: then all trials of its cell say more than that one."""
    return row.of_cell is not None and row.method.seeds == 1


def shown_share(row: Row) -> Proportion:
    """Success over seeds, or over all trials of the cell where a single seed stands for a search."""
    return row.of_cell if row.of_cell is not None and row.method.seeds == 1 else row.success


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def grid_title(grid: Grid) -> str:
    flat = [
        (s.value, s.of, name, column)
        for name, line in zip(grid.rows, grid.shares, strict=True)
        for column, s in zip(grid.columns, line, strict=True)
        if s.value is not None
    ]
    total, tried = sum(s.count for line in grid.shares for s in line), sum(s.of for line in grid.shares for s in line)
    _, _, name, column = max(flat, key=lambda item: (item[0], item[1]))
    text = f"{total} of {tried} trials of the search succeed"
    return text if not total else f"{text}; most at {field(grid.row_field)} {name}, {field(grid.column_field)} {column}"


# ---- signs


def sign_lead(outcomes: Sequence[Outcome]) -> list[str]:
    """How many of the notebook's findings hold, for each activation."""
    found = []
    for name in dict.fromkeys(o.activation for o in outcomes):
        chosen = [o for o in outcomes if o.activation == name]
        groups = {word: [pattern(o.pattern) for o in chosen if o.finding == word] for word in FINDINGS}
        text = f"With {activation(name)}, {len(groups['holds'])} of the notebook's {len(chosen)} findings hold"
        if groups["contradicted"]:
            many = len(groups["contradicted"])
            text += f", {many} {'is' if many == 1 else 'are'} contradicted ({'; '.join(groups['contradicted'])})"
        if groups["undecided"]:
            many = len(groups["undecided"])
            text += f", {many} {'is' if many == 1 else 'are'} undecided"
            text += f" ({'; '.join(groups['undecided'])})" if many <= _LISTED else ""
        found.append(text + ".")
    return found


def of_pattern(outcome: Outcome) -> str:
    """The outcome of one pattern under one activation as a sentence."""
    text = f"{activation(outcome.activation)}: {of_seeds(outcome.converged)} converge, {share(outcome.converged)}"
    if outcome.steps.value is not None:
        text += f", the median seed after {step(outcome.steps.value)} steps"
    text += f"; {outcome.exact.count or 'none'} met the notebook's own criterion (both weights exactly 1)."
    return f"{text} The finding {FINDINGS[outcome.finding]}."


def notebook_says(of: Pattern) -> str:
    """`The notebook: converges slowly.`"""
    return f"The notebook: {_FOUND[of.finding]}."


def heat_title(outcomes: Sequence[Outcome]) -> str:
    parts = []
    for name in dict.fromkeys(o.activation for o in outcomes):
        chosen = [o for o in outcomes if o.activation == name]
        hold = sum(o.finding == "holds" for o in chosen)
        parts.append(f"{hold} of {len(chosen)} with {activation(name)}")
    return f"Which initial signs converge: the notebook's findings hold for {names(parts)}"


def paths_title(outcomes: Sequence[Outcome], name: str, bias: bool) -> str:
    converged, of = sum(o.converged.count for o in outcomes), sum(o.converged.of for o in outcomes)
    return f"{activation(name)}, {'with' if bias else 'without'} biases: {converged} of {of} trainings converge"

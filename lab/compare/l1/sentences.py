"""What a report says of methods in words: every sentence follows from a figure of its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.compare.l1.analysis import Row
from lab.compare.l1.grid import Grid
from lab.compare.l1.success import DECIDES, SUCCESS
from lab.compare.l1.words import (
    capital,
    cell,
    count,
    error,
    error_interval,
    field,
    of_seeds,
    one_of_many,
    seconds,
    share,
    shown_label,
    shown_share,
    step,
)
from lab.compare.methods import ENOUGH_SEEDS
from lab.compare.statistics import Interval
from lab.compare.words import names

__all__ = ["grid_title", "lead", "length_title", "success_title", "summary"]

AIM_SHARE, AIM_LOW, AIM_ERROR, AIM_SEEDS = 0.95, 0.87, 1e-5, 64
"""What a cell within the rule is to reach: this share of so many seeds, the lower bound, the median error."""


def lead(rows: Sequence[Row], floor: Mapping[int, Interval]) -> list[str]:
    """The result in a few sentences, the best method first."""
    shown = [row for row in rows if row.method.seeds >= ENOUGH_SEEDS]
    if not shown:
        return [
            "A first look: no method here has five seeds or more, so none is said to succeed reliably.",
            *_first_look(rows),
        ]
    sentences = [_sentence(shown[0])]
    within = next((row for row in shown if row.rule), None)
    if within is not None and within is not shown[0]:
        sentences.append("Within the rule: " + _sentence(within))
    if within is None:
        sentences.append("None of the cells with five seeds or more is within the rule.")
    sentences += [_aim(row) for row in shown if row.rule]
    if DECIDES in floor:
        sentences.append(
            f"Summing the right numbers in float32 itself costs {error(floor[DECIDES].value)} at {DECIDES:,} numbers."
        )
    return sentences


def _first_look(rows: Sequence[Row]) -> list[str]:
    searched = [row for row in rows if one_of_many(row)]
    sentences = []
    if searched:
        good = [f"{count(shown_share(row))} trials of {row.method.cell}" for row in searched if shown_share(row).count]
        bad = [row.method.cell for row in searched if not shown_share(row).count]
        found = names(good) if good else "no trial"
        text = (
            f"Of what was searched, {found} came to a relative error of at most {error(SUCCESS)} at {DECIDES:,} numbers"
        )
        sentences.append(text + (f"; no trial of {names(bad, 'or')} did." if good and bad else "."))
    return sentences + [_sentence(row) for row in rows if not one_of_many(row)]


def _sentence(row: Row) -> str:
    return (
        f"{row.method.label}: {of_seeds(row.success)} reach a relative error of at most {error(SUCCESS)} at "
        f"{DECIDES:,} numbers, {share(row.success)}; the median error is {error(row.median[DECIDES].value)}."
    )


def _aim(row: Row) -> str:
    """Whether a cell within the rule reaches what was aimed at."""
    value, low, median = row.success.value or 0.0, row.success.low or 0.0, row.median[DECIDES].value
    missed = []
    if row.method.seeds < AIM_SEEDS:
        missed.append(f"it has {row.method.seeds} seeds")
    if value < AIM_SHARE or low < AIM_LOW:
        missed.append(f"{share(row.success)} succeed")
    if median is None or median > AIM_ERROR:
        missed.append(f"the median error is {error(median)}")
    wanted = (
        f"at least {100 * AIM_SHARE:.0f} % of {AIM_SEEDS} seeds (lower Wilson bound {AIM_LOW}), median error at most "
        f"{error(AIM_ERROR)} at {DECIDES:,} numbers"
    )
    if missed:
        return f"{row.method.label} is not at the aim ({wanted}): {names(missed)}."
    return f"{row.method.label} reaches the aim: {wanted}."


def summary(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """A heading and sentences for each method."""
    return [(f"{row.method.label} ({row.method.seeds_note})", _sentences(row)) for row in rows]


def _sentences(row: Row) -> list[str]:
    lengths = sorted(row.median)
    errors = [f"{error_interval(row.median[n])} at {n:,}" for n in lengths]
    found = [f"The cell is {cell(row.method.cell)}; {'within' if row.rule else 'not within'} the rule."]
    if row.of_cell is not None:
        found.append(
            f"{count(row.of_cell)} trials of this cell in its search succeed: {share(row.of_cell)}. What follows is of "
            f"the configuration with the best validation error of them{', one seed' if row.method.seeds == 1 else ''}."
        )
    if not one_of_many(row):
        found.append(f"{capital(of_seeds(row.success))} succeed: {share(row.success)}.")
    found.append(
        f"Median relative error {names(errors)} numbers; the 95th percentile is {error(row.p95[DECIDES].value)} at "
        f"{DECIDES:,}."
    )
    if row.failed:
        found.append(
            f"{row.failed} of {row.method.seeds} trainings ended in figures that are not finite; they count as not "
            "successful, and their errors as without end."
        )
    return [*found, _solving(row)]


def _solving(row: Row) -> str:
    if not row.solved.of:
        return f"Validation was on sequences of {row.validated_at:,} numbers, so nothing is said of the steps to solve."
    who = f"{of_seeds(row.solved)} came" if row.method.seeds > 1 else "it came" if row.solved.count else "it never came"
    if row.steps.value is None:
        never = "; half of them or more never did" if row.method.seeds > 1 else ""
        return f"In validation {who} to stay at success{never}."
    median = "the median seed after" if row.method.seeds > 1 else "after"
    time = f", {seconds(row.seconds.value)} of training" if row.seconds.value is not None else ""
    by = " (its share of the time of all that were trained as one)" if row.shared and time else ""
    return f"In validation {who} to stay at success, {median} {step(row.steps.value)} steps{time}{by}."


def length_title(rows: Sequence[Row]) -> str:
    best = rows[0]
    lengths = sorted(best.median)
    short, long = best.median[lengths[0]].value, best.median[lengths[-1]].value
    return (
        f"{best.method.label}: median relative error {error(short)} at {lengths[0]:,} numbers, {error(long)} at "
        f"{lengths[-1]:,}"
    )


def success_title(rows: Sequence[Row]) -> str:
    parts = [f"{shown_label(row)} {count(shown_share(row))}" for row in rows[:2]]
    return f"How many succeed: {'; '.join(parts)}"


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

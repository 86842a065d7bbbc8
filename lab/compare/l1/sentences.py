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
    not_kept,
    of_seeds,
    one_of_many,
    picked,
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
    sentences += [_aim(row, rows) for row in shown if row.rule]
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
    kept = f", {not_kept(row)}" if not_kept(row) else ""
    how = "; its configuration was picked on these seeds" if row.method.picked_on_its_seeds else ""
    verb = "reaches" if row.success.of == 1 else "reach"
    return (
        f"{row.method.label}: {of_seeds(row.success)} {verb} a relative error of at most {error(SUCCESS)} at "
        f"{DECIDES:,} numbers, {share(row.success)}{kept}; the median error is {error(row.median[DECIDES].value)}{how}."
    )


def _aim(row: Row, rows: Sequence[Row]) -> str:
    """Whether a cell within the rule reaches what was aimed at."""
    faster, speed = _against_notebook(row, rows)
    value, low, median = row.success.value or 0.0, row.success.low or 0.0, row.median[DECIDES].value
    missed = []
    if row.method.picked_on_its_seeds:
        missed.append("its configuration was picked on its seeds")
    if row.method.seeds < AIM_SEEDS:
        missed.append(f"it has {row.method.seeds} seeds")
    if value < AIM_SHARE or low < AIM_LOW:
        missed.append(f"{share(row.success)} succeed")
    if median is None or median > AIM_ERROR:
        missed.append(f"the median error is {error(median)}")
    wanted = (
        f"at least {100 * AIM_SHARE:.0f} % of {AIM_SEEDS} seeds (lower Wilson bound {AIM_LOW}), median error at most "
        f"{error(AIM_ERROR)} at {DECIDES:,} numbers, and faster to solve than the notebook's run on the same machine"
    )
    if faster is False:
        missed.append(speed)
    if missed:
        more = f"; {speed}" if faster is not False else ""
        return f"{row.method.label} is not at the aim ({wanted}): {names(missed)}{more}."
    if faster is None:
        return f"{row.method.label} reaches what could be asked here of the aim ({wanted}): {speed}."
    return f"{row.method.label} reaches the aim ({wanted}): {speed}."


def _against_notebook(row: Row, rows: Sequence[Row]) -> tuple[bool | None, str]:
    """Whether a method is faster to solve than the notebook's run, and that in words; None if it cannot be said.

    Seconds are compared only of runs on equal machines, and shares of a population's time only with shares.
    """
    machine = row.method.run.manifest.machine
    others = [
        each
        for each in rows
        if each.method.run.manifest.preset == each.method.cell == "notebook" and not each.method.searched
    ]
    if not others:
        return None, "speed against the notebook was not compared here, for its run is not among these"
    alike = [each for each in others if each.method.run.manifest.machine == machine]
    if not alike:
        return None, "speed against the notebook was not compared here, for its run was on another machine"
    alike = [each for each in alike if each.shared == row.shared]
    if not alike:
        return None, (
            "speed against the notebook was not compared here, for one was trained alone and the other as one of many"
        )
    other = alike[0]
    if not row.solved.of or not other.solved.of:
        return None, "speed against the notebook was not compared here, for one was not validated at this length"
    mine, its = row.seconds.value, other.seconds.value
    if mine is None:
        return False, "more than half of its seeds never solve it"
    if its is None:
        return True, f"the median seed solves it in {seconds(mine)}, more than half of the notebook's seeds never do"
    return mine < its, f"the median seed solves it in {seconds(mine)}, the notebook's in {seconds(its)}"


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
            f"the configuration with the best validation error of them{', one seed' if row.method.seeds == 1 else ''}"
            f"{', picked on these seeds' if row.method.picked_on_its_seeds else ''}."
        )
    if row.method.copies:
        found.append(
            f"Trials that repeat another, for their cell does not read what they differ in, are left out: "
            f"{row.method.copies}."
        )
    if one_of_many(row):
        found.append(f"It {'succeeds' if row.success.count else 'does not succeed'}: {picked(row)}.")
    else:
        kept = f"; {not_kept(row)}" if not_kept(row) else ""
        verb = "succeeds" if row.success.of == 1 else "succeed"
        found.append(f"{capital(of_seeds(row.success))} {verb}: {share(row.success)}{kept}.")
    found.append(
        f"Median relative error {names(errors)} numbers; the 95th percentile is {error(row.p95[DECIDES].value)} at "
        f"{DECIDES:,}."
    )
    if row.without:
        why = names([f"{many} ({reason})" for reason, many in row.without.items()])
        found.append(
            f"Of {row.method.seeds} trainings {why} left no network; they count as not successful, and their errors as "
            "without end."
        )
    if row.stopped:
        found.append(f"Stopped early, and asked as they were until then: {row.stopped} of {row.method.seeds}.")
    return [*found, _solving(row)]


def _solving(row: Row) -> str:
    if not row.solved.of:
        return f"Validation was on sequences of {row.validated_at:,} numbers, so nothing is said of the steps to solve."
    every = f"In validation, every {row.spacing:,} steps," if row.spacing > 1 else "In validation, after every step,"
    who = f"{of_seeds(row.solved)} came" if row.method.seeds > 1 else "it came" if row.solved.count else "it never came"
    if row.steps.value is None:
        never = "; more than half of them never did" if row.method.seeds > 1 else ""
        return f"{every} {who} to stay at success{never}.{_visits(row)}"
    median = "the median seed after" if row.method.seeds > 1 else "after"
    time = f", {seconds(row.seconds.value)} of training" if row.seconds.value is not None else ""
    by = " (its share of the time of all that were trained as one)" if row.shared and time else ""
    return f"{every} {who} to stay at success, {median} {step(row.steps.value)} steps{time}{by}.{_visits(row)}"


def _visits(row: Row) -> str:
    """Those that were at success at some validation, where not all of them stayed."""
    if row.reached.count == row.solved.count:
        return ""
    if row.method.seeds == 1:
        return " It was there at some validation, but not at the last."
    return f" At any validation {of_seeds(row.reached)} were there; those of them that did not stay moved on."


def length_title(rows: Sequence[Row]) -> str:
    best = rows[0]
    lengths = sorted(best.median)
    short, long = best.median[lengths[0]].value, best.median[lengths[-1]].value
    median = f"median relative error {error(short)} at {lengths[0]:,} numbers, {error(long)} at {lengths[-1]:,}"
    if best.method.seeds == 1:
        # Not a result, so it is not the headline.
        return f"Error against length; one seed of {best.method.cell}: {median}"
    return f"{best.method.label}: {median}"


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

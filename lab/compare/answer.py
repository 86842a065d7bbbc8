"""What a report says first: whether learning beats Maglev, by how much, at what cost, for which n, and what to use."""

from __future__ import annotations

from dataclasses import dataclass

from lab.compare.analysis import Analysis, Difference, Row
from lab.compare.methods import ENOUGH_SEEDS, Training
from lab.compare.words import (
    WINS,
    at_groups,
    beats,
    best_first,
    by_how_much,
    count,
    duration,
    evenness,
    find,
    headline,
    learned,
    percent,
    says,
    seeds,
    sides,
    times_as_long,
    unit,
)

__all__ = ["AnswerRow", "advice", "answer_rows", "best_learned", "lead"]

_MOST_ROWS = 5
"""Trained tables that the first table of a report has."""


@dataclass(frozen=True)
class AnswerRow:
    """A line of the first table of a report, all in words.

    Attributes:
        method: who.
        note: its seeds, whether it is not ranked, and how uneven it is if it is.
        score: the headline score with its interval.
        maglev, best: the difference to Maglev, and to the best exactly even classical table.
        maglev_where, best_where: at which n it is better and worse than that.
        training: what a seed takes to train.
        building: what one table takes to build.
    """

    method: str
    note: str
    score: str
    maglev: str
    maglev_where: str
    best: str
    best_where: str
    training: str
    building: str


def best_learned(analysis: Analysis) -> Row | None:
    """The trained table that the answer is about: the first of `best_first` that is ranked."""
    return next((row for row in best_first(analysis) if row.ranked), None)


def lead(analyses: list[Analysis]) -> list[str]:
    """Whether learning beats Maglev, and the best exactly even classical table, in a sentence each."""
    analysis = analyses[0]
    row = best_learned(analysis)
    maglev = find(analysis, row.method.label, "Maglev") if row else None
    if row is None or maglev is None:
        text = "Nothing trained is compared"
        if analysis.best_exact:
            score = headline(analysis, analysis.row(analysis.best_exact).scores[analysis.headline])
            text += f": the table to beat on {analysis.suite.title} is {analysis.best_exact}, exactly even, "
            text += f"{unit(analysis)} {score}"
        return [f"{text}."]
    score, other = (headline(analysis, each.scores[analysis.headline]) for each in (row, analysis.row("maglev")))
    claim = f"{row.method.label} ({seeds(row)}{'' if row.exact else ', not exactly even'}) "
    if analysis.headline == "churn_ratio":
        claim += f"changes {score} times the least possible, Maglev {other}"
    else:
        claim += f"moves {score} of all entries needlessly, Maglev {other}"
    if maglev.too_few_seeds:
        verdict = "Too few seeds to say. At first look"
    else:
        verdict = {"better": "Yes:", "worse": "No:"}.get(maglev.verdict, "It is not shown to:")
    text = f"{verdict} {claim}; {by_how_much(maglev)}."
    sentences = [text]
    best = find(analysis, row.method.label, "best exactly even classical")
    if best:
        uneven = "" if best.equally_even else ", at unequal evenness"
        sentences.append(
            f"Against {best.baseline}, the best classical table that is exactly even: {by_how_much(best)}{uneven}."
        )
    return sentences


def answer_rows(analyses: list[Analysis]) -> list[AnswerRow]:
    """The best trained tables, and the two classical ones that they must be held against."""
    analysis = analyses[0]
    trained = [row.method.label for row in best_first(analysis)][:_MOST_ROWS]
    wanted = dict.fromkeys([*trained, analysis.best_exact, "maglev"])
    return [_row(analyses, analysis.row(label)) for label in wanted if label is not None]


def _row(analyses: list[Analysis], row: Row) -> AnswerRow:
    analysis, label = analyses[0], row.method.label
    notes = [seeds(row)] if row.method.seeds else []
    notes += [] if row.ranked else ["not ranked"]
    notes += [] if row.exact else [evenness(row)]
    maglev, best = (find(analysis, label, against) for against in ("Maglev", "best exactly even classical"))
    times = row.single_seconds / analysis.row("maglev").single_seconds
    return AnswerRow(
        method=label,
        note="; ".join(notes),
        score=headline(analysis, row.scores[analysis.headline]),
        maglev=by_how_much(maglev) if maglev else "",
        maglev_where=_where(analyses, maglev),
        best=by_how_much(best) if best else "",
        best_where=_where(analyses, best),
        training=_training(row.method.training),
        building=duration(row.single_seconds) + ("" if label == "maglev" else f" ({times_as_long(times)} ×)"),
    )


def _where(analyses: list[Analysis], overall: Difference | None) -> str:
    """`better at n = 3 and 5; worse at n = 27`, by the first suite that tells n apart.

    Where that is not the first suite it is named, and so is its table to beat if it is another one there.
    """
    by_n = next((a for a in analyses if a.suite.by_n), None)
    difference = find(by_n, overall.method, overall.against) if by_n and overall else None
    if by_n is None or overall is None or difference is None:
        return ""
    by_word = sides(difference)
    parts = [f"{says(difference, word)} at {at_groups(by_word[word], difference)}" for word in WINS if by_word[word]]
    text = "; ".join(parts) or "no n shown to differ"
    text += f", {by_n.suite.name}" if by_n is not analyses[0] else ""
    return text + (f" against {difference.baseline}" if difference.baseline != overall.baseline else "")


def _training(training: Training | None) -> str:
    if training is None:
        return ""
    text = duration(sum(training.seconds) / len(training.seconds))
    if training.steps and training.steps_name:
        text += f", {count(sum(training.steps) / len(training.steps))} {training.steps_name.replace('_', ' ')}"
    if training.searched:
        text += f"; the search of {training.searched} trials {duration(training.searched_seconds)}"
    return text


def advice(analyses: list[Analysis]) -> list[tuple[str, str]]:
    """When to use which: (the case, the choice and why). Nothing is advised that too few seeds stand behind."""
    analysis = analyses[0]
    rows = [row for row in analysis.rows if row.ranked and not 0 < row.method.seeds < ENOUGH_SEEDS]
    choices = []

    def say(case: str, row: Row, why: str) -> None:
        score = f"{unit(analysis)} {headline(analysis, row.scores[analysis.headline])}"
        if not row.exact:
            score = f"excess {percent(row.scores['excess'].value)}"
        choices.append((case, f"{row.method.label}: {score}{why}"))

    if analysis.best_exact:
        winners = [row for row in learned(analysis) if row.exact and beats(analysis, row)]
        if winners:
            row = min(winners, key=lambda row: row.scores[analysis.headline].value or 0.0)
            say("Exactly even, fewest moves", row, f", shown better than {analysis.best_exact} over {seeds(row)}.")
        case = "Exactly even, nothing to train" if winners else "Exactly even, fewest moves"
        why = "." if winners else f". No trained table here is shown to be better over {ENOUGH_SEEDS} seeds."
        say(case, analysis.row(analysis.best_exact), why)
    # Modulo builds fastest and moves nearly everything: nobody who cares for stability is served by it.
    plain = [row for row in rows if row.exact and row.method.kind == "classical" and row.method.label != "modulo"]
    if plain:
        fast = min(plain, key=lambda row: row.single_seconds)
        say("Built fast, by simple code", fast, f"; one table takes {duration(fast.single_seconds)}.")
    uneven = sorted((r for r in rows if r.on_front and not r.exact), key=lambda r: r.scores["imbalance"].value or 0.0)
    if uneven:
        say("Evenness may give a little", uneven[0], f", {evenness(uneven[0])}.")
    if len(uneven) > 1:
        say("Stability above all", uneven[-1], f", {evenness(uneven[-1])}.")
    if all(row.method.universe == "any hash" for row in analysis.rows):
        text = "rankings of them move nothing needlessly; that takes a comparison of its own."
        choices.append(("All backends known beforehand", text))
    stateful = next((row for row in analysis.rows if not row.method.stateless), None)
    if stateful:
        say("Balancers share their history", stateful, " is what knowing the table in force would buy.")
    return choices

"""What a report says of codes: every sentence follows from an interval of its JSON."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.compare.methods import ENOUGH_SEEDS
from lab.compare.parity.analysis import RATES, Analysis, Difference, Row
from lab.compare.parity.words import (
    below,
    certainty,
    exactly,
    few,
    group,
    percent,
    percent_interval,
    samples,
    seeds_are,
    servers,
    than,
)
from lab.compare.words import names

__all__ = ["RATE", "RATES", "added_errors", "advice", "aim", "lead", "lost", "summary"]

AIMS = {("digits", 2): 0.010, ("mnist5k", 2): 0.015, ("digits", 4): 0.06, ("mnist5k", 4): 0.06}
"""Data set and k at r = 1 -> how far below its base model A_d may be at most."""

RATE = 0.05
"""The loss rate of which sentences speak."""


def aim(analysis: Analysis, r: int, k: int) -> float | None:
    """How far below the base model A_d may be at most, as a share; None where nothing was aimed at."""
    return AIMS.get((analysis.setting.dataset, k)) if r == 1 else None


def lead(analyses: Sequence[Analysis]) -> list[str]:
    """For each setting how close the best codes come to the base model, and what stands behind it."""
    return [_lead(analysis) for analysis in analyses]


def _lead(analysis: Analysis) -> str:
    name = analysis.setting.label
    base = f"the base model's {percent_interval(analysis.base)} of {samples(analysis)}"
    coded = _best(analysis)
    if not coded:
        row = max(analysis.rows, key=lambda each: each.validation)
        text = (
            f"{name}: nothing is coded here. With {row.method.label} {percent_interval(row.degraded)} of lost "
            f"predictions are right, beside {base}."
        )
        return f"{text} {few([len(row.method.seeds)])}".strip()
    first, *others = coded
    chosen = "the best code by validation" if any(_rivals(analysis, row) for row in coded) else "the code"
    text = (
        f"{name}: at {_where(first)} {chosen}, {first.method.label}, rebuilds {percent_interval(first.degraded)} of "
        f"lost predictions rightly, {below(first.gap)}'s {percent_interval(analysis.base)} ({samples(analysis)})"
    )
    text += "".join(f"; at {_where(row)} {row.method.label} is {below(row.gap)}" for row in others)
    return f"{text}. {few([len(row.method.seeds) for row in coded])}".strip()


def _best(analysis: Analysis) -> list[Row]:
    """The best code by validation at each r and k."""
    return [row for place in analysis.places() if (row := analysis.best(*place)) is not None]


def _where(row: Row) -> str:
    return group(row.method.r, row.method.k)


def _rivals(analysis: Analysis, best: Row) -> list[Row]:
    rows = analysis.at(best.method.r, best.method.k)
    return [row for row in rows if row.method.coded and row is not best]


def summary(analysis: Analysis) -> list[tuple[str, list[str]]]:
    """A heading, and sentences that answer it."""
    parts = [
        ("Is a rebuilt prediction as good as the base model's?", _closeness(analysis)),
        ("Which code is best?", _choice(analysis)),
        ("Does it matter what is lost?", _patterns(analysis)),
    ]
    return [(heading, sentences) for heading, sentences in parts if sentences]


def _closeness(analysis: Analysis) -> list[str]:
    found = []
    for r, k in analysis.places():
        best = analysis.best(r, k)
        if best is None:
            continue
        wanted = aim(analysis, r, k)
        text = (
            f"{group(r, k)}: {best.method.label} is right on {percent_interval(best.degraded)} of lost "
            f"predictions, {below(best.gap)}, and agrees with it on {percent_interval(best.agreement)}."
        )
        if wanted is not None:
            text += " " + _aimed(best, wanted)
        found.append(text)
        found += [
            f"{row.method.label} at {group(r, k)} codes every answer: with nothing lost it is right on "
            f"{percent_interval(row.accuracy)}, {below(row.cost)}."
            for row in analysis.at(r, k)
            if row.method.coded and not exactly(row.cost)
        ]
    return found


def _aimed(row: Row, wanted: float) -> str:
    """Whether a code is as close to its base model as was aimed at."""
    gap = row.gap
    assert gap.value is not None
    text = f"The aim is at most {percent(wanted)} points below: "
    if gap.value < -wanted:
        # Two digits: what is rounded to the aim is not at the aim.
        text += f"the estimate, {-100 * gap.value:.2f}, misses it"
        return text + (", the interval reaches it." if gap.high is not None and gap.high >= -wanted else ".")
    if gap.low is not None and gap.low >= -wanted:
        return text + "the whole interval is within it."
    return text + "the estimate is within it, not all of the interval."


def _choice(analysis: Analysis) -> list[str]:
    found = []
    for r, k in analysis.places():
        best = analysis.best(r, k)
        if best is None:
            continue
        rivals = _rivals(analysis, best)
        if not rivals:
            found.append(f"{group(r, k)}: {best.method.label} is the only code here.")
            continue
        second = next(each for each in analysis.differences if each.best is best and each.other is rivals[0])
        found.append(
            f"{group(r, k)}: of {len(rivals) + 1} codes {best.method.label} is the best by validation; on "
            f"test samples it is {_compared(second)}."
        )
    return found


def _compared(difference: Difference) -> str:
    """`0.4 points [−0.1, 0.9] above berrut: no difference is shown`."""
    return f"{than(difference.degraded, difference.other.method.label)}: {certainty(difference)}"


def _patterns(analysis: Analysis) -> list[str]:
    several = [row for row in analysis.rows if row.patterns and row.method.coded]
    found = []
    for row in several:
        if row.uneven:
            values = sorted(row.patterns.items(), key=lambda item: item[1].value or 0.0)
            (worst, low), (best, high) = values[0], values[-1]
            found.append(
                f"{row.method.label} at {group(row.method.r, row.method.k)}: with {lost(worst)} lost "
                f"{percent_interval(low)} are right, with {lost(best)} lost {percent_interval(high)}."
            )
    others = len(several) - len(found)
    if others:
        which = "for no code" if not found else f"for {others} others" if others > 1 else "for one other"
        verb = "is it shown" if not found else "it is not shown"
        found.append(f"{_capital(which)} {verb} that accuracy depends on which answers are lost.")
    return found


def lost(pattern: str) -> str:
    """What is lost in words: `the answer to query 1`, of `q0`."""
    kinds = {"q": "query", "p": "parity query", "w": "worker"}
    parts = pattern.split("+")
    return names([f"{kinds[part[0]]} {int(part[1:]) + 1}" for part in parts])


def advice(analysis: Analysis) -> list[tuple[str, str]]:
    """A case, and what to use in it: of what was compared here."""
    found = []
    coded = _best(analysis)
    if coded:
        prices = [
            f"{row.method.label} at {_where(row)} takes {servers(row.servers)} and is {below(row.gap)}" for row in coded
        ]
        text = f"Of extra servers for each server of a query, {names(prices)}."
        found.append(("Few extra servers", text))
    copies = [row for row in analysis.rows if row.method.kind == "replication"]
    if copies:
        costs = sorted({servers(row.servers) for row in copies})
        text = f"Replication hands out the base model's own predictions, and takes {names(costs, 'or')} for each."
        found.append(("No loss of accuracy", text))
    cases = (("Nothing to be trained", "interpolation"), ("A cheaper model at hand", "cheap-model"))
    found += [(case, text) for case, kind in cases if (text := _against(analysis, coded, kind))]
    rare = _rare(analysis, coded)
    if rare:
        found.append((f"Losses of {percent(RATE).removesuffix('.0')} %", rare))
    return found


def _against(analysis: Analysis, coded: Sequence[Row], kind: str) -> str:
    """The best method of a kind against the best code, for each k and r."""
    found = [
        (best, next(row for row in analysis.at(best.method.r, best.method.k) if row.method.kind == kind))
        for best in coded
        if any(row.method.kind == kind for row in analysis.at(best.method.r, best.method.k))
    ]
    if not found:
        return ""
    described = [f"{_described(other)} is right on {percent_interval(other.degraded)}" for _, other in found]
    # What codes nothing is the same at every k, and is told once.
    once = len(set(described)) == 1
    parts, least = [described[0]] if once else [], ENOUGH_SEEDS
    for text, (best, other) in zip(described, found, strict=True):
        if other is best:
            parts.append(f"at {_where(best)} {text}, {below(other.gap)}: it is the best code by validation")
            continue
        difference = next(each for each in analysis.differences if each.best is best and each.other is other)
        said = f"{best.method.label} is {than(difference.degraded, 'that')}"
        if difference.verdict == "no difference shown":
            said += " (no difference is shown)"
        else:
            least = min(least, difference.least_seeds)
        parts.append(f"at {_where(best)} {said}" if once else f"at {_where(best)} {text}, and {said}")
    hedge = "" if least >= ENOUGH_SEEDS else f" {_capital(seeds_are(least))} too few to be certain of differences."
    return _capital("; ".join(parts)) + "." + hedge


def _described(row: Row) -> str:
    """A method with what it costs beside accuracy of what is lost."""
    label, config = row.method.label, row.method.config
    if row.method.kind == "cheap-model":
        return f"{label} ({config.cheap_model}; takes {servers(row.servers)} for each)"
    if exactly(row.cost):
        return label
    return f"{label} (with nothing lost {below(row.cost)})"


def _rare(analysis: Analysis, coded: Sequence[Row]) -> str:
    """What all answers together come to at `RATE`."""
    if not coded:
        return ""
    place = RATES.index(RATE)
    parts = [
        f"{percent_interval(row.overall[place])} with {row.method.label} at {group(row.method.r, row.method.k)}"
        for row in coded
    ]
    floor = next((row for row in analysis.rows if row.method.kind == "majority"), None)
    if floor is not None:
        parts.append(f"{percent_interval(floor.overall[place])} with the majority class in their place")
    return (
        f"All answers together are right on {names(parts)}; the base model alone on {percent_interval(analysis.base)}."
    )


def added_errors(row: Row, most: int = 3) -> list[tuple[int, int, float, float]]:
    """The mistakes that coding adds most: true class, class it is taken for, and how often (a share of the true class)
    when rebuilt, and by the base model."""
    added = row.confusion - row.base_confusion
    added[np.eye(len(added), dtype=bool) | np.isnan(added)] = -1.0
    order = np.argsort(-added, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(added)) for place in order]
    return [
        (true, said, float(row.confusion[true, said]), float(row.base_confusion[true, said]))
        for true, said in places
        if added[true, said] > 0
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

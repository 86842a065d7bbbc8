"""What a report says of initial signs in words: every sentence follows from a figure of its JSON."""

from __future__ import annotations

from collections.abc import Sequence

from lab.compare.l1.patterns import Outcome
from lab.compare.l1.words import activation, of_seeds, share, step
from lab.tasks.l1_norm.signs import Pattern

__all__ = [
    "FINDINGS",
    "NOTEBOOK",
    "finding",
    "heat_title",
    "notebook_says",
    "of_pattern",
    "paths_title",
    "pattern",
    "sign_lead",
]

FINDINGS = {"holds": "holds", "contradicted": "is contradicted", "undecided": "is undecided"}
NOTEBOOK = {"converges": "yes", "slowly": "yes, slowly", "fast": "yes, fast", "not": "no"}
_BESIDE = "shown beside, not judged"
_FOUND = {"converges": "converges", "slowly": "converges slowly", "fast": "converges fast", "not": "does not converge"}
_LISTED = 4
"""More undecided patterns than these are counted, not listed."""


def pattern(of: Pattern) -> str:
    """`h+, i small −, bh+, bi−`."""
    parts = [("h", of.h), ("i", of.i), ("bh", of.bh), ("bi", of.bi)]
    return ", ".join(
        f"{name}{' small ' if start.largest < 1 else ''}{'+' if start.sign > 0 else '−'}"
        for name, start in parts
        if start is not None
    )


def sign_lead(outcomes: Sequence[Outcome]) -> list[str]:
    """How many of the notebook's findings hold, and how many patterns converge with what they are not about."""
    found = []
    for name in dict.fromkeys(o.activation for o in outcomes):
        chosen = [o for o in outcomes if o.activation == name]
        if chosen[0].finding is None:
            found.append(
                f"With {activation(name)}, which the notebook's lines are not about and which is not counted among "
                f"them, {_most(chosen)} of {len(chosen)} patterns converge in most seeds."
            )
            continue
        groups = {word: [pattern(o.pattern) for o in chosen if o.finding == word] for word in FINDINGS}
        text = f"With {activation(name)}, {len(groups['holds'])} of the notebook's {len(chosen)} findings hold"
        if groups["contradicted"]:
            many = len(groups["contradicted"])
            text += f", {many} {'is' if many == 1 else 'are'} contradicted ({'; '.join(groups['contradicted'])})"
        if groups["undecided"]:
            many = len(groups["undecided"])
            text += f", {many} {'is' if many == 1 else 'are'} undecided"
            text += f" ({'; '.join(groups['undecided'])})" if many <= _LISTED else ""
        speeds = [f"{pattern(o.pattern)} {finding(o).partition('; ')[2]}" for o in chosen if o.speed is not None]
        text += ", as to whether they converge"
        found.append(
            text + (f"; as to the speed that {len(speeds)} of them name: {', '.join(speeds)}." if speeds else ".")
        )
    return found


def _most(outcomes: Sequence[Outcome]) -> int:
    """Patterns of which more than half of the seeds converge, and surely so."""
    return sum(o.converged.low is not None and o.converged.low > 0.5 for o in outcomes)


def finding(outcome: Outcome) -> str:
    """`holds`, `converges: holds; slowly: is undecided`, or that it is not judged."""
    if outcome.finding is None:
        return _BESIDE
    if outcome.speed is None:
        return FINDINGS[outcome.finding]
    return f"converges: {FINDINGS[outcome.finding]}; {outcome.pattern.finding}: {FINDINGS[outcome.speed]}"


def of_pattern(outcome: Outcome) -> str:
    """The outcome of one pattern under one activation as a sentence."""
    found, verb = outcome.converged, "converges" if outcome.converged.of == 1 else "converge"
    text = f"{activation(outcome.activation)}: {of_seeds(found)} {verb}, {share(found)}"
    if outcome.kept.count != found.count:
        text += f" (still so at the last validation: {outcome.kept.count or 'none'})"
    if outcome.steps.value is not None:
        text += f", the median seed after {step(outcome.steps.value)} steps"
    text += (
        f"; {outcome.exact.count or 'none'} met the notebook's own criterion (both weights exactly 1) at any "
        f"validation, {outcome.exact_last.count or 'none'} at the last."
    )
    if outcome.finding is None:
        return f"{text} Shown beside: the finding is not about it."
    if outcome.speed is None:
        return f"{text} The finding {FINDINGS[outcome.finding]}."
    return f"{text} The finding, {finding(outcome)}."


def notebook_says(of: Pattern) -> str:
    """`The notebook: converges slowly.`"""
    return f"The notebook: {_FOUND[of.finding]}."


def heat_title(outcomes: Sequence[Outcome]) -> str:
    judged = [o for o in outcomes if o.finding is not None]
    if judged:
        hold = sum(o.finding == "holds" for o in judged)
        return f"Which initial signs converge: {hold} of the notebook's {len(judged)} findings hold"
    return f"Which initial signs converge: {_most(outcomes)} of {len(outcomes)} patterns in most seeds"


def paths_title(outcomes: Sequence[Outcome], name: str, bias: bool) -> str:
    converged, of = sum(o.converged.count for o in outcomes), sum(o.converged.of for o in outcomes)
    return f"{activation(name)}, {'with' if bias else 'without'} biases: {converged} of {of} trainings converge"

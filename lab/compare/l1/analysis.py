"""From the errors of networks to what a report says of each method."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lab.compare.l1.evaluate import Scores
from lab.compare.l1.methods import Method
from lab.compare.l1.success import DECIDES, SUCCESS, Moment, Proportion, first_step, settled_step, wilson
from lab.compare.quantiles import Floats, quantile, seed_quantiles
from lab.compare.statistics import Interval, generator
from lab.runs import Trial
from lab.tasks.l1_norm.measures import LARGEST

__all__ = ["FUNCTION", "OBJECTIVE", "Row", "analyse", "succeeded"]

OBJECTIVE = "validation/error"
"""In the journal: the median relative error on validation sequences of `DECIDES` numbers."""

FUNCTION = {
    "gain": "recurrent gain, distance from 1",
    "response+1": "response to +1, distance from 1",
    "response-1": "response to −1, distance from 1",
    "sparsity": "sparsity error",
}
"""What is measured of the function a network computes; each is 0 for the exact one."""


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        method: who.
        rule: whether its cell is within the rule: dense layers, ReLU, negation, sum and multiplication alone, and no
            weight set by hand.
        success: seeds that succeeded (`SUCCESS`) on held-out sequences; one whose training failed did not.
        kept: those of them whose validation error is at most `SUCCESS` at the last validation too: a learning rate
            that does not fall moves the weights about, and the best network of a training may be behind it.
        without: why (in words) -> seeds that left no network to ask; they count as errors of `LARGEST`.
        stopped: seeds that a scheduler stopped early, and whose best network until then is the one that is asked.
        median, p95: length -> quantile of the error over seeds and sequences.
        by_seed: length -> the median of each seed.
        validated_at: length of the validation sequences; unless it is `DECIDES`, nothing is said of solving.
        spacing: gradient steps from one validation to the next.
        reached: seeds whose validation error was at most `SUCCESS` at any validation.
        solved: those whose validation error came to stay there; a training that failed after all has not.
        steps, seconds: median over seeds of when that was (of an even number the lower of the two in the middle); None
            where more than half of them never got there.
        shared: whether `seconds` are shares of the time of a population that was trained as one.
        function: key of `FUNCTION` -> median over seeds.
        ranges: range of inputs -> median error over seeds and sequences.
        of_cell: successes among all distinct trials of the cell in its sweep; None for a plain training.
    """

    method: Method
    rule: bool
    success: Proportion
    kept: Proportion
    without: dict[str, int]
    stopped: int
    median: dict[int, Interval]
    p95: dict[int, Interval]
    by_seed: dict[int, list[float]]
    validated_at: int
    spacing: int
    reached: Proportion
    solved: Proportion
    steps: Interval
    seconds: Interval
    shared: bool
    function: dict[str, Interval]
    ranges: dict[str, Interval]
    of_cell: Proportion | None


def succeeded(scores: Scores | None) -> bool:
    """Whether a network succeeds; there is none where a training failed."""
    return scores is not None and quantile(scores.errors[DECIDES], 0.5) <= SUCCESS


def analyse(method: Method, rule: bool, scores: Mapping[int, Scores | None]) -> Row:
    """The row of a method.

    Args:
        method: who.
        rule: whether its cell is within the rule.
        scores: trial -> scores of its network, None where there is none; all of `method.trials` with every length, and
            all of `method.others` with `DECIDES`.
    """
    found = [scores[index] for index in method.trials]
    whole = next((s for s in found if s is not None), None)
    lengths = sorted(whole.errors) if whole else [DECIDES]
    ranges = list(whole.ranges) if whole else []
    errors = {length: _stacked([None if s is None else s.errors[length] for s in found]) for length in lengths}
    quantiles = {length: _quantiles(method, f"error {length}", values) for length, values in errors.items()}
    trials = [method.run.trials[index] for index in method.trials]
    validated_at = int(method.config.get("validation_length", DECIDES))
    validated = trials if validated_at == DECIDES else []
    moments = [_moment(settled_step, trial) for trial in validated]
    good = list(map(succeeded, found))
    return Row(
        method=method,
        rule=rule,
        success=wilson(sum(good), len(good)),
        kept=wilson(sum(a and b is not None for a, b in zip(good, moments, strict=False)), len(moments)),
        without=dict(Counter(_why(trial) for trial, s in zip(trials, found, strict=True) if s is None)),
        stopped=sum(t.status == "stopped" and s is not None for t, s in zip(trials, found, strict=True)),
        median={length: pair[0] for length, pair in quantiles.items()},
        p95={length: pair[1] for length, pair in quantiles.items()},
        by_seed={length: [quantile(row, 0.5) for row in values] for length, values in errors.items()},
        validated_at=validated_at,
        spacing=int(method.config.get("steps", 1)),
        reached=wilson(sum(_moment(first_step, trial) is not None for trial in validated), len(validated)),
        solved=wilson(sum(moment is not None for moment in moments), len(moments)),
        steps=_median(method, "steps", [np.inf if m is None else m.step for m in moments]),
        seconds=_median(method, "seconds", [np.inf if m is None or m.seconds is None else m.seconds for m in moments]),
        shared=any(row.get("members", 1) > 1 for trial in trials for row in trial.results.values()),
        function={
            key: _median(method, key, [LARGEST if s is None else s.function[key] for s in found]) for key in FUNCTION
        },
        ranges={
            name: _quantiles(method, name, _stacked([None if s is None else s.ranges[name] for s in found]))[0]
            for name in ranges
        },
        of_cell=wilson(sum(succeeded(scores[t]) for t in method.others), len(method.others))
        if method.searched
        else None,
    )


def _stacked(values: list[Floats | None]) -> Floats:
    """(seeds, sequences); a seed without a network is as wrong as can be."""
    count = next((len(v) for v in values if v is not None), 1)
    return np.stack([np.full(count, LARGEST) if v is None else v for v in values])


def _quantiles(method: Method, what: str, values: Floats) -> list[Interval]:
    return seed_quantiles(values, (0.5, 0.95), generator(what, method.label))


def _median(method: Method, what: str, values: list[float]) -> Interval:
    if not values:
        return Interval(None, None, None, "seeds")
    return seed_quantiles(np.array(values, dtype=np.float64)[:, None], (0.5,), generator(what, method.label))[0]


def _moment(when: Callable[..., Moment | None], trial: Trial) -> Moment | None:
    """When a training first had, or came to keep, an error of `SUCCESS`; never if it failed in the end."""
    if trial.status == "failed":
        return None
    return when(trial.results, OBJECTIVE, SUCCESS, int(trial.config.get("steps", 1)))


def _why(trial: Trial) -> str:
    """Why a training left no network, for a reader who counts such trainings."""
    if trial.status == "stopped":
        return "stopped early, before any checkpoint"
    reason = (trial.reason or "no reason is known").strip().splitlines()[0]
    if re.search(r"\b(nan|inf|infinite|finite)\b", reason):
        return "figures that are not finite"
    return f"failed: {reason[:80]}"

"""Success over seeds with Wilson intervals, and when a training solved its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scipy.stats import binomtest

__all__ = ["DECIDES", "SUCCESS", "Finding", "Moment", "Proportion", "finding", "first_step", "settled_step", "wilson"]

SUCCESS = 1e-4
"""A training succeeds if the median relative error of its network is at most this on sequences of `DECIDES` numbers."""

DECIDES = 10_000

Finding = Literal["holds", "contradicted", "undecided"]


@dataclass(frozen=True)
class Proportion:
    """`count` out of `of`, with the Wilson 95 % interval of the share (Wilson, JASA 1927).

    Attributes:
        count, of: successes, and tries.
        value, low, high: the share and its bounds, in [0, 1]; None where nothing was tried.
    """

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Moment:
    """When something came about in a training: after how many gradient steps, and seconds of it."""

    step: int
    seconds: float | None


def wilson(count: int, of: int) -> Proportion:
    """`count` successes in `of` tries.

    Raises:
        ValueError: a count outside [0, of].
    """
    if not 0 <= count <= of:
        raise ValueError(f"expected 0 to {of} successes, but got {count}")
    if of == 0:
        return Proportion(0, 0, None, None, None)
    bounds = binomtest(count, of).proportion_ci(confidence_level=0.95, method="wilson")
    return Proportion(count, of, count / of, float(bounds.low), float(bounds.high))


def settled_step(
    results: Mapping[int, Mapping[str, float]], metric: str, threshold: float, steps: int
) -> Moment | None:
    """The first evaluation from which `metric` is at most `threshold` to the end of the training; None if it never is.

    Args:
        results: iteration -> metrics, as a journal has them. Iterations without the metric are passed over.
        metric: its name.
        threshold: what it has to stay at or below.
        steps: gradient steps in an iteration.
    """
    found = None
    for iteration in sorted(results, reverse=True):
        value = results[iteration].get(metric)
        if value is None:
            continue
        # Written so that NaN does not pass.
        if not value <= threshold:
            break
        found = iteration
    return None if found is None else _moment(results, found, steps)


def first_step(results: Mapping[int, Mapping[str, float]], metric: str, threshold: float, steps: int) -> Moment | None:
    """The first evaluation at which `metric` is at most `threshold`, whatever comes after; None if there is none."""
    for iteration in sorted(results):
        value = results[iteration].get(metric)
        if value is not None and value <= threshold:
            return _moment(results, iteration, steps)
    return None


def _moment(results: Mapping[int, Mapping[str, Any]], iteration: int, steps: int) -> Moment:
    return Moment(iteration * steps, results[iteration].get("seconds"))


def finding(converges: bool, share: Proportion) -> Finding:
    """What a share of converged seeds says of a statement that a pattern converges, or does not.

    A statement about a pattern is read as one about most of its seeds: it holds where the whole interval is on its side
    of one half, is contradicted where the whole interval is on the other, and is undecided where one half is inside.
    """
    if share.low is None or share.high is None:
        return "undecided"
    if share.low > 0.5:
        return "holds" if converges else "contradicted"
    if share.high < 0.5:
        return "contradicted" if converges else "holds"
    return "undecided"

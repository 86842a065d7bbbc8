"""Intervals, paired differences and fronts. Arrays in, intervals out: nothing here knows a table or a run.

Two sources of chance are kept apart. A *fleet* (a before/after pair of a suite) is drawn from its distribution; a
*seed* is one training. A classical builder has no seed: its interval is over fleets. A trained one is resampled over
its seeds. A difference between two builders is paired by fleet: both are scored on the same pairs, and each resample
takes the same pairs for both.

Sources: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (interquartile
mean, stratified bootstrap; the library rliable); Efron & Tibshirani 1993, chapter 13 (percentile intervals).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rliable.library import StratifiedBootstrap

__all__ = [
    "REPLICATES",
    "Interval",
    "generator",
    "interquartile_mean",
    "over_seeds",
    "pareto_front",
    "percentile_interval",
    "resampling_weights",
    "stratified_interval",
    "verdict",
]

REPLICATES = 2000
"""Bootstrap replicates: the Monte-Carlo error of a 95 % bound is then a few per cent of the interval's width."""

Floats = NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        value: the estimate from all data; None where it is not defined (a ratio over 0).
        low: lower bound; None where there is none.
        high: upper bound, likewise.
        over: what was resampled: `fleets`, `seeds`, or `seeds and fleets`.
    """

    value: float | None
    low: float | None
    high: float | None
    over: str


def generator(*names: object) -> np.random.Generator:
    """A random generator that depends on the names alone, so that one more row in a report changes no other row."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def interquartile_mean(values: Floats, axis: int | tuple[int, ...] | None = None) -> Floats:
    """The mean of the middle half of `values`.

    Where the quarter is not a whole number of values, the value on its edge counts for the part of it inside. So the
    estimate of a builder without seeds (one row) is what it would be with its row repeated for each seed, which the
    trimmed mean of scipy and rliable, rounding the quarter down, is not; they agree where 4 divides the count.

    Args:
        values: finite, any shape.
        axis: what to average over; everything by default.

    Returns:
        The means, shape of `values` without `axis`.
    """
    axes = tuple(range(values.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    kept = [a for a in range(values.ndim) if a not in {a % values.ndim for a in axes}]
    flat = np.sort(np.transpose(values, (*kept, *axes)).reshape(*(values.shape[a] for a in kept), -1), axis=-1)
    count = flat.shape[-1]
    edges = np.arange(count + 1)
    inside = np.clip(edges[1:], count / 4, 3 * count / 4) - np.clip(edges[:-1], count / 4, 3 * count / 4)
    return np.asarray(flat @ (inside / (count / 2)))


class _WholeSeedBootstrap(StratifiedBootstrap):
    """rliable's stratified bootstrap with whole seeds: each resample takes the same seeds in every stratum.

    The original draws the seeds of each stratum by themselves, which is right for runs that belong to one task each.
    It also draws from NumPy's global state, whatever `random_state` says (rliable 1.2.0, `update_indices`); this one
    draws from the generator it is given.
    """

    def update_indices(self) -> tuple[NDArray[np.int64], ...]:
        scores = self.pos_data[0]
        seeds = len(scores)
        drawn = self.generator.integers(seeds, size=(seeds, *(1 for _ in scores.shape[1:])))
        return (drawn, *self._strata_indices)


def stratified_interval(
    scores: Floats, rng: np.random.Generator, replicates: int = REPLICATES
) -> tuple[list[Interval], list[list[Interval]]]:
    """Interquartile means over seeds, with stratified-bootstrap 95 % intervals over seeds.

    Seeds and tasks are crossed: the same networks are scored on every task (the n of a churn suite), so what is good
    or bad about one shows in all of them. A resample therefore draws whole seeds. Drawn for each task by itself, such
    errors would seem to cancel, and the interval would be too narrow by up to the root of the number of tasks.

    The estimate is stratified: every resample holds every task. The middle half is taken of the seeds of each task and
    then averaged over tasks: trimming seeds and tasks together, as for a suite of Atari games, would leave the smallest
    and largest fleets out of a figure that is about all of them.

    Args:
        scores: shape (seeds, tasks, K): K scores of each seed on each task; at least 2 seeds.
        rng: where the resamples come from.
        replicates: number of resamples.

    Returns:
        K intervals averaged over tasks, and for each task K intervals. The order of the seeds does not matter.
    """
    tasks, k = scores.shape[1:]

    def estimate(sample: Floats) -> Floats:
        by_task = interquartile_mean(sample, 0)
        return np.concatenate([by_task.mean(axis=0), by_task.ravel()])

    # Whole seeds in an order of their own, so that the order in which they were given cannot matter.
    ordered = scores[np.lexsort(scores.reshape(len(scores), -1).T)]
    low, high = _WholeSeedBootstrap(ordered, seed=rng).conf_int(
        estimate, reps=replicates, method="percentile", size=0.95
    )
    intervals = [
        Interval(float(v), float(a), float(b), "seeds") for v, a, b in zip(estimate(ordered), low, high, strict=True)
    ]
    return intervals[:k], [intervals[k * (t + 1) : k * (t + 2)] for t in range(tasks)]


def resampling_weights(rng: np.random.Generator, count: int, replicates: int = REPLICATES) -> Floats:
    """Bootstrap resamples of `count` items as weights: row r says what share of resample r each item makes up.

    Returns:
        float64 (replicates, count), rows sum to 1. `weights @ values.T` is the mean of `values` in every resample.
    """
    drawn = rng.integers(count, size=(replicates, count))
    drawn += np.arange(replicates)[:, None] * count
    return np.bincount(drawn.ravel(), minlength=replicates * count).reshape(replicates, count) / count


def over_seeds(replicates: Floats, rng: np.random.Generator) -> Floats:
    """The interquartile mean over resampled seeds, where each row is a resample of something else already.

    Args:
        replicates: float64 (replicates, seeds).
        rng: where the seeds of each row are drawn from; of one seed nothing is drawn.

    Returns:
        float64 (replicates,).
    """
    if replicates.shape[1] == 1:
        return replicates[:, 0]
    drawn = rng.integers(replicates.shape[1], size=replicates.shape)
    return interquartile_mean(np.take_along_axis(replicates, drawn, axis=1), 1)


def percentile_interval(value: float | None, replicates: Floats, over: str) -> Interval:
    """The percentile 95 % interval of `value`: no bounds where a replicate is not finite, None where `value` is not."""
    if value is None or not np.isfinite(value):
        return Interval(None, None, None, over)
    if not np.isfinite(replicates).all():
        return Interval(float(value), None, None, over)
    low, high = np.percentile(replicates, [2.5, 97.5])
    return Interval(float(value), float(low), float(high), over)


def verdict(difference: Interval) -> Verdict:
    """What a difference of two scores says, where less is better: `better` if the whole interval is below 0."""
    if difference.low is None or difference.high is None:
        return "no difference shown"
    if difference.high < 0:
        return "better"
    return "worse" if difference.low > 0 else "no difference shown"


def pareto_front(points: Floats) -> NDArray[np.bool_]:
    """Which points no other dominates, where less is better in every column. Equal points are on the front together.

    Args:
        points: shape (count, objectives), finite.

    Returns:
        bool (count,).
    """
    no_worse = (points[:, None, :] <= points[None, :, :]).all(axis=2)
    better = (points[:, None, :] < points[None, :, :]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0), dtype=np.bool_)

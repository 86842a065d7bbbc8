"""Medians and percentiles of errors over seeds and sequences, with intervals over whole seeds.

An error may be without bound: a recurrent weight above 1 overflows on a long sequence. So a quantile here is one of the
values themselves (nearest rank), never a mean of two of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lab.compare.statistics import REPLICATES, Interval

__all__ = ["Floats", "quantile", "seed_quantiles"]

Floats = NDArray[np.float64]

_AT_ONCE = 250
"""Resamples sorted out at once: bounds the memory."""


def quantile(values: NDArray[np.floating], q: float) -> float:
    """The nearest-rank quantile: the smallest value that at least a share `q` of all values do not exceed.

    Args:
        values: any shape, not empty; infinities count as larger than all else.
        q: in (0, 1].
    """
    flat = np.sort(values, axis=None)
    return float(flat[_rank(q, flat.size) - 1])


def seed_quantiles(
    values: NDArray[np.floating], qs: Sequence[float], rng: np.random.Generator, replicates: int = REPLICATES
) -> list[Interval]:
    """Quantiles over seeds and sequences together, with bootstrap 95 % intervals over seeds.

    Sequences of one seed are not independent of each other: they pass through the same weights. A resample draws
    whole seeds, each with all its sequences.

    Args:
        values: shape (seeds, sequences); infinities are allowed.
        qs: which quantiles, in (0, 1].
        rng: where the resamples come from.
        replicates: number of resamples.

    Returns:
        An interval for each of `qs`, without bounds where there is one seed. A value or bound that is infinite is None.
        The order of the seeds does not matter.
    """
    seeds, count = values.shape
    ordered = values[np.lexsort(values.T)]
    order = np.argsort(ordered, axis=None, kind="stable")
    flat, owner = ordered.ravel()[order], order // count
    ranks = [_rank(q, flat.size) for q in qs]
    found = [float(flat[rank - 1]) for rank in ranks]
    if seeds < 2:
        return [Interval(_finite(value), None, None, "one seed") for value in found]
    drawn = rng.integers(seeds, size=(replicates, seeds))
    drawn += np.arange(replicates)[:, None] * seeds
    weights = np.bincount(drawn.ravel(), minlength=replicates * seeds).reshape(replicates, seeds)
    samples = np.empty((len(qs), replicates))
    for start in range(0, replicates, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        # How many values of the resample are no larger than each value of the whole.
        below = np.cumsum(weights[part][:, owner], axis=1)
        for row, rank in enumerate(ranks):
            samples[row, part] = flat[np.argmax(below >= rank, axis=1)]
    return [
        Interval(_finite(value), _finite(quantile(row, 0.025)), _finite(quantile(row, 0.975)), "seeds")
        for value, row in zip(found, samples, strict=True)
    ]


def _rank(q: float, size: int) -> int:
    # Rounded first: 0.95 * 20 is a little more than 19 in binary.
    return max(1, int(np.ceil(round(q * size, 9))))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None

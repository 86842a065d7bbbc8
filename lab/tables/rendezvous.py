"""Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", ToN 1998), by entry.

Each entry goes to the backend that scores it highest. When a backend leaves, only its own entries move; loads are as
uneven as chance has it. Weighted as in "Weighted Distributed Hash Tables" (Schindelhauer and Schomaker, SPAA 2005):
the largest `-w / ln(u)`, by which a backend's expected load is proportional to its weight and a change of one weight
moves entries to or from that backend only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lab.tables.hashing import PairScores, UInt64, independent_scores, stratified_scores, stratified_stretch
from lab.tables.registry import BuildBatch, Builder, register

__all__ = ["minus_log", "rendezvous"]

_PAIRS_AT_ONCE = 1 << 21
_NEVER = np.uint64(2**64 - 1)
_SMALLEST_SHARE = 1e-300  # of the largest weight: below it, a cost would overflow
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10


def minus_log(scores: UInt64, stretch: float = 1.0) -> NDArray[np.float64]:
    """`-ln(u)` of scores read as `u` in (0, 1], equal bit for bit on every machine.

    `numpy.log` is allowed to differ in the last bit from one machine to the next, which could flip a choice; this uses
    nothing but operations that IEEE 754 rounds exactly, and is good to about 1e-15.

    Args:
        scores: uint64, any shape, uniform in [0, 2**64 / stretch).
        stretch: at least 1.

    Returns:
        float64 of the same shape, >= 0.
    """
    u = ((scores >> np.uint64(12)).astype(np.float64) * 2.0 + 1.0) * 2.0**-53
    mantissa, exponent = np.frexp(np.minimum(u * stretch, 1.0))
    small = mantissa < 0.70710678118654752
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    power = exponent - small
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.zeros_like(s)
    for odd in range(21, 0, -2):
        series = series * square + 1.0 / odd
    return np.asarray(-(power * _LN2_HIGH + (power * _LN2_LOW + 2.0 * s * series)))


def rendezvous(pair_scores: PairScores, stretch: Callable[[int], float]) -> BuildBatch:
    """The table function of rendezvous hashing per entry.

    Args:
        pair_scores: the scores of pairs.
        stretch: `size -> stretch`, with which `minus_log` reads them.

    Returns:
        A `BuildBatch`.
    """

    def build_batch(
        hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
    ) -> NDArray[np.int32]:
        rows, columns = present.shape
        if weights is not None:
            largest = weights.max(axis=1, keepdims=True)
            shares = np.where(present, np.maximum(weights / largest, _SMALLEST_SHARE), 1.0)
        # What serves an entry so far, and at what cost (lower is better): backends come in blocks of columns.
        served = np.full((rows, size), -1, dtype=np.int32)
        cost = np.full((rows, size), _NEVER if weights is None else np.inf)
        step = max(1, _PAIRS_AT_ONCE // (rows * size))
        for start in range(0, columns, step):
            block = slice(start, start + step)
            scores = pair_scores(hashes[:, block], size)
            if weights is None:
                costs = np.where(present[:, block, None], np.minimum(~scores, _NEVER - np.uint64(1)), _NEVER)
            else:
                costs = np.where(
                    present[:, block, None], minus_log(scores, stretch(size)) / shares[:, block, None], np.inf
                )
            best = costs.argmin(axis=1)
            best_cost = np.take_along_axis(costs, best[:, None], axis=1)[:, 0]
            # Strictly better, so that a tie stays with the first by identity.
            better = best_cost < cost
            served[better] = best[better] + start
            cost[better] = best_cost[better]
        return served

    return build_batch


register(
    Builder(
        name="rendezvous",
        version=1,
        summary="rendezvous per entry, independent scores: moves only what has to, loads as chance has them",
        build_batch=rendezvous(independent_scores, lambda size: 1.0),
        weighted=True,
    )
)
register(
    Builder(
        name="rendezvous-stratified",
        version=1,
        summary="rendezvous per entry, stratified scores: moves only what has to, loads more even",
        build_batch=rendezvous(stratified_scores, stratified_stretch),
        weighted=True,
    )
)

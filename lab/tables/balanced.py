"""Balanced rendezvous: rendezvous hashing under quotas, so that loads are as even as Maglev's.

Score every (entry, backend) pair by a hash, and give entries out by the best pair first (`lab.tables.greedy`).
Two kinds of scores, `independent` and `stratified`, and two kinds of quotas: floor and ceiling, with which loads
differ by at most one; or a cap and no floor, which buys stability with evenness. Caps are a ceiling plus some entries,
or a multiple of the mean: rounded up, as bounded loads have it (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing
with Bounded Loads", SODA 2018), or rounded down where that is no less than the ceiling. With floors first no backend
goes above the floor before all have it: that is better for more backends than half the entries, and worse for few
(`lab.tables.priced` has all that lies between).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lab.tables import greedy
from lab.tables.hashing import PairScores, independent_scores, stratified_scores
from lab.tables.registry import BuildBatch, Builder, register
from lab.tables.walk import SCORE_BITS, build_priced

__all__ = ["RATIOS", "SLACKS", "balanced"]

SLACKS = (0, 1, 2, 4)
"""Entries above the ceiling for which a builder is registered."""

RATIOS = ((1.1, True), (1.25, True), (1.5, True), (1.25, False), (1.5, False))
"""Multiples of the mean for which one is registered, and whether they are rounded up."""

Caps = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Exact quotas, float64 of any shape -> the largest loads, whole numbers, at least the quotas rounded up."""


def balanced(pair_scores: PairScores, caps: Caps | None = None) -> BuildBatch:
    """The table function of balanced rendezvous.

    Args:
        pair_scores: the scores of pairs.
        caps: None for floor and ceiling; else the largest loads, and the smallest is free.

    Returns:
        A `BuildBatch`.
    """

    def build_batch(
        hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
    ) -> NDArray[np.int32]:
        if caps is None:
            rooms, pools = greedy.quotas(present, size, weights)
        else:
            rooms, pools = _capped(present, size, weights, caps)
        tables = np.full((len(present), size), greedy.NOT_GIVEN, dtype=np.int32)
        whole = present.shape[1] * size <= greedy.PAIRS_AT_ONCE
        scores = pair_scores(hashes, size) if whole else None
        for row, here in enumerate(present):
            columns = np.flatnonzero(here)
            room, pool = rooms[row, columns], int(pools[row])
            if scores is not None:
                chosen = greedy.assign(scores[row, columns], room, pool)
            else:
                chosen = greedy.assign_streaming(hashes[row, columns], pair_scores, size, room, pool)
            tables[row] = columns[chosen]
        return tables

    return build_batch


def _plus(slack: int) -> Caps:
    # The rounding keeps a quota that is whole in exact arithmetic from being raised by an ulp.
    return lambda quotas: np.ceil(np.round(quotas, 9)) + slack


def _times(ratio: float, up: bool) -> Caps:
    if up:
        return lambda quotas: np.ceil(np.round(ratio * quotas, 9))
    return lambda quotas: np.maximum(np.ceil(np.round(quotas, 9)), np.floor(np.round(ratio * quotas, 9)))


def _capped(
    present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None, caps: Caps
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The quotas with a cap alone: loads int64 (B, N) and an empty pool int64 (B,)."""
    # Over the largest first, so that no sum overflows.
    shares = present.astype(np.float64) if weights is None else weights / weights.max(axis=1, keepdims=True)
    exact = size * shares / shares.sum(axis=1, keepdims=True)
    return np.where(present, caps(exact).astype(np.int64), 0), np.zeros(len(present), dtype=np.int64)


def _register(name: str, pair_scores: PairScores, scores_in_words: str) -> None:
    register(
        Builder(
            name=name,
            version=1,
            summary=f"balanced rendezvous, {scores_in_words}: best pair first under floor and ceiling",
            build_batch=balanced(pair_scores),
            weighted=True,
            exact=True,
        )
    )
    for slack in SLACKS:
        limit = f"a ceiling + {slack}" if slack else "a ceiling"
        register(
            Builder(
                name=f"{name}+{slack}",
                version=1,
                summary=f"balanced rendezvous, {scores_in_words}: best pair first under {limit}, no floor",
                build_batch=balanced(pair_scores, _plus(slack)),
                weighted=True,
            )
        )


def _floors_first(
    hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    def prices_of(n: int) -> NDArray[np.int64]:
        prices = np.zeros((1, size // n + 1), dtype=np.int64)
        prices[0, -1] = 1 << SCORE_BITS  # at the floor, above any score
        return prices

    return build_priced(hashes, present, size, prices_of)[0]


_register("balanced", independent_scores, "independent scores")
_register("balanced-stratified", stratified_scores, "stratified scores")
for _ratio, _up in RATIOS:
    register(
        Builder(
            name=f"balanced-stratified-{'bounded' if _up else 'max'}-{_ratio}",
            version=1,
            summary="balanced rendezvous, stratified scores: best pair first, largest load "
            f"{_ratio} x mean rounded {'up' if _up else 'down, or the ceiling'}, no floor",
            # Without weights: only the caps would know of them, and these are wide.
            build_batch=balanced(stratified_scores, _times(_ratio, _up)),
        )
    )
register(
    Builder(
        name="balanced-stratified-floors",
        version=1,
        summary="balanced rendezvous, stratified scores: best pair first, all floors before any ceiling",
        build_batch=_floors_first,
        exact=True,
    )
)

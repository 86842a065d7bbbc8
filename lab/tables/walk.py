"""The walk of priced rendezvous: many tables at once, the best pair of each first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lab.tables.hashing import UInt64, stratified_scores

__all__ = ["SCORE_BITS", "assign_priced", "build_priced", "by_number", "scores_of"]

SCORE_BITS = 31
"""Bits of a score that are compared: an int32's. Equal ones go by identity, then by entry."""

_PAIRS_AT_ONCE = 1 << 20
"""Pairs walked at once: bounds memory."""

_TAKEN = -1
_CLOSED = np.iinfo(np.int64).min


def scores_of(scores: UInt64) -> NDArray[np.int32]:
    """The highest `SCORE_BITS` of scores, any shape."""
    return (scores >> np.uint64(64 - SCORE_BITS)).astype(np.int32)


def assign_priced(scores: NDArray[np.int32], prices: NDArray[np.int64], *, exact: bool = True) -> NDArray[np.int64]:
    """Gives out the entries of B tables, each to one of its n backends: the best pair first, score less price.

    Of equals the backend that comes first goes first, then the lower entry.

    Args:
        scores: int32 (B, n, size), >= 0, higher is better, n >= 1. It is used up.
        prices: int64 (B, L): the price of a backend with that many entries.
        exact: loads end at floor or ceiling of size / n, and L is the floor + 1. Otherwise L is the largest load, at
            least the ceiling, and the smallest is free.

    Returns:
        int64 (B, size) of backends.
    """
    batch, n, size = scores.shape
    # At `last` entries a backend may take one more while there are ceilings left.
    last = prices.shape[1] - 1
    tables = np.empty((batch, size), dtype=np.int64)
    loads = np.zeros((batch, n), dtype=np.int64)
    ceilings = np.full((batch, 1), size - last * n if exact else n)
    price = np.repeat(prices[:, :1], n, axis=1)
    rows = np.arange(batch)
    # The best entry that is free, for each backend.
    entries = scores.argmax(axis=2)
    best = np.take_along_axis(scores, entries[..., None], axis=2)[..., 0].astype(np.int64)
    for _ in range(size):
        worth = best - price
        worth[(loads > last) | ((loads == last) & (ceilings == 0))] = _CLOSED
        chosen = worth.argmax(axis=1)
        given = entries[rows, chosen]
        tables[rows, given] = chosen
        scores[rows, :, given] = _TAKEN
        load = loads[rows, chosen]
        ceilings[:, 0] -= load == last
        loads[rows, chosen] = load + 1
        price[rows, chosen] = prices[rows, np.minimum(load + 1, last)]
        # Those whose best entry that was look for their next one.
        where, which = np.nonzero(entries == given[:, None])
        left = scores[where, which]
        entries[where, which] = found = left.argmax(axis=1)
        best[where, which] = left[np.arange(len(found)), found]
    return tables


def by_number(
    hashes: NDArray[np.uint64], present: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]]:
    """The rows of one number of backends together: they share their prices, and nothing is padded.

    Args:
        hashes: uint64 (B, N, 4), columns in the order of identity.
        present: bool (B, N).

    Yields:
        For each number n of backends, without 0: the rows, int64 (K,), the columns that are present, int64 (K, n), and
        their hashes, uint64 (K, n, 4).
    """
    numbers = present.sum(axis=1)
    for n in np.unique(numbers[numbers > 0]).tolist():
        rows = np.flatnonzero(numbers == n)
        columns = np.nonzero(present[rows])[1].reshape(len(rows), n)
        yield rows, columns, np.take_along_axis(hashes[rows], columns[..., None], axis=1)


def build_priced(
    hashes: NDArray[np.uint64],
    present: NDArray[np.bool_],
    size: int,
    prices_of: Callable[[int], NDArray[np.int64]],
    *,
    exact: bool = True,
) -> NDArray[np.int32]:
    """Builds tables at stratified scores, at M prices each; scores are made once.

    Args:
        hashes: uint64 (B, N, 4), columns in the order of identity.
        present: bool (B, N).
        size: entries of a table.
        prices_of: n -> int64 (M, L), the prices for n backends.
        exact: as for `assign_priced`.

    Returns:
        int32 (M, B, size) of columns, -1 in rows without a backend.
    """
    members = len(prices_of(1))
    tables = np.full((members, len(present), size), -1, dtype=np.int32)
    for rows, columns, keys in by_number(hashes, present):
        count = columns.shape[1]
        prices = prices_of(count)
        step = max(1, _PAIRS_AT_ONCE // (members * count * size))
        for start, stop in pairwise([*range(0, len(rows), step), len(rows)]):
            scores = scores_of(stratified_scores(keys[start:stop], size))
            part = len(scores)
            chosen = assign_priced(np.tile(scores, (members, 1, 1)), prices.repeat(part, axis=0), exact=exact)
            chosen = chosen.reshape(members, part, size)
            tables[:, rows[start:stop]] = np.take_along_axis(columns[None, start:stop], chosen, axis=2)
    return tables

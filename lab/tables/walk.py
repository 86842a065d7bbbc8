"""The walk of priced rendezvous: many tables at once, the best pair of each first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.tables.hashing import UInt64

__all__ = ["SCORE_BITS", "assign_priced", "scores_of"]

SCORE_BITS = 31
"""Bits of a score that are compared: an int32's. Equal ones go by identity, then by entry."""

_TAKEN = -1
_CLOSED = np.iinfo(np.int64).min


def scores_of(scores: UInt64) -> NDArray[np.int32]:
    """The highest `SCORE_BITS` of scores, any shape."""
    return (scores >> np.uint64(64 - SCORE_BITS)).astype(np.int32)


def assign_priced(scores: NDArray[np.int32], prices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Gives out the entries of B tables, each to one of its n backends: the best pair first, score less price.

    Loads end at floor or ceiling of size / n. Of equals the backend that comes first goes first, then the lower entry.

    Args:
        scores: int32 (B, n, size), >= 0, higher is better, n >= 1. It is used up.
        prices: int64 (B, size // n + 1): the price of a backend with that many entries.

    Returns:
        int64 (B, size) of backends.
    """
    batch, n, size = scores.shape
    floor, pool = divmod(size, n)
    tables = np.empty((batch, size), dtype=np.int64)
    loads = np.zeros((batch, n), dtype=np.int64)
    ceilings = np.full((batch, 1), pool)
    price = np.repeat(prices[:, :1], n, axis=1)
    rows = np.arange(batch)
    # The best entry that is free, for each backend.
    entries = scores.argmax(axis=2)
    best = np.take_along_axis(scores, entries[..., None], axis=2)[..., 0].astype(np.int64)
    for _ in range(size):
        worth = best - price
        worth[(loads > floor) | ((loads == floor) & (ceilings == 0))] = _CLOSED
        chosen = worth.argmax(axis=1)
        given = entries[rows, chosen]
        tables[rows, given] = chosen
        scores[rows, :, given] = _TAKEN
        load = loads[rows, chosen]
        ceilings[:, 0] -= load == floor
        loads[rows, chosen] = load + 1
        price[rows, chosen] = prices[rows, np.minimum(load + 1, floor)]
        # Those whose best entry that was look for their next one.
        where, which = np.nonzero(entries == given[:, None])
        left = scores[where, which]
        entries[where, which] = found = left.argmax(axis=1)
        best[where, which] = left[np.arange(len(found)), found]
    return tables

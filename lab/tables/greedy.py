"""Greedy assignment under quotas: the best (entry, backend) pair first, until every entry has a backend.

The rule of balanced rendezvous, and the decoder of any network that scores pairs: walk all pairs from the highest
score down and give the entry to the backend if the entry is free and the backend is below its quota, or at its quota
while the pool (the number of backends that may go one above) is not used up. Equal scores: the backend that comes
first by identity, then the lower entry.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.scoring import even_loads
from lab.tables.hashing import PairScores, UInt64

__all__ = ["assign", "assign_batch", "assign_streaming", "quotas"]

PAIRS_AT_ONCE = 1 << 21
"""Pairs scored, sorted and walked at once: 100 MB, most of it the lists of the walk."""

NOT_GIVEN = -1


def quotas(
    present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The quotas of exact evenness.

    Args:
        present: bool (B, N).
        size: number of entries.
        weights: float64 (B, N), or None for equal ones.

    Returns:
        The loads up to which a backend may always go, int64 (B, N), and the pool, int64 (B,). Without weights these
        are floor and remainder of size / n: who gets a ceiling is left to the scores. With weights the loads are
        fixed (`even_loads`), and the pool is empty.
    """
    if weights is not None:
        return even_loads(present, size, weights), np.zeros(len(present), dtype=np.int64)
    n_backends = np.maximum(present.sum(axis=1), 1)
    return np.where(present, (size // n_backends)[:, None], 0), size % n_backends


def assign_batch(
    scores: NDArray[Any], present: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> NDArray[np.int32]:
    """Decodes a batch of scores into perfectly even tables.

    Args:
        scores: uint64 or float (B, N, size), higher is better, no NaN; columns in the order of identity.
        present: bool (B, N).
        weights: float64 (B, N), None for equal ones.

    Returns:
        int32 (B, size) of columns; -1 in rows without a backend.
    """
    size = scores.shape[2]
    rooms, pools = quotas(present, size, weights)
    tables = np.full((len(scores), size), NOT_GIVEN, dtype=np.int32)
    for row, here in enumerate(present):
        columns = np.flatnonzero(here)
        if len(columns):
            tables[row] = columns[assign(scores[row, columns], rooms[row, columns], int(pools[row]))]
    return tables


def assign(scores: NDArray[Any], rooms: NDArray[np.int64], pool: int) -> NDArray[np.int64]:
    """Assigns the entries of one table whose scores fit into memory.

    Args:
        scores: uint64 or float (n, size), higher is better, no NaN.
        rooms: int64 (n,), entries that each backend may take.
        pool: how many backends may take one more. Rooms and pool together must reach `size`, else entries stay -1.

    Returns:
        int64 (size,): rows of `scores`.
    """
    size = scores.shape[1]
    state = _Walk(size, rooms, pool)
    state.visit(*np.divmod(_from_highest(scores.ravel()), size))
    return np.array(state.table)


def assign_streaming(
    hashes: UInt64,
    pair_scores: PairScores,
    size: int,
    rooms: NDArray[np.int64],
    pool: int,
    pairs_at_once: int = PAIRS_AT_ONCE,
) -> NDArray[np.int64]:
    """`assign` for a table with too many pairs to sort: 65 million at 1,000 backends and 65,537 entries.

    Works down from the highest scores in passes. A pass collects the pairs above a threshold among free entries and
    open backends, about `pairs_at_once` of them, and walks those. What a pass has turned down stays turned down
    (entries are never freed, backends never re-opened), so the next pass may leave it out, and the result is that of
    one walk over all pairs.

    Args:
        hashes: uint64 (n, 4).
        pair_scores: the scores of pairs.
        size: number of entries.
        rooms: int64 (n,), as for `assign`.
        pool: as for `assign`.
        pairs_at_once: bound on the pairs scored at once, and the number aimed at in a pass.

    Returns:
        int64 (size,) of positions in `rooms`.
    """
    state = _Walk(size, rooms, pool)
    step = max(1, pairs_at_once // size)
    while state.free:
        entries = np.flatnonzero(np.array(state.table) == NOT_GIVEN)
        backends = state.open_backends()
        if not len(backends):
            break
        share = pairs_at_once / (len(entries) * len(backends))
        threshold = np.uint64(0)
        found: list[tuple[NDArray[np.int64], NDArray[np.int64], UInt64]] = []
        for start in range(0, len(backends), step):
            block = backends[start : start + step]
            scores = pair_scores(hashes[block], size)[:, entries]
            if share < 1 and start == 0:
                # The first block stands for all. Its best pair is at or above the threshold, so each pass gets on.
                place = int(scores.size * (1 - share))
                threshold = np.partition(scores, place, axis=None)[place]
            rows, places = np.nonzero(scores >= threshold)
            found.append((block[rows], entries[places], scores[rows, places]))
        columns, candidates, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = _from_highest(scores)
        state.visit(columns[order], candidates[order])
    return np.array(state.table)


def _from_highest(scores: NDArray[Any]) -> NDArray[np.int64]:
    """The order of `scores` from the highest, equal ones in the order they stand in."""
    return np.argsort(~scores if scores.dtype == np.uint64 else -scores, kind="stable")


class _Walk:
    """A walk over pairs: the table so far and what each backend may still take.

    Whether a pair is given depends on all before it, so the walk itself is Python over lists, at about 40 ns a pair. A
    step of NumPy over the tables of a batch costs as much per pair at 2,000 tables, and more the fewer there are.
    """

    def __init__(self, size: int, rooms: NDArray[np.int64], pool: int) -> None:
        self.table = [NOT_GIVEN] * size
        self.free = size
        self.pool = pool
        self._rooms: list[int] = rooms.tolist()

    def open_backends(self) -> NDArray[np.int64]:
        """The backends that may take an entry: below their quota, or at it while the pool lasts."""
        return np.flatnonzero(np.array(self._rooms) >= (0 if self.pool else 1))

    def visit(self, columns: NDArray[np.int64], entries: NDArray[np.int64]) -> None:
        """Visits pairs in the order given."""
        table, rooms = self.table, self._rooms
        for column, entry in zip(columns.tolist(), entries.tolist(), strict=True):
            if table[entry] != NOT_GIVEN:
                continue
            room = rooms[column]
            if room <= 0:
                # At 0 the backend is at its quota, at -1 it has had its one from the pool.
                if room < 0 or not self.pool:
                    continue
                self.pool -= 1
            rooms[column] = room - 1
            table[entry] = column
            self.free -= 1
            if not self.free:
                return

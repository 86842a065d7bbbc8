"""Tables that look ahead: what the tables one change away agree on, made even.

A stateless table can be no steadier than its neighbours let it. So a set of backends asks which tables it may come from
and go to: those without each of its backends, and those with each of a few backends more. Backends that may join are
not known, so a fixed sample of hashes stands for them (`joiners_of`): every instance asks the same ones. Every
neighbour votes for the owner that each entry has there, and the exactly even table with the most votes is chosen, or
that within a cap, which is an assignment problem (Crouse, 2016, in SciPy).

This is policy improvement by rollout (Bertsekas, Tsitsiklis and Wu, 1997): neighbours are built without looking as far.
Where two numbers of backends both look, each answers what the other no longer is, so it is told for each number how far
it looks, and how much its votes from below and from above count. Those roles, and the prices of the table at the bottom
(`lab.tables.priced`), are learned (`lab.tasks.table_lookahead`).

All arithmetic is of integers below 2**53, so every machine finds the same optimum. Of two tables with as many votes it
is the one that shares more with the table without looking, then the one whose pairs have higher scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lab.config import Config, parse
from lab.errors import RequestError
from lab.tables.capped import least_caps
from lab.tables.hashing import GOLDEN, mix, stratified_scores
from lab.tables.priced import MAX_PRICE, UNIT, in_scores
from lab.tables.walk import assign_priced, by_number, scores_of

__all__ = [
    "HEAVIEST",
    "LARGEST",
    "MAX_LEVEL",
    "LookaheadOptions",
    "LookaheadTables",
    "joiners_of",
    "most_votes",
    "table_of_lookahead",
]

MAX_LEVEL = 2
"""How many changes ahead, at most: each one more takes as many tables as there are neighbours, for every table."""

LARGEST = 512
"""Entries of the largest table."""

HEAVIEST = 10
"""The largest weight of the votes from one side: whole numbers from 0 to this."""

_CELLS_AT_ONCE = 1 << 20
"""Scores of neighbours held at once: bounds memory."""

_SCORE_BITS = 20
"""Bits of a score that break ties between votes."""


class LookaheadOptions(Config):
    """The size that roles and prices are for, and the backends that may join."""

    size: int = Field(ge=2, le=LARGEST, description="entries of a table")
    joiners: int = Field(default=16, ge=1, le=64, description="backends that may join, asked about by each table")


def joiners_of(count: int, level: int) -> NDArray[np.uint64]:
    """The hashes that stand for backends which may join, uint64 (count, 4): other ones at every level."""
    counters = np.arange(1, 4 * count + 1, dtype=np.uint64) + np.uint64(level << 32)
    return mix(counters * GOLDEN).reshape(count, 4)


def most_votes(values: NDArray[np.int64], cap: int = 0) -> NDArray[np.int64]:
    """The table whose pairs are worth most in sum.

    Args:
        values: int64 (size, n), what it is worth that an entry has a backend; from 0 to 2**52 / size**2, so that all
            sums are exact.
        cap: the largest load, at least the ceiling, and the smallest is free; 0 for floor and ceiling.

    Returns:
        int64 (size,) of backends.
    """
    size, n = values.shape
    floor, ceilings = (0, 1) if cap else divmod(size, n)
    each = cap or floor + (ceilings > 0)
    # A seat for each entry that a backend may have. Those up to the floor must be filled, so they pay more than all
    # the rest; of the others as many are taken as entries are left.
    must = np.tile(np.arange(each) < floor, n) * float(size * (values.max() + 1))
    seats = np.repeat(np.arange(n), each)
    rows, columns = linear_sum_assignment(values[:, seats] + must, maximize=True)
    table = np.empty(size, dtype=np.int64)
    table[rows] = seats[columns]
    return table


class LookaheadTables:
    """A table function (a `lab.tables.learned.TableModel`).

    Attributes:
        prices: int64 (size + 1, size + 1): in row n what a backend costs that has k entries, for k up to the floor of
            size / n, in `lab.tables.priced.UNIT`s.
        roles: int64 (size + 1, 3): in row n how many changes it looks ahead, and the weights of its votes from below
            and from above.
        caps: int64 (size + 1,): the largest load of n backends, whose smallest is free; 0 for floor and ceiling.
    """

    def __init__(self, options: LookaheadOptions) -> None:
        self.size = options.size
        self.prices = np.zeros((options.size + 1, options.size + 1), dtype=np.int64)
        self.roles = np.zeros((options.size + 1, 3), dtype=np.int64)
        self.caps = np.zeros(options.size + 1, dtype=np.int64)
        self._joiners = [
            scores_of(stratified_scores(joiners_of(options.joiners, level), options.size))
            for level in range(1, MAX_LEVEL + 1)
        ]

    @property
    def exact(self) -> bool:
        """Whether loads differ by at most one, always."""
        return not self.caps.any()

    def state_dict(self) -> Mapping[str, Tensor]:
        """`prices` and `roles`, int64, and `caps` where there are any."""
        names = ("prices", "roles") if self.exact else ("prices", "roles", "caps")
        return {name: torch.from_numpy(getattr(self, name)) for name in names}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Takes the prices, roles and caps of a training.

        Raises:
            RuntimeError: other tensors, shapes or types than these options have, or values out of range.
        """
        state_dict = {"caps": torch.zeros(self.size + 1, dtype=torch.int64), **state_dict}
        shapes = {name: getattr(self, name).shape for name in ("prices", "roles", "caps")}
        expected = {name: (torch.int64, tuple(shape)) for name, shape in shapes.items()}
        found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state_dict.items()}
        if found != expected:
            raise RuntimeError(f"expected {expected}, but got {found}")
        prices, roles, caps = (state_dict[name].numpy().copy() for name in ("prices", "roles", "caps"))
        if np.abs(prices).max() > MAX_PRICE * UNIT:
            raise RuntimeError(f"expected prices within {MAX_PRICE} units, but got {int(np.abs(prices).max())}")
        if (roles < 0).any() or (roles > [MAX_LEVEL, HEAVIEST, HEAVIEST]).any():
            raise RuntimeError(
                f"expected roles from 0 to {[MAX_LEVEL, HEAVIEST, HEAVIEST]}, but got {roles.max(axis=0)}"
            )
        if ((caps[1:] != 0) & ((caps[1:] < least_caps(self.size)) | (caps[1:] > self.size))).any():
            raise RuntimeError("expected caps from the ceiling to the size, or 0 for floor and ceiling, but got others")
        self.prices, self.roles, self.caps = prices, roles, caps

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError for another size than that of the roles, or more backends than entries."""
        if size != self.size:
            raise RequestError(f"expected the size of these roles, {self.size}, but got {size}")
        if n_backends > size:
            raise RequestError(f"expected at most {size} backends, one an entry, but got {n_backends}")

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Builds a table for each row.

        Args:
            hashes: uint64 (B, N, 4), columns in the order of identity.
            present: bool (B, N).
            size: entries of a table.

        Returns:
            int32 (B, size) of columns, -1 in rows without a backend.
        """
        tables = np.full((len(present), size), -1, dtype=np.int32)
        for rows, columns, keys in by_number(hashes, present):
            chosen = self._tables(scores_of(stratified_scores(keys, size)), MAX_LEVEL)
            tables[rows] = np.take_along_axis(columns, chosen, axis=1)
        return tables

    def _tables(self, scores: NDArray[np.int32], furthest: int) -> NDArray[np.int64]:
        """Tables int64 (B, size) of sets with the scores int32 (B, n, size), that look no further than `furthest`."""
        batch, n, size = scores.shape
        level, below, above = self.roles[n].tolist()
        level = min(level, furthest)
        neighbours = (n if below and n > 1 else 0, len(self._joiners[level - 1]) if above and n < size else 0)
        if not level or not any(neighbours):
            cap = int(self.caps[n])
            prices = in_scores(self.prices[n, : cap or size // n + 1], size)
            return assign_priced(scores.copy(), np.broadcast_to(prices, (batch, len(prices))), exact=not cap)
        step = max(1, _CELLS_AT_ONCE // (sum(neighbours) * n * size))
        parts = pairwise([*range(0, batch, step), batch])
        return np.concatenate([self._looked(scores[start:stop], level, *neighbours) for start, stop in parts])

    def _looked(self, scores: NDArray[np.int32], level: int, leavers: int, joiners: int) -> NDArray[np.int64]:
        batch, n, size = scores.shape
        _, below, above = self.roles[n].tolist()
        votes = np.zeros((batch, size, n), dtype=np.int64)
        # Either side has the same say, however many tables it is asked by.
        if leavers:
            others = np.array([[other for other in range(n) if other != left] for left in range(n)])
            tables = self._tables(scores[:, others].reshape(batch * n, n - 1, size), level - 1)
            owners = np.take_along_axis(np.tile(others, (batch, 1)), tables, axis=1)
            votes += _count(owners.reshape(batch, n, size), n) * (below * max(joiners, 1))
        if joiners:
            joined = np.empty((batch, joiners, n + 1, size), dtype=np.int32)
            joined[:, :, :n], joined[:, :, n] = scores[:, None], self._joiners[level - 1]
            tables = self._tables(joined.reshape(batch * joiners, n + 1, size), level - 1)
            votes += _count(tables.reshape(batch, joiners, size), n) * (above * max(leavers, 1))
        own = _count(self._tables(scores, 0)[:, None], n)
        ties = (own << _SCORE_BITS) + (scores >> (31 - _SCORE_BITS)).transpose(0, 2, 1)
        values = (votes << (_SCORE_BITS + 1)) + ties
        return np.stack([most_votes(each, int(self.caps[n])) for each in values])


def _count(tables: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """How many of the tables (B, K, size) have each entry at each of n backends: int64 (B, size, n)."""
    return (tables[..., None] == np.arange(n)).sum(axis=1)


def table_of_lookahead(options: Mapping[str, Any]) -> LookaheadTables:
    """The table function of `LookaheadOptions` as a mapping, which does not look and has no prices yet.

    Raises:
        RequestError: options that are unknown or out of range.
    """
    return LookaheadTables(parse(LookaheadOptions, options))

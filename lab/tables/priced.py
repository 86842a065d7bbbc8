"""Priced rendezvous: balanced rendezvous in which a backend's price rises with the entries that it has.

The best pair goes first, as in `lab.tables.greedy`, but a pair's worth is its score less the price of its backend, and
a backend that has `k` entries has the price `P(k) = h(1) + ... + h(k)`. Without prices this is balanced rendezvous;
with a price of more than any score at the floor, everyone has floor entries before anyone has one more. What lies
between is learned (`lab.tasks.table_es`): `h(j)` depends on `j` and on how far `j` is from the mean load, `j n / size`,
so one set of prices serves every number of backends and every size.

Whatever the prices, loads differ by at most one. All arithmetic is of integers, so every machine builds the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lab.config import Config, parse
from lab.errors import RequestError
from lab.tables.hashing import stratum_bits
from lab.tables.walk import SCORE_BITS, build_priced

__all__ = ["MAX_PRICE", "UNIT", "PricedOptions", "PricedTables", "build_stack", "prices_of", "table_of_priced"]

UNIT = 1 << 20
"""A price of one: the range of the scores, more than any score outweighs."""

MAX_PRICE = 1 << 10
"""In units, the highest price of a backend: beyond it, more entries cost no more. Keeps sums within 64 bits."""

PAIRS = 1 << 22
"""The most pairs of backends and entries: it takes a second or two."""


class PricedOptions(Config):
    """The shape of a table of prices."""

    levels: int = Field(default=4, ge=1, le=64, description="entries for which there is a price each; more cost alike")
    knots: int = Field(default=9, ge=2, le=65, description="shares of the mean load, evenly spaced from 0 to 1")


def prices_of(steps: NDArray[np.int64], n: int, size: int) -> NDArray[np.int64]:
    """What a backend costs, by the entries that it has.

    Args:
        steps: int64 (levels, knots): the steps `h`, in `UNIT`s times `UNIT`; what is below 0 counts as 0, what is above
            `UNIT` as that. Row `j - 1` is for the j-th entry, the last row for all from there on. Column `c` is for
            `j n / size = c / (knots - 1)`, linear in between.
        n: number of backends, at least 1.
        size: entries of the table.

    Returns:
        int64 (size // n + 1,): `P(k)` for k entries, from 0 to the floor.
    """
    levels, knots = steps.shape
    entries = np.arange(1, size // n + 1, dtype=np.int64)
    # Of integers, so that it is the same everywhere: (knots - 1) j n / size in whole and remainder.
    whole, rest = np.divmod((knots - 1) * entries * n, size)
    rows = np.minimum(entries, levels) - 1
    left, right = steps[rows, whole], steps[rows, np.minimum(whole + 1, knots - 1)]
    between = (left * (size - rest) + right * rest) // size
    prices = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(between.clip(0, UNIT))])
    return np.minimum(prices, MAX_PRICE * UNIT)


def in_scores(prices: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Prices in the unit of `scores_of`: a `UNIT` is the range of the scores at this size."""
    # Both factors are below 2**31.
    return (prices * (size << (SCORE_BITS - stratum_bits(size)))) // UNIT


class PricedTables:
    """A table function: stratified scores, and prices that were learned (a `lab.tables.learned.TableModel`).

    Attributes:
        steps: int64 (levels, knots), see `prices_of`.
        exact: loads differ by at most one, always.
    """

    exact = True

    def __init__(self, options: PricedOptions) -> None:
        self.steps = np.zeros((options.levels, options.knots), dtype=np.int64)

    def state_dict(self) -> Mapping[str, Tensor]:
        """`steps`, int64."""
        return {"steps": torch.from_numpy(self.steps)}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Takes the steps of a training.

        Raises:
            RuntimeError: other tensors, shapes or types than these options have, or steps out of range.
        """
        expected = torch.from_numpy(self.steps)
        found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state_dict.items()}
        if found != {"steps": (expected.dtype, tuple(expected.shape))}:
            raise RuntimeError(f"expected steps as int64 of shape {tuple(expected.shape)}, but got {found}")
        steps = state_dict["steps"].numpy().copy()
        if np.abs(steps).max() > MAX_PRICE * UNIT:
            raise RuntimeError(f"expected steps within {MAX_PRICE} units, but got {int(np.abs(steps).max())}")
        self.steps = steps

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError for a table too large to be walked in memory."""
        if size * n_backends > PAIRS:
            raise RequestError(f"expected at most {PAIRS} pairs of backends and entries, but got {n_backends} x {size}")

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Builds a table for each row.

        Args:
            hashes: uint64 (B, N, 4), columns in the order of identity.
            present: bool (B, N).
            size: entries of a table.

        Returns:
            int32 (B, size) of columns, -1 in rows without a backend.
        """
        return build_stack(self.steps[None], hashes, present, size)[0]


def build_stack(
    stack: NDArray[np.int64], hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int
) -> NDArray[np.int32]:
    """Builds a table by each of M tables of prices for each row; scores are made once.

    Args:
        stack: int64 (M, levels, knots), `steps` each.
        hashes, present, size: as for `PricedTables.build_batch`.

    Returns:
        int32 (M, B, size) of columns, -1 for none.
    """
    return build_priced(
        hashes,
        present,
        size,
        lambda n: np.stack([in_scores(prices_of(steps, n, size), size) for steps in stack]),
    )


def table_of_priced(options: Mapping[str, Any]) -> PricedTables:
    """The table function of `PricedOptions` as a mapping, without prices yet.

    Raises:
        RequestError: options that are unknown or out of range.
    """
    return PricedTables(parse(PricedOptions, options))

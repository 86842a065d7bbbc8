"""Tables from the scores of pairs: three decoders, and the networks of `lab.tables.networks` as table functions.

| decoder    | rule                                                                        | always holds       |
|------------|-----------------------------------------------------------------------------|--------------------|
| `argmax`   | an entry goes to its best slot of all, also an empty one (-1), the notebook | nothing            |
| `ranking`  | an entry goes to its best backend, by scores that do not see the set        | valid, excess 0    |
| `balanced` | best pair first under floor and ceiling (`lab.tables.greedy`)               | valid, spread <= 1 |

Scores are computed in float64 and compared on a fixed grid, ties by identity, so that neither the batch a set stands
in nor the machine decides an entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.config import parse
from lab.tables.greedy import assign_batch
from lab.tables.networks import (
    Decoder,
    EquivariantOptions,
    EquivariantScorer,
    NotebookNetwork,
    NotebookOptions,
    Scorer,
)

__all__ = ["ScoredTables", "build_stack", "compact", "decode", "slots_of", "table_of_equivariant", "table_of_notebook"]

_GRID = 2.0**24
"""Scores are rounded to multiples of 1 / _GRID: far above float64's error, far below what training tells apart."""

_PAIRS_AT_ONCE = 1 << 15
"""Pairs scored at once: what fits into the cache, more or less."""

NO_SLOT = -1


def slots_of(present: NDArray[np.bool_], n_slots: int) -> NDArray[np.int64]:
    """The column that stands in each slot.

    Args:
        present: bool (B, N), columns in the order of identity.
        n_slots: S, at least the number of present columns in any row.

    Returns:
        int64 (B, S): the present columns in order, then -1.
    """
    rows, columns = present.shape
    order = np.argsort(~present, axis=1, kind="stable")
    slots = np.full((rows, max(n_slots, columns)), NO_SLOT, dtype=np.int64)
    slots[:, :columns] = np.where(np.take_along_axis(present, order, axis=1), order, NO_SLOT)
    return slots[:, :n_slots]


def compact(hashes: NDArray[np.uint64], slots: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hashes of columns, uint64 (B, N, 4), as hashes of slots, (B, S, 4), 0 in empty ones, and which are not, bool."""
    there = slots != NO_SLOT
    if not hashes.shape[1]:
        return np.zeros((*slots.shape, hashes.shape[2]), dtype=np.uint64), there
    taken = np.take_along_axis(hashes, np.maximum(slots, 0)[..., None], axis=1)
    return np.where(there[..., None], taken, np.uint64(0)), there


def decode(scores: NDArray[np.float64], present: NDArray[np.bool_], decoder: Decoder) -> NDArray[np.int64]:
    """Tables of slots from scores.

    Args:
        scores: float (B, size, S), higher is better.
        present: bool (B, S), the slots that hold a backend.
        decoder: the rule.

    Returns:
        int64 (B, size): slots; -1 where the rule names an empty slot.
    """
    if not scores.size:
        return np.full(scores.shape[:2], NO_SLOT, dtype=np.int64)
    grid = np.rint(scores * _GRID).astype(np.int64)
    if decoder == "balanced":
        return assign_batch(grid.transpose(0, 2, 1), present).astype(np.int64)
    if decoder == "ranking":
        grid = np.where(present[:, None], grid, np.iinfo(np.int64).min)
    table = grid.argmax(axis=2)
    return np.where(np.take_along_axis(present, table, axis=1), table, NO_SLOT)


class ScoredTables:
    """A table function: a scorer and a decoder (a `lab.tables.learned.TableModel`).

    Attributes:
        scorer: the network, in float64 and without gradients.
        decoder: the rule.
        exact: whether loads differ by at most one, always.
    """

    def __init__(self, scorer: Scorer, decoder: Decoder) -> None:
        self.scorer = scorer.double().requires_grad_(False)
        self.decoder: Decoder = decoder
        self.exact = decoder == "balanced"

    def state_dict(self) -> Mapping[str, Tensor]:
        """The weights by name, float64."""
        return self.scorer.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Takes the weights of a trained network, of any floating type.

        Raises:
            RuntimeError: they are of another network (torch's own message).
        """
        self.scorer.load_state_dict({name: tensor.double() for name, tensor in state_dict.items()}, assign=True)

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError where the network has no scores."""
        self.scorer.check(size, n_backends)

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Builds a table for each row.

        Args:
            hashes: uint64 (B, N, 4), columns in the order of identity.
            present: bool (B, N).
            size: entries of a table.

        Returns:
            int32 (B, size) of columns, -1 for none.
        """
        return build_stack([self], hashes, present, size)[0]


def build_stack(
    stack: Sequence[ScoredTables], hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int
) -> NDArray[np.int32]:
    """Builds a table by each of M networks of one shape for each row; what the networks read is made once.

    Args:
        stack: M >= 1 table functions with one decoder, whose networks have the same options.
        hashes: uint64 (B, N, 4), columns in the order of identity.
        present: bool (B, N).
        size: entries of a table.

    Returns:
        int32 (M, B, size) of columns, -1 for none: what `build_batch` of each gives.
    """
    first = stack[0]
    decoder = first.decoder
    n = present.sum(axis=1)
    first.check(size, int(n.max(initial=0)))
    tables = np.full((len(stack), len(present), size), NO_SLOT, dtype=np.int32)
    # Rows of like numbers of backends go together: less padding.
    order = np.argsort(n, kind="stable")
    widest = size if decoder == "argmax" else int(n.max(initial=0))
    step = max(1, _PAIRS_AT_ONCE // max(1, widest * size))
    for start, stop in pairwise([*range(0, len(order), step), len(order)]):
        rows = order[start:stop]
        slots = slots_of(present[rows], size if decoder == "argmax" else int(n[rows].max()))
        keys, there = compact(hashes[rows], slots)
        features, occupied = torch.from_numpy(first.scorer.features(keys, there, size)), torch.from_numpy(there)
        columns = np.pad(slots, ((0, 0), (0, 1)), constant_values=NO_SLOT)
        for member, tables_of in zip(stack, tables, strict=True):
            with torch.no_grad():
                scores = member.scorer(features, occupied).numpy()
            tables_of[rows] = np.take_along_axis(columns, decode(scores, there, decoder), axis=1)
    return tables


def table_of_notebook(options: Mapping[str, Any]) -> ScoredTables:
    """The table function of a `NotebookNetwork` without weights yet, from `NotebookOptions` as a mapping.

    Raises:
        RequestError: options that are unknown or out of range.
    """
    shape = parse(NotebookOptions, options)
    # On the meta device no weights are drawn: building tables leaves torch's generator alone.
    with torch.device("meta"):
        return ScoredTables(NotebookNetwork(shape), shape.decoder)


def table_of_equivariant(options: Mapping[str, Any]) -> ScoredTables:
    """The table function of an `EquivariantScorer`, likewise."""
    shape = parse(EquivariantOptions, options)
    with torch.device("meta"):
        return ScoredTables(EquivariantScorer(shape), shape.decoder)

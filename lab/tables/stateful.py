"""The stateful optimum: the perfectly even table that moves the fewest entries of the table in force.

No table that is as even changes less in one step, and no stateless one can keep that up. (The score `optimum` is lower
still where a backend that leaves had a ceiling: it is free to choose the table before, too.) A yardstick and not a
peer: it must be told the table in force, so two load balancers agree only if they share their whole history.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.backends import Identity, canonical_id, sort_order
from envs.errors import RequestError
from envs.scoring import even_loads, loads
from lab.tables.registry import Builder, register

__all__ = ["least_moves", "least_moves_batch"]


def least_moves_batch(
    tables: NDArray[np.integer], after: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> NDArray[np.int32]:
    """The least change of each table that serves the backends `after` perfectly evenly.

    Args:
        tables: int (B, size), the tables in force: columns, -1 for none.
        after: bool (B, N), the backends that are to serve; columns in the order of identity.
        weights: float64 (B, N), or None for equal ones.

    Returns:
        int32 (B, size) of columns, -1 in rows where `after` is empty. Who has most entries gets a ceiling first; a
        backend with too many gives up its last entries; these go, in order, to the backends with too few by identity.

    Raises:
        RequestError: an entry outside [-1, N), or weights that `even_loads` refuses.
    """
    rows, n_columns = after.shape
    size = tables.shape[1]
    had = np.where(after, loads(tables, n_columns), -1)
    if weights is None:
        # Ceilings go to those who have most, so rank the columns by load and read the even loads in that order.
        order = np.argsort(-had, axis=1, kind="stable")
        quota = np.empty((rows, n_columns), dtype=np.int64)
        ranked = np.take_along_axis(after, order, axis=1)
        np.put_along_axis(quota, order, even_loads(ranked, size), axis=1)
    else:
        quota = even_loads(after, size, weights)

    result = np.full((rows, size), -1, dtype=np.int32)
    # A row without backends stays empty.
    for row in np.flatnonzero(after.any(axis=1)):
        table = np.asarray(tables[row], dtype=np.int64)
        by_owner = np.argsort(table, kind="stable")
        owners = table[by_owner]
        # How many entries of the same owner come before: an owner keeps as many as its quota.
        number = np.arange(size) - np.searchsorted(owners, owners)
        kept = by_owner[(owners >= 0) & (number < quota[row, owners])]
        result[row, kept] = table[kept]
        lacking = quota[row] - np.bincount(table[kept], minlength=n_columns)
        result[row, result[row] < 0] = np.repeat(np.arange(n_columns), lacking)
    return result


def least_moves(
    table: ArrayLike,
    ids_before: Sequence[Identity],
    ids_after: Sequence[Identity],
    weights: Sequence[float] | None = None,
) -> NDArray[np.int32]:
    """`least_moves_batch` for one table, by identity.

    Args:
        table: int (size,), the table in force: indices into `ids_before`, -1 for none.
        ids_before: the backends the table in force names.
        ids_after: the backends that are to serve, in any order.
        weights: a number >= 0 for each of `ids_after`; None: all alike.

    Returns:
        int32 (size,) of indices into `ids_after`.

    Raises:
        RequestError: duplicate backends, entries out of range, wrong weights.
    """
    sort_order(ids_before)
    order = sort_order(ids_after)
    before, after = [canonical_id(x) for x in ids_before], [canonical_id(x) for x in ids_after]
    entries = np.asarray(table)
    if entries.ndim != 1:
        raise RequestError(f"expected a table of shape (size,), but got shape {entries.shape}")
    loads(entries[None], len(before))
    if weights is not None and len(weights) != len(after):
        raise RequestError(f"expected a weight for each of {len(after)} backends, but got {len(weights)}")
    # Columns: the backends after, sorted. Who left is no owner, as far as the new table goes.
    column = {after[index]: place for place, index in enumerate(order)}
    owner = np.array([*(column.get(key, -1) for key in before), -1])
    row_weights = None if weights is None else np.asarray(weights, dtype=np.float64)[order][None]
    result = least_moves_batch(owner[entries][None], np.ones((1, len(after)), dtype=bool), row_weights)[0]
    return np.append(order, -1)[result].astype(np.int32)


def _from_nothing(
    hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    """The table where none was in force before; `build` refuses to, so that nobody takes it for a peer."""
    return least_moves_batch(np.full((len(present), size), -1), present, weights)


register(
    Builder(
        name="stateful-optimum",
        version=1,
        summary="least moves from the table in force at perfect evenness: a yardstick, not ranked",
        build_batch=_from_nothing,
        weighted=True,
        stateless=False,
        exact=True,
        rebuild=lambda tables, hashes, before, after: least_moves_batch(tables, after),
    )
)

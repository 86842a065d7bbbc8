"""Validity, evenness and stability of lookup tables: by identity, never by index.

Batched functions take tables in *union coordinates* (see `envs.scenarios`): an entry is a column, so equal columns are
equal identities. -1 is an owner that neither joins nor leaves; it is invalid while any backend is present.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.backends import Identity, canonical_id, sort_order
from envs.errors import RequestError

FloatArray = NDArray[np.float64]
T = TypeVar("T", float, FloatArray)


@dataclasses.dataclass(frozen=True)
class TableScores(Generic[T]):
    """What is said of one table; floats, or float64 arrays of shape (B,).

    Attributes:
        invalid: share of entries, in [0, 1], that name an absent backend, or none while any backend is present.
        spread: largest minus smallest load of the present backends, in entries.
        max_over_mean: largest load of the present backends over `size / n`, a ratio; 0 without backends.
        imbalance: `sum(max(0, load - even load)) / size` over the present backends, a share of entries. The even loads
            are the nearest ones: backends of equal weight are interchangeable. Of a valid table it is the total
            variation between the two; entries without a present backend count as `invalid`, not here.
    """

    invalid: T
    spread: T
    max_over_mean: T
    imbalance: T


@dataclasses.dataclass(frozen=True)
class TransitionScores(Generic[T]):
    """What is said of two tables; floats, or float64 arrays of shape (B,). All are shares of entries.

    Attributes:
        changed: entries whose backend differs.
        forced: those of them whose former owner left, or whose new owner joined.
        excess: `changed - forced`, entries that moved needlessly.
        optimum: the least that two perfectly even tables over these two sets can change.
        regret: `changed - optimum`.
    """

    changed: T
    forced: T
    excess: T
    optimum: T
    regret: T


def even_loads(present: NDArray[np.bool_], size: int, weights: FloatArray | None = None) -> NDArray[np.int64]:
    """The perfectly even loads.

    Args:
        present: bool (B, N), columns sorted by identity.
        size: entries of a table.
        weights: float (B, N), or None for equal ones; those of absent columns are ignored, 0 drains a backend.

    Returns:
        int64 (B, N): the largest remainders of `size * w / sum(w)`, ties by identity; without weights `size // n`, and
        one more for the first `size % n` backends. 0 for absent columns. Rows sum to `size`, or to 0 without backends.

    Raises:
        RequestError: for weights that are negative or not finite, or none above 0 among present backends.
    """
    if weights is None:
        n = np.maximum(present.sum(axis=1, keepdims=True), 1)
        place = np.cumsum(present, axis=1) - 1
        return np.where(present, size // n + (place < size % n), 0).astype(np.int64)
    weights = np.where(present, _checked_weights(weights, present), 0.0)
    # The largest weight becomes 1 first, so that no sum overflows; the tiny shift and the rounding make ties of what
    # is equal in exact arithmetic, whatever the padding.
    weights = weights / np.maximum(weights.max(axis=1, keepdims=True, initial=0.0), np.finfo(float).tiny)
    exact = size * weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    floors = np.floor(exact + 1e-9)
    remainders = np.where(weights > 0, np.round(exact - floors, 9), -1.0)
    place = (-remainders).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    left = np.where(present.any(axis=1), size - floors.sum(axis=1), 0)
    return (floors + (place < left[:, None])).astype(np.int64)


def loads(table: NDArray[np.integer], n_columns: int) -> NDArray[np.int64]:
    """How many entries each column has.

    Args:
        table: int (B, size), entries in [-1, n_columns).
        n_columns: N.

    Returns:
        int64 (B, N); entries of -1 are counted nowhere.

    Raises:
        RequestError: for a table that is not an integer matrix, or an entry out of range.
    """
    if table.ndim != 2 or not np.issubdtype(table.dtype, np.integer):
        raise RequestError(f"tables must be integers of shape (B, size), but got {table.dtype} of shape {table.shape}")
    if table.size and not -1 <= int(table.min()) <= int(table.max()) < n_columns:
        raise RequestError(f"table entries must be in [-1, {n_columns}), but got {table.min()} to {table.max()}")
    cells = np.arange(len(table))[:, None] * (n_columns + 1) + table + 1
    counts = np.bincount(cells.ravel(), minlength=len(table) * (n_columns + 1))
    return counts.reshape(len(table), n_columns + 1)[:, 1:].astype(np.int64)


def table_scores(
    table: NDArray[np.integer], present: NDArray[np.bool_], weights: FloatArray | None = None
) -> TableScores[FloatArray]:
    """The scores of B tables.

    Args:
        table: int (B, size), each entry a column or -1.
        present: bool (B, N), columns sorted by identity.
        weights: float (B, N), or None for equal ones. They change `imbalance` alone.

    Returns:
        `TableScores` of float64 (B,).

    Raises:
        RequestError: where `loads` or `even_loads` raises it, or if the batches differ.
    """
    _check_rows(table, present)
    size = table.shape[1]
    all_loads = loads(table, present.shape[1])
    n = present.sum(axis=1)
    load = np.where(present, all_loads, 0)
    # Naming an absent backend is always invalid, naming none only while there is one to name.
    named_absent = (all_loads - load).sum(axis=1)
    named_none = np.where(n > 0, size - all_loads.sum(axis=1), 0)
    largest = load.max(axis=1, initial=0)
    smallest = np.where(present, load, size).min(axis=1, initial=size)
    quota = even_loads(present, size, weights)
    if weights is None:  # absent columns are the smallest in both
        sorted_loads, sorted_quota = np.sort(load, axis=1), np.sort(quota, axis=1)
    else:
        rank_by = np.where(present, weights, -1.0)
        sorted_loads = np.take_along_axis(load, np.lexsort((load, rank_by), axis=1), axis=1)
        sorted_quota = np.take_along_axis(quota, np.lexsort((quota, rank_by), axis=1), axis=1)
    return TableScores(
        invalid=(named_absent + named_none) / size,
        spread=np.where(n > 0, largest - smallest, 0).astype(np.float64),
        max_over_mean=largest * n / size,
        imbalance=np.maximum(sorted_loads - sorted_quota, 0).sum(axis=1) / size,
    )


def transition_scores(
    table_before: NDArray[np.integer],
    table_after: NDArray[np.integer],
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
) -> TransitionScores[FloatArray]:
    """The scores of B pairs of tables.

    Args:
        table_before: int (B, size), each entry a column or -1.
        table_after: int (B, size).
        before: bool (B, N), the set of the first tables.
        after: bool (B, N), the set of the second tables.

    Returns:
        `TransitionScores` of float64 (B,).

    Raises:
        RequestError: if the shapes differ, or for an entry out of range.
    """
    if table_before.shape != table_after.shape or before.shape != after.shape:
        raise RequestError(
            f"the two tables must have one shape, and the two sets too, but got {table_before.shape} and "
            f"{table_after.shape}, {before.shape} and {after.shape}"
        )
    _check_rows(table_before, before)
    size = table_before.shape[1]
    for table in (table_before, table_after):
        loads(table, before.shape[1])  # for its checks
    # One column more for the owner -1, which is in neither set.
    left = np.pad(before & ~after, ((0, 0), (0, 1)))
    joined = np.pad(after & ~before, ((0, 0), (0, 1)))
    moved = table_before != table_after
    must = np.take_along_axis(left, table_before % left.shape[1], axis=1)
    must |= np.take_along_axis(joined, table_after % left.shape[1], axis=1)
    changed = moved.sum(axis=1) / size
    forced = (moved & must).sum(axis=1) / size
    excess = (moved & ~must).sum(axis=1) / size
    optimum = optimal_change(before, after, size)
    return TransitionScores(changed, forced, excess, optimum, changed - optimum)


def optimal_change(before: NDArray[np.bool_], after: NDArray[np.bool_], size: int) -> FloatArray:
    """The least share of entries that two perfectly even tables can change.

    `1 - sum_{i <= s} min(b_i, a_i) / size`, s being the number of backends in both sets and b, a the even loads in
    descending order: who has a ceiling is free, so the largest loads go to those who stay. 0 if both sets are empty.

    Args:
        before: bool (B, N).
        after: bool (B, N).
        size: entries of a table.

    Returns:
        float64 (B,).
    """
    columns = np.arange(before.shape[1])
    # even_loads of the first n columns are in descending order.
    b, a = (even_loads(columns < s.sum(axis=1, keepdims=True), size) for s in (before, after))
    stays = columns < (before & after).sum(axis=1, keepdims=True)
    kept = np.where(stays, np.minimum(b, a), 0).sum(axis=1)
    return np.where(before.any(axis=1) | after.any(axis=1), 1.0 - kept / size, 0.0)


def score_table(
    table: ArrayLike,
    ids: Sequence[Identity],
    weights: Sequence[float] | None = None,
    present: Sequence[bool] | None = None,
) -> TableScores[float]:
    """The scores of one table.

    Args:
        table: int (size,), each entry an index into `ids`, or -1.
        ids: n backends, in any order.
        weights: n weights, or None for equal ones.
        present: which of `ids` are present, or None for all.

    Returns:
        `TableScores` of floats.

    Raises:
        RequestError: for an empty table, entries that index no backend, duplicate backends, bad weights.
    """
    columns = _columns(ids, [ids])
    here = np.ones(len(ids), dtype=bool) if present is None else np.asarray(present, dtype=bool)
    if here.shape != (len(ids),):
        raise RequestError(f"present must have one value for each of {len(ids)} backends, but got {here.size}")
    order = columns.argsort()
    row = None
    if weights is not None:
        row = np.asarray(weights, dtype=np.float64)
        if row.shape != (len(ids),):
            raise RequestError(f"weights must have one value for each of {len(ids)} backends, but got {row.size}")
        row = row[order][None]
    return _floats(TableScores, table_scores(_relabel(table, columns), here[order][None], row))


def score_transition(
    table_a: ArrayLike, ids_a: Sequence[Identity], table_b: ArrayLike, ids_b: Sequence[Identity]
) -> TransitionScores[float]:
    """The scores of two tables over two sets, compared by identity.

    Args:
        table_a: int (size,), the table before: each entry an index into `ids_a`, or -1.
        ids_a: the backends before, in any order.
        table_b: int (size,), the table after: each entry an index into `ids_b`, or -1.
        ids_b: the backends after, in any order.

    Returns:
        `TransitionScores` of floats.

    Raises:
        RequestError: for empty tables or tables of two sizes, entries that index no backend, duplicate backends.
    """
    a, b = _columns(ids_a, [ids_a, ids_b]), _columns(ids_b, [ids_a, ids_b])
    n = len(set(a.tolist()) | set(b.tolist()))
    before, after = np.zeros((2, 1, n), dtype=bool)
    before[0, a] = True
    after[0, b] = True
    return _floats(TransitionScores, transition_scores(_relabel(table_a, a), _relabel(table_b, b), before, after))


def churn_ratio(changed: FloatArray, optimum: FloatArray) -> float | None:
    """The churn ratio of a suite: sum of `changed` over sum of `optimum`, never the mean of ratios by pair.

    Returns:
        A ratio >= 0, or None where the optimum is 0.
    """
    least = float(np.sum(optimum))
    return float(np.sum(changed)) / least if least > 0 else None


def _columns(ids: Sequence[Identity], lists: list[Sequence[Identity]]) -> NDArray[np.int64]:
    """The union column of each of `ids`: its place among all backends of `lists` by canonical text."""
    for one in lists:
        sort_order(one)  # refuses duplicates
    union = sorted({canonical_id(identity) for one in lists for identity in one})
    place = {text: column for column, text in enumerate(union)}
    return np.array([place[canonical_id(identity)] for identity in ids], dtype=np.int64)


def _relabel(table: ArrayLike, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """A table of indices as one row of columns."""
    entries = np.asarray(table)
    if entries.ndim != 1 or not entries.size:
        raise RequestError(f"a table must be a non-empty row of entries, but got shape {entries.shape}")
    loads(entries[None], len(columns))  # for its checks
    return np.append(columns, -1)[entries][None]


def _floats(kind: Any, scores: Any) -> Any:
    return kind(**{field.name: float(getattr(scores, field.name)[0]) for field in dataclasses.fields(scores)})


def _check_rows(table: NDArray[np.integer], present: NDArray[np.bool_]) -> None:
    if table.ndim != 2 or present.ndim != 2 or len(table) != len(present) or not table.shape[1]:
        raise RequestError(
            f"tables (B, size) and sets (B, N) must agree in B, but got shapes {table.shape} and {present.shape}"
        )


def _checked_weights(weights: FloatArray, present: NDArray[np.bool_]) -> FloatArray:
    if weights.shape != present.shape:
        raise RequestError(f"weights must have the shape of the sets, {present.shape}, but got {weights.shape}")
    used = weights[present]
    if not (np.isfinite(used).all() and (used >= 0).all()):
        bad = used[~(np.isfinite(used) & (used >= 0))][0]
        raise RequestError(f"weights must be finite and >= 0, but got {bad}")
    stuck = present.any(axis=1) & ~(present & (weights > 0)).any(axis=1)
    if stuck.any():
        raise RequestError("at least one weight must be above 0, but all of them are 0: no backend would take an entry")
    return weights

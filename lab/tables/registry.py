"""Table builders by name, and the one way to call them.

A *table function* maps a set of backends to a lookup table. Two load balancers that never talk must agree on every
entry, so a name stands for one function for ever: a builder whose tables change gets a new version, and a caller may
pin the version it was tested with (`build("maglev@1", ...)`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.backends import Identity, hashes_of, sort_order
from envs.errors import RequestError, unknown_name

__all__ = [
    "MAX_SIZE",
    "Builder",
    "build",
    "build_batch",
    "build_with",
    "describe",
    "get",
    "names",
    "register",
    "register_family",
    "spectrum",
]

MAX_SIZE = 2**24
"""The largest table, in entries: three times the limit of Envoy's Maglev."""

_PAIRS_PER_CALL = 1 << 22
"""Backends x entries a builder is handed at once: bounds memory at some 100 MB whatever the batch."""

Tables = NDArray[np.int32]
BuildBatch = Callable[[NDArray[np.uint64], NDArray[np.bool_], int, NDArray[np.float64] | None], Tables]
Rebuild = Callable[[Tables, NDArray[np.uint64], NDArray[np.bool_], NDArray[np.bool_]], Tables]


def _any_size(size: int, n_backends: int) -> None:
    """The `check` of a builder that takes every size and every number of backends."""


@dataclass(frozen=True)
class Builder:
    """A table function.

    Attributes:
        name: what it is asked for by.
        version: counts up whenever any of its tables changes.
        summary: one line for `lab list`.
        build_batch: `(hashes, present, size, weights) -> tables`: hashes uint64 (B, N, 4) of backends in the order of
            their identity; present bool (B, N); weights None, or float64 (B, N), positive where present and not all
            equal in any row; tables int32 (B, size) of columns, -1 in rows without a backend. The columns that are
            absent never influence a table.
        weighted: whether it takes weights.
        stateless: whether the table depends on the present set alone.
        exact: whether loads differ by at most one with equal weights.
        check: `(size, n_backends)`, raises RequestError where no table can be built.
        trained: whether it was learned.
        rebuild: of a builder that is not stateless, `(tables, hashes, before, after) -> tables`: from the tables in
            force, int32 (B, size) of columns, and their sets before, bool (B, N), to those for the sets after.
    """

    name: str
    version: int
    summary: str
    build_batch: BuildBatch
    weighted: bool = False
    stateless: bool = True
    exact: bool = False
    check: Callable[[int, int], None] = _any_size
    trained: bool = False
    rebuild: Rebuild | None = None


_builders: dict[str, Builder] = {}
_families: dict[str, Callable[[str], Builder]] = {}


def register(builder: Builder) -> Builder:
    """Makes `builder` known by its name.

    Raises:
        ValueError: the name is taken, or holds a character that `get` gives a meaning.
    """
    if builder.name in _builders or set(builder.name) & set(":@"):
        raise ValueError(f"expected a new name without ':' and '@', but got {builder.name!r}")
    _builders[builder.name] = builder
    return builder


def register_family(prefix: str, loader: Callable[[str], Builder]) -> None:
    """Makes `<prefix>:<rest>` stand for `loader(rest)`, for builders that are read from a file."""
    _families[prefix] = loader


def get(name: str) -> Builder:
    """The builder called `name`: `maglev`, `maglev@1`, or a learned one such as `ppo:<run>`.

    Raises:
        RequestError: no such builder, or it is at another version than the one after the `@`.
    """
    prefix, colon, rest = str(name).partition(":")
    if colon:
        # The learned builders need torch, which takes seconds to import: only those who ask for one pay.
        importlib.import_module("lab.tables.learned")
        if prefix not in _families:
            raise unknown_name("family of table builders", prefix, _families)
        return _families[prefix](rest)
    plain, at, version = str(name).partition("@")
    if plain not in _builders:
        raise unknown_name("table builder", plain, _builders)
    builder = _builders[plain]
    if at and version != str(builder.version):
        raise RequestError(f"expected {plain}@{builder.version}, the version of this release, but got {str(name)!r}")
    return builder


def names() -> list[str]:
    """The names `build` takes, sorted. Learned builders are named by their run, not here."""
    return [builder.name for builder in spectrum() if builder.stateless]


def spectrum() -> list[Builder]:
    """Every builder with a fixed name, the stateful ones included, sorted by name: what `lab list` shows."""
    return [_builders[name] for name in sorted(_builders)]


def describe(name: str) -> Builder:
    """The builder called `name`, as `get` finds it."""
    return get(name)


def build(
    name: str,
    ids: Sequence[Identity],
    size: int,
    weights: Sequence[float] | NDArray[np.floating[Any]] | None = None,
) -> Tables:
    """Builds one table.

    Args:
        name: a builder, `name` or `name@version`.
        ids: the backends that are present: UUIDs or texts such as `10.0.0.1:80`, each once, in any order.
        size: number of entries.
        weights: a finite number >= 0 for each of `ids`, not all 0; 0 drains a backend. None: all alike.

    Returns:
        int32 (size,): for each entry an index into `ids`; all -1 when `ids` is empty.

    Raises:
        RequestError: an unknown builder, a size it does not take, duplicate backends, wrong or unwelcome weights.
    """
    return build_with(get(name), ids, size, weights)


def build_with(
    builder: Builder,
    ids: Sequence[Identity],
    size: int,
    weights: Sequence[float] | NDArray[np.floating[Any]] | None = None,
) -> Tables:
    """`build`, by a builder that has no name to be asked for."""
    ids = list(ids)
    order = sort_order(ids)
    row_weights = None
    if weights is not None:
        row_weights = _as_weights(weights, (len(ids),))[order][None]
    hashes = hashes_of(ids)[order][None]
    table = _run(builder, hashes, np.ones((1, len(ids)), dtype=bool), size, row_weights)[0]
    # A trailing -1 makes "no backend" map to itself.
    return np.append(order, -1)[table].astype(np.int32)


def build_batch(
    name: str,
    hashes: NDArray[np.uint64],
    present: NDArray[np.bool_],
    size: int,
    weights: NDArray[np.floating[Any]] | None = None,
) -> Tables:
    """Builds a table for each row of a batch.

    Args:
        name: a builder, `name` or `name@version`.
        hashes: uint64 (B, N, 4), a backend a column; the columns of a row are in the order of `str(id)`.
        present: bool (B, N); columns that are False are not there, and may stand anywhere.
        size: number of entries.
        weights: float (B, N), finite and >= 0, not all 0 over the present columns of a row; None: all alike.

    Returns:
        int32 (B, size): for each entry its column, -1 where the row has no backend.

    Raises:
        RequestError: as `build`, or arrays whose shapes or types do not fit together.
    """
    builder = get(name)
    hashes, present = np.asarray(hashes), np.asarray(present)
    if hashes.ndim != 3 or hashes.shape[2] != 4 or hashes.dtype != np.uint64:
        raise RequestError(f"expected hashes as uint64 (B, N, 4), but got {hashes.dtype} {hashes.shape}")
    if present.shape != hashes.shape[:2] or present.dtype != np.bool_:
        raise RequestError(f"expected present as bool {hashes.shape[:2]}, but got {present.dtype} {present.shape}")
    return _run(builder, hashes, present, size, None if weights is None else _as_weights(weights, present.shape))


def _run(
    builder: Builder,
    hashes: NDArray[np.uint64],
    present: NDArray[np.bool_],
    size: int,
    weights: NDArray[np.float64] | None,
) -> Tables:
    if not builder.stateless:
        raise RequestError(
            f"expected a stateless builder, but got {builder.name!r}, which needs the table in force: "
            "for the least change of one call lab.tables.least_moves(table, ids_before, ids_after)"
        )
    size = _as_size(size)
    if weights is not None:
        if not builder.weighted:
            weighted = ", ".join(name for name in names() if _builders[name].weighted)
            raise RequestError(f"expected no weights for {builder.name}, which takes none (these do: {weighted})")
        _check_weights(weights, present)
        # A drained backend is to a table function what an absent one is.
        present = present & (weights > 0)
        weights = np.where(present, weights, 0.0)
    builder.check(size, int(present.sum(axis=1).max(initial=0)))

    rows, columns = present.shape
    tables = np.full((rows, size), -1, dtype=np.int32)
    unequal = np.zeros(rows, dtype=bool)
    if weights is not None:
        lowest = np.where(present, weights, np.inf).min(axis=1, initial=np.inf)
        unequal = (lowest < weights.max(axis=1, initial=0.0)) & present.any(axis=1)
    step = max(1, _PAIRS_PER_CALL // max(1, columns * size))
    # Equal weights are no weights: a fleet that is given "1" everywhere keeps the table it had.
    for group, group_weights in ((present.any(axis=1) & ~unequal, None), (unequal, weights)):
        index = np.flatnonzero(group)
        for start, stop in pairwise([*range(0, len(index), step), len(index)]):
            part = index[start:stop]
            part_weights = None if group_weights is None else group_weights[part]
            tables[part] = builder.build_batch(hashes[part], present[part], size, part_weights)
    return tables


def _as_size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not 1 <= size <= MAX_SIZE:
        raise RequestError(f"expected a table size from 1 to {MAX_SIZE}, but got {size!r}")
    return int(size)


def _as_weights(weights: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        values = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise RequestError(f"expected numbers as weights, but got {weights!r}") from None
    if values.shape != shape:
        raise RequestError(f"expected a weight for each backend, shape {shape}, but got shape {values.shape}")
    return values


def _check_weights(weights: NDArray[np.float64], present: NDArray[np.bool_]) -> None:
    wrong = present & ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        raise RequestError(f"expected finite weights >= 0, but got {weights[wrong][0]}")
    if (present.any(axis=1) & ~(present & (weights > 0)).any(axis=1)).any():
        raise RequestError("expected at least one weight above 0, but all are 0: no backend would be left")

"""Modulo: entry `e` goes to backend `e mod n` of the sorted list. Perfectly even, and nearly everything moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.tables.registry import Builder, register


def _build_batch(
    hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    # The present columns of each row first, in the order of identity.
    columns = np.argsort(~present, axis=1, kind="stable")
    turns = np.arange(size) % present.sum(axis=1)[:, None]
    return np.take_along_axis(columns, turns, axis=1).astype(np.int32)


register(
    Builder(
        name="modulo",
        version=1,
        summary="entry mod n over the sorted backends: the floor of stability",
        build_batch=_build_batch,
        exact=True,
    )
)

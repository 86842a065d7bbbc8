"""Subsets of a roster: those that rankings are judged by, and those that they are trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.scenarios import stream

__all__ = ["ALL_UP_TO", "all_subsets", "draw_subsets", "validation_subsets"]

ALL_UP_TO = 12
"""Backends of the largest roster of which all subsets are judged."""

_VALIDATION = 2000


def all_subsets(n: int) -> NDArray[np.bool_]:
    """Every non-empty subset of n, bool (2**n - 1, n)."""
    return (np.arange(1, 1 << n)[:, None] >> np.arange(n) & 1).astype(bool)


def draw_subsets(n: int, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random subsets of n, bool (count, n): their sizes are uniform in 1..n, and each is uniform among those of its
    size."""
    size = rng.integers(1, n + 1, size=(count, 1))
    return rng.random((count, n)).argsort(axis=1).argsort(axis=1) < size


def validation_subsets(n: int) -> NDArray[np.bool_]:
    """What searches are judged by: all subsets of up to 12 backends, of more 2,000 of the validation stream."""
    return all_subsets(n) if n <= ALL_UP_TO else draw_subsets(n, _VALIDATION, stream("validation", 0, n))

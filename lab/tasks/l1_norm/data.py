"""Sequences of real numbers: those of the training, and those of each range that a network is asked about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.scenarios import Purpose, stream
from lab.errors import unknown_name
from lab.tasks.l1_norm.config import L1NormConfig

__all__ = ["RANGES", "Range", "blocks", "longest", "sequences", "validation_sequences"]

_OUTLIER = 1e4
_BLOCK = 1 << 20
"""Bytes of the entries of a block."""
_VALIDATION_SEED = 0
"""All members are validated on the same sequences, so that their objectives can be compared."""


@dataclass(frozen=True)
class Range:
    """Where the entries of sequences come from.

    Attributes:
        words: what it is, for a reader.
        draw: `(rng, count, length)` -> float32 (count, length).
    """

    words: str
    draw: Callable[[np.random.Generator, int, int], NDArray[np.float32]]


def _normal(rng: np.random.Generator, count: int, length: int) -> NDArray[np.float32]:
    return rng.standard_normal((count, length), dtype=np.float32)


def _outlier(rng: np.random.Generator, count: int, length: int) -> NDArray[np.float32]:
    entries = _normal(rng, count, length)
    place = rng.integers(0, min(length, 10), count)
    entries[np.arange(count), place] *= _OUTLIER
    return entries


RANGES: dict[str, Range] = {
    "normal": Range("N(0, 1)", _normal),
    "uniform": Range("U(-1, 1)", lambda rng, count, length: 2 * rng.random((count, length), dtype=np.float32) - 1),
    "times_1000": Range("1,000 x N(0, 1)", lambda *given: 1000 * _normal(*given)),
    "negative": Range("-|N(0, 1)|", lambda *given: -np.abs(_normal(*given))),
    "zeros": Range("all zero", lambda rng, count, length: np.zeros((count, length), np.float32)),
    "outlier": Range("N(0, 1), one of the first ten entries x 10,000", _outlier),
}
"""Name -> range."""


def sequences(range_name: str, count: int, length: int, purpose: Purpose, seed: int) -> NDArray[np.float32]:
    """Sequences of one length; their beginnings are sequences too.

    Args:
        range_name: a name in `RANGES`.
        count: how many.
        length: entries in each.
        purpose: `validation` or `test`; no two purposes share a sequence.
        seed: any integer >= 0.

    Returns:
        float32 (count, length), a pure function of the arguments.

    Raises:
        RequestError: there is no such range.
    """
    if range_name not in RANGES:
        raise unknown_name("range of entries", range_name, RANGES)
    place = list(RANGES).index(range_name)
    return RANGES[range_name].draw(stream(purpose, seed, place, count, length), count, length)


@lru_cache(maxsize=8)
def validation_sequences(count: int, length: int) -> Tensor:
    """The sequences that every network is validated on, float32 (count, length)."""
    return torch.from_numpy(sequences("normal", count, length, "validation", _VALIDATION_SEED))


def longest(config: L1NormConfig, step: int) -> int:
    """The length up to which sequences are drawn in gradient step `step`, counted from 0.

    Under the curriculum `grow` it rises evenly from 1 to `max_length` over the first half of the training.
    """
    if config.curriculum == "none":
        return config.max_length
    done = min(1.0, 2 * step / (config.iterations * config.steps))
    return 1 + math.floor(done * (config.max_length - 1))


def blocks(config: L1NormConfig, iteration: int) -> Iterator[Mapping[str, Tensor]]:
    """The batches of an iteration (`lab.population_task.PopulationTask.blocks`), in blocks of about a megabyte.

    Yields:
        `x`, real (n, B, max_length), zero behind the end of a sequence; `last`, int64 (n, B, 1), the place of its last
        entry; `y`, real (n, B), the exact sum of absolute values, taken in float64. Real is `config.dtype`.
    """
    rng, dtype = stream("train", config.seed, iteration), getattr(torch, config.dtype)
    first, end = iteration * config.steps, (iteration + 1) * config.steps
    size = max(1, _BLOCK // (8 * config.batch_size * config.max_length))
    for start in range(first, end, size):
        steps = range(start, min(start + size, end))
        shape = (len(steps), config.batch_size)
        most = np.array([longest(config, step) for step in steps])
        lengths = rng.integers(1, most[:, None] + 1, shape)
        entries = RANGES[config.input_range].draw(rng, len(steps) * config.batch_size, config.max_length)
        entries = entries.reshape(*shape, config.max_length).astype(np.float64)
        entries *= np.arange(config.max_length) < lengths[..., None]
        x, y, last = (torch.from_numpy(array) for array in (entries, np.abs(entries).sum(-1), lengths[..., None] - 1))
        yield {"x": x.to(dtype), "y": y.to(dtype), "last": last}

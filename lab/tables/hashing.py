"""Pair scores of entries and backends, as integers that are equal on every machine.

A score is what rendezvous hashing compares: entry `e` prefers the backend that scores it highest. Scores are uint64;
where two are equal, the backend that comes first by identity goes first, then the lower entry.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GOLDEN",
    "PairScores",
    "independent_scores",
    "mix",
    "stratified_scores",
    "stratified_stretch",
    "stratum_bits",
]

UInt64 = NDArray[np.uint64]
PairScores = Callable[[UInt64, int], UInt64]
"""`(hashes (..., 4), size) -> scores (..., size)`, both uint64."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: SplitMix64's increment."""

_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def mix(values: UInt64) -> UInt64:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), a bijection of uint64, in place.

    Returns:
        `values` itself, mixed.
    """
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= _MULTIPLIER_1
    np.right_shift(values, np.uint64(27), out=shifted)
    values ^= shifted
    values *= _MULTIPLIER_2
    np.right_shift(values, np.uint64(31), out=shifted)
    values ^= shifted
    return values


def _hash_pairs(keys: UInt64, size: int) -> UInt64:
    """Independent draws for every (backend, entry): keys (...) -> (..., size)."""
    entries = mix(np.arange(1, size + 1, dtype=np.uint64) * GOLDEN)
    return mix(keys[..., None] ^ entries)


def independent_scores(hashes: UInt64, size: int) -> UInt64:
    """A fresh uniform draw for each pair: rendezvous hashing (Thaler and Ravishankar, 1998).

    Args:
        hashes: uint64 (..., 4).
        size: number of entries.

    Returns:
        uint64 (..., size).
    """
    return _hash_pairs(hashes[..., 0], size)


def stratum_bits(size: int) -> int:
    """The highest bits of `stratified_scores` that hold the stratum."""
    return max(1, (size - 1).bit_length())


def stratified_stretch(size: int) -> float:
    """What makes `stratified_scores(...) / 2**64` uniform in [0, 1): it is not where the size is no power of 2."""
    return float(2 ** stratum_bits(size) / size)


def stratified_scores(hashes: UInt64, size: int) -> UInt64:
    """Scores of which each backend has exactly one in each of `size` equal strata.

    A backend's scores over the entries are a random permutation of the quantiles plus jitter inside the quantile, so
    no backend is lucky overall: that halves the unevenness of rendezvous per entry and the repairs that quotas need.

    Args:
        hashes: uint64 (..., 4); the first two are used.
        size: number of entries, at most 2**32.

    Returns:
        uint64 (..., size): the stratum in the high bits, the jitter in the low ones. Uniform in
        [0, 2**64 / stratified_stretch(size)).
    """
    bits = np.uint64(stratum_bits(size))
    low = np.uint64((1 << int(bits)) - 1)
    # The entry in the low bits makes the keys distinct and lets a plain sort of values yield the permutation.
    shuffled = _hash_pairs(hashes[..., 0], size)
    shuffled &= ~low
    shuffled |= np.arange(size, dtype=np.uint64)
    shuffled.sort(axis=-1)
    shuffled &= low
    strata = np.broadcast_to(np.arange(size, dtype=np.uint64) << (np.uint64(64) - bits), shuffled.shape)
    scores = np.empty_like(shuffled)
    np.put_along_axis(scores, shuffled.astype(np.int64), strata, axis=-1)
    jitter = _hash_pairs(hashes[..., 1], size)
    jitter >>= bits
    scores |= jitter
    return scores

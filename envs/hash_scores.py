"""Scores of backends at entries, made of their hashes alone: uniform ones, and stratified ones.

Integers first, then correctly rounded float32 operations: the same bits on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.backends import HASHES

BLOCK = 2**16
"""Scores computed at once: as many as the cache holds."""

_UNIFORM_BITS = 24  # what a float32 holds exactly


def uniform_scores(hashes: NDArray[np.uint64], entries: NDArray[np.integer] | int) -> NDArray[np.float32]:
    """Independent uniform scores of backends at entries, drawn by hash_1.

    Args:
        hashes: uint64 (..., 4).
        entries: entries, broadcast against the leading axes of `hashes`.

    Returns:
        float32 in (0, 1], multiples of 2**-24, of the broadcast shape.
    """
    return scores_of_words(folded(hashes[..., 1]), entries)


def stratified_scores(hashes: NDArray[np.uint64], size: int) -> NDArray[np.float32]:
    """Stratified scores: a backend's scores over the entries are a permutation of the quantiles, plus jitter.

    Each backend has one entry in each of `size` equal slices of (0, 1], so that no backend is lucky all over the table.

    Args:
        hashes: uint64 (..., 4).
        size: entries of a table.

    Returns:
        float32 (..., size) in (0, 1]: the place of the entry in a permutation that hash_0 draws, plus the uniform score
        of hash_1, over the size.
    """
    flat = hashes.reshape(-1, HASHES)
    scores = np.empty((len(flat), size), dtype=np.float32)
    block = max(1, BLOCK // size)
    for start in range(0, len(flat), block):
        scores[start : start + block] = _stratified(flat[start : start + block], size)
    return scores.reshape(*hashes.shape[:-1], size)


def _stratified(hashes: NDArray[np.uint64], size: int) -> NDArray[np.float32]:
    entries = np.arange(size)
    # The place in the low bits breaks ties, and makes a plain sort (far faster than argsort) yield the order.
    keys = _mixed(folded(hashes[:, :1]), entries).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(keys.size, dtype=np.uint64).reshape(keys.shape)
    keys.sort(axis=1)
    keys &= np.uint64(0xFFFFFFFF)
    scores = np.empty(keys.size, dtype=np.float32)
    scores[keys.view(np.int64).ravel()] = np.tile(np.arange(size, dtype=np.float32), len(keys))
    scores += uniform_scores(hashes[:, None], entries).ravel()
    scores /= np.float32(size)
    return scores.reshape(keys.shape)


def folded(hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """64-bit hashes as 32-bit words."""
    return (hashes ^ (hashes >> np.uint64(32))).astype(np.uint32)


def _mixed(words: NDArray[np.uint32], entries: NDArray[np.integer] | int) -> NDArray[np.uint32]:
    """MurmurHash3's finaliser (Appleby, public domain) of a 32-bit word and an entry."""
    spread = (np.asarray(entries, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B9)
    x = np.asarray(words ^ spread.astype(np.uint32))  # a scalar would warn where arithmetic modulo 2**32 is meant
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x


def scores_of_words(words: NDArray[np.uint32], entries: NDArray[np.integer] | int) -> NDArray[np.float32]:
    """`uniform_scores` of `folded(hash_1)`, for those who keep it."""
    scores = (_mixed(words, entries) >> np.uint32(32 - _UNIFORM_BITS)).astype(np.float32)
    scores += 1  # (0, 1]: a present backend is above the 0 of an absent one
    scores *= np.float32(2.0**-_UNIFORM_BITS)
    return scores

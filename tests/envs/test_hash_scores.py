"""Scores of hashes: the released tables are made of these bits, so that none may ever change."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from envs.backends import hashes_of
from envs.hash_scores import stratified_scores, uniform_scores
from envs.scenarios import churn_batch, stream

SIZE = 47


def slow_mix(word: int, entry: int) -> int:
    """The same in Python's integers."""
    x = (word ^ ((entry + 1) * 0x9E3779B9)) & 0xFFFFFFFF
    x = (x ^ x >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    x = (x ^ x >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ x >> 16


def slow_fold(word: int) -> int:
    return (word ^ word >> 32) & 0xFFFFFFFF


@given(st.tuples(*[st.integers(0, 2**64 - 1)] * 4), st.integers(1, 30))
def test_scores_equal_the_slow_reference(words: tuple[int, ...], size: int) -> None:
    hashes = np.array(words, dtype=np.uint64)
    uniform = [((slow_mix(slow_fold(words[1]), entry) >> 8) + 1) / 2**24 for entry in range(size)]
    assert uniform_scores(hashes[None], np.arange(size)).tolist() == uniform
    assert [float(uniform_scores(hashes, entry)) for entry in range(size)] == uniform
    order = sorted(range(size), key=lambda entry: (slow_mix(slow_fold(words[0]), entry), entry))
    stratified = [
        (np.float32(order.index(entry)) + np.float32(uniform[entry])) / np.float32(size) for entry in range(size)
    ]
    assert stratified_scores(hashes, size).tolist() == stratified


def test_no_bit_ever_changes() -> None:
    hashes = hashes_of(["10.0.0.1:80", "12345678-9abc-4def-8123-456789abcdef"])
    assert uniform_scores(hashes[:, None], np.arange(3)).view(np.uint32).tolist() == [
        [1051111594, 1062007249, 1053436504],
        [1058123094, 1058135046, 1062072049],
    ]
    assert np.floor(stratified_scores(hashes, 11) * 11).astype(int).tolist() == [
        [4, 6, 0, 2, 1, 10, 8, 5, 9, 3, 7],
        [6, 7, 3, 8, 1, 5, 0, 2, 4, 9, 10],
    ]


def test_stratified_scores_are_a_permutation_of_the_quantiles() -> None:
    batch = churn_batch(SIZE, 20, 5, stream("test", 10))
    scores = stratified_scores(batch.hashes, SIZE)
    slices = np.sort(np.ceil(scores.astype(np.float64) * SIZE), axis=-1)
    np.testing.assert_array_equal(slices, np.broadcast_to(np.arange(1, SIZE + 1), scores.shape))


def test_scores_of_many_backends_equal_scores_of_one() -> None:
    """The work is cut in blocks; no block may see another."""
    batch = churn_batch(307, 57, 12, stream("test", 11))
    scores = stratified_scores(batch.hashes, 307)
    for row, column in ((0, 0), (3, 50), (11, 56)):
        np.testing.assert_array_equal(stratified_scores(batch.hashes[row, column], 307), scores[row, column])


def test_uniform_scores_are_uniform_over_backends_and_entries() -> None:
    batch = churn_batch(SIZE, 40, 100, stream("test", 12))
    scores = uniform_scores(batch.hashes[:, :, None], np.arange(SIZE)).astype(np.float64)
    assert scores.min() > 0
    assert scores.max() <= 1
    counts = np.histogram(scores, bins=20, range=(0, 1))[0]
    assert abs(counts - scores.size / 20).max() < 5 * np.sqrt(scores.size / 20)
    flat = scores.reshape(-1, SIZE)
    assert abs(np.corrcoef(flat.T) - np.eye(SIZE)).max() < 6 / np.sqrt(len(flat))
    # Independent draws win equally often, whatever the entry.
    wins = np.bincount(scores.argmax(axis=1).ravel(), minlength=40)
    assert abs(wins - wins.mean()).max() < 5 * np.sqrt(wins.mean())

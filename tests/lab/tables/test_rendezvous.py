"""Rendezvous hashing: what it promises, and scores that are the same on every machine."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.tables import build, build_batch
from lab.tables.hashing import independent_scores, mix, stratified_scores
from lab.tables.rendezvous import minus_log

IDS = [f"10.0.0.{i}:80" for i in range(12)]


def owners(table: np.ndarray, ids: list[str]) -> np.ndarray:
    return np.array(ids)[table]


@given(st.sampled_from(["rendezvous", "rendezvous-stratified", "ring", "multi-probe"]), st.integers(0, 11))
@settings(max_examples=40, deadline=None)
def test_only_entries_of_the_backend_that_leaves_move(name: str, leaver: int):
    rest = IDS[:leaver] + IDS[leaver + 1 :]
    before, after = owners(build(name, IDS, 257), IDS), owners(build(name, rest, 257), rest)
    assert (before[before != after] == IDS[leaver]).all()


@given(st.sampled_from(["rendezvous", "rendezvous-stratified"]), st.integers(0, 11), st.floats(1.1, 20))
@settings(max_examples=40, deadline=None)
def test_a_larger_weight_only_attracts(name: str, grown: int, factor: float):
    weights = np.linspace(1, 3, 12)
    before = owners(build(name, IDS, 257, weights), IDS)
    weights[grown] *= factor
    after = owners(build(name, IDS, 257, weights), IDS)
    assert (after[before != after] == IDS[grown]).all()


def test_expected_loads_are_proportional_to_weights():
    weights = np.arange(12.0)
    loads = np.bincount(build("rendezvous", IDS, 65537, weights), minlength=12)
    expected = 65537 * weights / weights.sum()
    np.testing.assert_allclose(loads, expected, atol=5 * np.sqrt(expected.max()))


def test_a_weight_many_orders_below_the_others_is_no_trouble():
    assert set(build("rendezvous", IDS[:3], 47, [5e-324, 1e308, 3e307])) <= {1, 2}


def test_entries_go_to_the_highest_score():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (5, 9, 4), dtype=np.uint64)
    present = rng.random((5, 9)) < 0.7
    for name, scores in (
        ("rendezvous", independent_scores(hashes, 31)),
        ("rendezvous-stratified", stratified_scores(hashes, 31)),
    ):
        expected = np.where(present[:, :, None], scores, 0).argmax(axis=1)
        np.testing.assert_array_equal(build_batch(name, hashes, present, 31), expected)


def test_minus_log_is_a_logarithm():
    scores = np.random.default_rng(0).integers(0, 2**64, 5000, dtype=np.uint64)
    scores = np.append(scores, np.array([0, 1, 2**12, 2**63, 2**64 - 1], dtype=np.uint64))
    exact = [-math.log(((int(score) >> 12) * 2 + 1) / 2**53) for score in scores]
    np.testing.assert_allclose(minus_log(scores), exact, rtol=4e-15)
    assert (minus_log(scores) > 0).all()


def test_mix_is_the_published_splitmix64():
    # The first outputs of SplitMix64 with seed 1234567 (the reference implementation's test values).
    state, outputs = 1234567, []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        outputs.append(int(mix(np.array([state], dtype=np.uint64))[0]))
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.integers(1, 200), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_stratified_scores_have_one_score_in_each_stratum(size: int, seed: int):
    hashes = np.random.default_rng(seed).integers(0, 2**64, (3, 4), dtype=np.uint64)
    bits = np.uint64(64 - max(1, (size - 1).bit_length()))
    strata = np.sort(stratified_scores(hashes, size) >> bits, axis=-1)
    assert (strata == np.arange(size, dtype=np.uint64)).all()


def test_stratified_scores_are_uncorrelated_between_backends_and_entries():
    hashes = np.random.default_rng(1).integers(0, 2**64, (2000, 4), dtype=np.uint64)
    scores = stratified_scores(hashes, 47).astype(np.float64)
    correlation = np.corrcoef(scores.T)
    off_diagonal = correlation[~np.eye(47, dtype=bool)]
    # A permutation's entries have correlation -1 / (size - 1), and here five standard errors of 2,000 backends.
    np.testing.assert_allclose(off_diagonal, -1 / 46, atol=5 / np.sqrt(2000))

"""A wrong interval turns noise into a winner: each of these would mislead the reader of a report."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from lab.compare.statistics import (
    Interval,
    generator,
    interquartile_mean,
    pareto_front,
    percentile_interval,
    resampling_weights,
    stratified_interval,
    verdict,
)

finite = st.floats(-1e3, 1e3, allow_nan=False)
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 6)), elements=finite)


@given(matrices)
def test_interquartile_mean_is_that_of_the_row_repeated(scores):
    assert interquartile_mean(np.tile(scores, (3, 1))) == pytest.approx(interquartile_mean(scores), abs=1e-9)


@given(hnp.arrays(np.float64, st.integers(1, 5).map(lambda k: (4 * k,)), elements=finite))
def test_interquartile_mean_is_the_trimmed_mean_where_four_divides_the_count(values):
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-9)


@given(hnp.arrays(np.float64, (3, 4, 2), elements=finite))
def test_interquartile_mean_by_axis(values):
    expected = [interquartile_mean(values[:, :, k]) for k in range(2)]
    np.testing.assert_allclose(interquartile_mean(values, (0, 1)), expected, atol=1e-9)


@given(st.permutations(range(5)))
@settings(max_examples=20)
def test_the_order_of_seeds_changes_nothing(order):
    scores = np.random.default_rng(1).random((5, 6, 2))
    assert stratified_interval(scores[order], np.random.default_rng(0), 50) == stratified_interval(
        scores, np.random.default_rng(0), 50
    )


def test_the_same_generator_gives_the_same_interval_whatever_the_global_state():
    scores = np.random.default_rng(1).random((5, 6, 1))
    state = np.random.get_state()  # noqa: NPY002
    first = stratified_interval(scores, generator("a"))
    assert stratified_interval(scores, generator("a")) == first
    assert stratified_interval(scores, generator("b")) != first
    assert all(np.array_equal(a, b) for a, b in zip(state, np.random.get_state(), strict=True))  # noqa: NPY002


def test_stratified_interval_covers_the_truth():
    rng = np.random.default_rng(3)
    truth, hits, rounds = 0.5, 0, 200
    for _ in range(rounds):
        # The tasks differ far more than the seeds: what stratification is for.
        scores = truth + np.array([-0.2, -0.1, 0, 0, 0.1, 0.2])[None, :] + rng.normal(0, 0.02, (10, 6))
        (overall,), by_task = stratified_interval(scores[..., None], rng, 200)
        assert len(by_task) == 6
        hits += overall.low <= truth <= overall.high
    assert hits / rounds > 0.85


def test_stratified_interval_covers_the_truth_where_a_seed_is_good_or_bad_on_all_tasks():
    rng = np.random.default_rng(7)
    truth, hits, rounds = 0.5, 0, 300
    for _ in range(rounds):
        # The same networks on every task: most of the chance is the seed's, and averaging over tasks removes none.
        scores = truth + np.linspace(-0.2, 0.2, 6)[None, :] + rng.normal(0, 0.05, (8, 1)) + rng.normal(0, 0.01, (8, 6))
        (overall,), _ = stratified_interval(scores[..., None], rng, 200)
        hits += overall.low <= truth <= overall.high
    assert hits / rounds > 0.87


def test_seeds_that_agree_on_average_have_an_average_without_an_interval_though_tasks_differ():
    # What one seed loses on the first task it gains on the second: only whole seeds keep that.
    gain = np.random.default_rng(8).random(6)
    (overall,), by_task = stratified_interval(
        np.stack([gain, 1 - gain], axis=1)[:, :, None], np.random.default_rng(0), 200
    )
    assert overall.high - overall.low == pytest.approx(0, abs=1e-12)
    assert all(interval.high - interval.low > 0.1 for (interval,) in by_task)


def test_fleet_interval_covers_the_truth():
    rng = np.random.default_rng(4)
    hits, rounds = 0, 300
    for _ in range(rounds):
        values = rng.exponential(1.0, (1, 150))
        replicates = (resampling_weights(rng, 150, 400) @ values.T)[:, 0]
        interval = percentile_interval(values.mean(), replicates, "fleets")
        hits += interval.low <= 1.0 <= interval.high
    assert 0.88 < hits / rounds < 0.99


def test_paired_interval_is_that_of_scipy():
    rng = np.random.default_rng(5)
    a = rng.random(300)
    b = a + rng.normal(0.02, 0.05, 300)
    ours = percentile_interval((a - b).mean(), resampling_weights(rng, 300) @ (a - b), "fleets")
    reference = stats.bootstrap(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), paired=True, method="percentile", rng=rng, vectorized=True
    ).confidence_interval
    width = reference.high - reference.low
    assert ours.low == pytest.approx(reference.low, abs=0.15 * width)
    assert ours.high == pytest.approx(reference.high, abs=0.15 * width)


def test_pairing_takes_the_fleets_out_of_the_difference():
    rng = np.random.default_rng(6)
    hard = rng.exponential(1.0, 500)
    a, b = hard + 0.01, hard
    weights = resampling_weights(rng, 500)
    interval = percentile_interval((a - b).mean(), weights @ (a - b), "fleets")
    assert interval.low == pytest.approx(0.01)
    assert interval.high == pytest.approx(0.01)


@given(st.integers(1, 40), st.integers(1, 5))
def test_resampling_weights_are_shares_of_whole_items(count, replicates):
    weights = resampling_weights(np.random.default_rng(0), count, replicates)
    assert weights.shape == (replicates, count)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights * count, np.round(weights * count), atol=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.2, -0.1, "better"),
        (0.1, 0.2, "worse"),
        (-0.1, 0.1, "no difference shown"),
        (0.0, 0.0, "no difference shown"),
        (-0.1, 0.0, "no difference shown"),
        (None, None, "no difference shown"),
    ],
)
def test_verdict(low, high, word):
    assert verdict(Interval(0.0, low, high, "fleets")) == word


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_an_undefined_value_has_no_interval(bad):
    assert percentile_interval(bad, np.ones(3), "fleets") == Interval(None, None, None, "fleets")


def test_an_undefined_replicate_leaves_no_interval():
    assert percentile_interval(1.0, np.array([1.0, np.nan]), "fleets") == Interval(1.0, None, None, "fleets")


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(0, 3).map(float)))
def test_pareto_front_against_the_definition(points):
    def dominated(i: int) -> bool:
        return any((points[j] <= points[i]).all() and (points[j] < points[i]).any() for j in range(len(points)))

    assert pareto_front(points).tolist() == [not dominated(i) for i in range(len(points))]

"""Quantiles of errors over seeds and sequences, some of them without end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lab.compare.quantiles import quantile, seed_quantiles

matrices = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 8)),
    elements=st.one_of(st.floats(0, 1e30), st.just(np.inf)),
)


def rng():
    return np.random.default_rng(3)


@given(matrices, st.floats(0.01, 1.0))
def test_a_quantile_is_the_least_value_that_enough_values_do_not_exceed(values, q):
    found = quantile(values, q)
    assert found in values
    assert (values <= found).mean() >= q - 1e-9
    assert (values < found).mean() < q + 1e-9


@given(matrices)
@settings(max_examples=30)
def test_intervals_hold_the_estimate_and_forget_the_order_of_the_seeds(values):
    found = seed_quantiles(values, (0.5, 0.95), rng(), 200)
    again = seed_quantiles(values[::-1], (0.5, 0.95), rng(), 200)
    assert found == again
    for interval, q in zip(found, (0.5, 0.95), strict=True):
        value = quantile(values, q)
        assert interval.value == (value if np.isfinite(value) else None)
        if None not in (interval.value, interval.low, interval.high):
            assert interval.low <= interval.high


def test_seeds_are_drawn_whole():
    """Two seeds of a thousand equal errors each: a resample is one, the other or both, whatever their sequences."""
    values = np.repeat([[1.0], [3.0]], 1000, axis=1)
    (median,) = seed_quantiles(values, (0.5,), rng())
    assert (median.low, median.high, median.over) == (1.0, 3.0, "seeds")


def test_the_interval_is_that_of_a_plain_bootstrap():
    values = np.random.default_rng(0).lognormal(size=(16, 8)) * np.arange(1, 17)[:, None]
    (found,) = seed_quantiles(values, (0.5,), rng())
    draw = np.random.default_rng(1)
    plain = [quantile(values[draw.integers(16, size=16)], 0.5) for _ in range(2000)]
    low, high = np.quantile(plain, [0.025, 0.975])
    assert found.low == pytest.approx(low, rel=0.1)
    assert found.high == pytest.approx(high, rel=0.1)


def test_one_seed_has_no_interval():
    (found,) = seed_quantiles(np.array([[1.0, 2.0]]), (0.5,), rng())
    assert (found.low, found.high) == (None, None)


def test_where_half_of_the_seeds_have_no_end_nor_has_the_upper_bound():
    (found,) = seed_quantiles(np.array([[1.0], [2.0], [np.inf], [np.inf]]), (0.5,), rng())
    assert (found.value, found.high) == (2.0, None)
    assert found.low == 1.0

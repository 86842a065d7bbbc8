"""Maglev: the tables of the paper, of go-maglev and of Envoy, entry for entry."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import RequestError
from lab.tables import build
from lab.tables.maglev import fill, is_prime, nearest_primes

VECTORS = json.loads((Path(__file__).parent / "vectors" / "maglev.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["source"][:60])
def test_fill_gives_the_published_tables(vector: dict):
    present = [i for i in range(len(vector["offsets"])) if i not in vector.get("absent", [])]
    offsets, skips = ([vector[key][i] for i in present] for key in ("offsets", "skips"))
    assert [present[i] for i in fill(offsets, skips, vector["size"])] == vector["table"]


def slow_fill(offsets: list[int], skips: list[int], size: int, weights: list[float]) -> list[int]:
    """Envoy's loop over the paper's permutations, written out."""
    permutations = [
        [(offset + j * skip) % size for j in range(size)] for offset, skip in zip(offsets, skips, strict=True)
    ]
    table, targets, iteration = [-1] * size, [0.0] * len(offsets), 0
    while -1 in table:
        iteration += 1
        for backend, weight in enumerate(weights):
            if weight == 0 or iteration * weight < targets[backend] or -1 not in table:
                continue
            targets[backend] += max(weights)
            table[next(entry for entry in permutations[backend] if table[entry] == -1)] = backend
    return table


@st.composite
def lists_of_preference(draw: st.DrawFn):
    size = draw(st.sampled_from([2, 3, 5, 7, 11, 13, 29]))
    n = draw(st.integers(1, size))
    offsets = draw(st.lists(st.integers(0, size - 1), min_size=n, max_size=n))
    skips = draw(st.lists(st.integers(1, size - 1), min_size=n, max_size=n))
    weights = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0]), min_size=n, max_size=n).filter(any))
    return offsets, skips, size, weights


@given(lists_of_preference())
def test_fill_is_envoys_rule(drawn):
    offsets, skips, size, weights = drawn
    assert fill(offsets, skips, size, weights).tolist() == slow_fill(offsets, skips, size, weights)
    assert fill(offsets, skips, size).tolist() == slow_fill(offsets, skips, size, [1.0] * len(offsets))


@given(lists_of_preference(), st.sampled_from([1e-300, 2.0**-40, 2.0, 2.0**1000]))
def test_only_the_ratio_of_weights_counts(drawn, factor: float):
    offsets, skips, size, weights = drawn
    scaled = [weight * factor for weight in weights]
    if factor == 1e-300:  # not a power of two: the ratios themselves are rounded
        assert set(fill(offsets, skips, size, scaled).tolist()) <= {i for i, w in enumerate(weights) if w}
    else:
        np.testing.assert_array_equal(fill(offsets, skips, size, scaled), fill(offsets, skips, size, weights))


def test_400_backends_at_65537_have_spread_one():
    table = build("maglev", [f"10.0.{i // 256}.{i % 256}:80" for i in range(400)], 65537)
    loads = np.bincount(table, minlength=400)
    assert loads.max() - loads.min() == 1


def test_no_backend_is_an_empty_table_and_one_backend_serves_all():
    assert fill([], [], 7).tolist() == [-1] * 7
    assert fill([4], [3], 7).tolist() == [0] * 7


def test_loads_follow_weights():
    ids = [f"backend-{i}" for i in range(10)]
    loads = np.bincount(build("maglev", ids, 65537, weights=range(10)), minlength=10)
    np.testing.assert_allclose(loads, 65537 * np.arange(10) / 45, atol=2)


@pytest.mark.parametrize(
    ("size", "nearest"), [(1, "2"), (4, "3 or 5"), (46, "43 or 47"), (65536, "65521 or 65537"), (100, "97 or 101")]
)
def test_a_size_that_is_not_prime_is_refused_with_the_nearest_primes(size: int, nearest: str):
    with pytest.raises(RequestError, match=rf"prime .* got {size}: the nearest is {nearest}$"):
        build("maglev", ["a", "b"], size)


def test_more_backends_than_entries_are_refused_with_a_size_that_is_large_enough():
    with pytest.raises(RequestError, match=r"at least 50 for maglev \(50 backends\), but got 47: the nearest is 53$"):
        build("maglev", [f"backend-{i}" for i in range(50)], 47)


@pytest.mark.parametrize(
    ("offsets", "skips", "weights"),
    [
        ([7], [1], None),
        ([-1], [1], None),
        ([0], [0], None),
        ([0], [7], None),
        ([0, 1], [1], None),
        ([0, 1], [1, 1], [1.0]),
        ([0, 1], [1, 1], [1.0, float("nan")]),
        ([0, 1], [1, 1], [1.0, -1.0]),
        ([0, 1], [1, 1], [1.0, float("inf")]),
        ([0, 1], [1, 1], [0.0, 0.0]),
    ],
)
def test_fill_refuses_lists_it_would_loop_on_for_ever(offsets, skips, weights):
    with pytest.raises(RequestError, match="expected"):
        fill(offsets, skips, 7, weights)


@settings(max_examples=30)
@given(st.integers(1, 3000))
def test_nearest_primes_leave_no_prime_between(number: int):
    below, above = ([2, *nearest_primes(number)])[-2:]
    assert is_prime(above)
    assert above > number
    assert not any(is_prime(between) for between in range(max(below, 1) + 1, above) if between != number)

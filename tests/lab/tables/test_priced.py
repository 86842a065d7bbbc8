"""Priced rendezvous: the walk against a slow one, what always holds, and the same tables on every machine."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.scenarios import ScenarioConfig, sample_batch, stream
from envs.scoring import table_scores
from lab.errors import RequestError
from lab.tables import build_batch, learned
from lab.tables.priced import MAX_PRICE, UNIT, PricedOptions, PricedTables, build_stack, prices_of, table_of_priced
from lab.tables.walk import assign_priced


def slowly(scores, prices):
    """One table: the rule as it is said, a pair at a time."""
    n, size = scores.shape
    floor, pool = divmod(size, n)
    table, loads = [-1] * size, [0] * n
    for _ in range(size):
        pairs = [
            (-(int(scores[b, e]) - int(prices[loads[b]])), b, e)
            for b in range(n)
            for e in range(size)
            if table[e] < 0 and (loads[b] < floor or (loads[b] == floor and pool))
        ]
        _, b, e = min(pairs)
        pool -= loads[b] == floor
        loads[b] += 1
        table[e] = b
    return table


def tables_of(seed, levels=3, knots=4, scale=UNIT):
    tables = PricedTables(PricedOptions(levels=levels, knots=knots))
    tables.steps = np.random.default_rng(seed).integers(-scale, scale, size=(levels, knots))
    return tables


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 12), st.sampled_from([4, 1000]))
def test_the_walk_is_that_of_the_rule_ties_included(seed, n, size, spread):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, spread, size=(3, n, size)).astype(np.int32)
    prices = np.cumsum(rng.integers(0, spread // 2, size=(3, size // n + 1)), axis=1)
    expected = [slowly(*each) for each in zip(scores, prices, strict=True)]
    assert assign_priced(scores.copy(), prices).tolist() == expected


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_tables_are_valid_and_even_to_one_entry_whatever_the_prices(seed, size):
    config = ScenarioConfig(size=size, n_before=(1, size), n_after=(1, size), max_delta=size)
    batch = sample_batch(config, 4, np.random.default_rng(seed))
    scores = table_scores(tables_of(seed).build_batch(batch.hashes, batch.before, size), batch.before)
    assert scores.invalid.max() == 0
    assert scores.imbalance.max() == 0
    assert scores.spread.max() <= 1


def test_without_prices_it_is_balanced_stratified_rendezvous():
    batch = sample_batch(ScenarioConfig(), 300, stream("validation", 5))
    expected = build_batch("balanced-stratified", batch.hashes, batch.before, 47)
    for steps in (0, -UNIT):
        tables = table_of_priced({})
        tables.steps += steps
        np.testing.assert_array_equal(tables.build_batch(batch.hashes, batch.before, 47), expected)


def test_at_full_prices_from_the_floor_on_it_serves_floors_first():
    batch = sample_batch(ScenarioConfig(n_before=(24, 46), n_after=(24, 46)), 100, stream("validation", 6))
    tables = table_of_priced({"levels": 1, "knots": 2})
    tables.steps += UNIT
    expected = build_batch("balanced-stratified-floors", batch.hashes, batch.before, 47)
    np.testing.assert_array_equal(tables.build_batch(batch.hashes, batch.before, 47), expected)


def test_a_stack_builds_what_each_of_it_builds():
    batch = sample_batch(ScenarioConfig(), 40, stream("validation", 7))
    members = [tables_of(seed) for seed in range(3)]
    stack = build_stack(np.stack([one.steps for one in members]), batch.hashes, batch.before, 47)
    for one, tables in zip(members, stack, strict=True):
        np.testing.assert_array_equal(one.build_batch(batch.hashes, batch.before, 47), tables)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5000), st.integers(1, 200), st.integers(1, 8), st.integers(2, 12))
def test_prices_are_the_sums_of_what_lies_between_the_knots(seed, size, n, levels, knots):
    steps = np.random.default_rng(seed).integers(-2 * UNIT, 2 * UNIT, size=(levels, knots))
    prices = prices_of(steps, n, size)
    assert len(prices) == size // n + 1
    assert (np.diff(prices) >= 0).all(), "more entries never cost less"
    entries = np.arange(1, size // n + 1)
    share = np.linspace(0, 1, knots)
    rows = steps[np.minimum(entries, levels) - 1]
    between = [np.interp(j * n / size, share, row) for j, row in zip(entries, rows, strict=True)]
    expected = np.concatenate([[0], np.cumsum(np.clip(between, 0, UNIT))])
    np.testing.assert_allclose(prices, np.minimum(expected, MAX_PRICE * UNIT), atol=len(prices))


def test_the_same_tables_on_every_machine():
    """Integers alone: a digest of tables at four sizes, also where prices are cut off."""
    digest = hashlib.sha256()
    for size in (7, 47, 307, 1021):
        batch = sample_batch(ScenarioConfig(size=size, n_before=(1, 7), n_after=(1, 7)), 8, stream("validation", size))
        digest.update(tables_of(1, scale=4 * UNIT).build_batch(batch.hashes, batch.before, size).tobytes())
    assert digest.hexdigest() == "a790728ed38efa7c794c993a7ed397e4c364ff60c9e177c68575d062a032de41"


def test_an_artefact_comes_back_as_it_was(tmp_path):
    tables = tables_of(3)
    learned.save(tmp_path, "priced", {"levels": 3, "knots": 4}, tables.state_dict(), {"experiment": "table_es"})
    builder = learned.load(tmp_path)
    batch = sample_batch(ScenarioConfig(), 10, stream("validation", 8))
    assert builder.exact
    np.testing.assert_array_equal(
        builder.build_batch(batch.hashes, batch.before, 47, None), tables.build_batch(batch.hashes, batch.before, 47)
    )


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"steps": torch.zeros(3, 4)}, "int64"),
        ({"steps": torch.zeros(4, 3, dtype=torch.int64)}, "shape"),
        ({"prices": torch.zeros(3, 4, dtype=torch.int64)}, "steps"),
        ({"steps": torch.full((3, 4), 1 << 40)}, "1024 units"),
    ],
    ids=["type", "shape", "name", "range"],
)
def test_other_tensors_are_refused(tmp_path, state, said):
    learned.save(tmp_path, "priced", {"levels": 3, "knots": 4}, state, {})
    with pytest.raises(RequestError, match=said):
        learned.load(tmp_path)


def test_a_table_too_large_is_refused():
    with pytest.raises(RequestError, match="at most 4194304 pairs"):
        table_of_priced({}).check(65537, 65)

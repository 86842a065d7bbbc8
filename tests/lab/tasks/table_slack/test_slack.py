"""Caps: the cheapest for all numbers together, never broken by a table, and the same after a break."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import recorded

from envs.scenarios import ScenarioConfig, churn_batch, sample_batch, stream
from envs.scoring import loads, table_scores, transition_scores
from lab.config import parse
from lab.errors import RequestError
from lab.tables import learned
from lab.tables.capped import CappedOptions, CappedTables, build_capped, least_caps
from lab.tables.registry import get
from lab.tasks.table_slack import TableSlackConfig, fit
from lab.tasks.table_slack.fit import best_caps, caps_tried

TINY = {"size": 11, "iterations": 3, "fleets": 3, "validation_pairs": 4, "checkpoint_every": 1}


def run(folder=None, resume=None, **fields):
    return recorded(fit, TableSlackConfig(**{**TINY, **fields}), folder, resume)[0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.just(0.0) | st.floats(0.01, 1))
def test_the_caps_have_the_least_excess_within_the_budget(seed, slack):
    """Against every sequence of caps for 1 to 5 backends, of loads that are whole units of the budget."""
    rng = np.random.default_rng(seed)
    config = TableSlackConfig(size=5, most=2, slack=slack)
    tried = {n: caps_tried(config, n) for n in range(1, 6)}
    most = max(len(caps) for caps in tried.values())
    costs = {name: np.full((4, most, most), np.inf) for name in ("excess", "largest")}
    even = {n: np.mean([-(-5 // each) * each / 5 for each in (n, n - 1)]) for n in config.numbers}
    for place, n in enumerate(config.numbers):
        shape = len(tried[n]), len(tried[n - 1])
        there = (place, *(slice(each) for each in shape))
        costs["excess"][there] = rng.random(shape)
        # What fits in the budget fits exactly, or not by far: units are 2,000 of 4 x slack.
        costs["largest"][there] = even[n] + rng.choice([0.0, 0.5, 1.5, 9.0], shape) * slack

        # Exactly even tables have the largest loads that they have.
        costs["largest"][place, 0, 0] = even[n]

    def sums(options):
        found = np.zeros(2)
        for place, n in enumerate(config.numbers):
            pair = place, options[n - 1], options[n - 2]
            found += [costs["excess"][pair], costs["largest"][pair] - even[n]]
        return found

    within = [
        excess
        for options in itertools.product(*(range(len(caps)) for caps in tried.values()))
        for excess, above in [sums(options)]
        if above <= 4 * slack + 1e-6
    ]
    caps = best_caps(config, costs)
    excess, above = sums([tried[n].index(cap) for n, cap in enumerate(caps.tolist(), start=1)])
    assert excess == pytest.approx(min(within))
    assert above <= 4 * slack + 1e-6


def test_numbers_that_nothing_was_asked_of_are_exactly_even():
    config = TableSlackConfig(size=9, leaves=(5,), slack=1.0)
    costs = {name: np.full((1, 9, 9), np.inf) for name in ("excess", "largest")}
    there = (0, slice(len(caps_tried(config, 5))), slice(len(caps_tried(config, 4))))
    costs["excess"][there], costs["largest"][there] = 3.0, 2.0
    costs["excess"][0, 2, 1] = 1.0
    assert best_caps(config, costs).tolist() == [0, 0, 0, 3, 3, 0, 0, 0, 0]


def test_no_budget_leaves_largest_loads_as_they_are():
    """At slack 0 the smallest load may be given up, the largest not."""
    assert run(slack=0.0)[-1]["validation/slack"] == pytest.approx(0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 20), st.integers(0, 6))
def test_no_table_is_above_its_cap_and_every_entry_has_a_backend(seed, size, extra):
    rng = np.random.default_rng(seed)
    caps = np.minimum(least_caps(size) + rng.integers(0, extra + 1, size=size), size) * (rng.random(size) < 0.7)
    n = int(rng.integers(1, size + 1))
    rule = ScenarioConfig(size=size, n_before=(n, n), n_after=(1, size), max_delta=size)
    batch = sample_batch(rule, 3, rng)
    table = build_capped(caps, batch.hashes, batch.before, size)
    assert (table_scores(table, batch.before).invalid == 0).all()
    assert (loads(table, batch.before.shape[1]).max(axis=1) <= (caps[n - 1] or -(-size // n))).all()
    if not caps[n - 1]:
        assert (table_scores(table, batch.before).imbalance == 0).all()


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_equal_slack_everywhere_is_the_classical_builder(extra):
    batch = churn_batch(47, 9, 20, stream("test", 41))
    classical = get(f"balanced-stratified+{extra}").build_batch(batch.hashes, batch.before, 47, None)
    np.testing.assert_array_equal(build_capped(least_caps(47) + extra, batch.hashes, batch.before, 47), classical)


def test_no_slack_at_all_is_balanced_stratified():
    batch = churn_batch(47, 9, 20, stream("test", 41))
    classical = get("balanced-stratified").build_batch(batch.hashes, batch.before, 47, None)
    none = np.zeros(47, dtype=np.int64)
    np.testing.assert_array_equal(build_capped(none, batch.hashes, batch.before, 47), classical)


def test_the_more_slack_the_fewer_moves():
    fields = {"size": 23, "leaves": (5, 8), "fleets": 20, "iterations": 1, "validation_pairs": 100}
    little, much = (run(slack=slack, **fields)[-1] for slack in (0.0, 0.3))
    assert little["validation/max_over_mean"] < much["validation/max_over_mean"]
    assert much["validation/excess"] < 0.5 * little["validation/excess"]
    assert abs(much["validation/slack"] - 0.3) < 0.1


def test_a_search_goes_on_where_it_was_and_leaves_a_builder(tmp_path):
    rows = run(tmp_path)
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert run(resume=tmp_path / "1") == rows[1:]
    builder = learned.load(tmp_path / "3")
    assert not builder.exact
    batch = churn_batch(11, 4, 5, stream("test", 42))
    caps = learned.model(tmp_path / "3").caps
    assert loads(builder.build_batch(batch.hashes, batch.before, 11, None), 4).max() <= (caps[3] or 3)
    with pytest.raises(RequestError, match="expected the size of these caps, 11, but got 47"):
        builder.check(47, 4)
    with pytest.raises(RequestError, match="at most 11 backends"):
        builder.check(11, 12)


def test_tables_that_look_ahead_move_less_at_the_same_caps(tmp_path):
    """A search that looks leaves a builder that does, within its caps."""
    fields = {"size": 23, "leaves": (8,), "iterations": 1, "fleets": 20, "validation_pairs": 60}
    for look in (False, True):
        run(tmp_path / str(look), look=look, joiners=8, slack=0.0, **fields)
    builders = [learned.load(tmp_path / str(look) / "1") for look in (False, True)]
    batch = churn_batch(23, 8, 200, stream("test", 43))
    sets, excess = (batch.before, batch.after), []
    for builder in builders:
        tables = [builder.build_batch(batch.hashes, present, 23, None) for present in sets]
        assert (
            max(table_scores(table, each).max_over_mean.max() for table, each in zip(tables, sets, strict=True))
            <= 4 * 7 / 23
        )
        excess.append(transition_scores(*tables, *sets).excess.mean())
    assert excess[1] < 0.8 * excess[0]


@pytest.mark.parametrize(
    ("caps", "message"),
    [
        (torch.full((11,), 3), "expected a cap from 11 to 11 for 1 backends"),
        (torch.full((11,), 12), "expected a cap"),
        (torch.full((10,), 11), "int64 of shape"),
        (torch.full((11,), 11.0), "int64 of shape"),
    ],
)
def test_caps_that_cannot_hold_a_table_are_refused(caps, message):
    with pytest.raises(RuntimeError, match=message):
        CappedTables(CappedOptions(size=11)).load_state_dict({"caps": caps})


@pytest.mark.parametrize(
    "fields",
    [
        {"leaves": (1,)},
        {"leaves": (5, 5)},
        {"slack": -0.1},
        {"most": 0.5},
        {"look": True},
        {"look": True, "leaves": (4, 5)},
    ],
)
def test_settings_out_of_range_are_refused(fields):
    with pytest.raises(RequestError):
        parse(TableSlackConfig, fields)

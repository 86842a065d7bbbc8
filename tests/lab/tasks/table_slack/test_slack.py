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
from lab.tasks.table_slack.fit import best_extras

TINY = {"size": 11, "iterations": 3, "fleets": 3, "most_extra": 2, "validation_pairs": 4, "checkpoint_every": 1}


def run(folder=None, resume=None, **fields):
    return recorded(fit, TableSlackConfig(**{**TINY, **fields}), folder, resume)[0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_caps_are_the_cheapest_of_all(seed, unevenness):
    """Against every sequence of caps for 1 to 5 backends."""
    rng = np.random.default_rng(seed)
    config = TableSlackConfig(size=5, most_extra=2, unevenness=unevenness)
    costs = {"excess": rng.random((4, 3, 3)), "largest": 1 + rng.random((4, 3, 3))}

    def price(extras):
        total = 0.0
        for place, n in enumerate(config.numbers):
            before, after = extras[n - 1], extras[n - 2]
            total += (costs["excess"] + unevenness * costs["largest"])[place, before, after]
        return total

    found = best_extras(config, costs)
    assert price(found) == pytest.approx(min(price(each) for each in itertools.product(range(3), repeat=5)))


def test_numbers_that_nothing_was_asked_of_get_no_slack():
    config = TableSlackConfig(size=9, most_extra=2, leaves=(5,))
    costs = {"excess": np.array([[[3.0, 3, 3], [3, 3, 3], [3, 3, 1]]]), "largest": np.ones((1, 3, 3))}
    assert best_extras(config, costs).tolist() == [0, 0, 0, 2, 2, 0, 0, 0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 20), st.integers(0, 6))
def test_no_table_is_above_its_cap_and_every_entry_has_a_backend(seed, size, extra):
    rng = np.random.default_rng(seed)
    caps = np.minimum(least_caps(size) + rng.integers(0, extra + 1, size=size), size)
    n = int(rng.integers(1, size + 1))
    rule = ScenarioConfig(size=size, n_before=(n, n), n_after=(1, size), max_delta=size)
    batch = sample_batch(rule, 3, rng)
    table = build_capped(caps, batch.hashes, batch.before, size)
    assert (table_scores(table, batch.before).invalid == 0).all()
    assert (loads(table, batch.before.shape[1]).max(axis=1) <= caps[n - 1]).all()


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_equal_slack_everywhere_is_the_classical_builder(extra):
    batch = churn_batch(47, 9, 20, stream("test", 41))
    classical = get(f"balanced-stratified+{extra}").build_batch(batch.hashes, batch.before, 47, None)
    np.testing.assert_array_equal(build_capped(least_caps(47) + extra, batch.hashes, batch.before, 47), classical)


def test_the_dearer_unevenness_is_the_evener_the_tables(tmp_path):
    cheap, dear = (run(unevenness=price)[-1] for price in (0.001, 5.0))
    assert dear["validation/max_over_mean"] < cheap["validation/max_over_mean"]
    assert dear["validation/excess"] >= cheap["validation/excess"]


def test_a_search_goes_on_where_it_was_and_leaves_a_builder(tmp_path):
    rows = run(tmp_path)
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert run(resume=tmp_path / "1") == rows[1:]
    builder = learned.load(tmp_path / "3")
    assert not builder.exact
    batch = churn_batch(11, 4, 5, stream("test", 42))
    caps = learned.model(tmp_path / "3").caps
    assert loads(builder.build_batch(batch.hashes, batch.before, 11, None), 4).max() <= caps[3]
    with pytest.raises(RequestError, match="expected the size of these caps, 11, but got 47"):
        builder.check(47, 4)
    with pytest.raises(RequestError, match="at most 11 backends"):
        builder.check(11, 12)


def test_tables_that_look_ahead_move_less_at_the_same_caps(tmp_path):
    """A search that looks leaves a builder that does, within its caps."""
    fields = {"size": 23, "leaves": (8,), "iterations": 1, "fleets": 20, "most_extra": 1, "validation_pairs": 60}
    for look in (False, True):
        run(tmp_path / str(look), look=look, joiners=8, unevenness=5.0, **fields)
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
        {"unevenness": -1.0},
        {"most_extra": 0},
        {"look": True},
        {"look": True, "leaves": (4, 5)},
    ],
)
def test_settings_out_of_range_are_refused(fields):
    with pytest.raises(RequestError):
        parse(TableSlackConfig, fields)

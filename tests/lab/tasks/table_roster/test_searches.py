"""Searches of large rosters and learned rankings: loads stay those of the tables, and every search gets better."""

import itertools
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import RequestError
from lab.tables.rankings import first_present, measure
from lab.tables.subsets import all_subsets, draw_subsets, validation_subsets
from lab.tasks.table_roster import OBJECTIVE, TableRosterConfig, fit
from lab.tasks.table_roster import anneal as annealing
from lab.tasks.table_roster.flow import flow_of, improve, rankings_of
from lab.tasks.table_roster.insertion import insert
from lab.tasks.table_roster.insertion import sweep as insertion_sweep
from lab.tasks.table_roster.loads import Loads, spreads
from lab.tasks.table_roster.luce import logits_of, order
from lab.tasks.table_roster.ppo import log_probabilities, rewards
from lab.tasks.table_roster.searches import search, stratified_rankings

shapes = st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(2, 5), st.integers(0, 2**31))


def random_rankings(rng, chains, size, n):
    return rng.random((chains, size, n)).argsort(axis=2)


def cost_of(rankings, present, power):
    """The cost of rankings on subsets, by the definition."""
    size = len(rankings)
    total = 0.0
    for row, table in zip(present, first_present(rankings, present).T, strict=True):
        loads = np.bincount(table, minlength=len(row))[row]
        floor, ceiling = size // row.sum(), -(-size // row.sum())
        total += float((np.maximum(0, loads - ceiling) ** 2 + np.maximum(0, floor - loads) ** 2).sum() ** power)
    return total


def assert_is_as_counted_anew(state):
    anew = Loads(state.rankings, state.present, state.power)
    assert (np.sort(state.rankings, axis=2) == np.arange(state.rankings.shape[2])).all()
    np.testing.assert_array_equal(state.served, anew.served)
    np.testing.assert_array_equal(state.loads, anew.loads)
    np.testing.assert_allclose(state.distance, anew.distance, atol=1e-3)


@given(shapes, st.sampled_from([0.5, 1.0]))
@settings(max_examples=25, deadline=None)
def test_loads_are_those_of_the_tables_after_every_sweep(shape, power):
    chains, size, n, seed = shape
    rng = np.random.default_rng(seed)
    state = Loads(random_rankings(rng, chains, size, n), draw_subsets(n, 20, rng), power)
    for sweep in (insertion_sweep, annealing.sweep):
        sweep(state, 0.7, rng)
        assert_is_as_counted_anew(state)
    costs = [cost_of(rankings, state.present, power) for rankings in state.rankings]
    np.testing.assert_allclose(state.cost(state.distance).sum(axis=1), costs, atol=1e-2)


@given(shapes)
@settings(max_examples=25, deadline=None)
def test_spreads_are_the_labs_own(shape):
    chains, size, n, seed = shape
    rng = np.random.default_rng(seed)
    rankings, present = random_rankings(rng, chains, size, n), draw_subsets(n, 20, rng)
    assert spreads(rankings, present)[0].mean() == pytest.approx(measure(rankings[0], present)["spread"])


def test_a_swap_is_kept_where_it_costs_no_more_than_is_allowed():
    rng = np.random.default_rng(4)
    present = all_subsets(4)
    for _ in range(60):
        state = Loads(random_rankings(rng, 2, 7, 4), present, 1.0)
        before = state.rankings.copy()
        low, high = np.sort(rng.permutation(4)[:2]).tolist()
        kept = annealing.swap(state, 3, low, high, np.array([0.5, 0.5]))
        for chain in range(2):
            tried = before[chain].copy()
            tried[3, [low, high]] = tried[3, [high, low]]
            rise = cost_of(tried, present, 1.0) - cost_of(before[chain], present, 1.0)
            assert kept[chain] == (rise <= 0.5)
            np.testing.assert_array_equal(state.rankings[chain], tried if kept[chain] else before[chain])
        assert_is_as_counted_anew(state)


def test_a_place_is_drawn_as_often_as_its_cost_says():
    """Against the costs of all four places of one backend, counted one by one."""
    rng = np.random.default_rng(3)
    chains, temperature, present = 5_000, 1.5, all_subsets(4)
    one = random_rankings(rng, 1, 6, 4)
    state = Loads(np.repeat(one, chains, axis=0), present, 1.0)
    insert(state, 0, 2, np.flatnonzero(present[:, 2]), temperature, rng)
    rest = [backend for backend in one[0, 0] if backend != 2]
    costs, counts = [], []
    for place in range(4):
        ranking = [*rest[:place], 2, *rest[place:]]
        tried = one[0].copy()
        tried[0] = ranking
        costs.append(cost_of(tried, present, 1.0))
        counts.append((state.rankings[:, 0] == ranking).all(axis=1).sum())
    expected = np.exp(-(np.array(costs) - min(costs)) / temperature)
    expected *= chains / expected.sum()
    assert (np.abs(np.array(counts) - expected) < 5 * np.sqrt(expected) + 1).all()


@given(shapes)
@settings(max_examples=25, deadline=None)
def test_a_flow_and_its_rankings_make_the_same_loads(shape):
    _, size, n, seed = shape
    rankings = random_rankings(np.random.default_rng(seed), 1, size, n)[0]
    again = rankings_of(flow_of(rankings), n)
    states = [Loads(each[None], all_subsets(n), 1.0) for each in (rankings, again)]
    np.testing.assert_array_equal(states[0].loads, states[1].loads)


def test_the_solver_leaves_no_more_subsets_uneven_than_it_was_given():
    pytest.importorskip("ortools")
    rankings = random_rankings(np.random.default_rng(1), 1, 11, 4)[0]
    assert measure(improve(rankings, 1.0, 0))["uneven"] == 0


def test_without_the_solver_a_person_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(RequestError, match="pip install"):
        improve(random_rankings(np.random.default_rng(1), 1, 11, 4)[0], 1.0, 0)


def test_logits_are_in_the_order_of_the_rankings_they_were_made_of():
    rankings = random_rankings(np.random.default_rng(2), 1, 9, 6)[0]
    np.testing.assert_array_equal(order(logits_of(rankings, 0.5)), rankings)


def test_the_policy_gives_out_every_ranking_with_the_probability_it_says():
    logits = torch.tensor([[0.3, -1.0, 0.7, 0.0]])
    every = torch.tensor(list(itertools.permutations(range(4))))[:, None]
    probability = log_probabilities(logits, every).sum(dim=2).exp()
    assert float(probability.sum()) == pytest.approx(1)
    first = logits.softmax(dim=1)[0, 2]
    assert float(probability[every[:, 0, 0] == 2].sum()) == pytest.approx(float(first))


def test_a_reward_is_what_the_entry_costs_the_subsets_it_serves():
    rng = np.random.default_rng(6)
    state = Loads(random_rankings(rng, 2, 7, 4), all_subsets(4), 1.0)
    found = rewards(state)
    for table, entry, place in ((0, 0, 0), (1, 3, 1), (1, 6, 3)):
        backend = state.rankings[table, entry, place]
        total = 0.0
        for subset in np.flatnonzero(state.served[table, entry] == backend):
            n = state.present[subset].sum()
            loads = [state.loads[table, subset, backend] - less for less in (0, 1)]
            off = [max(0, load - -(-7 // n)) ** 2 + max(0, 7 // n - load) ** 2 for load in loads]
            total += off[0] - off[1]
        assert found[table, entry, place] == pytest.approx(-total / 15, abs=1e-5)


LEARNERS = {
    "insertion": {"iterations": 4, "chains": 1, "temperature_start": 5.0, "temperature_end": 1.0},
    "anneal": {"iterations": 6, "chains": 1, "temperature_start": 5.0, "temperature_end": 1.0},
    "gradient": {"iterations": 80, "learning_rate": 0.1, "temperature_start": 1.0, "temperature_end": 0.1},
    "ppo": {"iterations": 30, "rollouts": 8},
}


@pytest.mark.parametrize("method", LEARNERS)
def test_every_search_of_a_large_roster_beats_what_it_begins_with_on_subsets_it_never_saw(method):
    config = TableRosterConfig(method=method, size=23, backends=14, subsets=64, **LEARNERS[method])
    begun = measure(stratified_rankings(23, 14))["spread"]
    assert fit(config, lambda metrics, checkpoint: None).metrics[OBJECTIVE] < 0.9 * begun


def test_every_logit_gets_a_finite_gradient_in_the_first_step():
    config = TableRosterConfig(
        method="gradient", size=23, backends=14, subsets=128, temperature_start=1.0, temperature_end=0.1
    )
    running = search(config)
    before = running.state()["logits"]
    running.step(1, np.random.default_rng(0))
    change = running.state()["logits"] - before
    assert bool(torch.isfinite(change).all())
    assert bool((change != 0).all())


def test_subsets_of_validation_are_all_there_are_or_a_fixed_sample():
    assert len(validation_subsets(5)) == 31
    large = validation_subsets(20)
    np.testing.assert_array_equal(large, validation_subsets(20))
    assert large.any(axis=1).all()
    assert set(large.sum(axis=1)) == set(range(1, 21))

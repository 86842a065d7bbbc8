"""Rankings of a roster: every search draws what it should, finds even ones, and goes on where it was."""

import itertools
import json
import uuid

import numpy as np
import pytest
import torch
from recording import recorded

from envs.scenarios import fixed_roster
from lab.errors import RequestError
from lab.tables import learned
from lab.tables.rankings import first_present, measure
from lab.tables.registry import build_with
from lab.tables.subsets import all_subsets
from lab.tasks.table_roster import TableRosterConfig, fit
from lab.tasks.table_roster.heat_bath import HeatBath

TINY = {"size": 11, "backends": 7, "iterations": 6, "chains": 3, "checkpoint_every": 2}


def train(config, folder=None, resume=None):
    return recorded(fit, config, folder, resume)


def random_rankings(seed, chains, size, n):
    return np.random.default_rng(seed).random((chains, size, n)).argsort(axis=2)


def test_the_first_present_of_a_ranking_serves():
    rankings = np.array([[2, 0, 1], [1, 2, 0]])
    present = np.array([[True, True, True], [True, False, False], [False, False, False], [True, True, False]])
    assert first_present(rankings, present).T.tolist() == [[2, 1], [0, 0], [-1, -1], [0, 1]]
    both = first_present(np.stack([rankings, rankings[::-1]]), present)
    np.testing.assert_array_equal(both[0], both[1][::-1])


def test_loads_are_those_of_the_tables_after_every_sweep():
    bath = HeatBath(11, 4, 1.0, random_rankings(1, 2, 11, 4))
    rng = np.random.default_rng(0)
    for temperature in (2.0, 0.5, 0.1):
        bath.sweep(temperature, rng)
        for chain, rankings in enumerate(bath.rankings):
            assert (np.sort(rankings, axis=1) == np.arange(4)).all()
            tables = first_present(rankings, all_subsets(4)).T
            loads = np.stack([(tables == backend).sum(axis=1) for backend in range(4)], axis=1)
            np.testing.assert_array_equal(bath.loads[chain, :, 1:].T, loads)


@pytest.mark.parametrize("power", [0.25, 1.0])
def test_a_ranking_is_drawn_as_often_as_its_cost_says(power):
    """Against the costs of all 24 rankings of 4, counted one by one."""
    size, n, chains, temperature = 6, 4, 40_000, 1.5
    one = random_rankings(3, 1, size, n)
    bath = HeatBath(size, n, power, np.repeat(one, chains, axis=0))
    bath._count(0, -1)
    drawn = bath._draw(temperature, np.random.default_rng(5))
    every = list(itertools.permutations(range(n)))
    costs = []
    for ranking in every:
        tried = one[0].copy()
        tried[0] = ranking
        costs.append(cost_of(tried, power))
    weights = np.exp(-(np.array(costs) - min(costs)) / temperature)
    expected = weights / weights.sum()
    counts = np.array([(drawn == ranking).all(axis=1).sum() for ranking in every])
    deviation = np.sqrt(chains * expected * (1 - expected))
    assert (np.abs(counts - chains * expected) < 5 * deviation + 1).all()


def cost_of(rankings, power):
    """The cost of rankings, by the definition."""
    size, n = rankings.shape
    total = 0.0
    for present in all_subsets(n):
        table = first_present(rankings, present[None])[:, 0]
        floor, ceiling = size // present.sum(), -(-size // present.sum())
        loads = [(table == backend).sum() for backend in np.flatnonzero(present)]
        total += sum(max(0, load - ceiling) ** 2 + max(0, floor - load) ** 2 for load in loads) ** power
    return total


def test_rankings_of_five_become_even_for_every_subset(tmp_path):
    rows, result = train(TableRosterConfig(backends=5, chains=4, iterations=80), tmp_path)
    assert result.metrics["validation/uneven"] == 0
    assert result.metrics["validation/worst_spread"] == 1
    assert len(rows) < 80, "it ends when there is nothing left to gain"
    builder = learned.load(tmp_path / str(len(rows)))
    ids = [uuid.UUID(bytes=raw.tobytes()) for raw in fixed_roster(5)]
    table = build_with(builder, ids[:3], 47)
    assert sorted(np.bincount(table).tolist()) == [15, 16, 16]
    with pytest.raises(RequestError, match="not in it"):
        build_with(builder, ["10.0.0.1:80"], 47)
    with pytest.raises(RequestError, match="size of these rankings, 47"):
        build_with(builder, ids, 48)


SEARCHES = {
    "heat_bath": {},
    "insertion": {"backends": 13, "size": 14, "subsets": 40, "chains": 2},
    "anneal": {},
    "gradient": {"subsets": 40, "temperature_start": 1.0, "temperature_end": 0.1, "validate_every": 3},
    "ppo": {"subsets": 40, "rollouts": 4},
}


@pytest.mark.parametrize("validate_every", [1, 4])
def test_the_best_that_is_reported_is_what_is_kept(tmp_path, validate_every):
    """Steps that ruin the rankings: a search that validates seldom must not lose those that it began with."""
    config = TableRosterConfig(
        **SEARCHES["gradient"] | {"size": 14, "backends": 13, "validate_every": validate_every, "checkpoint_every": 5},
        method="gradient",
        learning_rate=10.0,
        iterations=10,
    )
    rows, _ = train(config, tmp_path)
    found = [row["validation/spread"] for row in rows]
    assert min(found) == found[-1] == measure(learned.model(tmp_path / "10").rankings)["spread"]
    assert [row["iteration"] for row in rows] == {1: [*range(1, 11)], 4: [4, 5, 8, 10]}[validate_every]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_search_takes_the_threads_that_it_is_given_and_gives_them_back(threads):
    """With a thread too many, beside other work, the gradient takes several times as long."""
    config = TableRosterConfig(**{**TINY, **SEARCHES["gradient"]}, method="gradient", threads=threads)
    before, seen = torch.get_num_threads(), set()
    fit(config, lambda metrics, checkpoint: seen.add(torch.get_num_threads()))
    assert seen == {threads}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("at", [2, 4])
@pytest.mark.parametrize("method", SEARCHES)
def test_a_search_that_goes_on_is_the_search_that_was_not_stopped(tmp_path, method, at):
    config = TableRosterConfig(**{**TINY, **SEARCHES[method]}, method=method, seed=5)
    whole, _ = train(config, tmp_path / "whole")
    rest, _ = train(config, tmp_path / "rest", resume=tmp_path / "whole" / str(at))
    assert rest == [row for row in whole if row["iteration"] > at]
    last = f"{whole[-1]['iteration']:.0f}"
    assert (tmp_path / "rest" / last / learned.MODEL).read_bytes() == (
        tmp_path / "whole" / last / learned.MODEL
    ).read_bytes()


@pytest.mark.parametrize("harm", ["missing", "truncated", "another format", "other chains"])
def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path, harm):
    train(TableRosterConfig(**TINY), tmp_path)
    folder, config = tmp_path / "2", TableRosterConfig(**TINY)
    search = folder / "search.json"
    if harm == "missing":
        (folder / "state.safetensors").unlink()
    elif harm == "truncated":
        (folder / learned.MODEL).write_bytes(b"abc")
    elif harm == "another format":
        search.write_text(json.dumps({**json.loads(search.read_text()), "format": 2}))
    else:
        config = TableRosterConfig(**{**TINY, "chains": 2})
    with pytest.raises(RequestError, match="expected"):
        train(config, resume=folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature_end": 9.0}, "at most temperature_start"),
        ({"size": 4}, "at least backends"),
        ({"backends": 13, "size": 47}, "at most 12 with method=heat_bath, but got 13: try method=insertion"),
        ({"backends": 11, "method": "flow"}, "at most 10 with method=flow"),
    ],
    ids=["temperatures", "size", "backends", "flow"],
)
def test_configurations_that_make_no_sense_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        TableRosterConfig(**{**TINY, **fields})

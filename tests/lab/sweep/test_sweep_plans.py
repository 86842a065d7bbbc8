"""Plans, spaces and proposals: everything about a sweep that follows from a seed."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from toy import toy

from lab.errors import RequestError
from lab.journal import Trial
from lab.sweep import make_plan
from lab.sweep.generations import boundary_after, renew
from lab.sweep.optuna_search import propose
from lab.sweep.plan import narrow
from lab.sweep.space import draw, grid, perturb

SPACE = {
    "a": tune.loguniform(1e-4, 1e-1),
    "b": tune.quniform(0.0, 1.0, 0.25),
    "c": tune.randint(2, 9),
    "d": tune.choice([(1,), (2, 3)]),
    "e": tune.qrandint(8, 64, 8),
    "f": tune.uniform(-1.0, 1.0),
    "g": tune.lograndint(1, 100),
}


def inside(values: dict) -> None:
    assert 1e-4 <= values["a"] <= 1e-1
    assert values["b"] in (0, 0.25, 0.5, 0.75, 1)
    assert values["c"] in range(2, 9)
    assert values["d"] in [(1,), (2, 3)]
    assert values["e"] in range(8, 65, 8)
    assert -1 <= values["f"] <= 1
    assert values["g"] in range(1, 100)
    assert all(type(values[key]) is int for key in "ceg")


@given(st.integers(0, 2**32), st.integers(0, 10**6))
def test_a_draw_follows_from_seed_and_index_and_lies_in_the_space(seed: int, index: int) -> None:
    values = draw(SPACE, seed, index)
    assert values == draw(SPACE, seed, index)
    inside(values)


@given(st.integers(0, 2**32), st.integers(0, 1000))
def test_perturbed_values_stay_in_the_space(seed: int, index: int) -> None:
    inside(perturb(SPACE, draw(SPACE, seed, index), np.random.default_rng(seed)))


def test_different_indices_draw_different_values() -> None:
    assert len({draw(SPACE, 0, index)["f"] for index in range(100)}) == 100


def test_a_grid_lists_choices_and_spaces_the_other_domains_as_they_are() -> None:
    values = grid({"a": tune.loguniform(1e-4, 1e-2), "d": tune.choice(["x", "y"])}, 3)
    assert [(pytest.approx(v["a"]), v["d"]) for v in values] == [(a, d) for a in (1e-4, 1e-3, 1e-2) for d in ("x", "y")]
    assert [v["b"] for v in grid({"b": tune.quniform(0, 1, 0.25)}, 3)] == [0, 0.5, 1]
    assert [v["c"] for v in grid({"c": tune.randint(0, 3)}, 10)] == [0, 1, 2], "repetitions are dropped"
    assert [v["g"] for v in grid({"g": tune.lograndint(1, 101)}, 3)] == [1, 10, 100]
    assert grid({"f": tune.uniform(0, 1)}, 1) == [{"f": 0.0}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "optunna"}, "Did you mean 'optuna'"),
        ({"scheduler": "ashe"}, "Did you mean 'asha'"),
        ({"samples": 0}, "--samples of at least 1, but got 0"),
        ({"samples": 1, "scheduler": "pbt"}, "--samples of at least 2"),
        ({"max_concurrent": 0}, "--max-concurrent of at least 1"),
        ({"seed": -1}, "--seed of at least 0"),
        ({"max_failures": -1}, "max_failures of at least 0"),
        ({"search": "grid"}, "expected --grid-points for a grid over 'rate'"),
        ({"search": "grid", "grid_points": 0}, "--grid-points of at least 1"),
        ({"search": "grid", "grid_points": 3, "samples": 5}, "or 18, its points, but got 5"),
        ({"search": "grid", "grid_points": 9999}, "a grid of at most 10,000 points, but this one has"),
        ({"grid_points": 3}, "--grid-points with --search grid only"),
        ({"search": "optuna", "scheduler": "pbt"}, "does the searching itself"),
        ({"address": "ray://head:10001"}, "--address auto or host:port"),
    ],
)
def test_a_wrong_plan_is_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        make_plan(toy(), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_that_cannot_be_drawn_again_is_refused() -> None:
    with pytest.raises(RequestError, match="'rate' in the space, but got Function"):
        make_plan(toy(space={"rate": tune.sample_from(lambda config: 1)}))
    with pytest.raises(RequestError, match="space is empty"):
        make_plan(toy(space={}))
    with pytest.raises(RequestError, match="bounds for a grid over 'rate'"):
        make_plan(toy(space={"rate": tune.randn()}), search="grid", grid_points=2)
    with pytest.raises(RequestError, match="field of the search space of toy"):
        narrow(toy(), ["rate", "widht"])


def test_a_plan_takes_the_experiments_own_defaults() -> None:
    plan = make_plan(toy(samples=7, scheduler="asha"))
    assert (plan.samples, plan.search, plan.scheduler) == (7, "random", "asha")
    assert make_plan(toy(), search="grid", grid_points=3).samples == 18


def trial(index: int, values: dict, losses: list[float], status: str = "finished") -> Trial:
    made = Trial(index, values, status=status)
    made.results = {i: {"loss": loss} for i, loss in enumerate(losses, start=1)}
    return made


def test_optuna_is_a_function_of_the_journal_and_learns_from_it() -> None:
    space = {"x": tune.uniform(0.0, 1.0), "shape": tune.choice([(1,), (2, 3)])}

    def sweep(count: int) -> list[Trial]:
        trials: list[Trial] = []
        for index in range(count):
            values = propose(space, trials, metric="loss", mode="min", seed=5, index=index)
            # As a journal has it: a tuple comes back as a list.
            plain = {"x": values["x"], "shape": list(values["shape"])}
            trials.append(trial(index, plain, [1.0, (values["x"] - 0.7) ** 2 + (len(plain["shape"]) == 1)]))
        return trials

    trials = sweep(40)
    assert [t.config for t in trials] == [t.config for t in sweep(40)]
    late = trials[25:]
    assert np.mean([abs(t.config["x"] - 0.7) for t in late]) < np.mean([abs(t.config["x"] - 0.7) for t in trials[:10]])
    assert sum(t.config["shape"] == [2, 3] for t in late) > 10


@pytest.mark.parametrize("status", ["finished", "stopped", "failed", "running"])
def test_optuna_takes_every_kind_of_trial(status: str) -> None:
    space = {"x": tune.uniform(0.0, 1.0)}
    known = [trial(i, {"x": i / 20}, [] if i == 3 else [i / 10], status) for i in range(15)]
    outside = [trial(15, {"x": 7.0}, [0.0]), trial(16, {}, [0.0])]
    values = propose(space, known + outside, metric="loss", mode="max", seed=0, index=17)
    assert 0 <= values["x"] <= 1


def test_boundaries_cut_a_training_in_five() -> None:
    found, boundary = [], boundary_after(0, 23)
    while boundary is not None:
        found.append(boundary)
        boundary = boundary_after(boundary, 23)
    assert found == [5, 10, 15, 20]
    assert boundary_after(0, 1) is None
    assert [boundary_after(at, 45, 20) for at in (0, 20, 40)] == [20, 40, None], "where a checkpoint is"


def test_a_population_needs_a_checkpoint_to_clone() -> None:
    values = toy().resolve().model_dump(mode="json")
    trials = []
    for index in range(8):
        made = Trial(index, values | {"seed": index})
        made.results = {4: {"validation/loss": float(index)}}
        trials.append(made)
    assert renew(toy(), trials, 4, seed=0) == {}
    trials[1].checkpoint, trials[1].checkpoint_iteration = "there", 4
    changes = renew(toy(), trials, 4, seed=0)
    assert sorted(changes) == [6, 7]
    assert all(change["donor"] == 1 and change["checkpoint"] == "there" for change in changes.values())
    assert changes[7]["config"]["seed"] == 7, "a clone keeps its own seed"
    assert renew(toy(), trials[:1], 4, seed=0) == {}


@pytest.mark.parametrize(("address", "at_once"), [(None, os.cpu_count()), ("auto", 64)])
def test_a_cluster_is_filled_and_one_machine_is_not_crowded(address, at_once, monkeypatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert make_plan(toy(), samples=64, address=address).max_concurrent == at_once

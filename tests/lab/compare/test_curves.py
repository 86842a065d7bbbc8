"""Learners of every kind share the axes of a learning curve."""

from __future__ import annotations

import numpy as np
import pytest

from envs.scenarios import ScenarioConfig, sample_batch, stream
from lab import experiment
from lab.compare.curves import EVEN_METRIC, METRIC, Curve, curves, levels, passing
from lab.compare.learning_figures import learning
from lab.compare.methods import methods
from lab.compare.statistics import Interval
from lab.config import Config
from lab.experiment import Experiment
from lab.tables import build_batch
from lab.tables.judging import measure

from .standin import make_run, nothing

NAMES = (
    "table_bandit",
    "table_dqn",
    "table_es",
    "table_one_shot",
    "table_ppo",
    "table_ppo_pairs",
    "table_rl_grid",
    "table_supervised",
)


def drawn(*runs):
    return {
        (curve.method, curve.axis): curve for curve in curves(methods([str(run.folder) for run in runs], ["maglev"]))
    }


def test_a_pair_of_tables_counts_as_the_entries_it_gives_out():
    pairs, steps = make_run("table_supervised", steps="pairs"), make_run("table_ppo", steps="env_steps")
    found = drawn(pairs, steps)
    assert set(found) == {(m, a) for m in ("table_supervised", "table_ppo") for a in ("seconds", "env_steps")}
    (x, _), *_ = found["table_supervised", "env_steps"].lines
    np.testing.assert_allclose(x, 12_000.0 * np.arange(1, 13) * 2 * 47)
    (x, _), *_ = found["table_ppo", "env_steps"].lines
    np.testing.assert_allclose(x, 12_000.0 * np.arange(1, 13))


def test_seeds_have_a_band_and_one_seed_has_none():
    found = drawn(make_run("table_supervised", (0.1, 0.2), steps="pairs"), make_run("table_ppo", (0.1,)))
    assert len(found["table_supervised", "env_steps"].band) == 40
    assert found["table_ppo", "seconds"].band == ()
    assert ("table_ppo", "env_steps") not in found


def test_levels_are_of_the_size_that_all_were_trained_on():
    one, other = make_run("table_supervised", (0.1,)), make_run("table_ppo", (0.1,), size=23)
    found = levels(list(drawn(one).values()), ["maglev", "balanced-stratified"])
    assert found["maglev"] == 1.0
    assert found["balanced-stratified"] == pytest.approx(0.83, abs=0.03)
    assert levels(list(drawn(one, other).values()), ["maglev"]) == {}
    assert levels([], ["maglev"]) == {}


def test_a_curve_is_held_against_maglev_on_the_scenarios_of_its_validation(monkeypatch):
    run = make_run("a_task", (0.1,), family="learned")
    scenarios = sample_batch(ScenarioConfig(), 40, stream("validation", 5))
    before, after = (build_batch("maglev", scenarios.hashes, each, 47) for each in (scenarios.before, scenarios.after))
    maglev = measure(before, after, scenarios)["churn_ratio"]
    (_, others), *_ = drawn(run)["a_task", "seconds"].lines
    described = Experiment(
        name="a_task",
        summary="",
        config=Described,
        fit=nothing,
        space={},
        metric=METRIC,
        mode="min",
        presets={},
        validation=lambda config: scenarios if config.size == 47 else None,
    )
    monkeypatch.setitem(experiment._REGISTRY, "a_task", described)
    curve = drawn(run)["a_task", "seconds"]
    (_, own), *_ = curve.lines
    recorded = run.metrics()[METRIC].to_numpy()
    np.testing.assert_allclose(own, recorded / maglev)
    assert curve.own
    assert not np.allclose(own, others)


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_with_tables_tells_what_it_validates_on(name):
    import experiments  # noqa: F401

    described = experiment.get(name)
    scenarios = described.validation(described.resolve("quick"))
    assert len(scenarios) >= 64
    assert scenarios.size == 47


def reported(run, trial, ratios):
    for iteration, ratio in enumerate(ratios, start=13):
        metrics = {"iteration": iteration, "seconds": 10.0 * iteration, "env_steps": 100.0 * iteration, METRIC: 0.1}
        run.add_result(trial, metrics | {EVEN_METRIC: ratio})


def test_what_a_learner_takes_is_until_it_first_changes_less_than_maglev_and_uneven_tables_do_not_pass_by_that():
    run = make_run("table_ppo", (5.0, 5.0, 5.0))  # far above Maglev, and without steps
    for trial, ratios in enumerate(([9, 9, 1.2, 9], [9, 1.2, 1.2, 1.2], [9, 9, 9, 9])):
        reported(run, trial, ratios)
    (found,) = passing(list(drawn(run).values()))
    assert (found.method, found.seeds, found.passed) == ("table_ppo", 3, 2)
    assert found.at["env_steps"].value == 1500.0
    assert found.at["seconds"].value == 150.0
    reported(run, 1, [9] * 9)
    assert passing(list(drawn(run).values()))[0].passed == 2


def test_where_more_than_half_never_pass_there_is_no_median():
    run = make_run("table_ppo", (5.0, 5.0, 5.0))
    for trial, ratios in enumerate(([9, 1.2], [9, 9], [9, 9])):
        reported(run, trial, ratios)
    (found,) = passing(list(drawn(run).values()))
    assert found.passed == 1
    assert found.at["env_steps"].value is None


def test_reports_that_repeat_a_validation_are_no_points_of_their_own():
    run = make_run("table_ppo", (0.1,), steps="env_steps")
    last = run.trials[0].results[12]
    for iteration in (13, 14, 15):
        run.add_result(0, last | {"iteration": iteration, "env_steps": 12_000.0 * iteration})
    (x, _), *_ = drawn(run)["table_ppo", "env_steps"].lines
    assert x[-2:].tolist() == [144_000.0, 180_000.0]


class Described(Config):
    seed: int
    size: int


def test_a_run_whose_configuration_has_other_fields_by_now_still_has_its_curve(monkeypatch):
    run = make_run("a_task", (0.1,), family="learned")
    described = Experiment(
        name="a_task",
        summary="",
        config=Config,
        fit=nothing,
        space={},
        metric=METRIC,
        mode="min",
        presets={},
        validation=lambda config: pytest.fail("no configuration to ask"),
    )
    monkeypatch.setitem(experiment._REGISTRY, "a_task", described)
    assert not drawn(run)["a_task", "seconds"].own


def test_seeds_of_a_busy_machine_are_averaged_where_they_are_equally_far():
    run = make_run("table_ppo", (5.0, 5.0, 5.0))
    for trial, slow in enumerate((1.0, 3.0, 90.0)):
        for iteration, ratio in enumerate((9.0, 6.0, 3.0), start=13):
            metrics = {"iteration": iteration, "seconds": slow * iteration, METRIC: 0.1, EVEN_METRIC: ratio}
            run.add_result(trial, metrics)
    curve = drawn(run)["table_ppo", "seconds"]
    ends = [y[-1] for _, y in curve.lines]
    assert ends[0] == ends[1] == ends[2] == pytest.approx(curve.band[-1].value)
    assert curve.band_x[-1] == pytest.approx(3.0 * 15)


def made_up(method, end):
    x, y = np.array([1.0, 5.0, 10.0]), np.array([2.0, 1.5, end])
    return Curve(
        method, "rl", "seconds", 47, True, ((x, y), (2 * x, y)), x, tuple(Interval(v, v, v, "seeds") for v in y)
    )


@pytest.mark.parametrize("count", [6, 7])
def test_many_learners_have_a_panel_each_and_are_counted(count):
    found = [made_up(f"learner-{i}", 0.7 + 0.1 * i) for i in range(count)]
    figure = learning(found, "seconds", {"maglev": 1.0})
    assert ("in grey" in figure.caption) == (count > 6)
    if count > 6:
        title = "3 of 7 learners end below Maglev in validation, learner-0 lowest: 0.70 times its churn ratio"
        assert figure.title == title
    else:
        assert figure.title.startswith("Passing Maglev in validation: learner-0 after 10 s; ")
    assert figure.alt.endswith(f"learner-{count - 1} ends at {0.6 + 0.1 * count:.2f}")

"""Supervised tables trained as one: each is the table that it would have been alone."""

import math

import numpy as np
import pytest
import torch

from envs.scenarios import sample_batch, stream
from lab.population_task import PopulationTask
from lab.sweep.population import train_population
from lab.tables.judging import judge
from lab.tables.scored import ScoredTables
from lab.tasks.table_supervised import TASK, TableSupervisedConfig
from lab.tasks.table_supervised.data import batch_of

TINY = {
    "size": 13,
    "n_before": (3, 13),
    "n_after": (1, 13),
    "iterations": 10,
    "steps": 20,
    "batch_size": 4,
    "validation_scenarios": 4,
    "width": 8,
    "depth": 1,
    "learning_rate": 3e-3,
    "checkpoint_every": 100,
}
MEMBERS = (
    {"temperature_end": 0.1},
    {"learning_rate": 1e-3, "temperature_start": 0.5},
    {"seed": 1, "temperature_end": 0.1, "weight_confidence": 0.2},
    {"seed": 2, "learning_rate": 1e-2, "weight_stability": 2.0, "max_gradient_norm": 0.1},
)
FORMS = {
    "notebook-argmax": {"network": "notebook", "decoder": "argmax"},
    "notebook-balanced": {"network": "notebook", "decoder": "balanced"},
    "scorer-argmax": {"decoder": "argmax"},
    "scorer-ranking": {"decoder": "ranking"},
    "scorer-balanced": {},
    "scorer-balanced-sees": {"sees_set": True},
}


def train(configs: dict[int, TableSupervisedConfig]):
    """The metrics of each member by iteration, and how each ended."""
    rows, ends = {index: [] for index in configs}, {}

    def report(now, checkpoint):
        for index, metrics in now.rows.items():
            rows[index].append(metrics)
        ends.update(now.ends)

    train_population(TASK, configs, report)
    return rows, ends


def configs_of(**fields) -> dict[int, TableSupervisedConfig]:
    return {index: TableSupervisedConfig(**{**TINY, **fields, **own}) for index, own in enumerate(MEMBERS)}


def test_it_is_a_task_of_populations():
    task: PopulationTask = TASK
    assert task.objective == "validation/even_churn_ratio"


@pytest.mark.parametrize("form", FORMS)
def test_two_hundred_steps_together_are_two_hundred_steps_alone(form):
    configs = configs_of(**FORMS[form])
    together, ends = train(configs)
    assert {end.status for end in ends.values()} == {"finished"}
    alone, _ = train({3: configs[3]})
    for one, other in zip(together[3], alone[3], strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], abs=1e-5)
        assert one["validation/even_churn_ratio"] == pytest.approx(other["validation/even_churn_ratio"], abs=1e-9)
    losses = {rows[-1]["train/loss"] for rows in together.values()}
    assert len(losses) == len(configs), "members differ"


@pytest.mark.parametrize("form", ["notebook-balanced", "scorer-balanced", "scorer-argmax"])
def test_a_member_that_breaks_fails_alone(form, monkeypatch):
    real = TASK.knobs
    configs = configs_of(**FORMS[form], iterations=3, steps=4)

    def knobs(config, steps):
        found = dict(real(config, steps))
        if config.seed == 1:
            found["temperature"] = np.where(steps >= 5, math.nan, found["temperature"])
        return found

    whole, _ = train(configs)
    monkeypatch.setattr(TASK, "knobs", knobs)
    broken, ends = train(configs)
    assert {index: end.status for index, end in ends.items()} == {
        2: "failed",
        0: "finished",
        1: "finished",
        3: "finished",
    }
    assert [len(broken[index]) for index in range(4)] == [3, 3, 1, 3]
    for index in (0, 1, 3):
        for one, other in zip(broken[index], whole[index], strict=True):
            assert one["train/loss"] == pytest.approx(other["train/loss"], abs=1e-6)


def test_members_may_differ_in_what_is_no_shape():
    config = TableSupervisedConfig(**TINY)
    for fields in ({"seed": 3}, {"learning_rate": 0.5}, {"temperature_end": 0.2}, {"weight_validity": 3.0}):
        assert TASK.key(TableSupervisedConfig(**{**TINY, **fields})) == TASK.key(config)
    for fields in (
        {"width": 9},
        {"decoder": "ranking"},
        {"batch_size": 5},
        {"max_delta": 3},
        {"sinkhorn_iterations": 9},
    ):
        assert TASK.key(TableSupervisedConfig(**{**TINY, **fields})) != TASK.key(config)
    assert hash(TASK.key(config)) == hash(TASK.key(TableSupervisedConfig(**TINY)))


def test_members_with_one_seed_share_their_batches():
    config, other = TableSupervisedConfig(**TINY), TableSupervisedConfig(**{**TINY, "learning_rate": 0.1})
    assert TASK.stream(config) == TASK.stream(other)
    for one, two in zip(TASK.blocks(config, 3), TASK.blocks(other, 3), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert TASK.stream(config) != TASK.stream(TableSupervisedConfig(**{**TINY, "seed": 1}))


@pytest.mark.parametrize("form", FORMS)
def test_batches_have_one_shape_whatever_the_scenarios(form):
    seeds = (TableSupervisedConfig(**{**TINY, **FORMS[form], "seed": seed, "steps": 8}) for seed in range(3))
    shapes = {
        tuple((name, value.shape, value.dtype) for name, value in batch.items())
        for config in seeds
        for batch in TASK.blocks(config, 0)
    }
    assert len(shapes) == 1


@pytest.mark.parametrize("form", [form for form in FORMS if "argmax" not in form])
def test_empty_slots_change_nothing(form):
    config = TableSupervisedConfig(**{**TINY, **FORMS[form], "n_before": (3, 5), "n_after": (1, 5)})
    scorer = TASK.init(config)
    scenarios = sample_batch(config.scenarios(), 6, stream("train", 0))
    knobs = {name: torch.tensor(float(np.max(v))) for name, v in TASK.knobs(config, np.zeros(1, np.int64)).items()}
    found = []
    for slots in (5, 13):
        scorer.zero_grad()
        loss, parts = TASK.loss(config, scorer, batch_of(scenarios, scorer, slots), knobs)
        loss.backward()
        found.append([loss, *parts.values(), *(parameter.grad.clone() for parameter in scorer.parameters())])
    for tight, padded in zip(*found, strict=True):
        torch.testing.assert_close(tight, padded, rtol=1e-4, atol=1e-6)


def test_members_are_judged_as_the_tables_they_will_be():
    config = TableSupervisedConfig(**{**TINY, "validation_scenarios": 20})
    networks = [TASK.init(TableSupervisedConfig(**{**TINY, "seed": seed})) for seed in range(3)]

    class Members:
        configs = (config,) * 3
        device = torch.device("cpu")

        def modules(self):
            """One network that takes on the weights of each."""
            shared = config.scorer()
            for network in networks:
                shared.load_state_dict(network.state_dict())
                yield shared

    found = TASK.evaluate(Members(), 2)
    validation = sample_batch(config.scenarios(), 20, stream("validation", 0, config.size))
    for metrics, network in zip(found, networks, strict=True):
        judged = judge(ScoredTables(network, config.decoder), validation)
        assert {f"validation/{name}": value for name, value in judged.items()}.items() <= metrics.items()
        assert metrics["pairs"] == 2 * config.steps * config.batch_size

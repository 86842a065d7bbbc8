"""REINFORCE on whole tables: it learns, it is paid for what is said, and it goes on where it was."""

import numpy as np
import pytest
import torch
from recording import recorded

from envs.scenarios import ScenarioConfig, sample_batch, stream
from lab.config import parse
from lab.errors import RequestError
from lab.tables import learned
from lab.tasks.table_one_shot import TASK, TableOneShotConfig, fit
from lab.tasks.table_supervised import TableSupervisedConfig
from lab.tasks.table_supervised.task import TASK as SUPERVISED

TINY = {
    "size": 11,
    "n_before": (3, 6),
    "n_after": (1, 6),
    "batch_size": 4,
    "tables": 3,
    "steps": 3,
    "iterations": 4,
    "width": 4,
    "depth": 1,
    "validation_scenarios": 16,
}


def run(folder=None, resume=None, **fields):
    return recorded(fit, TableOneShotConfig(**{**TINY, **fields}), folder, resume)[0]


@pytest.mark.parametrize("fields", [{}, {"decoder": "ranking", "credit": "entry"}, {"supervised_share": 0.5}], ids=str)
def test_a_training_reports_leaves_a_builder_and_goes_on_bit_for_bit(tmp_path, fields):
    straight = run(tmp_path, **fields)
    assert [row["iteration"] for row in straight] == [1, 2, 3, 4]
    assert all(np.isfinite(value) for row in straight for value in row.values())
    builder = learned.load(tmp_path / "4")
    assert builder.exact == (fields.get("decoder") != "ranking")
    assert learned.family_of(tmp_path / "4") == "rl"
    assert run(resume=tmp_path / "2", **fields) == straight[2:]


def test_env_steps_count_the_tables_that_were_drawn_or_planned():
    steps = [row["env_steps"] for row in run(supervised_share=0.5)]
    pairs = 3 * 4 * 2 * 11  # steps x scenarios x tables x entries
    assert steps == [pairs, 2 * pairs, 2 * pairs + 3 * pairs, 2 * pairs + 6 * pairs]


def test_the_supervised_part_is_the_supervised_training():
    """Its first steps: the same loss on the same scenarios, to the bit."""
    shared = {key: value for key, value in TINY.items() if key != "tables"}
    config = TableOneShotConfig(**TINY, supervised_share=0.75)
    plain = TableSupervisedConfig(**{**shared, "iterations": 3})
    knobs, expected = TASK.knobs(config, np.arange(9)), SUPERVISED.knobs(plain, np.arange(9))
    for name in ("learning_rate", "temperature"):
        np.testing.assert_allclose(knobs[name], expected[name])
    model, batch = TASK.init(config), {k: v[0] for k, v in next(TASK.blocks(config, 0)).items()}
    values = {k: torch.tensor(np.broadcast_to(v, 9)[0]) for k, v in knobs.items()}
    with torch.no_grad():
        assert TASK.loss(config, model, batch, values)[0] == SUPERVISED.loss(plain, model, batch, values)[0]


def test_every_parameter_moves_in_the_first_step():
    config = TableOneShotConfig(**TINY)
    model, batch = TASK.init(config), {k: v[0] for k, v in next(TASK.blocks(config, 0)).items()}
    knobs = {k: torch.tensor(np.broadcast_to(v, 1)[0]) for k, v in TASK.knobs(config, np.arange(1)).items()}
    loss, parts = TASK.loss(config, model, batch, knobs)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert 0 < float(parts["excess"]) < 1
    assert float(parts["imbalance"]) == 0


@pytest.mark.slow
def test_it_learns_from_pay_alone():
    """From a random network to far fewer needless moves, on held-out scenarios."""
    rows = run(iterations=8, steps=15, batch_size=16, tables=4, learning_rate=3e-2, validation_scenarios=128, strata=1)
    first, last = rows[0]["untrained/even_churn_ratio"], rows[-1]["best/even_churn_ratio"]
    assert last < first - 0.05


def test_a_policy_that_could_name_an_empty_slot_is_refused():
    with pytest.raises(RequestError, match="decoder must be balanced or ranking"):
        parse(TableOneShotConfig, {"decoder": "argmax"})


def test_training_scenarios_are_none_of_validation():
    rule = TableOneShotConfig(**TINY).scenarios()
    assert isinstance(rule, ScenarioConfig)
    train, held_out = (sample_batch(rule, 50, stream(purpose, 0, 0)) for purpose in ("train", "validation"))
    assert not {row.tobytes() for row in train.ids[:, 0]} & {row.tobytes() for row in held_out.ids[:, 0]}

"""Bandits over builders: regret is against the best fixed arm, ties are broken at random, and a name is never code."""

import numpy as np
import pytest
from recording import recorded

from envs.scenarios import sample_batch, stream
from envs.scoring import transition_scores
from lab.config import parse
from lab.errors import RequestError
from lab.files import read_json, write_json
from lab.tables import learned
from lab.tables.registry import get
from lab.tasks.table_bandit import TableBanditConfig, fit
from lab.tasks.table_bandit.fit import choose, rewards

ARMS = ("modulo@1", "maglev@1", "balanced-stratified@1")
TINY = {"size": 13, "iterations": 4, "pulls": 20, "arms": ARMS, "validation_pairs": 8, "checkpoint_every": 2}


def run(folder=None, resume=None, **fields):
    return recorded(fit, TableBanditConfig(**{**TINY, **fields}), folder, resume)[0]


@pytest.mark.parametrize("explore", ["epsilon", "ucb"])
def test_it_finds_the_steadiest_builder_and_goes_on_where_it_was(tmp_path, explore):
    rows = run(tmp_path, explore=explore)
    assert [row["pulls"] for row in rows] == [20, 40, 60, 80]
    assert rows[-1]["env_steps"] == 80 * 2 * 13
    assert rows[-1]["best_share"] > 0.5
    assert run(resume=tmp_path / "2", explore=explore) == rows[2:]
    builder, plain = learned.load(tmp_path / "4"), get("balanced-stratified")
    batch = sample_batch(TableBanditConfig(**TINY).scenario(13), 5, stream("test", 1))
    np.testing.assert_array_equal(
        builder.build_batch(batch.hashes, batch.before, 13, None),
        plain.build_batch(batch.hashes, batch.before, 13, None),
    )
    assert builder.exact


def test_regret_is_what_the_best_fixed_arm_would_have_been_paid_more():
    config = TableBanditConfig(**{**TINY, "iterations": 1})
    (row,) = run(iterations=1)
    paid = rewards(config, sample_batch(config.scenario(13), 20, stream("train", 0, 1)))
    assert row["regret"] == pytest.approx(paid.sum(axis=1).max() - 20 * row["reward"])


def test_pay_is_minus_what_moves_needlessly_where_tables_are_even():
    config = TableBanditConfig(**{**TINY, "w_stability": 2.0})
    batch = sample_batch(config.scenario(13), 30, stream("test", 2))
    build = get("maglev").build_batch
    tables = [build(batch.hashes, present, 13, None) for present in (batch.before, batch.after)]
    excess = transition_scores(*tables, batch.before, batch.after).excess
    np.testing.assert_allclose(rewards(config, batch)[1], -2 * excess)


def test_arms_that_tie_are_pulled_alike_and_none_is_left_untried():
    for explore in ("epsilon", "ucb"):
        config = TableBanditConfig(**{**TINY, "explore": explore, "epsilon": 1e-9, "epsilon_final": 1e-9})
        rng = np.random.default_rng(0)
        pulls, sums = np.array([4, 4, 4]), np.array([-1.0, -1.0, -3.0])
        picked = np.bincount([choose(config, 12, pulls, sums, rng) for _ in range(400)], minlength=3)
        assert picked[2] == 0
        assert abs(picked[0] - picked[1]) < 80
        untried = np.array([4, 0, 4])
        assert all(choose(config, 8, untried, sums, rng) == 1 for _ in range(20))


def test_ucb_tries_what_it_knows_little_of():
    config = TableBanditConfig(**{**TINY, "explore": "ucb", "bonus": 0.5})
    pulls, sums = np.array([500, 500, 2]), np.array([-50.0, -50.0, -0.25])
    assert choose(config, 1002, pulls, sums, np.random.default_rng(0)) == 2


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (("maglev@1", "mglev@1"), "Did you mean 'maglev'"),
        (("maglev@1", "maglev@2"), "maglev@1, the version of this release"),
        (("maglev@1", "learned@1"), "classical builder"),
        (("maglev@1", "stateful-optimum@1"), "classical builder"),
        (("maglev@1", "ppo:somewhere"), "classical builder"),
        (("maglev@1", "maglev@1"), "once each"),
        (("maglev@1",), "arms"),
    ],
)
def test_an_arm_is_a_classical_builder_of_this_release(arms, message):
    with pytest.raises(RequestError, match=message):
        parse(TableBanditConfig, {"arms": arms})


def test_an_artefact_names_no_builder_but_a_registered_one(tmp_path):
    run(tmp_path)
    path = tmp_path / "4" / learned.DESCRIPTION
    description = read_json(path, "description")
    description["options"]["arms"][0] = "os:system"
    write_json(path, description)
    with pytest.raises(RequestError, match="classical builder"):
        learned.load(tmp_path / "4")

"""DQN: what it replays happened, what it aims at is double Q-learning's target, and illegal actions are never taken."""

import math
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn.dqn_learner import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.core.columns import Columns

from envs.scenarios import ScenarioConfig, sample_batch, stream
from lab.config import parse
from lab.errors import RequestError
from lab.sweep.cluster import ray_session
from lab.tables import learned
from lab.tables.policy_networks import ILLEGAL
from lab.tasks.table_dqn import OBJECTIVE, TableDqnConfig, fit
from lab.tasks.table_dqn.algorithm import make_algorithm
from lab.tasks.table_dqn.module import TableQModule
from lab.tasks.table_dqn.replay import TransitionBuffer
from lab.tasks.table_ppo.rollout import Rollout

SMALL = {
    "iterations": 3,
    "size": 11,
    "envs": 4,
    "minibatch": 44,
    "capacity": 200,
    "width": 8,
    "validate_every": 2,
    "validation_pairs": 4,
    "checkpoint_every": 2,
    "target_every": 88,
}


def rollout(start, steps=5, tables=3):
    """Every number tells the step and the table it is of."""
    number = start + np.arange(steps)[:, None] * 10 + np.arange(tables)
    terminated = np.zeros((steps, tables), dtype=bool)
    terminated[-1] = True
    columns = {Columns.ACTIONS: number.astype(np.int64), Columns.REWARDS: -number.astype(np.float32)}
    return Rollout({"seen": number.astype(np.float32)}, columns, terminated)


def test_a_transition_is_what_happened():
    buffer = TransitionBuffer(60, 0)
    buffer.add([rollout(0), rollout(1000)])
    (drawn,) = buffer.sample(500)
    seen, following = drawn[Columns.OBS]["seen"], drawn[Columns.NEXT_OBS]["seen"]
    ended = drawn[Columns.TERMINATEDS]
    np.testing.assert_array_equal(seen, drawn[Columns.ACTIONS])
    np.testing.assert_array_equal(-seen, drawn[Columns.REWARDS])
    np.testing.assert_array_equal(following[~ended], seen[~ended] + 10)
    np.testing.assert_array_equal(ended, seen % 1000 >= 40)
    assert len(np.unique(seen)) == 30


def test_the_oldest_go_first_and_what_is_newest_stays():
    buffer = TransitionBuffer(31, 0)
    for start in (0, 1000, 2000):
        buffer.add([rollout(start)])
    assert len(buffer) == 30
    assert buffer.sample(200)[0][Columns.ACTIONS].min() >= 1000
    tiny = TransitionBuffer(1, 0)
    tiny.add([rollout(0)])
    assert len(tiny) == 15


@pytest.fixture(scope="module")
def local_ray():
    with ray_session(None):
        yield


@pytest.fixture
def module():
    config = TableDqnConfig(**SMALL)
    env = gym.make_vec("envs:LookupTable-v0", 2, vectorization_mode="vector_entry_point", **config.env_kwargs)
    torch.manual_seed(0)
    made = TableQModule(
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        model_config={"policy": config.policy.policy.model_dump(), "epsilon": (0.5, 0.1, 100)},
    )
    made.make_target_networks()
    observation, _ = env.reset(seed=1)
    return made, {Columns.OBS: {name: torch.from_numpy(value) for name, value in observation.items()}}


def test_exploration_is_epsilon_greedy_over_legal_actions(module):
    made, batch = module
    legal = batch[Columns.OBS]["action_mask"].bool()
    values = made.compute_q_values(batch)[QF_PREDS]
    assert (values[~legal] == ILLEGAL).all()
    for t, epsilon in ((0, 0.5), (50, 0.3), (10**6, 0.1)):
        chances = made.forward_exploration(batch, t=t)[Columns.ACTION_DIST_INPUTS].exp()
        assert not chances[~legal].any()
        expected = epsilon * legal / legal.sum(dim=1, keepdim=True)
        expected[torch.arange(2), values.argmax(dim=1)] += 1 - epsilon
        torch.testing.assert_close(chances, expected.to(chances.dtype))
    greedy = made.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    torch.testing.assert_close(greedy.argmax(dim=1), values.argmax(dim=1))


@pytest.mark.ray
def test_the_loss_is_that_of_double_q_learning_and_moves_every_parameter(local_ray):
    algorithm = make_algorithm(TableDqnConfig(**{**SMALL, "gamma": 0.9}))
    try:
        learner = algorithm.learner_group._learner
        algorithm.env_runner_group.sync_weights(from_worker_or_learner_group=algorithm.learner_group)
        buffer = TransitionBuffer(1000, 0)
        buffer.add(algorithm.env_runner.sample())
        batch = learner._batch(buffer.sample(64)[0])
        made = learner.module["default_policy"].unwrapped()
        with torch.no_grad():
            for parameter in made.target.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        outputs = learner.module.forward_train({"default_policy": batch})
        loss = learner.compute_losses(fwd_out=outputs, batch={"default_policy": batch})["default_policy"]
        one = outputs["default_policy"]
        best = one[QF_NEXT_PREDS].argmax(dim=1, keepdim=True)
        following = one[QF_TARGET_NEXT_PREDS].gather(1, best)[:, 0] * ~batch[Columns.TERMINATEDS]
        target = batch[Columns.REWARDS] + 0.9 * following
        chosen = one[QF_PREDS].gather(1, batch[Columns.ACTIONS][:, None])[:, 0]
        torch.testing.assert_close(loss, torch.nn.functional.huber_loss(chosen, target))
        loss.backward()
        for name, parameter in made.policy.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name
        assert all(parameter.grad is None for parameter in made.target.parameters())
    finally:
        algorithm.stop()


@pytest.mark.ray
@pytest.mark.parametrize("order", ["entries", "pairs"])
def test_a_training_reports_leaves_a_builder_and_goes_on(local_ray, tmp_path, order):
    def run(resume=None):
        rows = []

        def report(metrics, checkpoint=None):
            rows.append(dict(metrics))
            if checkpoint is not None and resume is None:
                shutil.copytree(checkpoint, tmp_path / str(int(metrics["iteration"])))

        fit(TableDqnConfig(**SMALL, order=order), report, resume=resume)
        return rows

    rows = run()
    assert [row["env_steps"] for row in rows] == [88, 176, 264]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert {OBJECTIVE, "q_loss", "td_error", "episode_return"} <= set(rows[0])
    assert rows[0]["validation/imbalance"] == 0
    builder = learned.load(tmp_path / "3")
    assert builder.exact
    assert learned.family_of(tmp_path / "3") == "rl"
    batch = sample_batch(ScenarioConfig(), 3, stream("test", 3))
    assert (builder.build_batch(batch.hashes, batch.before, 47, None) >= 0).all()
    resumed = run(tmp_path / "2")
    assert [row["iteration"] for row in resumed] == [3]
    assert resumed[0]["env_steps"] == 264


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": "terminal"}, "gamma must be above 0"),
        ({"capacity": 10}, "capacity must be at least"),
        ({"order": "pair"}, "order"),
    ],
)
def test_settings_that_cannot_learn_are_refused(fields, message):
    with pytest.raises(RequestError, match=message):
        parse(TableDqnConfig, fields)

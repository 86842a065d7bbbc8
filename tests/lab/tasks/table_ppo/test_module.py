"""The masked module, as RLlib calls it."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical

from envs.lookup_table import LookupTableVectorEnv
from envs.task import PRIVILEGED
from lab.errors import WorkError
from lab.tasks.table_ppo.config import TablePpoConfig
from lab.tasks.table_ppo.module import TablePolicyModule

CONFIG = TablePpoConfig(size=7, envs=4, minibatch=8, width=8, critic_width=8)


@pytest.fixture
def env():
    return LookupTableVectorEnv(4, **CONFIG.env_kwargs)


@pytest.fixture
def batch(env):
    observation, _ = env.reset(seed=1)
    return {Columns.OBS: {name: torch.from_numpy(value) for name, value in observation.items()}}


def make(env, *, inference_only=False, config=CONFIG):
    torch.manual_seed(0)
    return TablePolicyModule(
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        inference_only=inference_only,
        model_config={"policy": config.policy.policy.model_dump(), "critic_width": config.critic_width},
    )


@pytest.mark.parametrize("fields", [{}, {"attention": 2}, {"network": "mlp", "size": 47, "minibatch": 94}], ids=str)
def test_illegal_actions_have_probability_zero(fields):
    config = CONFIG.model_copy(update=fields)
    env = LookupTableVectorEnv(4, **config.env_kwargs)
    module = make(env, config=config)
    observation, _ = env.reset(seed=1)
    for _ in range(2 * config.size):
        batch = {Columns.OBS: {name: torch.from_numpy(value) for name, value in observation.items()}}
        logits = module.forward_exploration(batch)[Columns.ACTION_DIST_INPUTS]
        legal = observation["action_mask"] != 0
        probabilities = torch.softmax(logits, dim=1).numpy()
        assert not probabilities[~legal].any()
        observation, *_ = env.step(probabilities.argmax(axis=1))


def test_nothing_in_the_batch_is_changed(env, batch):
    """RLlib hands the same dict to the value function, to the loss and to the next epoch."""
    module, before = make(env), copy.deepcopy(batch)
    outputs = module.forward_train(batch)
    module.compute_values(batch)
    module.compute_values(batch, embeddings=outputs[Columns.EMBEDDINGS])
    module.forward_inference(batch)
    assert list(batch) == list(before)
    assert list(batch[Columns.OBS]) == list(before[Columns.OBS])
    for name, tensor in batch[Columns.OBS].items():
        assert torch.equal(tensor, before[Columns.OBS][name]), name


def test_only_the_critic_sees_what_is_privileged(env, batch):
    module = make(env)
    other = {Columns.OBS: {**batch[Columns.OBS], "privileged": torch.rand_like(batch[Columns.OBS]["privileged"])}}
    logits = [module.forward_train(each)[Columns.ACTION_DIST_INPUTS] for each in (batch, other)]
    assert torch.equal(*logits)
    assert not torch.equal(module.compute_values(batch), module.compute_values(other))


def test_the_value_is_the_same_with_and_without_the_embeddings_of_a_forward(env, batch):
    module = make(env)
    embeddings = module.forward_train(batch)[Columns.EMBEDDINGS]
    assert torch.equal(module.compute_values(batch, embeddings=embeddings), module.compute_values(batch))
    assert module.compute_values(batch).shape == (4,)


def test_the_critic_does_not_pull_at_the_policy(env, batch):
    module = make(env)
    embeddings = module.forward_train(batch)[Columns.EMBEDDINGS]
    module.compute_values(batch, embeddings=embeddings).sum().backward()
    assert all(parameter.grad is None for parameter in module.policy.parameters())


def test_every_parameter_learns_in_step_one(env, batch):
    module = make(env)
    outputs = module.forward_train(batch)
    logp = torch.log_softmax(outputs[Columns.ACTION_DIST_INPUTS], dim=1)[:, 0]
    value = module.compute_values(batch, embeddings=outputs[Columns.EMBEDDINGS])
    (logp.sum() + (value - 1).pow(2).sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.norm() > 1e-6, name


def test_one_legal_action_is_certain(env, batch):
    mask = torch.zeros_like(batch[Columns.OBS]["action_mask"])
    mask[:, 0] = 1
    batch[Columns.OBS]["action_mask"] = mask
    logits = make(env).forward_train(batch)[Columns.ACTION_DIST_INPUTS]
    now, before = TorchCategorical.from_logits(logits), TorchCategorical.from_logits(logits.detach() + 0.5)
    action = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(now.entropy(), torch.zeros(4))
    assert torch.equal((now.logp(action) - before.logp(action)).exp(), torch.ones(4))
    assert torch.equal(before.kl(now), torch.zeros(4))
    assert torch.equal(now.sample(), action)
    (now.logp(action) + now.entropy()).sum().backward()
    assert logits.requires_grad


def test_no_legal_action_is_an_error_where_one_is_to_be_chosen(env, batch):
    batch[Columns.OBS]["action_mask"][2] = 0
    with pytest.raises(WorkError, match="mask of row 2 forbids all"):
        make(env).forward_exploration(batch)
    with pytest.raises(WorkError, match="mask of row 2 forbids all"):
        make(env).forward_inference(batch)
    # In training such a row is RLlib's phantom step: it is no part of the loss, but it must not spoil the gradients.
    outputs = make(env).forward_train(batch)
    assert outputs[Columns.ACTION_DIST_INPUTS].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64, torch.float32, torch.float64])
def test_the_mask_may_have_any_dtype(env, batch, dtype):
    module = make(env)
    expected = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    batch[Columns.OBS]["action_mask"] = batch[Columns.OBS]["action_mask"].to(dtype)
    assert torch.equal(module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS], expected)


@pytest.mark.parametrize("network", ["pointer", "mlp"])
def test_the_value_is_the_critic_s_of_what_is_documented(env, batch, network):
    """The summary, how likely the policy is to move nothing needlessly, the globals and what is privileged."""
    policy = {**CONFIG.policy.policy.model_dump(), "network": network}
    module = TablePolicyModule(
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        inference_only=False,
        model_config={"policy": policy, "critic_width": CONFIG.critic_width},
    )
    for _ in range(CONFIG.size + 3):  # into the second table, whose entries have former owners
        mask = batch[Columns.OBS]["action_mask"].numpy()
        observation, *_ = env.step(mask.argmax(axis=1))
        batch = {Columns.OBS: {name: torch.from_numpy(value) for name, value in observation.items()}}
    observations = batch[Columns.OBS]
    owner, in_other = observations["privileged"][:, len(PRIVILEGED) :].split(CONFIG.size, dim=1)
    assert owner.any()
    assert in_other.any()
    with torch.no_grad():
        logits, summary = module._act(observations)
        free = (owner > 0) | (in_other == 0)
        share = torch.where(free, torch.softmax(logits, dim=1), 0.0).sum(dim=1, keepdim=True)
        known = observations["privileged"][:, : len(PRIVILEGED)]
        expected = module.critic(torch.cat([summary, share, observations["globals"], known], dim=1))
    torch.testing.assert_close(module.compute_values(batch).detach(), expected)


def test_the_mode_is_that_of_all_parts(env, batch):
    module = make(env)
    for mode in (module.train, module.eval, module.eval, module.train):
        mode()
        assert {part.training for part in module.modules()} == {mode == module.train}
    module.forward_exploration(batch)
    assert all(part.training for part in module.modules())


def test_runners_have_no_critic(env):
    runner = make(env, inference_only=True)
    assert not hasattr(runner, "critic")
    runner.set_state(make(env).get_state(inference_only=True))


def test_another_environment_is_refused():
    with pytest.raises(WorkError, match="Dict observation"):
        TablePolicyModule(
            observation_space=gym.spaces.Box(0, 1, (3,), np.float32),
            action_space=gym.spaces.Discrete(2),
            inference_only=False,
            model_config={"policy": CONFIG.policy.policy.model_dump(), "critic_width": 8},
        )

"""The fast runner and learner against RLlib's own: same weights and seeds, same data and losses."""

import gymnasium
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from envs.lookup_table import LookupTableVectorEnv
from lab.errors import WorkError
from lab.sweep.cluster import ray_session
from lab.tasks.table_ppo.algorithm import algorithm_config
from lab.tasks.table_ppo.config import TablePpoConfig

pytestmark = pytest.mark.ray

SMALL = {"size": 7, "envs": 5, "minibatch": 70, "epochs": 1, "width": 8, "critic_width": 8, "max_delta": 3}
MLP = {"network": "mlp", "size": 47, "envs": 3, "minibatch": 282}
PAID = {"gamma": 0.97, "gae_lambda": 0.9, "reward": "terminal", "balance": "reward", "validity": "penalty"}


class CutShort(LookupTableVectorEnv):
    """Episodes are cut off after five steps, where the tables are not full."""

    def reset(self, **kwargs):
        self._count = 0
        return super().reset(**kwargs)

    def step(self, actions):
        if self._count == 5:
            observation, info = self.reset()
            never = np.zeros(self.num_envs, dtype=np.bool_)
            return observation, np.zeros(self.num_envs), never, never, info
        self._count += 1
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, reward, terminated, truncated | (self._count == 5), info


gymnasium.register("CutShort-v0", vector_entry_point=CutShort)


class Restandardised(PPOTorchLearner):
    """RLlib's learner, with advantages of mean 0 and deviation 1 over the steps that were taken."""

    def build(self):
        super().build()
        self._learner_connector.append(OverRealRows())


class OverRealRows(ConnectorV2):
    def __call__(self, *, batch, **kwargs):
        module_batch = batch[DEFAULT_MODULE_ID]
        real = module_batch[Postprocessing.ADVANTAGES][module_batch[Columns.LOSS_MASK]]
        advantages = (module_batch[Postprocessing.ADVANTAGES] - real.mean()) / real.std(correction=0)
        module_batch[Postprocessing.ADVANTAGES] = advantages
        return batch


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    with ray_session(None):
        yield


@pytest.fixture
def build():
    """Algorithms of both paths, stopped at the end."""
    built = []

    def make(runner, change=lambda rllib: None, **fields):
        rllib = algorithm_config(TablePpoConfig(**{**SMALL, "seed": 3, "runner": runner, **fields}))
        change(rllib)
        built.append(rllib.build_algo())
        return built[-1]

    yield make
    for algorithm in built:
        algorithm.stop()


def learner(algorithm):
    return algorithm.learner_group._learner


def parameters(algorithm):
    return list(learner(algorithm).module[DEFAULT_MODULE_ID].parameters())


def batch_of(algorithm, episodes):
    """What the learner's pipeline makes of episodes."""
    one = learner(algorithm)
    pipeline = one._learner_connector
    return pipeline(rl_module=one.module, batch={}, episodes=episodes, shared_data={}, metrics=one.metrics)[
        DEFAULT_MODULE_ID
    ]


def by_episode(rollout, column):
    """(T, N, ...) -> (N, T, ...), as RLlib lists episodes."""
    return np.swapaxes(column, 0, 1)


def sampled(algorithm):
    torch.manual_seed(7)
    return algorithm.env_runner.sample()


def pairs(stock, fast, iterations=3):
    """What both sample with the same weights, iteration by iteration, while the stock one learns."""
    for _ in range(iterations):
        state = learner(stock).get_state()
        learner(fast).set_state(state)
        fast.env_runner.set_state({"rl_module": state["rl_module"][DEFAULT_MODULE_ID]})
        stock.env_runner.set_state({"rl_module": state["rl_module"][DEFAULT_MODULE_ID]})
        episodes, (rollout,) = sampled(stock), sampled(fast)
        yield episodes, rollout
        learner(stock).update(episodes=episodes, timesteps={"num_env_steps_sampled_lifetime": 0})


@pytest.mark.parametrize("fields", [{}, MLP, {**PAID, "attention": 2, "features": "all"}], ids=str)
def test_both_see_and_do_the_same(build, fields):
    stock, fast = build("stock", **fields), build("fast", **fields)
    for episodes, rollout in pairs(stock, fast):
        assert len(rollout) == sum(len(episode) for episode in episodes)
        for name, seen in rollout.observations.items():
            theirs = np.stack([episode.get_observations(slice(0, len(episode)))[name] for episode in episodes])
            np.testing.assert_array_equal(by_episode(rollout, seen), theirs)
        for name, theirs in {
            Columns.ACTIONS: [episode.get_actions() for episode in episodes],
            Columns.REWARDS: [episode.get_rewards() for episode in episodes],
            Columns.ACTION_LOGP: [episode.get_extra_model_outputs(Columns.ACTION_LOGP) for episode in episodes],
        }.items():
            np.testing.assert_allclose(by_episode(rollout, rollout.columns[name]), np.stack(theirs), atol=1e-6)


def cut(length):
    def change(rllib):
        rllib.env_runners(rollout_fragment_length=length)
        rllib.training(train_batch_size_per_learner=5 * length, minibatch_size=5 * length)

    return change


def other_settings(rllib):
    rllib.training(kl_coeff=0.4, vf_clip_param=0.02, grad_clip=0.01, grad_clip_by="norm")


def cut_short(rllib):
    rllib.environment("CutShort-v0")
    cut(12)(rllib)


@pytest.mark.parametrize(
    ("fields", "change"),
    [({}, cut(9)), (MLP, lambda rllib: None), (PAID, other_settings), (PAID, cut(9)), (PAID, cut_short)],
    ids=["pointer, cut", "mlp, whole", "paid at the end, whole", "paid at the end, cut", "paid at the end, cut short"],
)
def test_both_learn_from_the_same_advantages_targets_and_losses(build, fields, change):
    stock, fast = build("stock", change, **fields), build("fast", change, **fields)
    for episodes, rollout in pairs(stock, fast):
        theirs, ours = batch_of(stock, episodes), batch_of(fast, [rollout])
        real = theirs[Columns.LOSS_MASK]
        match = rows_of(theirs[Columns.OBS], real, ours[Columns.OBS])
        values = learner(stock).module[DEFAULT_MODULE_ID].compute_values(theirs)
        raw = (theirs[Postprocessing.VALUE_TARGETS] - values)[real]
        our_values = learner(fast).module[DEFAULT_MODULE_ID].compute_values(ours)
        our_raw = ours[Postprocessing.VALUE_TARGETS] - our_values
        torch.testing.assert_close(our_raw[match], raw, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            ours[Postprocessing.VALUE_TARGETS][match], theirs[Postprocessing.VALUE_TARGETS][real], atol=1e-5, rtol=1e-5
        )
        # The one difference that is meant: RLlib takes mean and deviation over its phantom steps, too.
        standard = ours[Postprocessing.ADVANTAGES]
        assert abs(float(standard.mean())) < 1e-5
        assert float(standard.std(correction=0)) == pytest.approx(1, abs=1e-4)
        theirs[Postprocessing.ADVANTAGES] = theirs[Postprocessing.ADVANTAGES].clone()
        theirs[Postprocessing.ADVANTAGES][real] = (raw - raw.mean()) / raw.std(correction=0)
        torch.testing.assert_close(standard[match], theirs[Postprocessing.ADVANTAGES][real], atol=1e-4, rtol=1e-4)
        their_loss, their_gradients = losses(stock, theirs)
        our_loss, our_gradients = losses(fast, ours)
        for name, value in their_loss.items():
            assert our_loss[name] == pytest.approx(value, abs=1e-5, rel=1e-4), name
        for their_gradient, our_gradient in zip(their_gradients, our_gradients, strict=True):
            torch.testing.assert_close(our_gradient, their_gradient, atol=3e-5, rtol=1e-3)


def rows_of(theirs, real, ours):
    """For each of RLlib's real rows, which lie episode by episode, the place of the same observation among ours."""
    keys = {}
    for place in range(len(ours["globals"])):
        keys.setdefault(tuple(float(one[place].double().sum()) for one in ours.values()), []).append(place)
    places = []
    for place in torch.nonzero(real)[:, 0].tolist():
        places.append(keys[tuple(float(theirs[name][place].double().sum()) for name in ours)].pop(0))
    assert not any(keys.values())
    return torch.tensor(places)


def losses(algorithm, batch):
    """What is logged of one loss over a whole batch, and the gradients."""
    one = learner(algorithm)
    one._measured = True
    outputs = one.module.forward_train({DEFAULT_MODULE_ID: batch})
    loss = one.compute_losses(fwd_out=outputs, batch={DEFAULT_MODULE_ID: batch})
    gradients = one.compute_gradients(loss)
    # Not the explained variance, which RLlib takes over its phantom steps, too.
    names = ("policy_loss", "vf_loss", "vf_loss_unclipped", "entropy", "mean_kl_loss")
    logged = {name: float(torch.as_tensor(one.metrics.peek((DEFAULT_MODULE_ID, name))).detach()) for name in names}
    return {**logged, "total": float(loss[DEFAULT_MODULE_ID].detach())}, list(gradients.values())


@pytest.mark.parametrize("fields", [{}, MLP, PAID], ids=str)
def test_trainings_with_whole_batches_stay_together(build, fields):
    """Each iteration builds on the last: data, losses, clipping, schedules and Adam must all agree."""

    def whole(rllib):
        rllib.training(minibatch_size=None, num_epochs=1)

    def restandardised(rllib):
        whole(rllib)
        rllib.training(learner_class=Restandardised)

    stock, fast = build("stock", restandardised, **fields), build("fast", whole, **fields)
    first = learner(stock).get_state()
    learner(fast).set_state(first)
    fast.env_runner.set_state({"rl_module": first["rl_module"][DEFAULT_MODULE_ID]})
    torch.manual_seed(0)
    results = []
    for algorithm in (stock, fast):
        torch.manual_seed(0)
        results.append([algorithm.train() for _ in range(3)])
    for theirs, ours in zip(*results, strict=True):
        for name in ("episode_return_mean", "episode_return_min", "episode_len_mean", "num_env_steps_sampled_lifetime"):
            assert ours["env_runners"][name] == pytest.approx(theirs["env_runners"][name], abs=1e-6), name
        their_learner, our_learner = (result["learners"][DEFAULT_MODULE_ID] for result in (theirs, ours))
        assert set(their_learner) <= set(our_learner) | {"diff_num_grad_updates_vs_sampler_policy"}
        for name in ("policy_loss", "vf_loss", "entropy", "mean_kl_loss", "gradients_default_optimizer_global_norm"):
            assert float(our_learner[name]) == pytest.approx(float(their_learner[name]), abs=1e-4, rel=1e-3), name
    # Not the weights themselves: where a softmax cancels one, Adam steps on the rounding errors of its gradient.
    (rollout,) = sampled(fast)
    seen = {Columns.OBS: {name: torch.from_numpy(value).flatten(0, 1) for name, value in rollout.observations.items()}}
    policies, values = [], []
    for algorithm in (stock, fast):
        module = learner(algorithm).module[DEFAULT_MODULE_ID]
        policies.append(torch.softmax(module.forward_exploration(seen)[Columns.ACTION_DIST_INPUTS], dim=1))
        values.append(module.compute_values(seen))
    torch.testing.assert_close(*policies, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(*values, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("first", "then"), [("stock", "fast"), ("fast", "stock")])
def test_a_checkpoint_of_one_path_is_taken_up_by_the_other(build, tmp_path, first, then):
    one, other = build(first), build(then, seed=4)
    one.train()
    one.save_to_path(str(tmp_path / "checkpoint"))
    other.restore_from_path(str(tmp_path / "checkpoint"))
    for theirs, ours in zip(parameters(one), parameters(other), strict=True):
        assert torch.equal(ours, theirs)
    adams = [
        learner(each).get_state()["optimizer"]["default_policy_default_optimizer"]["state"] for each in (one, other)
    ]
    moments = [
        {
            place: {name: np.asarray(value).tolist() for name, value in own.items()}
            for place, own in adam["state"].items()
        }
        for adam in adams
    ]
    assert moments[1] == moments[0]
    assert adams[1]["param_groups"] == adams[0]["param_groups"]
    result = other.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 140
    assert np.isfinite(result["env_runners"]["episode_return_mean"])


def test_every_row_is_learnt_from_once_an_epoch(build):
    one = learner(build("fast"))
    indices = [index.tolist() for index in one._indices(70, 14, 10, True)]
    for epoch in (indices[:5], indices[5:]):
        assert sorted(row for minibatch in epoch for row in minibatch) == list(range(70))
    assert indices[:5] != indices[5:]
    assert [len(index) for index in one._indices(70, 32, 5, True)] == [32] * 5


def test_rollouts_of_several_runners_are_one_batch(build):
    fast = build("fast", cut(9), **PAID)
    rollouts = [fast.env_runner.sample()[0] for _ in range(2)]
    for rollout in rollouts:
        rollout.terminated.flags.writeable = False  # as what comes from another process
    apart, together = [batch_of(fast, [rollout]) for rollout in rollouts], batch_of(fast, rollouts)
    for name in (Columns.ACTIONS, Columns.ACTION_LOGP, Postprocessing.VALUE_TARGETS):
        torch.testing.assert_close(together[name], torch.cat([one[name] for one in apart]))
    assert float(together[Postprocessing.ADVANTAGES].mean()) == pytest.approx(0, abs=1e-5)


class Fails(LookupTableVectorEnv):
    """Fails once, in the middle of an episode."""

    steps = 0

    def step(self, actions):
        Fails.steps += 1
        if Fails.steps == 4:
            raise OSError("lost")
        return super().step(actions)


gymnasium.register("Fails-v0", vector_entry_point=Fails)


def test_an_environment_that_fails_is_made_anew_if_that_is_asked_for(build):
    def restarting(rllib):
        rllib.environment("Fails-v0").fault_tolerance(restart_failed_sub_environments=True)

    result = build("fast", restarting).train()["env_runners"]
    assert Fails.steps == 4 + 14
    assert result["num_env_steps_sampled_lifetime"] == 70
    assert result["num_episodes_lifetime"] == 5


def test_sampling_by_episodes_is_left_to_rllib_and_training_goes_on(build):
    fast = build("fast")
    fast.train()
    episodes = fast.env_runner.sample(num_episodes=5, explore=False)
    assert [len(episode) for episode in episodes] == [14] * 5
    (rollout,) = fast.env_runner.sample()
    assert len(rollout) == 70
    assert rollout.terminated[-1].all()
    assert not rollout.successors


@pytest.mark.parametrize("harm", [np.nan, np.inf])
def test_gradients_that_are_not_finite_do_no_harm(build, harm):
    fast = build("fast")
    one = learner(fast)
    before = [parameter.detach().clone() for parameter in parameters(fast)]
    one._vector.grad[3] = harm
    one.apply_gradients(one.postprocess_gradients({}))
    for parameter, value in zip(parameters(fast), before, strict=True):
        assert torch.equal(parameter, value)


class OnStep(RLlibCallback):
    def on_episode_step(self, **kwargs):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rllib: rllib.callbacks(OnStep), "on_episode_step"),
        (lambda rllib: rllib.callbacks(on_episode_end=lambda **kwargs: None), "on_episode_end"),
        (lambda rllib: rllib.env_runners(batch_mode="complete_episodes"), "batch_mode"),
        (lambda rllib: rllib.env_runners(env_to_module_connector=lambda *_: FlattenObservations()), "connectors"),
    ],
    ids=["callback", "function", "batch mode", "connector"],
)
def test_what_the_fast_runner_would_not_call_is_refused(build, change, said):
    with pytest.raises(WorkError, match=said):
        build("fast", change)


class OutOfStep(LookupTableVectorEnv):
    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        truncated[0] = True
        return observation, reward, terminated, truncated, info


gymnasium.register("OutOfStep-v0", vector_entry_point=OutOfStep)


def test_episodes_that_do_not_end_together_are_refused(build):
    fast = build("fast", lambda rllib: rllib.environment("OutOfStep-v0"))
    with pytest.raises(WorkError, match="1 of 5 ended"):
        fast.env_runner.sample()

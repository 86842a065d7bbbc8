"""RLlib's DQN, set up for the lookup-table environment, on flat arrays."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.dqn.dqn import DQN, DQNConfig
from ray.rllib.algorithms.dqn.dqn_learner import QF_LOSS_KEY, QF_MEAN_KEY, TD_ERROR_MEAN_KEY
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.metrics import TD_ERROR_KEY

from lab.tasks.table_dqn.config import TableDqnConfig
from lab.tasks.table_dqn.module import TableQModule
from lab.tasks.table_dqn.replay import TransitionBuffer, Transitions
from lab.tasks.table_ppo.algorithm import configured
from lab.tasks.table_ppo.runner import BatchedEnvRunner
from lab.timing import Timing

__all__ = ["make_algorithm", "train_once"]

_LEARNER_METRICS = {"q_loss": QF_LOSS_KEY, "q_mean": QF_MEAN_KEY, "td_error": TD_ERROR_MEAN_KEY}


class TransitionLearner(DQNTorchLearner):
    """RLlib's DQN learner for batches of `Transitions`: the same loss, targets and optimiser, no connectors."""

    def build(self) -> None:
        """Builds module, optimiser and target."""
        # Not DQN's own: that adds a connector of episodes to a pipeline which is not there.
        TorchLearner.build(self)
        self.last_update_ts_by_mid: dict[str, int] = {DEFAULT_MODULE_ID: 0}
        self.module[DEFAULT_MODULE_ID].unwrapped().make_target_networks()

    def update(
        self, training_data: Any = None, *, timesteps: dict[str, Any] | None = None, episodes: Any = None, **kwargs: Any
    ) -> Any:
        """One gradient step; see `Learner.update`. Returns the reduced metrics."""
        self._check_is_built()
        self.before_gradient_based_update(timesteps=timesteps or {})
        if training_data is not None:
            training_data.solve_refs()
            episodes = training_data.episodes
        (transitions,) = episodes
        batch = self._batch(transitions)
        outputs = self.module.forward_train({DEFAULT_MODULE_ID: batch})
        losses = self.compute_losses(fwd_out=outputs, batch={DEFAULT_MODULE_ID: batch})
        gradients = self.compute_gradients(losses)
        self.apply_gradients(self.postprocess_gradients(gradients))
        self._weights_seq_no += 1
        self.metrics.log_value((DEFAULT_MODULE_ID, "weights_seq_no"), self._weights_seq_no, window=1)
        self.after_gradient_based_update(timesteps=timesteps or {})
        # For priorities, which there are none of.
        self.metrics.delete(DEFAULT_MODULE_ID, TD_ERROR_KEY, key_error=False)
        return self.metrics.reduce()

    def _batch(self, transitions: Transitions) -> dict[str, Any]:
        def tensors(values: Any) -> Any:
            if isinstance(values, dict):
                return {name: tensors(value) for name, value in values.items()}
            return torch.from_numpy(values).to(self._device)

        rows = len(transitions[Columns.ACTIONS])
        return {**tensors(transitions), "weights": torch.ones(rows, device=self._device), "n_step": 1}


class TableDqn(DQN):
    """RLlib's DQN with a `TransitionBuffer`."""

    def _create_local_replay_buffer_if_necessary(self, config: Any) -> TransitionBuffer:
        return TransitionBuffer(config["replay_buffer_config"]["capacity"], config["seed"])


def make_algorithm(config: TableDqnConfig, iterations_done: int = 0) -> Algorithm:
    """DQN on RLlib's new API stack, built.

    Args:
        config: the training.
        iterations_done: of a training that is resumed: the environments begin with another seed, and the buffer empty.
    """
    half = config.iterations * config.batch / 2
    model_config = {"epsilon": (config.epsilon, config.epsilon_final, half)}
    rllib = configured(DQNConfig(algo_class=TableDqn), config, iterations_done, TableQModule, model_config)
    rllib.env_runners(env_runner_cls=BatchedEnvRunner)
    rllib.training(
        learner_class=TransitionLearner,
        add_default_connectors_to_learner_pipeline=False,
        train_batch_size_per_learner=config.minibatch,
        training_intensity=config.replays,
        replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": config.capacity},
        num_steps_sampled_before_learning_starts=0,
        target_network_update_freq=config.target_every,
        double_q=True,
        dueling=False,
        num_atoms=1,
        n_step=1,
    )
    rllib.reporting(min_sample_timesteps_per_iteration=config.batch)
    return rllib.build_algo()


def train_once(algorithm: Algorithm, timing: Timing) -> dict[str, float]:
    """One `Algorithm.train()`: an episode of every environment, and what is learned after it."""
    with timing("iteration"):
        result = algorithm.train()
    runners, learner = result["env_runners"], result["learners"][DEFAULT_MODULE_ID]
    return {
        **{name: float(learner[key]) for name, key in _LEARNER_METRICS.items()},
        "env_steps": float(runners["num_env_steps_sampled_lifetime"]),
        "episode_return": float(runners["episode_return_mean"]),
    }

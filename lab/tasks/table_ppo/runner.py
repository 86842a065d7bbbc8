"""An environment runner for batched environments: no Python per environment, one copy of what was seen."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core import DEFAULT_AGENT_ID, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils import force_list
from ray.rllib.utils.metrics import (
    EPISODE_DURATION_SEC_MEAN,
    EPISODE_LEN_MAX,
    EPISODE_LEN_MEAN,
    EPISODE_LEN_MIN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
)
from torch import Tensor

from lab.errors import WorkError
from lab.tasks.table_ppo.distribution import InvertedCategorical, draw
from lab.tasks.table_ppo.rollout import Arrays, Rollout

__all__ = ["SECONDS", "BatchedEnvRunner"]

SECONDS = "seconds"
"""Under this name runner and learner log where their time went: part -> seconds, summed over an iteration."""

_PER_EPISODE = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")

_logger = logging.getLogger(__name__)


class BatchedEnvRunner(SingleAgentEnvRunner):
    """RLlib's runner with another inner loop: it fills flat arrays instead of one object for each episode.

    The steps are those of `SingleAgentEnvRunner`, random numbers included: with the same seed and weights both see the
    same observations and draw the same actions. State, checkpoints and the metrics of episodes and steps are the same,
    too; instead of RLlib's timers of single steps and connectors there are the `SECONDS` of a rollout. `sample()`
    returns a list of one `Rollout`, and so gets the callback `on_sample_end`.

    For environments of Gymnasium's `VectorEnv` that reset at the next step, with Dict observations and Discrete
    actions, whose episodes begin and end together, and for modules whose actions are drawn by `InvertedCategorical`.
    What the module returns besides the inputs of the action distribution is kept, too. Connectors and per-episode
    callbacks would not be called, and are refused; sampling by episodes, as evaluation does, is left to RLlib's loop.
    """

    def __init__(self, *, config: AlgorithmConfig, **kwargs: Any) -> None:
        """Builds environment and module.

        Raises:
            WorkError: a configuration that this runner does not serve.
        """
        _check_config(config)
        super().__init__(config=config, **kwargs)
        if self.env is not None:
            _check_environment(self._vector)
            if self.module.get_exploration_action_dist_cls() is not InvertedCategorical:
                raise WorkError("expected a module with the action distribution InvertedCategorical, but got another")
        self._observation: Arrays = {}
        self._ended = False
        self._finished: list[dict[str, float]] = []
        self._begin()

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[Any]:
        if num_timesteps is None or random_actions:
            episodes = super()._sample(
                num_timesteps=num_timesteps,
                num_episodes=num_episodes,
                explore=explore,
                random_actions=random_actions,
                force_reset=True,
            )
            self._needs_initial_reset = True
            return episodes
        steps = math.ceil(num_timesteps / self.num_envs)
        while True:
            before = len(self._finished)
            try:
                if force_reset or self._needs_initial_reset:
                    self._reset()
                rollout = self._fill(steps, explore)
            except _Restarted:
                del self._finished[before:]
            else:
                break
        self._log_env_steps(metric=self._metrics_num_env_steps_sampled, num_steps=len(rollout))
        self._increase_sampled_metrics(len(rollout), (len(self._finished) - before) * self.num_envs)
        return [rollout]

    def make_env(self) -> None:
        """Makes the environments, which begin with the seed of this runner."""
        super().make_env()
        self._seeded = False

    def _ask(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls the environments; those that fail are made anew, if that is asked for."""
        try:
            return question(*args, **kwargs)
        except Exception as error:
            if not self.config.restart_failed_sub_environments:
                raise
            _logger.exception("An environment failed: a new one is made, and the rollout is begun again")
            self.make_env()
            raise _Restarted from error

    @property
    def _vector(self) -> VectorEnv:
        """The environments without RLlib's wrapper, which makes a dict for each of them."""
        assert self.env is not None
        return self.env.env

    def _reset(self) -> None:
        self._observation, _ = self._ask(self._vector.reset, seed=None if self._seeded else self._seed)
        self._seeded, self._needs_initial_reset, self._ended = True, False, False
        self._begin()

    def _begin(self) -> None:
        self._returns: NDArray[np.float64] = np.zeros(self.num_envs)
        self._length, self._began = 0, time.perf_counter()

    def _fill(self, steps: int, explore: bool) -> Rollout:
        """Plays `steps` steps of all environments. Steps that only begin new episodes are not kept."""
        seconds = {"environment": 0.0, "forward": 0.0, "draw": 0.0}
        module, vector = self.module, self._vector
        # RLlib sets this mode, and sets it back, around each forward: it walks through all submodules for that.
        module.eval()
        forward = module.forward_exploration if explore else module.forward_inference
        rollout = self._buffers(steps)
        observed = {name: torch.from_numpy(value) for name, value in rollout.observations.items()}
        runners = self.config.num_env_runners or 1
        before = self.num_env_steps_sampled_lifetime // runners
        step = 0
        while step < steps:
            started = time.perf_counter()
            for name, value in self._observation.items():
                rollout.observations[name][step] = value
            seen = {Columns.OBS: {name: tensor[step].to(self._device) for name, tensor in observed.items()}}
            so_far = (before + step * self.num_envs) * runners
            outputs = forward(seen, t=so_far) if explore else forward(seen)
            ready = time.perf_counter()
            logits = outputs[Columns.ACTION_DIST_INPUTS]
            actions = (draw(logits) if explore else logits.argmax(dim=1)).cpu().numpy()
            drawn = time.perf_counter()
            self._observation, rewards, terminated, truncated, _ = self._ask(vector.step, actions)
            seconds["environment"] += time.perf_counter() - drawn
            seconds["forward"] += ready - started
            seconds["draw"] += drawn - ready
            if self._ended:
                self._ended = False
                self._begin()
                continue
            _keep(rollout, step, {**outputs, Columns.ACTIONS: actions})
            rollout.columns[Columns.REWARDS][step] = rewards
            rollout.terminated[step] = terminated
            self._returns += rewards
            self._length += 1
            self._ended = _all_or_none(terminated | truncated)
            if self._ended:
                self._finish()
            if (self._ended or step == steps - 1) and not terminated.all():
                rollout.successors[step] = {name: value.copy() for name, value in self._observation.items()}
            step += 1
        rollout.columns[Columns.ACTION_LOGP] = _logp(rollout.columns)
        for part, spent in seconds.items():
            self.metrics.log_value((SECONDS, part), spent, reduce="sum")
        return rollout

    def _buffers(self, steps: int) -> Rollout:
        """Where the rollout to come goes."""
        shape = (steps, self.num_envs)
        observations = {
            name: np.empty((steps, *value.shape), dtype=value.dtype) for name, value in self._observation.items()
        }
        columns: Arrays = {Columns.REWARDS: np.empty(shape, dtype=np.float32)}
        return Rollout(observations, columns, np.empty(shape, dtype=np.bool_))

    def _finish(self) -> None:
        self._finished.append(
            {
                "length": self._length,
                "mean": float(self._returns.mean()),
                "min": float(self._returns.min()),
                "max": float(self._returns.max()),
                "seconds": time.perf_counter() - self._began,
            }
        )

    def get_metrics(self) -> Any:
        """The metrics of RLlib's runner; all episodes that ended together are logged as one."""
        smoothed = self.config.metrics_num_episodes_for_smoothing / (self.config.num_env_runners or 1)
        window = max(1, math.ceil(smoothed / max(1, self.num_envs)))
        for episodes in self._finished:
            for reduce, metrics in _EPISODE_METRICS.items():
                for key, part in metrics.items():
                    self.metrics.log_value(key, episodes[part], reduce=reduce, window=window)
        self._finished.clear()
        return super().get_metrics()


_EPISODE_METRICS: dict[str, dict[Any, str]] = {
    "mean": {
        EPISODE_LEN_MEAN: "length",
        EPISODE_RETURN_MEAN: "mean",
        EPISODE_DURATION_SEC_MEAN: "seconds",
        ("agent_episode_return_mean", DEFAULT_AGENT_ID): "mean",
        ("module_episode_return_mean", DEFAULT_MODULE_ID): "mean",
    },
    "min": {EPISODE_LEN_MIN: "length", EPISODE_RETURN_MIN: "min"},
    "max": {EPISODE_LEN_MAX: "length", EPISODE_RETURN_MAX: "max"},
}


class _Restarted(Exception):
    """The environments are new ones."""


def _check_config(config: AlgorithmConfig) -> None:
    if config.batch_mode != "truncate_episodes":
        raise WorkError(f"expected batch_mode='truncate_episodes' with the fast runner, but got {config.batch_mode!r}")
    if config._env_to_module_connector or config._module_to_env_connector:
        raise WorkError("expected no connectors of environment runners with the fast runner, but got some")
    for name in _PER_EPISODE:
        classes = [one for one in force_list(config.callbacks_class) if hasattr(one, name)]
        own = [one for one in classes if getattr(one, name) is not getattr(RLlibCallback, name)]
        if own or getattr(config, f"callbacks_{name}"):
            raise WorkError(f"expected no callback on episodes with the fast runner, but got {name}")


def _check_environment(vector: VectorEnv) -> None:
    autoreset = vector.metadata.get("autoreset_mode")
    if autoreset != AutoresetMode.NEXT_STEP:
        raise WorkError(f"expected an environment with the autoreset mode NEXT_STEP, but got {autoreset}")
    observed, acted = vector.single_observation_space, vector.single_action_space
    if not isinstance(observed, spaces.Dict) or not isinstance(acted, spaces.Discrete):
        raise WorkError(f"expected a Dict observation and Discrete actions, but got {observed} and {acted}")


def _keep(rollout: Rollout, step: int, outputs: Mapping[str, Any]) -> None:
    columns = rollout.columns
    for name, output in outputs.items():
        value = output.cpu().numpy() if isinstance(output, Tensor) else output
        if name not in columns:
            columns[name] = np.empty((len(rollout.terminated), *value.shape), dtype=value.dtype)
        columns[name][step] = value


def _logp(columns: Arrays) -> NDArray[np.float32]:
    """The log-probabilities float32 (T, N) of the actions that were taken."""
    logits = torch.from_numpy(columns[Columns.ACTION_DIST_INPUTS])
    actions = torch.from_numpy(columns[Columns.ACTIONS])[..., None]
    # Not by logsumexp, whose exponential of a forbidden action's logit takes ten times as long as any other.
    return torch.log_softmax(logits, dim=-1).gather(-1, actions)[..., 0].numpy()


def _all_or_none(ended: NDArray[np.bool_]) -> bool:
    count = int(np.count_nonzero(ended))
    if count not in (0, len(ended)):
        raise WorkError(
            f"expected an environment whose episodes end together, but {count} of {len(ended)} ended: "
            "use the stock runner"
        )
    return count > 0

"""MaskablePPO of sb3-contrib, with the lab's networks and its batched environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from envs.features import FEATURES
from envs.lookup_table import LookupTableVectorEnv
from lab.tables.policy_networks import MlpPolicy
from ppo_contenders.networks import Networks, Row
from ppo_contenders.setting import Setting, Spent, timed

__all__ = ["Maskable", "Own", "TablePolicy", "TableVecEnv"]


class Maskable:
    """One training, tuned: a flat observation, no checks of distributions, fused Adam, nothing logged. Its critic reads
    what the lab's reads, its pointer is the lab's, and all other layers are torch's own, as Stable-Baselines3 has them.

    Attributes:
        episode_return: the mean of the last rollout's episodes.
    """

    def __init__(self, setting: Setting, clock: Callable[[], float]) -> None:
        torch.distributions.Distribution.set_default_validate_args(False)
        self._setting, self._clock = setting, clock
        self._model = MaskablePPO(
            self._policy,
            TableVecEnv(setting),
            learning_rate=setting.learning_rate,
            n_steps=setting.steps,
            batch_size=setting.minibatch,
            n_epochs=setting.epochs,
            gamma=setting.gamma,
            gae_lambda=setting.gae_lambda,
            clip_range=setting.clip,
            ent_coef=setting.entropy,
            vf_coef=setting.value_coef,
            max_grad_norm=setting.grad_clip,
            policy_kwargs=self._policy_kwargs(setting),
            seed=setting.seed,
            device="cpu",
        )
        self._model.set_logger(Logger(None, []))
        self.episode_return = 0.0

    def run(self, iterations: int) -> Spent:
        """Trains."""
        model, clock, spent = self._model, self._clock, Spent(iterations)
        collect, train = model.collect_rollouts, model.train
        model.collect_rollouts = timed(collect, clock, spent, "sampling")
        model.train = timed(train, clock, spent, "learning")
        began = clock()
        model.learn(iterations * self._setting.batch, reset_num_timesteps=False, log_interval=None)
        spent.total = clock() - began
        model.collect_rollouts, model.train = collect, train
        rewards = model.rollout_buffer.rewards
        self.episode_return = float(rewards.sum(axis=0).mean())
        return spent

    def close(self) -> None:
        """Nothing to let go."""

    @property
    def _policy(self) -> Any:
        return TablePolicy

    def _policy_kwargs(self, setting: Setting) -> dict[str, Any]:
        return {"setting": setting, "optimizer_kwargs": {"fused": True}}


class Own(Maskable):
    """The same with sb3-contrib's own `MlpPolicy`: layers as wide as the lab's; the critic reads all there is."""

    @property
    def _policy(self) -> Any:
        return "MlpPolicy"

    def _policy_kwargs(self, setting: Setting) -> dict[str, Any]:
        arch = {"pi": [setting.policy.width] * 2, "vf": [setting.critic_width] * 2}
        return {"net_arch": arch, "optimizer_kwargs": {"fused": True}}


class TableVecEnv(VecEnv):
    """`LookupTableVectorEnv` as Stable-Baselines3 wants it: one flat float32 observation (N, W), a `Row`, and new
    episodes begin in the step that ends the old ones."""

    def __init__(self, setting: Setting) -> None:
        self._env = LookupTableVectorEnv(setting.envs, **setting.env)
        self._row = Row(setting.policy)
        self._actions: NDArray[np.int64] = np.zeros(setting.envs, dtype=np.int64)
        self._masks: NDArray[np.int8] = np.zeros((setting.envs, setting.policy.slots), dtype=np.int8)
        self._infos: list[dict[str, Any]] = [{} for _ in range(setting.envs)]
        space = spaces.Box(-np.inf, np.inf, (self._row.width,), dtype=np.float32)
        super().__init__(setting.envs, space, self._env.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """Begins all episodes."""
        seen, _ = self._env.reset(seed=self._seeds[0])
        self._reset_seeds()
        return self._flat(seen)

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Takes the actions."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], list[dict[str, Any]]]:
        """Steps; where the episodes end, which they do together, steps once more, into the next ones."""
        seen, rewards, terminated, _, _ = self._env.step(self._actions)
        if terminated[0]:
            seen, *_ = self._env.step(self._actions)
        return self._flat(seen), rewards, terminated, self._infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """`action_masks`: the masks of all tables as one array, in a list of one, which is stacked as fast as it is."""
        if method_name != "action_masks":
            raise AttributeError(method_name)
        return [self._masks]

    def has_attr(self, attr_name: str) -> bool:
        """Whether there are masks."""
        return attr_name == "action_masks"

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The mode of rendering, which is all that is asked for."""
        return [getattr(self._env, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """There is nothing to set."""
        raise AttributeError(attr_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> Sequence[bool]:
        """No table is wrapped."""
        return [False] * self.num_envs

    def close(self) -> None:
        """Nothing to let go."""

    def _flat(self, seen: dict[str, NDArray]) -> NDArray[np.float32]:
        self._masks = seen["action_mask"]
        # A new array: the one before is yet to be stored.
        rows = np.empty((self.num_envs, self._row.width), dtype=np.float32)
        self._row.write(seen, rows)
        return rows


class TablePolicy(MaskableActorCriticPolicy):
    """The lab's networks behind sb3-contrib's masked distribution."""

    def __init__(self, *args: Any, setting: Setting, **kwargs: Any) -> None:
        self._setting = setting
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        self.networks = Networks(self._setting.policy, self._setting.critic_width)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: NDArray | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B,), values (B, 1) and log-probabilities (B,)."""
        values = self._judge(obs, torch.as_tensor(action_masks, dtype=torch.bool).view(len(obs), -1))
        actions = self.action_dist.get_actions(deterministic=deterministic)
        return actions, values[:, None], self.action_dist.log_prob(actions)

    def evaluate_actions(
        self, obs: Tensor, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values (B,), log-probabilities (B,) and entropies (B,)."""
        assert action_masks is not None
        values = self._judge(obs, action_masks != 0)
        return values, self.action_dist.log_prob(actions), self.action_dist.entropy()

    def predict_values(self, obs: Tensor) -> Tensor:
        """Values (B, 1). No mask is given here: the quotas say which slots are legal."""
        features = obs[:, self.networks.row.backends].unflatten(1, (self._setting.policy.slots, -1))
        return self._judge(obs, (features[:, :, _QUOTAS] > 0).any(dim=2))[:, None]

    def _judge(self, obs: Tensor, legal: Tensor) -> Tensor:
        """Sets the distribution of the actions; returns values (B,)."""
        policy, critic = self.networks.policy, self.networks.critic
        if isinstance(policy, MlpPolicy):
            summary = policy.body(obs[:, self.networks.row.policy])
            scores = policy.sharpness * policy.head(summary)
        else:
            scores, summary = self.networks.score(obs, legal)
        distribution = self.action_dist.proba_distribution(action_logits=scores)
        distribution.apply_masking(legal)
        return 0.1 * critic.body(self.networks.judged(obs, summary, distribution.distribution.probs))[:, 0]


_QUOTAS = [FEATURES.index(name) for name in ("below_floor", "takes_ceiling")]

"""PPO as a bare loop in eager torch, the limit: environment, forward, draw, advantages, loss, backward, clip, Adam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from envs.lookup_table import LookupTableVectorEnv
from lab.tables.policy_networks import mask_scores
from lab.tasks.table_ppo.advantages import standardised
from lab.tasks.table_ppo.distribution import draw
from lab.tasks.table_ppo.learner import flatten
from lab.tasks.table_ppo.loss import policy_loss
from ppo_contenders.networks import Networks
from ppo_contenders.setting import Setting, Spent, timed

__all__ = ["Bare", "discounts"]


class Bare:
    """One training. It reports nothing, keeps nothing and checks nothing.

    Attributes:
        episode_return: the mean of the last rollout's episodes.
    """

    def __init__(self, setting: Setting, clock: Callable[[], float]) -> None:
        torch.manual_seed(setting.seed)
        self._setting, self._clock = setting, clock
        self._networks = Networks(setting.policy, setting.critic_width)
        self._weights = flatten(list(self._networks.parameters()))
        self._optimizer = torch.optim.Adam([self._weights], lr=setting.learning_rate, fused=True)
        self._env = LookupTableVectorEnv(setting.envs, **setting.env)
        self._seen, _ = self._env.reset(seed=setting.seed)
        shape, slots = (setting.steps, setting.envs), setting.policy.slots
        self._rows = torch.empty(*shape, self._networks.row.width)
        self._legal = torch.empty(*shape, slots, dtype=torch.bool)
        self._logits = torch.empty(*shape, slots)
        self._summary = torch.empty(*shape, setting.policy.width)
        self._actions = torch.empty(shape, dtype=torch.int64)
        self._rewards = torch.empty(shape)
        self._discounts = discounts(setting)
        self.episode_return = 0.0

    def run(self, iterations: int) -> Spent:
        """Trains."""
        clock, spent = self._clock, Spent(iterations)
        sample = timed(self._sample, clock, spent, "sampling")
        learn = timed(self._learn, clock, spent, "learning")
        began = clock()
        for _ in range(iterations):
            sample()
            learn()
        spent.total = clock() - began
        self.episode_return = float(self._rewards.sum(dim=0).mean())
        return spent

    def close(self) -> None:
        """Nothing to let go."""

    @torch.inference_mode()
    def _sample(self) -> None:
        networks, observation = self._networks, self._seen
        rows, legal, rewards = self._rows.numpy(), self._legal.numpy(), self._rewards.numpy()
        uniform = torch.rand(*self._rewards.shape, 1)
        for step in range(len(rows)):
            networks.row.write(observation, rows[step])
            legal[step] = observation["action_mask"]
            scores, self._summary[step] = networks.score(self._rows[step], self._legal[step])
            self._logits[step] = logits = mask_scores(scores, self._legal[step])
            self._actions[step] = actions = draw(logits, uniform[step])
            observation, rewards[step], *_ = self._env.step(actions.numpy())
        # All episodes ended: the step after that begins new ones, whatever the actions are.
        self._seen, *_ = self._env.step(np.zeros(self._env.num_envs, dtype=np.int64))

    def _learn(self) -> None:
        setting, rewards = self._setting, self._rewards
        rows, legal, logits, summary = (
            column.flatten(0, 1) for column in (self._rows, self._legal, self._logits, self._summary)
        )
        actions = self._actions.flatten()
        with torch.no_grad():
            old_logp = torch.log_softmax(logits, dim=1).gather(1, actions[:, None])[:, 0]
            values = self._networks.value(rows, summary, torch.softmax(logits, dim=1)).view_as(rewards)
            following = torch.cat([values[1:], torch.zeros_like(values[:1])])
            advantages = self._discounts @ (rewards + setting.gamma * following - values)
            targets = (advantages + values).flatten()
            advantages = standardised(advantages).flatten()
        batch = (rows, legal, actions, old_logp, advantages, targets)
        for _ in range(setting.epochs):
            for index in torch.randperm(len(rows)).split(setting.minibatch):
                self._step(*(column.index_select(0, index) for column in batch))

    def _step(
        self, rows: Tensor, legal: Tensor, actions: Tensor, old_logp: Tensor, advantages: Tensor, targets: Tensor
    ) -> None:
        setting, gradient = self._setting, self._weights.grad
        assert gradient is not None
        gradient.zero_()
        scores, summary = self._networks.score(rows, legal)
        logits = mask_scores(scores, legal)
        values = self._networks.value(rows, summary, torch.softmax(logits.detach(), dim=1))
        loss, _ = policy_loss(logits, actions, old_logp, advantages, clip=setting.clip, entropy_coeff=setting.entropy)
        (loss + setting.value_coef * nn.functional.mse_loss(values, targets)).backward()
        gradient.mul_((setting.grad_clip / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp(max=1.0))
        self._optimizer.step()


def discounts(setting: Setting) -> Tensor:
    """What makes advantages of the errors of the values (Schulman et al., 2016): float (T, T), `(gamma lambda)^(j - i)`
    on and above the diagonal. A rollout is one whole episode of each environment, so there is nothing else to it."""
    ahead = torch.arange(setting.steps)[None] - torch.arange(setting.steps)[:, None]
    return torch.where(ahead >= 0, (setting.gamma * setting.gae_lambda) ** ahead.clamp(min=0).float(), 0.0)

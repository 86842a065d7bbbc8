"""S seeds of one configuration as one bare loop: their weights stacked, their tables in one environment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from envs.lookup_table import LookupTableVectorEnv
from lab.tables.policy_networks import PointerPolicy, mask_scores
from lab.tasks.table_ppo.distribution import draw
from lab.tasks.table_ppo.loss import policy_loss
from ppo_contenders.bare import discounts
from ppo_contenders.networks import Networks
from ppo_contenders.setting import Setting, Spent, timed

__all__ = ["Fused"]


class Fused:
    """`Bare` with a leading axis of S members, one after the other in the environment.

    Everything is a member's own: weights, minibatches, the standard deviation of advantages, the norm of the gradient.
    Adam has one learning rate for all.

    Attributes:
        episode_return: the mean of the last rollout's episodes.
    """

    def __init__(self, setting: Setting, clock: Callable[[], float], members: int) -> None:
        torch.manual_seed(setting.seed)
        self._setting, self._clock, self._members = setting, clock, members
        each = [Networks(setting.policy, setting.critic_width) for _ in range(members)]
        self._row, self._plain = each[0].row, each[0]
        self._weights = {
            name: _stack([one.get_parameter(name) for one in each]) for name, _ in each[0].named_parameters()
        }
        self._optimizer = torch.optim.Adam(self._weights.values(), lr=setting.learning_rate, fused=True)
        self._env = LookupTableVectorEnv(members * setting.envs, **setting.env)
        self._seen, _ = self._env.reset(seed=setting.seed)
        shape, slots = (setting.steps, members, setting.envs), setting.policy.slots
        self._rows = torch.empty(*shape, self._row.width)
        self._legal = torch.empty(*shape, slots, dtype=torch.bool)
        self._logits = torch.empty(*shape, slots)
        self._summary = torch.empty(*shape, setting.policy.width)
        self._actions = torch.empty(shape, dtype=torch.int64)
        self._rewards = torch.empty(shape)
        self._discounts = discounts(setting)
        self.episode_return = 0.0

    def run(self, iterations: int) -> Spent:
        """Trains all members."""
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
        observation = self._seen
        rows, legal, rewards = (column.flatten(1, 2).numpy() for column in (self._rows, self._legal, self._rewards))
        uniform = torch.rand(*self._rewards.shape, 1)
        for step in range(len(rows)):
            self._row.write(observation, rows[step])
            legal[step] = observation["action_mask"]
            self._logits[step], self._summary[step] = self._act(self._rows[step], self._legal[step])
            self._actions[step] = draw(self._logits[step], uniform[step])
            observation, rewards[step], *_ = self._env.step(self._actions[step].flatten().numpy())
        self._seen, *_ = self._env.step(np.zeros(self._env.num_envs, dtype=np.int64))

    def _learn(self) -> None:
        setting, members, rewards = self._setting, self._members, self._rewards
        with torch.no_grad():
            # Time first while an episode is played, members first from here on.
            rows, legal, logits, summary, actions = (
                column.transpose(0, 1).reshape(members, setting.batch, -1)
                for column in (self._rows, self._legal, self._logits, self._summary, self._actions)
            )
            old_logp = torch.log_softmax(logits, dim=2).gather(2, actions)
            values = self._value(rows, summary, torch.softmax(logits, dim=2))
            values = values.view(members, *rewards[:, 0].shape)
            following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
            advantages = self._discounts @ (rewards.transpose(0, 1) + setting.gamma * following - values)
            targets = advantages + values
            deviation, mean = torch.std_mean(advantages, dim=(1, 2), correction=0, keepdim=True)
            advantages = (advantages - mean) / deviation.clamp(min=1e-4)
        columns = (rows, legal, actions, old_logp, advantages, targets)
        batch = [column.reshape(members * setting.batch, -1) for column in columns]
        first = setting.batch * torch.arange(members)[:, None]
        for _ in range(setting.epochs):
            order = torch.stack([torch.randperm(setting.batch) for _ in range(members)]) + first
            for index in order.split(setting.minibatch, dim=1):
                chosen = index.flatten()
                self._step(*(column.index_select(0, chosen).view(*index.shape, -1) for column in batch))

    def _step(
        self, rows: Tensor, legal: Tensor, actions: Tensor, old_logp: Tensor, advantages: Tensor, targets: Tensor
    ) -> None:
        setting, members = self._setting, self._members
        logits, summary = self._act(rows, legal)
        values = self._value(rows, summary, torch.softmax(logits.detach(), dim=2))
        loss, _ = policy_loss(
            logits.flatten(0, 1),
            actions.flatten(),
            old_logp.flatten(),
            advantages.flatten(),
            clip=setting.clip,
            entropy_coeff=setting.entropy,
        )
        # Means over all rows: each member's own mean counts as if it were alone.
        loss = members * (loss + setting.value_coef * nn.functional.mse_loss(values, targets[:, :, 0]))
        self._optimizer.zero_grad()
        loss.backward()
        gradients = [weight.grad for weight in self._weights.values()]
        norm = torch.stack([torch.linalg.vector_norm(gradient, dim=(1, 2)) for gradient in gradients]).norm(dim=0)
        factor = (setting.grad_clip / (norm + 1e-6)).clamp(max=1.0)[:, None, None]
        for gradient in gradients:
            gradient.mul_(factor)
        self._optimizer.step()

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        bias = self._weights.get(f"{name}.bias")
        weight = self._weights[f"{name}.weight"]
        return torch.bmm(inputs, weight) if bias is None else torch.baddbmm(bias, inputs, weight)

    def _act(self, rows: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (S, B, slots) and summaries (S, B, width)."""
        scores, summary = (self._point if isinstance(self._plain.policy, PointerPolicy) else self._perceive)(
            rows, legal
        )
        logits = mask_scores(self._plain.policy.sharpness * scores.flatten(0, 1), legal.flatten(0, 1))
        return logits.view_as(legal), summary

    def _perceive(self, rows: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self._linear("policy.body.0", rows[:, :, self._row.policy]))
        summary = torch.tanh(self._linear("policy.body.2", hidden))
        return self._linear("policy.head", summary), summary

    def _point(self, rows: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
        """`PointerPolicy` without attention. Legal cells are packed by member, up to the fullest one's number; what
        fills up the others is of a cell and of a row behind the last ones, which nothing reads."""
        members, batch, slots = legal.shape
        cells = legal.flatten().nonzero()[:, 0]
        counts = legal.flatten(1).sum(dim=1)
        most, owner = int(counts.max()), torch.div(cells, batch * slots, rounding_mode="floor")
        place = torch.arange(len(cells)) + (most * torch.arange(members) - counts.cumsum(0) + counts)[owner]
        cell = torch.full((members * most,), members * batch * slots).index_copy(0, place, cells)
        row = torch.div(cell, slots, rounding_mode="floor")
        table = rows[:, :, self._row.backends].reshape(members * batch * slots, -1)
        features = table.index_select(0, cell.clamp(max=len(table) - 1)).view(members, most, -1)

        def of_row(values: Tensor) -> Tensor:
            return nn.functional.pad(values.flatten(0, 1), (0, 0, 0, 1)).index_select(0, row).view(members, most, -1)

        of_globals = self._linear("policy.embed_globals", rows[:, :, self._row.globals])
        hidden = torch.relu(self._linear("policy.embed", features) + of_row(of_globals))
        sums = hidden.new_zeros(members * batch + 1, hidden.shape[2]).index_add(0, row, hidden.flatten(0, 1))[:-1]
        summary = sums.view(members, batch, -1) / legal.sum(dim=2, keepdim=True).clamp(min=1)
        mixed = torch.relu(self._linear("policy.mix", hidden) + of_row(self._linear("policy.context", summary)))
        scores = (self._linear("policy.head", mixed) + self._linear("policy.direct", features)).flatten()
        return scores.new_zeros(legal.numel() + 1).index_copy(0, cell, scores)[:-1].view_as(legal), summary

    def _value(self, rows: Tensor, summary: Tensor, probabilities: Tensor) -> Tensor:
        inputs = self._plain.judged(rows.flatten(0, 1), summary.flatten(0, 1), probabilities.flatten(0, 1))
        hidden = torch.tanh(self._linear("critic.body.0", inputs.view(*rows.shape[:2], -1)))
        hidden = torch.tanh(self._linear("critic.body.2", hidden))
        return 0.1 * self._linear("critic.body.4", hidden)[:, :, 0]


def _stack(parameters: list[Tensor]) -> Tensor:
    """Weights (S, inputs, outputs) of matrices (outputs, inputs), biases (S, 1, outputs) of vectors."""
    stacked = torch.stack([parameter.detach() for parameter in parameters])
    return (stacked.transpose(1, 2).contiguous() if stacked.ndim == 3 else stacked[:, None]).requires_grad_()

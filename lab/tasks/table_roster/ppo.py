"""Proximal policy optimisation (Schulman et al. 2017) of a policy that gives rankings out.

| of the decision process | here                                                                             |
|-------------------------|----------------------------------------------------------------------------------|
| episode                 | the ranking of one entry; all entries of a table are ranked side by side         |
| action                  | the next backend of those that are left: Plackett-Luce, one logit each           |
| reward                  | minus what the subsets that it serves from here on cost more for its one entry,   |
|                         | the other entries being as they were drawn (a difference reward, Wolpert 2002)    |
| value                   | a number for each entry and place                                                |

It is the lab's own and not RLlib's, which `table_ppo` trains: there is nothing to observe here, no network, and one
action has as many parts as a table has places, of which each has a reward of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.tasks.table_roster.config import TableRosterConfig
from lab.tasks.table_roster.loads import Loads
from lab.tasks.table_roster.luce import Adam

__all__ = ["Policy", "log_probabilities", "rewards"]


def log_probabilities(logits: Tensor, rankings: Tensor) -> Tensor:
    """Of each choice of Plackett-Luce rankings.

    Args:
        logits: float (size, N).
        rankings: int64 (B, size, N).

    Returns:
        float (B, size, N), by place; the last is 0.
    """
    chosen = logits.expand(rankings.shape).gather(2, rankings)
    return chosen - chosen.flip(2).logcumsumexp(dim=2).flip(2)


def rewards(state: Loads) -> NDArray[np.float32]:
    """Minus what each choice adds to the mean cost of a subset: float32 (B, size, N), by place."""
    tables, size, n = state.rankings.shape
    subsets = len(state.present)
    table, subset = np.divmod(np.arange(tables * subsets), subsets)
    added = np.zeros((tables, subsets, n), dtype=np.float32)
    cost = state.cost(state.distance).copy()
    for backend in range(n):
        there = state.loads[:, :, backend].ravel() > 0
        k, s = table[there], subset[there]
        one = np.full(len(k), backend)
        state.moved(k, s, one, -1)
        added[k, s, backend] = cost[k, s] - state.cost(state.distance[k, s])
        state.moved(k, s, one, 1)
    each = np.take_along_axis(added, state.served.transpose(0, 2, 1).astype(np.int64), axis=2).transpose(0, 2, 1)
    cell = np.arange(tables * size).reshape(tables, size, 1) * n + state.served
    by_backend = np.bincount(cell.ravel(), weights=each.ravel(), minlength=tables * size * n)
    by_place = np.take_along_axis(by_backend.reshape(tables, size, n), state.rankings, axis=2)
    return (-by_place / subsets).astype(np.float32)


class Policy:
    """The policy and its value function.

    Attributes:
        adam: logits float32 (size, N), and values float32 (size, N) by place.
    """

    def __init__(self, config: TableRosterConfig, logits: Tensor) -> None:
        self._config = config
        self.adam = Adam({"logits": logits, "values": torch.zeros_like(logits)})

    @property
    def logits(self) -> Tensor:
        return self.adam.parameters["logits"]

    def update(self, present: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, float]:
        """Draws tables of rankings, and improves the policy by what they cost on subsets, bool (M, N)."""
        config, values = self._config, self.adam.parameters["values"]
        gumbel = rng.gumbel(size=(config.rollouts, *self.logits.shape)).astype(np.float32)
        rankings = (self.logits.detach() + torch.from_numpy(gumbel)).argsort(dim=2, descending=True, stable=True)
        reward = torch.from_numpy(rewards(Loads(rankings.numpy(), present, config.power)))
        # A unit that does not change while the policy gets better by orders of magnitude.
        reward /= reward.sum(dim=2).std() + 1e-8
        with torch.no_grad():
            before = log_probabilities(self.logits, rankings)
            after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
            error = reward + after - values
            advantage = error.clone()
            for place in range(error.shape[2] - 2, -1, -1):
                advantage[:, :, place] += config.gae_lambda * advantage[:, :, place + 1]
            returns = advantage + values
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        for _ in range(config.epochs):
            ratio = (log_probabilities(self.logits, rankings) - before).exp()
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
            loss = 0.5 * (returns - values).square().mean() - gain
            self.adam.step(loss, config.learning_rate)
        return {"train/surrogate": float(gain.detach()), "train/log_probability": float(before.sum(dim=2).mean())}

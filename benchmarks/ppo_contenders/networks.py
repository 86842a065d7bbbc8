"""The lab's two networks over one flat observation, as the contenders without RLlib need them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from envs.task import PRIVILEGED
from lab.tables.policy_networks import Critic, PolicyOptions, make_policy

__all__ = ["Networks", "Row"]


class Row:
    """An observation as one row of numbers, which the networks read without a copy.

    `backends`, `globals`, the head of `privileged`, and which slots an action may take that moves nothing needlessly.

    Attributes:
        width: numbers in it.
        policy: those that the policy reads.
        known: those that the critic reads beside what it has of the policy.
        free: 1 for a slot that moves nothing needlessly.
    """

    def __init__(self, options: PolicyOptions) -> None:
        backends, policy = options.slots * options.backend_features, options.global_features
        policy += backends
        known = policy + len(PRIVILEGED)
        self.width = known + options.slots
        self.backends, self.policy = slice(0, backends), slice(0, policy)
        self.globals, self.known = slice(backends, policy), slice(backends, known)
        self._head, self.free = slice(policy, known), slice(known, self.width)

    def write(self, observation: Mapping[str, NDArray], rows: NDArray[np.float32]) -> None:
        """Puts the Dict observation of N tables into float32 (N, width)."""
        privileged = observation["privileged"]
        owner, in_other = np.split(privileged[:, len(PRIVILEGED) :], 2, axis=1)
        rows[:, self.backends] = observation["backends"]
        rows[:, self.globals] = observation["globals"]
        rows[:, self._head] = privileged[:, : len(PRIVILEGED)]
        rows[:, self.free] = (owner > 0) | (in_other == 0)


class Networks(nn.Module):
    """The policy and the critic of `lab.tasks.table_ppo.module`, with the same inputs.

    Attributes:
        row: what they read.
        policy: the network that an artefact keeps.
        critic: what the values come from.
    """

    def __init__(self, options: PolicyOptions, critic_width: int) -> None:
        super().__init__()
        self.row = Row(options)
        self.policy = make_policy(options)
        self.critic = Critic(options.width + 1 + options.global_features + len(PRIVILEGED), critic_width)

    def score(self, rows: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, slots) and the policy's summary (B, width), from rows float (B, W) and bool (B, slots)."""
        backends = rows[:, self.row.backends].unflatten(1, (legal.shape[1], -1))
        return self.policy(backends, rows[:, self.row.globals], legal)

    def value(self, rows: Tensor, summary: Tensor, probabilities: Tensor) -> Tensor:
        """Values (B,), from rows float (B, W), the policy's summary and its probabilities (B, slots)."""
        return self.critic(self.judged(rows, summary, probabilities))

    def judged(self, rows: Tensor, summary: Tensor, probabilities: Tensor) -> Tensor:
        """What the critic reads, (B, K); its gradient ends at what is the policy's."""
        stays = torch.linalg.vecdot(probabilities.detach(), rows[:, self.row.free])[:, None]
        return torch.cat([summary.detach(), stays, rows[:, self.row.known]], dim=1)

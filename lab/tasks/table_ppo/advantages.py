"""From rollouts to the batch that PPO learns from: advantages and value targets, on flat tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import Space
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from lab.tasks.table_ppo.rollout import Arrays, Rollout

__all__ = ["FlatBatch", "advantages_and_targets", "standardised"]


class FlatBatch(ConnectorV2):
    """The learner's whole pipeline: rollouts become one batch of tensors, on the module's device.

    The batch has a row for each environment step, and none besides: RLlib's own pipeline adds a step to each episode to
    hold the value of what follows, and takes the mean and deviation of the advantages over those rows, too.
    """

    def __init__(
        self,
        input_observation_space: Space | None = None,
        input_action_space: Space | None = None,
        *,
        gamma: float,
        lambda_: float,
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self.gamma, self.lambda_ = gamma, lambda_

    def __call__(self, *, rl_module: MultiRLModule, episodes: list[Rollout], **kwargs: Any) -> dict[str, Any]:
        """Turns `episodes`, rollouts in truth, into `{"default_policy": columns}`.

        Observations (B, ...) stay a dict; `advantages` float32 (B,) have mean 0 and deviation 1, `value_targets` are
        float32 (B,).
        """
        module = rl_module[DEFAULT_MODULE_ID]
        device = next(module.parameters()).device
        batch: dict[str, Any] = {
            Columns.OBS: _flat([rollout.observations for rollout in episodes], device),
            **_flat([rollout.columns for rollout in episodes], device),
        }
        with torch.no_grad():
            pieces = []
            valued = module.compute_values(batch).split([len(rollout) for rollout in episodes])
            for rollout, values in zip(episodes, valued, strict=True):
                values = values.view(rollout.terminated.shape)
                advantages, targets = advantages_and_targets(
                    torch.tensor(rollout.columns[Columns.REWARDS], device=device),
                    values,
                    _following(module, rollout, values),
                    torch.tensor(rollout.terminated, device=device),
                    ends=sorted(rollout.successors),
                    gamma=self.gamma,
                    lambda_=self.lambda_,
                )
                pieces.append((advantages.flatten(), targets.flatten()))
            advantages, targets = (torch.cat(each) if len(each) > 1 else each[0] for each in zip(*pieces, strict=True))
            batch[Postprocessing.ADVANTAGES] = standardised(advantages)
            batch[Postprocessing.VALUE_TARGETS] = targets
        return {DEFAULT_MODULE_ID: batch}


def _flat(rollouts: list[Arrays], device: torch.device) -> dict[str, Tensor]:
    """Arrays (T, N, ...) of some rollouts as tensors (B, ...): views where there is but one that may be written to."""
    tensors = {}
    for name in rollouts[0]:
        flat = [arrays[name].reshape(-1, *arrays[name].shape[2:]) for arrays in rollouts]
        # What comes from another process is read-only, which torch does not know.
        one = flat[0] if len(flat) == 1 and flat[0].flags.writeable else np.concatenate(flat)
        tensors[name] = torch.from_numpy(one).to(device)
    return tensors


def _following(module: Any, rollout: Rollout, values: Tensor) -> Tensor:
    """The value of what follows each step, (T, N); that of what follows a terminal step is never read."""
    following = torch.cat([values[1:], values.new_zeros(1, values.shape[1])])
    for step, observations in rollout.successors.items():
        tensors = {name: torch.tensor(value, device=values.device) for name, value in observations.items()}
        following[step] = module.compute_values({Columns.OBS: tensors})
    return following


def advantages_and_targets(
    rewards: Tensor,
    values: Tensor,
    following: Tensor,
    terminated: Tensor,
    *,
    ends: list[int],
    gamma: float,
    lambda_: float,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al., 2016), over all environments at once.

    Args:
        rewards, values: float (T, N).
        following: float (T, N), the value of the observation after each step.
        terminated: bool (T, N), where nothing follows.
        ends: steps at which episodes were cut off: what comes next is of another episode.
        gamma: discount.
        lambda_: of the estimation.

    Returns:
        Advantages and value targets, (T, N) each.
    """
    goes_on = (~terminated).to(rewards.dtype)
    advantages = rewards + gamma * goes_on * following - values
    if gamma * lambda_:
        goes_on[ends] = 0
        carried = gamma * lambda_ * goes_on
        for step in range(len(rewards) - 2, -1, -1):
            advantages[step].addcmul_(carried[step], advantages[step + 1])
    return advantages, advantages + values


def standardised(advantages: Tensor) -> Tensor:
    """Shifted and scaled to mean 0 and deviation 1; a deviation below 1e-4 counts as that, as in RLlib."""
    deviation, mean = torch.std_mean(advantages, correction=0)
    return (advantages - mean) / deviation.clamp(min=1e-4)

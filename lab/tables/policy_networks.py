"""The networks of sequential table policies: a score for each backend, for the entry that is given out next.

Plain torch: they are trained inside an RLlib module and run without Ray when a table is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from lab.config import Config

__all__ = ["ILLEGAL", "Critic", "MlpPolicy", "Network", "PointerPolicy", "PolicyOptions", "make_policy", "mask_scores"]

Network = Literal["pointer", "mlp"]

ILLEGAL = -1e9
"""The logit of an action that the mask forbids: its probability is exactly 0 in float32, and no sum overflows."""

_SPAN = 60.0
"""How far below the best legal score a score counts, in nats."""


class PolicyOptions(Config):
    """The shape of a policy network; it stands in the artefact.

    Attributes:
        network: `pointer`, which shares its weights over backends, or `mlp` over the whole observation.
        backend_features: features of one backend in one observation.
        global_features: features of the observation as a whole.
        width: units of each hidden layer.
        attention: heads of the pointer's self-attention over backends; 0 leaves it out.
        sharpness: factor of all scores. Two tables agree by chance where a policy is indifferent, and then no choice is
            better than another: training needs a policy that prefers something from the start.
        slots: backends that the `mlp` is built for; the pointer takes any number.
    """

    network: Network = "pointer"
    backend_features: int = Field(ge=1)
    global_features: int = Field(ge=1)
    width: int = Field(default=32, ge=1, le=1024)
    attention: int = Field(default=0, ge=0, le=16)
    sharpness: float = Field(default=8.0, gt=0, le=1000)
    slots: int = Field(ge=1)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> PolicyOptions:
        if self.attention and self.width % self.attention:
            raise ValueError(f"width must be a multiple of attention, but got {self.width} and {self.attention}")
        return self


class PointerPolicy(nn.Module):
    """A pointer over backends (Vinyals et al., 2015) that is equivariant to their order.

    Each backend that may be chosen is embedded by shared weights; the mean of the embeddings and the globals make a
    context, which all embeddings are mixed with before a shared head scores them (Deep Sets; Zaheer et al., 2017).
    """

    def __init__(self, options: PolicyOptions) -> None:
        super().__init__()
        width = options.width
        self.sharpness = options.sharpness
        self.embed = nn.Linear(options.backend_features, width)
        self.embed_globals = nn.Linear(options.global_features, width, bias=False)
        self.attention = (
            nn.MultiheadAttention(width, options.attention, batch_first=True) if options.attention else None
        )
        self.mix = nn.Linear(width, width, bias=False)
        self.context = nn.Linear(width, width)
        # No bias: a softmax over backends would cancel it.
        self.head = nn.Linear(width, 1, bias=False)
        self.direct = nn.Linear(options.backend_features, 1, bias=False)

    def forward(self, backends: Tensor, global_features: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
        """Scores the backends that may be chosen.

        Args:
            backends: float (B, N, backend_features).
            global_features: float (B, global_features).
            legal: bool (B, N).

        Returns:
            Scores float (B, N), 0 where not legal, and a summary float (B, width) for a critic.
        """
        rows, slots = legal.shape
        # Most slots are absent or full: only the others are computed, which is three times as fast.
        cells = legal.flatten().nonzero()[:, 0]
        row = torch.div(cells, slots, rounding_mode="floor")
        features = backends.flatten(0, 1)[cells]
        hidden = torch.relu(self.embed(features) + self.embed_globals(global_features)[row])
        if self.attention is not None:
            hidden = hidden + self._attend(hidden, cells, legal)
        sums = hidden.new_zeros(rows, hidden.shape[1]).index_add(0, row, hidden)
        summary = sums / legal.sum(dim=1, keepdim=True).clamp(min=1)
        mixed = torch.relu(self.mix(hidden) + self.context(summary)[row])
        scores = self.sharpness * (self.head(mixed) + self.direct(features))[:, 0]
        return scores.new_zeros(rows * slots).index_copy(0, cells, scores).view(rows, slots), summary

    def _attend(self, hidden: Tensor, cells: Tensor, legal: Tensor) -> Tensor:
        rows, slots = legal.shape
        width = hidden.shape[1]
        padded = hidden.new_zeros(rows * slots, width).index_copy(0, cells, hidden).view(rows, slots, width)
        assert self.attention is not None
        # A row without a legal slot attends to its zeros: its result is never read, but it must not be NaN.
        ignored = ~legal & legal.any(dim=1, keepdim=True)
        attended, _ = self.attention(padded, padded, padded, key_padding_mask=ignored, need_weights=False)
        return attended.reshape(rows * slots, width)[cells]


class MlpPolicy(nn.Module):
    """Two hidden layers over the flat observation, for comparison: it knows backends by their slot."""

    def __init__(self, options: PolicyOptions) -> None:
        super().__init__()
        self.slots, self.sharpness = options.slots, options.sharpness
        flat = options.slots * options.backend_features + options.global_features
        self.body = nn.Sequential(
            nn.Linear(flat, options.width), nn.Tanh(), nn.Linear(options.width, options.width), nn.Tanh()
        )
        self.head = nn.Linear(options.width, options.slots)

    def forward(self, backends: Tensor, global_features: Tensor, legal: Tensor) -> tuple[Tensor, Tensor]:
        """Scores as `PointerPolicy.forward` does, of all slots; N is `slots` at most."""
        padded = nn.functional.pad(backends, (0, 0, 0, self.slots - backends.shape[1]))
        summary = self.body(torch.cat([padded.flatten(1), global_features], dim=1))
        return self.sharpness * self.head(summary)[:, : backends.shape[1]], summary


class Critic(nn.Module):
    """The value of a state: two hidden layers over what is known of it."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Values float (B,) from float (B, inputs)."""
        # A step is worth 1 / size: at the policy's learning rate an unscaled value would tremble by far more than that.
        return 0.1 * self.body(inputs)[:, 0]


def make_policy(options: PolicyOptions | Mapping[str, Any]) -> PointerPolicy | MlpPolicy:
    """The network that `options` describe, with fresh weights from torch's generator."""
    if not isinstance(options, PolicyOptions):
        options = PolicyOptions(**options)
    return PointerPolicy(options) if options.network == "pointer" else MlpPolicy(options)


def mask_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Logits of a masked categorical distribution.

    Args:
        scores: float (B, N).
        mask: (B, N), bool or any number; 0 forbids.

    Returns:
        `scores` where the mask allows the action, `ILLEGAL` elsewhere. Legal ones are raised to `_SPAN` below the best:
        every legal action keeps a probability that float32 can hold, so that no divergence is infinite.
    """
    legal = mask != 0
    masked = torch.where(legal, scores, torch.full_like(scores, ILLEGAL))
    lowest = masked.detach().amax(dim=1, keepdim=True) - _SPAN
    return torch.where(legal, torch.maximum(masked, lowest), masked)

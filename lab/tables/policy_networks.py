"""The networks of sequential table policies: a score for each backend, for the entry that is given out next.

Plain torch: they are trained inside an RLlib module and run without Ray when a table is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.autograd import Function

from lab.config import Config

__all__ = ["ILLEGAL", "Critic", "MlpPolicy", "Network", "PointerPolicy", "PolicyOptions", "make_policy", "mask_scores"]

Network = Literal["pointer", "mlp"]

ILLEGAL = -1e9
"""The logit of an action that the mask forbids: its probability is exactly 0 in float32, and no sum overflows."""

_SPAN = 60.0
"""How far below the best legal score a score counts, in nats."""

_NO_CEILING = 3e38
"""Above every score, and still a float32."""


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


@dataclass(frozen=True)
class _Cells:
    """The P cells that are computed of B rows of N slots, packed row by row.

    `spread` and `sums` are the two ways between rows and cells, and each is the other's gradient. Torch's own would be
    `index_add`, which takes five times as long on a CPU, and on a GPU adds up in another order each time.

    Attributes:
        index: int64 (P,), the places of the cells in the flat (B * N,).
        row: int64 (P,), the row of each.
        order: int64 (P,), 0 .. P - 1.
        count: int64 (B,), how many cells each row has.
        start: int64 (B,), where in `order` each row begins.
    """

    index: Tensor
    row: Tensor
    order: Tensor
    count: Tensor
    start: Tensor

    @classmethod
    def of(cls, legal: Tensor) -> _Cells:
        """The cells that are True in bool (B, N)."""
        index, count = legal.flatten().nonzero()[:, 0], legal.sum(dim=1)
        row = torch.repeat_interleave(count, output_size=len(index))
        order = torch.arange(len(index), device=index.device)
        return cls(index, row, order, count, count.cumsum(dim=0) - count)

    def spread(self, values: Tensor) -> Tensor:
        """Gives each cell what its row has: (P, W) of its own from (B, W)."""
        return _Spread.apply(values, self) if torch.is_grad_enabled() else values.index_select(0, self.row)

    def sums(self, values: Tensor) -> Tensor:
        """Adds up the cells of each row: (B, W) from (P, W), 0 where a row has none."""
        if torch.is_grad_enabled():
            return _Sums.apply(values, self)
        return nn.functional.embedding_bag(self.order, values, self.start, mode="sum")


class _Spread(Function):
    """`_Cells.spread`, whose gradient is a sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, cells: _Cells) -> Tensor:
        ctx.cells = cells
        return cells.spread(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.cells.sums(gradient), None


class _Sums(Function):
    """`_Cells.sums`, whose gradient is a spread."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, cells: _Cells) -> Tensor:
        ctx.cells = cells
        return cells.sums(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.cells.spread(gradient), None


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
        # Most slots are absent or full: only the others are computed, which is three times as fast.
        cells = _Cells.of(legal)
        features = backends.flatten(0, 1).index_select(0, cells.index)
        of_row = torch.addmm(self.embed.bias, global_features, self.embed_globals.weight.t())
        # Contiguous: of a transposed weight autograd takes the gradient with a product that is four times as slow here.
        hidden = cells.spread(of_row).addmm_(features, self.embed.weight.t().contiguous()).relu_()
        if self.attention is not None:
            hidden = hidden + self._attend(hidden, cells, legal)
        summary = cells.sums(hidden) / cells.count.clamp(min=1)[:, None]
        mixed = cells.spread(self.context(summary)).addmm_(hidden, self.mix.weight.t()).relu_()
        direct, head, factor = self.direct.weight.flatten(), self.head.weight.flatten(), self.sharpness
        scores = torch.addmv(features.mv(direct), mixed, head, beta=factor, alpha=factor)
        return scores.new_zeros(legal.numel()).scatter_(0, cells.index, scores).view(legal.shape), summary

    def _attend(self, hidden: Tensor, cells: _Cells, legal: Tensor) -> Tensor:
        rows, slots = legal.shape
        width, attention = hidden.shape[1], self.attention
        assert attention is not None
        # As `nn.MultiheadAttention` would, but with projections of the cells alone.
        projected = torch.addmm(attention.in_proj_bias, hidden, attention.in_proj_weight.t())
        padded = projected.new_zeros(rows * slots, 3 * width).index_copy_(0, cells.index, projected)
        query, key, value = padded.view(rows, slots, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        # A row without a legal slot attends to its zeros: its result is never read, but it must not be NaN.
        heeded = legal | ~legal.any(dim=1, keepdim=True)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=heeded[:, None, None])
        return attention.out_proj(mixed.transpose(1, 2).reshape(rows * slots, width).index_select(0, cells.index))


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
        observed, missing = backends.flatten(1), self.slots - backends.shape[1]
        if missing:
            observed = nn.functional.pad(observed, (0, missing * backends.shape[2]))
        first, second = _linear_layers(self.body)
        # Two products with parts of the weight: a copy of the whole observation takes longer.
        on_backends, on_globals = first.weight.t().split_with_sizes([observed.shape[1], global_features.shape[1]])
        hidden = _tanh_layer(torch.addmm(first.bias, global_features, on_globals), observed, on_backends)
        summary = _tanh_layer(second.bias, hidden, second.weight.t())
        factor = self.sharpness
        scores = torch.addmm(self.head.bias, summary, self.head.weight.t(), beta=factor, alpha=factor)
        return (scores[:, :-missing] if missing else scores), summary


class Critic(nn.Module):
    """The value of a state: two hidden layers over what is known of it."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Values float (B,) from float (B, inputs)."""
        first, second, last = _linear_layers(self.body)
        hidden = _tanh_layer(first.bias, inputs, first.weight.t())
        hidden = _tanh_layer(second.bias, hidden, second.weight.t())
        # A step is worth 1 / size: at the policy's learning rate an unscaled value would tremble by far more than that.
        return torch.addmv(last.bias, hidden, last.weight.flatten(), beta=0.1, alpha=0.1)


def _linear_layers(body: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in body if isinstance(layer, nn.Linear)]


def _tanh_layer(bias: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """`tanh(inputs @ weight + bias)` as 2 * sigmoid(2 * x) - 1: torch's own tanh takes three times as long on a CPU."""
    twice = torch.addmm(bias, inputs, weight, beta=2, alpha=2)
    return torch.rsub(twice.sigmoid_(), -1, alpha=-2)


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
    # ILLEGAL, or no ceiling at all, by arithmetic on bytes: `where` takes three times as long.
    ceiling = torch.rsub(mask.bool().view(torch.uint8).to(scores.dtype), ILLEGAL, alpha=-_NO_CEILING)
    lowest = torch.minimum(scores.detach(), ceiling).amax(dim=1, keepdim=True).sub_(_SPAN)
    # Where the floor is above the ceiling, torch's clamp takes the ceiling.
    return torch.clamp(scores, lowest, ceiling)

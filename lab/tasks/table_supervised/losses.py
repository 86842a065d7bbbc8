"""Losses of a plan: validity, evenness, stability and confidence, each with a gradient.

A *plan* holds for each entry a distribution over slots. What each decoder's plan is, and which of the losses its form
fixes, so that they have no gradient there:

| decoder    | plan                                    | validity   | evenness        | stability       | confidence |
|------------|-----------------------------------------|------------|-----------------|-----------------|------------|
| `argmax`   | softmax over all slots                  | moves      | moves           | moves           | moves      |
| `ranking`  | softmax over present slots              | fixed at 0 | moves           | moves (1)       | moves      |
| `balanced` | Sinkhorn between floor and ceiling (2)  | fixed at 0 | fixed at 0      | moves           | moves      |

(1) What a *table* by ranking moves needlessly is fixed at 0; the overlap of two plans still grows as they sharpen.
(2) Of standardised scores: the greedy decoder reads only their order, so their scale is free. Holding it makes a
temperature mean the same throughout, and keeps a network from sharpening its plan past what the iterations can even out
(an uneven plan is more stable than any table).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from lab.tables.networks import Decoder
from lab.tasks.table_supervised.sinkhorn import sinkhorn

__all__ = ["FIXED", "WEIGHTS", "Losses", "even_limits", "losses", "plan_of", "standardise", "total"]

FIXED: dict[Decoder, tuple[str, ...]] = {
    "argmax": (),
    "ranking": ("validity",),
    "balanced": ("validity", "evenness"),
}
"""Decoder -> the losses that its plan fixes: the table above."""

WEIGHTS = ("validity", "evenness", "stability", "confidence")
"""The losses that are weighed against each other."""


@dataclass(frozen=True)
class Losses:
    """Means over a batch; scalars.

    Attributes:
        validity: share of entries given to empty slots, in [0, 1].
        evenness: total variation between the loads' shares and equal shares, over present slots, in [0, 1].
        stability: share of entries that change backend, *by identity*, if each entry is drawn from its distribution
            before and after; in [0, 1].
        confidence: the loss of the notebook's confidence score: 1 minus the mean over entries of the largest share.
    """

    validity: Tensor
    evenness: Tensor
    stability: Tensor
    confidence: Tensor


def plan_of(scores: Tensor, present: Tensor, decoder: Decoder, temperature: Tensor | float, iterations: int) -> Tensor:
    """The plan that relaxes what `decoder` makes of `scores`.

    Args:
        scores: float (..., size, S).
        present: bool (..., S), at least one in each row.
        decoder: which form.
        temperature: > 0; towards 0 the plan becomes a table.
        iterations: of the Sinkhorn layer, if the form has one.

    Returns:
        float (..., size, S), rows sum to 1.
    """
    assert decoder in get_args(Decoder)
    if decoder == "argmax":
        return torch.softmax(scores / temperature, dim=-1)
    if decoder == "ranking":
        return torch.softmax((scores / temperature).masked_fill(~present[..., None, :], -torch.inf), dim=-1)
    lower, upper = even_limits(present, scores.shape[-2], scores.dtype)
    return sinkhorn(standardise(scores, present) / temperature, present, lower, upper, iterations)


def even_limits(present: Tensor, size: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Floor and ceiling of size / n for every slot, two floats (..., S)."""
    n = present.sum(dim=-1, keepdim=True)
    lower = (size // n).to(dtype).expand(present.shape)
    upper = ((size + n - 1) // n).to(dtype).expand(present.shape)
    return lower, upper


def standardise(scores: Tensor, present: Tensor) -> Tensor:
    """`scores` (..., size, S) shifted and scaled to mean 0 and deviation 1 over each table's present pairs."""
    weight = present[..., None, :].to(scores.dtype)
    count = weight.sum(dim=(-2, -1), keepdim=True) * scores.shape[-2]
    centred = scores - (scores * weight).sum(dim=(-2, -1), keepdim=True) / count
    variance = (centred.square() * weight).sum(dim=(-2, -1), keepdim=True) / count
    return centred / (variance + 1e-8).sqrt()


def losses(
    before: Tensor, after: Tensor, there_before: Tensor, there_after: Tensor, same: Tensor, decoder: Decoder
) -> Losses:
    """The losses of a batch of pairs of plans.

    Args:
        before: float (B, size, S), the plan for the set before.
        after: float (B, size, S), for the set after.
        there_before: bool (B, S), slots that hold a backend before.
        there_after: bool (B, S), likewise after.
        same: int64 (B, S), for each slot before the slot in which that backend stands after, -1 if it left.
        decoder: what makes tables of them; losses that its form fixes are 0.

    Returns:
        `Losses`.
    """
    plans, there = torch.cat([before, after]), torch.cat([there_before, there_after])
    zero = plans.new_zeros(())
    shares = plans.mean(dim=-2)
    even = there.to(shares.dtype)
    even = even / even.sum(dim=-1, keepdim=True)
    # By identity: the column of a backend after is brought to the slot in which it stands before.
    index = same.clamp_min(0)[:, None].expand(-1, before.shape[1], -1)
    kept = (before * after.gather(-1, index) * (same >= 0)[:, None]).sum(dim=(-2, -1)) / before.shape[1]
    fixed = FIXED[decoder]
    return Losses(
        validity=zero if "validity" in fixed else (shares * ~there).sum(dim=-1).mean(),
        evenness=zero if "evenness" in fixed else ((shares - even).abs() * there).sum(dim=-1).mean() / 2,
        stability=1 - kept.mean(),
        confidence=1 - plans.amax(dim=-1).mean(),
    )


def total(parts: Losses, weights: Mapping[str, Tensor]) -> Tensor:
    """The sum of the losses, each times its weight in `weights`, a scalar."""
    return torch.stack([weights[name] * getattr(parts, name) for name in WEIGHTS]).sum()

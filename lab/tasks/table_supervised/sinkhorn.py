"""A Sinkhorn layer: the most even plan that scores allow, with its exact gradient.

The plan of scores S is the matrix P that maximises `<P, S> + entropy(P)` among those whose rows (entries) sum to 1 and
whose columns (slots) sum to something between `lower` and `upper`. With floor and ceiling as limits the corners of that
set are exactly the perfectly even tables (Birkhoff), so a sharp plan is a perfectly even table.

It is found by scaling rows and columns in turn (Cuturi, NeurIPS 2013; limits on sums as in Benamou et al., SIAM J. Sci.
Comput. 2015), a few scalings at a time by matrix products from factors kept in log space (Schmitzer, SIAM J. Sci.
Comput. 2019), so that sharp scores do not underflow. The gradient does not go back through the iterations: it solves
the linear system that the limits obey at the plan (the implicit function theorem; Eisenberger et al., CVPR 2022), so it
costs the same however many there were.

Every table is scaled by itself: which others stand in the batch decides neither when it stops nor whether it is finite.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lab.tables.layers import stacked

__all__ = ["sinkhorn"]

_NEVER = -1e9
"""The score of an empty slot: its share is exactly 0, and no sum overflows in float32."""

_BLOCK = 8
"""Scalings between two visits to log space. There it is asked who has finished, too, which costs a wait on a GPU."""


def sinkhorn(scores: Tensor, present: Tensor, lower: Tensor, upper: Tensor, iterations: int) -> Tensor:
    """The plan of `scores`.

    Args:
        scores: float (..., size, S), scores over temperature.
        present: bool (..., S), at least one in each row; the others get share 0.
        lower: float (..., S), least column sums of present slots, >= 0.
        upper: float (..., S), largest column sums, > 0. The sums of `lower` and of `upper` over present slots must have
            `size` between them.
        iterations: at most so many scalings of rows and columns; fewer where they no longer change anything. Too few
            leave column sums outside their limits; rows always sum to 1.

    Returns:
        float (..., size, S), shares in [0, 1].
    """
    plan, _ = _Sinkhorn.apply(scores, present, lower, upper, iterations)
    return plan


class _Sinkhorn(torch.autograd.Function):
    """`sinkhorn` with its implicit gradient. Leading dimensions are free, so a map over one is a dimension more."""

    @staticmethod
    def forward(
        scores: Tensor, present: Tensor, lower: Tensor, upper: Tensor, iterations: int
    ) -> tuple[Tensor, Tensor]:
        logits = scores.masked_fill(~present[..., None, :], _NEVER)
        floor, tolerance = torch.finfo(scores.dtype).tiny * 1e4, torch.finfo(scores.dtype).eps ** 0.75
        least, most = (lower * present)[..., None, :], (upper * present)[..., None, :]
        # Some column of sharp scores may have next to nothing, so the first scaling stays in log space.
        shares = torch.log_softmax(logits, dim=-1)
        columns = _limited(torch.logsumexp(shares, dim=-2, keepdim=True), least, most, present[..., None, :])
        done = torch.zeros_like(present[..., :1])
        for start in range(1, iterations, _BLOCK):
            plan = torch.softmax(logits + columns, dim=-1)
            # Products of a row with a contiguous matrix are several times faster than those with a column.
            turned = plan.mT.contiguous()
            inverse = torch.exp(-columns)
            sums = plan.sum(dim=-2, keepdim=True).clamp_min(floor)
            scale = torch.ones_like(sums)
            for _ in range(min(_BLOCK, iterations - start) - 1):
                scale = torch.clamp(sums * inverse, least, most) / sums
                sums = ((scale @ turned).reciprocal() @ plan).clamp_min(floor)
            latest = _limited(sums.log() - columns, least, most, present[..., None, :])
            change = (latest - columns - scale.log()).masked_fill(~present[..., None, :], 0.0).abs().amax(dim=-1)
            columns = torch.where(done[..., None], columns, latest)
            # Said this way round, a table that is not finite has finished too.
            done = done | ~(change > tolerance)
            if bool(done.all()):
                break
        return torch.softmax(logits + columns, dim=-1), columns[..., 0, :]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        plan, columns = output
        ctx.mark_non_differentiable(columns)
        ctx.save_for_backward(plan, columns)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        plan, columns = ctx.saved_tensors
        # A column whose factor is 1 is inside its limits, and free to move.
        bound = columns.abs() > 1e-6
        weighted = grad * plan
        held = plan * bound[..., None, :]
        sums = held.sum(dim=-2)
        # With every column at a limit, rows and columns say one thing twice: the ridge picks one of equal solutions.
        ridge = torch.finfo(plan.dtype).eps ** 0.5
        system = torch.diag_embed(torch.where(bound, sums + ridge, torch.ones_like(sums))) - held.mT @ held
        row_part = weighted.sum(dim=-1)
        right = weighted.sum(dim=-2) * bound - (held.mT @ row_part[..., None])[..., 0]
        # Without a check, a table that is not finite raises no error for the others.
        column_part = torch.linalg.solve_ex(system, right).result * bound
        row_part = row_part - (held @ column_part[..., None])[..., 0]
        return plan * (grad - row_part[..., None] - column_part[..., None, :]), None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        return _Sinkhorn.apply(*stacked(info, in_dims, inputs)), (0, 0)


def _limited(sums: Tensor, least: Tensor, most: Tensor, present: Tensor) -> Tensor:
    """The logarithms of the factors that bring columns between their limits, from logarithms of their sums."""
    return (torch.minimum(torch.maximum(sums, least.log()), most.log()) - sums).masked_fill(~present, 0.0)

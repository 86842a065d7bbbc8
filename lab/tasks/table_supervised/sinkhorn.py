"""A Sinkhorn layer in log space: the most even plan that scores allow, with its exact gradient.

The plan of scores S is the matrix P that maximises `<P, S> + entropy(P)` among those whose rows (entries) sum to 1 and
whose columns (slots) sum to something between `lower` and `upper`. With floor and ceiling as limits the corners of that
set are exactly the perfectly even tables (Birkhoff), so a sharp plan is a perfectly even table.

It is found by scaling rows and columns in turn (Cuturi, NeurIPS 2013; limits on sums as in Benamou et al., SIAM J. Sci.
Comput. 2015). The gradient does not go back through the iterations: it solves the linear system that the limits obey at
the plan (the implicit function theorem; Eisenberger et al., CVPR 2022), so it costs the same however many there were.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["sinkhorn"]

_NEVER = -1e9
"""The score of an empty slot: its share is exactly 0, and no sum overflows in float32."""


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
        tolerance = torch.finfo(scores.dtype).eps ** 0.5
        tiny = torch.finfo(scores.dtype).tiny
        least, most = lower.clamp_min(tiny).log(), upper.clamp_min(tiny).log()
        columns = torch.zeros_like(logits[..., 0, :])
        for iteration in range(iterations):
            rows = -torch.logsumexp(logits + columns[..., None, :], dim=-1)
            sums = torch.logsumexp(logits + rows[..., None], dim=-2)
            last, columns = columns, (torch.minimum(torch.maximum(sums, least), most) - sums).masked_fill(~present, 0.0)
            # Asking costs a wait on an accelerator, so it is asked seldom.
            if iteration % 8 == 7 and float((columns - last).abs().max()) < tolerance:
                break
        plan = torch.softmax(logits + columns[..., None, :], dim=-1)
        return plan, columns

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
        column_part = torch.linalg.solve(system, right) * bound
        row_part = row_part - (held @ column_part[..., None])[..., 0]
        return plan * (grad - row_part[..., None] - column_part[..., None, :]), None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        stacked = [
            value
            if not isinstance(value, Tensor)
            else value.expand(info.batch_size, *value.shape)
            if dim is None
            else value.movedim(dim, 0)
            for value, dim in zip(inputs, in_dims, strict=True)
        ]
        return _Sinkhorn.apply(*stacked), (0, 0)

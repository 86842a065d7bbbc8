"""Layers whose every bit is the same for one network and for many that are mapped as one (`torch.func.vmap`).

Torch lays out the gradient of one linear layer in another way than that of a stack of them, and under `torch.func`
takes that of SiLU apart, which costs three times the time. Matrix products then sum in another order, and the last bit
matters: training multiplies a difference a million times within some hundred steps. On an accelerator, whose products
depend on the number of matrices, and for matrices of a few odd rows, what is left is equal to rounding.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["linear", "score", "silu", "stacked"]


def linear(layer: nn.Module, values: Tensor) -> Tensor:
    """`layer(values)` of an `nn.Linear`: values (..., F) -> (..., W)."""
    assert isinstance(layer, nn.Linear)
    rows = cast(Tensor, _Linear.apply(values.flatten(0, -2), layer.weight, layer.bias))
    return rows.unflatten(0, values.shape[:-1])


def score(layer: nn.Module, values: Tensor) -> Tensor:
    """The one output of an `nn.Linear` without bias: values (..., F) -> (...)."""
    assert isinstance(layer, nn.Linear)
    return (values * layer.weight[0]).sum(dim=-1)


def silu(values: Tensor) -> Tensor:
    """`torch.nn.functional.silu`."""
    return cast(Tensor, _Silu.apply(values))


def stacked(info: Any, in_dims: tuple[int | None, ...], inputs: tuple[Any, ...]) -> list[Any]:
    """The inputs of a mapped function, as `torch.autograd.Function.vmap` has them, with the map's axis as the first."""
    return [
        value
        if not isinstance(value, Tensor)
        else value.expand(info.batch_size, *value.shape)
        if dim is None
        else value.movedim(dim, 0)
        for value, dim in zip(inputs, in_dims, strict=True)
    ]


class _Linear(torch.autograd.Function):
    """Rows (..., N, F), weights (..., W, F) and a bias (..., W) or None -> (..., N, W)."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.ndim == 2:
            return nn.functional.linear(rows, weight, bias)
        out = rows @ weight.mT
        return out if bias is None else out.add_(bias[..., None, :])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        rows, weight, bias = inputs
        ctx.has_bias = bias is not None
        ctx.save_for_backward(rows, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        rows, weight = ctx.saved_tensors
        to_rows = grad @ weight if ctx.needs_input_grad[0] else None
        return to_rows, grad.mT @ rows, grad.sum(dim=-2) if ctx.has_bias else None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, int]:
        return _Linear.apply(*stacked(info, in_dims, inputs)), 0


class _Silu(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return nn.functional.silu(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.aten.silu_backward(grad, *ctx.saved_tensors))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, int]:
        return _Silu.apply(*stacked(info, in_dims, inputs)), 0

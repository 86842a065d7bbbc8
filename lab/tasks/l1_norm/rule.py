"""The rule of the L1 norm, checked on what a cell really does: its traced graph and its autograd graph.

Allowed are dense layers, ReLU, negation, sum and multiplication; operations that only move numbers (views, stacks)
change none. No number may be in it that is not learned, but for the slope of a leaky ReLU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, fx
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from lab.tasks.l1_norm.cell import Cell

__all__ = ["violations"]

_ARITHMETIC = {"mm", "bmm", "addmm", "linear", "matmul", "relu", "neg", "add", "sub", "rsub", "sum", "mul"}
_MOVES = {
    *("view", "_unsafe_view", "reshape", "t", "transpose", "permute", "numpy_T", "expand", "unsqueeze", "squeeze"),
    *("select", "slice", "split", "split_with_sizes", "unbind", "stack", "cat", "clone", "detach", "alias"),
    *("_reshape_alias", "getitem"),
}
_GRADIENTS = {
    *("Mm", "Bmm", "Addmm", "Linear", "Relu", "Neg", "Add", "Sub", "Rsub", "Sum", "Mul"),
    *("View", "UnsafeView", "Reshape", "T", "Transpose", "Permute", "Expand", "Unsqueeze", "Squeeze"),
    *("Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Stack", "Cat", "Clone", "Alias", "ReshapeAlias"),
}
_LEAF = "torch::autograd::AccumulateGrad"


def violations(cell: Cell, *, length: int = 4) -> list[str]:
    """What a cell does that the rule does not allow, a line each; empty for a cell within the rule.

    Args:
        cell: any cell, its weights drawn.
        length: entries it is traced on, fed in two calls, so that going on from a state is seen too.
    """
    weights = {name: value.detach() for name, value in cell.named_parameters()}
    x = torch.linspace(-1.0, 1.0, 2 * 2 * length, dtype=next(iter(weights.values())).dtype).view(2, -1)

    def read(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        first, state = functional_call(cell, dict(weights), (x[:, :length],))
        second, _ = functional_call(cell, dict(weights), (x[:, length:], state))
        return torch.cat([first, second], 1)

    traced = _traced(read, weights, x, cell.slope)
    outputs = read({name: value.clone().requires_grad_() for name, value in weights.items()}, x)
    buffers = [f"a tensor that is not learned: {name}" for name, _ in cell.named_buffers()]
    return list(dict.fromkeys([*buffers, *traced, *_walked(outputs)]))


def _traced(
    read: Callable[[Mapping[str, Tensor], Tensor], Tensor], weights: Mapping[str, Tensor], x: Tensor, slope: float
) -> Iterator[str]:
    """The operations of the graph that torch executes, by `torch.fx`."""
    try:
        graph = make_fx(read)(weights, x).graph
    except RuntimeError as error:  # tracing refuses a number taken out of a tensor, as a comparison in Python does
        yield f"what cannot be traced: {' '.join(str(error).split())[:120]}"
        return
    for node in graph.nodes:
        if node.op == "get_attr":
            yield f"a tensor that is not learned: {node.target}"
        elif node.op == "call_function":
            name = str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))
            if name not in _ARITHMETIC | _MOVES:
                yield f"the operation {name}"
            elif name in _ARITHMETIC:
                yield from (f"the number {number} in {name}" for number in _numbers(node) if number != slope)


def _numbers(node: fx.Node) -> Iterator[float]:
    """The numbers written into an arithmetic operation; the axes of a sum are none."""
    if getattr(node.target, "_opname", "") == "sum":
        return
    for value in (*node.args, *node.kwargs.values()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield value


def _walked(outputs: Tensor) -> Iterator[str]:
    """The operations that a gradient goes through."""
    if outputs.grad_fn is None:
        yield "no gradient"
        return
    seen, waiting = {outputs.grad_fn}, [outputs.grad_fn]
    while waiting:
        node = waiting.pop()
        name = node.name()
        if name != _LEAF and name.partition("Backward")[0] not in _GRADIENTS:
            yield f"the gradient {name}"
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)

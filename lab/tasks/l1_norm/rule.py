"""The rule of the L1 norm, checked on what a cell really does: its traced graph, its autograd graph, its first weights.

Allowed are dense layers, ReLU, negation, sum and multiplication; operations that only move numbers (views, stacks)
change none. No weight may be set by hand, nor any other number but the slope of a leaky ReLU.

Vouched for, of a cell that `violations` has nothing to say of:

- Entries are read in calls of one and of several, at the start and from a state, and no other operation is done; what
  one call reads several calls read too, with a state that does not grow, so what is said of one entry holds for all.
- No number, buffer or constant is in it but the slope, in [0, 1), and that only in `relu(z) - slope relu(-z)`.
- Entries and states are multiplied with weights before anything is added to them and before a ReLU: an entry or a
  state that is simply added would have a weight of 1 that nobody learned. A ReLU of what was negated or
  taken away stands in a leaky ReLU only: `relu(z) + relu(-z)` would be the absolute value by hand.
- Every weight is reached by the gradient, and the gradient is that of what is computed: nothing is detached.
- Over many seeds every first weight varies, in size too, around zero (its mean is within a third of its standard
  deviation), and no two vary together (correlation below 3/4).

Not vouched for: that one parameter does not serve two layers, or is not added to itself (a learned weight times an
integer that nobody learned); what a cell does with other shapes or numbers than those here, if it branches on shapes
in Python; whether a first weight is drawn from a distribution that happens to suit the task; the training. On the
other side a cell that negates or subtracts before a ReLU in some honest way is reported.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from lab.tasks.l1_norm.cell import Cell

__all__ = ["violations"]

_DENSE, _SUMS = {"mm", "bmm", "addmm"}, {"add", "sub", "rsub", "sum"}
_ARITHMETIC = {*_DENSE, *_SUMS, "relu", "neg", "mul"}
_MOVES = {
    *("view", "_unsafe_view", "reshape", "t", "transpose", "permute", "numpy_T", "expand", "unsqueeze", "squeeze"),
    *("select", "slice", "split", "split_with_sizes", "unbind", "stack", "cat", "clone", "alias"),
    *("_reshape_alias", "getitem"),
}
_GRADIENTS = {
    *("Mm", "Bmm", "Addmm", "Relu", "Neg", "Add", "Sub", "Rsub", "Sum", "Mul"),
    *("View", "UnsafeView", "Reshape", "T", "Transpose", "Permute", "Expand", "Unsqueeze", "Squeeze"),
    *("Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Stack", "Cat", "Clone", "Alias", "ReshapeAlias"),
}
_LEAF = "torch::autograd::AccumulateGrad"
_SEEDS = 256

Weights = Mapping[str, Tensor]


def violations(cell: Cell, *, length: int = 3) -> list[str]:
    """What a cell does that the rule does not allow, a line each; empty for a cell within the rule.

    Args:
        cell: any cell. It is left alone: a copy in float64 is drawn anew. Narrow ones say as much as wide ones: time
            grows with the square of the number of weights.
        length: entries in a call.
    """
    cell = copy.deepcopy(cell).double()
    found = [f"a tensor that is not learned: {name}" for name, _ in cell.named_buffers()]
    if not 0 <= cell.slope < 1:
        found.append(f"a leaky ReLU of slope {cell.slope}, which is not in [0, 1)")
    found += _drawn_by_hand(cell)
    weights = {name: value.detach() for name, value in cell.named_parameters()}
    x = torch.linspace(-1.0, 1.0, 2 * 2 * length, dtype=torch.float64).view(2, -1)

    def call(weights: Weights, x: Tensor, *state: Any) -> tuple[Tensor, Any]:
        return functional_call(cell, dict(weights), (x, *state))

    def read(weights: Weights, x: Tensor) -> Tensor:
        first, state = call(weights, x[:, :length])
        return torch.cat([first, call(weights, x[:, length:], state)[0]], 1)

    # Each look takes for granted what those before it have seen.
    try:
        found += _operations(make_fx(read)(weights, x).graph, cell.slope)
    except RuntimeError as error:  # tracing refuses a number taken out of a tensor, as a comparison in Python does
        found.append(f"what cannot be traced: {' '.join(str(error).split())[:120]}")
    if not found:
        state = call(weights, x[:, :1])[1]
        for inputs in ((weights, x[:, :1]), (weights, x[:, 1:2], state), (weights, x), (weights, x, state)):
            graph = make_fx(call)(*inputs).graph
            found += [*_operations(graph, cell.slope), *_by_hand(graph, len(weights))]
    if not found:
        found += [*_unlike_one_by_one(call, weights, x), *_not_learned(read, weights, x)]
        silent = {name: torch.zeros_like(value) for name, value in weights.items()}
        if call(silent, x, state)[0].any():
            found.append("a read-out that does not need weights")
    return list(dict.fromkeys(found))


def _drawn_by_hand(cell: Cell) -> Iterator[str]:
    """The parameters whose first values are not random numbers around zero; leaves the cell drawn."""
    draws = []
    for seed in range(_SEEDS):
        cell.initialise(torch.Generator().manual_seed(seed))
        draws.append({name: value.detach().clone().reshape(-1) for name, value in cell.named_parameters()})
    together = []
    for name in draws[0]:
        values = torch.stack([draw[name] for draw in draws])
        spread = values.std(0)
        random = (spread > 0) & (values.mean(0).abs() < spread / 3) & (values.abs().std(0) > spread / 10)
        if random.all():
            together.append(values)
        else:
            yield f"an initialisation by hand: {name}"
    whole = torch.cat(together, 1) if together else torch.empty(0, 0)
    if whole.shape[1] > 1 and (torch.corrcoef(whole.T).fill_diagonal_(0).abs() > 0.75).any():
        yield "an initialisation by hand: weights that are drawn together"


def _operations(graph: fx.Graph, slope: float) -> Iterator[str]:
    """The operations and the numbers of the graph that torch executes, by `torch.fx`."""
    for node in graph.nodes:
        name = _name(node)
        if node.op == "get_attr":
            yield f"a tensor that is not learned: {node.target}"
        elif node.op == "call_function" and name not in _ARITHMETIC | _MOVES:
            yield f"the operation {name}"
        elif name in _ARITHMETIC - {"sum"}:  # the axes of a sum are no numbers that it reckons with
            for number in (*node.args, *node.kwargs.values()):
                if isinstance(number, int | float) and not (number == slope and _is_half_of_leaky(node)):
                    yield f"the number {number} in {name}"


def _name(node: object) -> str:
    """The operation of a node, without the kinds of its arguments; nothing where it is none."""
    if not isinstance(node, fx.Node) or node.op != "call_function":
        return ""
    return str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))


def _is_half_of_leaky(product: fx.Node) -> bool:
    """Whether a node is the `slope relu(-z)` of nothing but `relu(z) - slope relu(-z)`."""
    mirrored = product.args[0] if _name(product) == "mul" else None
    if not isinstance(mirrored, fx.Node) or _name(mirrored) != "relu":
        return False
    negated = mirrored.args[0]
    if len(mirrored.users) != 1 or not isinstance(negated, fx.Node) or _name(negated) != "neg":
        return False
    return all(
        _name(user) == "sub"
        and user.args[1] is product
        and isinstance(user.args[0], fx.Node)
        and _name(user.args[0]) == "relu"
        and user.args[0].args[0] is negated.args[0]
        for user in product.users
    )


class _Kind(IntEnum):
    WEIGHT = 0
    """Made of parameters alone."""
    WEIGHTED = 1
    """Entries or states times what depends on a parameter."""
    BARE = 2
    """Entries or states that no weight has touched."""


def _by_hand(graph: fx.Graph, parameters: int) -> Iterator[str]:
    """Where numbers are added or rectified as they come, and where an absolute value is put together.

    The first inputs of the graph are the parameters, the others entries and states.
    """
    kinds: dict[fx.Node, _Kind] = {}
    negated: dict[fx.Node, bool] = {}
    for place, node in enumerate(graph.nodes):
        name, given = _name(node), node.all_input_nodes
        takes_away = name in {"sub", "rsub"} and not any(_is_half_of_leaky(each) for each in given)
        negated[node] = name == "neg" or takes_away or (name != "relu" and any(negated[each] for each in given))
        if node.op == "placeholder":
            kinds[node] = _Kind.WEIGHT if place < parameters else _Kind.BARE
            continue
        kinds[node] = max((kinds[each] for each in given), default=_Kind.WEIGHT)
        if name == "relu" and negated[given[0]] and not all(_is_half_of_leaky(user) for user in node.users):
            yield "relu(-z) outside a leaky ReLU"
        if name in {"mul", *_DENSE}:
            factors = [kinds[each] for each in node.args[-2:] if isinstance(each, fx.Node)]
            if min(factors) != _Kind.BARE:
                kinds[node] = min(max(factors), _Kind.WEIGHTED)
            bias = name == "addmm" and kinds[given[0]] == _Kind.BARE
            if bias or (name in _DENSE and min(factors) == _Kind.BARE):
                yield f"entries or states without a weight in {name}"
        elif name in {"relu", *_SUMS} and kinds[node] == _Kind.BARE:
            yield f"entries or states without a weight in {name}"


def _unlike_one_by_one(call: Callable[..., tuple[Tensor, Any]], weights: Weights, x: Tensor) -> Iterator[str]:
    """Whether a call on all entries is something else than a call on each of them."""
    whole, end = call(weights, x)
    outputs: list[Tensor] = []
    state: tuple[Any, ...] = ()
    for entry in x.split(1, 1):
        read_out, after = call(weights, entry, *state)
        outputs.append(read_out)
        state = (after,)
    sizes = [[value.shape for value in pytree.tree_leaves(each)] for each in (end, *state)]
    if sizes[0] != sizes[1] or sizes[0] != [value.shape for value in pytree.tree_leaves(call(weights, x[:, :1])[1])]:
        yield "a state that grows"
    if not torch.allclose(whole, torch.cat(outputs, 1), rtol=1e-9, atol=1e-12):
        yield "entries that are read otherwise together than one by one"


def _not_learned(read: Callable[[Weights, Tensor], Tensor], weights: Weights, x: Tensor) -> Iterator[str]:
    """The operations that a gradient goes through, the weights that it misses, and those that it is wrong about."""
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    score = read(leaves, x).sum()
    if score.grad_fn is None:
        yield "no gradient"
        return
    waiting: list[Any] = [score.grad_fn]
    reached, seen = set(), set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name() == _LEAF:
            reached.add(id(node.variable))
        elif node.name().partition("Backward")[0] not in _GRADIENTS:
            yield f"the gradient {node.name()}"
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    yield from (
        f"a weight that no gradient reaches: {name}" for name, leaf in leaves.items() if id(leaf) not in reached
    )
    gradients = torch.autograd.grad(score, list(leaves.values()), allow_unused=True)
    for (name, value), gradient in zip(weights.items(), gradients, strict=True):
        ahead, behind = (read({**weights, name: value + step}, x).sum() for step in (1e-6, -1e-6))
        if gradient is not None and not torch.isclose(gradient.sum(), (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-6):
            yield f"a gradient that is not that of what is computed: {name}"

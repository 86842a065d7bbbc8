"""A function of tensors, done again as the plain list of operations that it came down to.

Mapping and differentiating a loss in Python costs ten times what its operations cost when tensors are small. They are
the same for tensors of the same shapes, so they are recorded once and done again from the record, which gives the same
numbers bit for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

__all__ = ["Replay"]


class Replay:
    """`function`, recorded at the first call for each combination of shapes.

    Args:
        function: pure, of tensors in tuples, lists and dicts, returning the same. It does the same operations whatever
            the tensors hold: a branch on a value, or a number taken out of a tensor, would be recorded as it fell out
            the first time.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._records: dict[Hashable, tuple[Callable[..., Any], pytree.TreeSpec]] = {}

    def __call__(self, *inputs: Any) -> Any:
        leaves, spec = pytree.tree_flatten(inputs)
        key = (str(spec), *((value.shape, value.dtype, value.device) for value in leaves))
        with torch.no_grad():
            if key not in self._records:
                self._records[key] = _record(self._function, leaves, spec)
            program, form = self._records[key]
            # Optimised, a program fuses operations after its first calls, and on an accelerator the bits change.
            with torch.jit.optimized_execution(False):
                return pytree.tree_unflatten(program(*leaves), form)


def _record(
    function: Callable[..., Any], leaves: list[torch.Tensor], spec: pytree.TreeSpec
) -> tuple[Callable[..., Any], pytree.TreeSpec]:
    """The record of a function, as a function of the leaves, and the form of what it returns."""
    form: list[pytree.TreeSpec] = []

    def flat(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found, structure = pytree.tree_flatten(function(*pytree.tree_unflatten(list(values), spec)))
        form.append(structure)
        return tuple(found)

    graph = make_fx(flat)(*leaves)
    # The record as a program that runs without Python; where torch no longer has it, the record itself is run.
    trace = getattr(torch.jit, "trace", None)
    if trace is None:
        return graph, form[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trace(graph, tuple(leaves), check_trace=False), form[0]

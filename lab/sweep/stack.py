"""The weights of a population as one matrix, a row for each member, with the optimiser that steps all rows at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from lab.config import Config
from lab.errors import RequestError
from lab.population_task import Model
from lab.sweep.replay import Replay

__all__ = ["Layout", "Mapped", "Stack"]

_MATRICES = ("weights", "exp_avg", "exp_avg_sq", "best", "untrained")


@dataclass(frozen=True)
class Layout:
    """Where the parameters of a network lie in a row: their names and shapes, in order."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """The layout of a network's parameters.

        Raises:
            RequestError: it has none, or they are not of one dtype.
        """
        parameters = dict(module.named_parameters())
        if len({value.dtype for value in parameters.values()}) != 1:
            raise RequestError("expected a network with parameters of one dtype")
        return cls(tuple(parameters), tuple(tuple(value.shape) for value in parameters.values()))

    def row(self, module: nn.Module) -> Tensor:
        """The parameters of a network as a row, (P,)."""
        parameters = dict(module.named_parameters())
        return torch.cat([parameters[name].detach().reshape(-1) for name in self.names])

    def parameters(self, row: Tensor) -> dict[str, Tensor]:
        """The views of a row (P,) that are the parameters."""
        pieces = row.split([math.prod(shape) for shape in self.shapes])
        return {name: piece.view(shape) for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)}


class Stack:
    """M networks of one architecture: matrices (M, P) of one dtype, on one device.

    What a network has besides parameters (buffers) is the same for all members.

    Attributes:
        layout: where the parameters lie in a row.
        weights: as they are now.
        exp_avg, exp_avg_sq: Adam's moments.
        best: the weights with the best objective so far; not a number before there is one.
        untrained: the weights before the first step.
    """

    weights: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    best: Tensor
    untrained: Tensor

    def __init__(self, modules: Sequence[nn.Module], device: torch.device) -> None:
        self.layout = Layout.of(modules[0])
        self._plain = copy.deepcopy(modules[0]).cpu().requires_grad_(False)
        self._base = copy.deepcopy(modules[0]).to(device)
        self.weights = torch.stack([self.layout.row(module) for module in modules]).to(device)
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.best = torch.full_like(self.weights, math.nan)
        self.untrained = self.weights.clone()

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def device(self) -> torch.device:
        """Where the matrices are."""
        return self.weights.device

    def model(self, row: Tensor) -> Model:
        """The network with the weights of a row."""
        parameters = self.layout.parameters(row)
        return lambda *inputs: functional_call(self._base, parameters, inputs)

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all rows but these."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.device)
        for name in _MATRICES:
            setattr(self, name, getattr(self, name)[index])

    def state_dict(self, row: int, of: str) -> dict[str, Tensor]:
        """A copy of the parameters of one member on the CPU, from the matrix called `of`, by name."""
        values = self.layout.parameters(getattr(self, of)[row].to("cpu", copy=True))
        return {name: value.clone() for name, value in values.items()}

    def modules(self) -> Iterator[nn.Module]:
        """Each member's network in turn, on the CPU: one module, whose weights the next one overwrites."""
        for row in self.weights.detach().cpu():
            with torch.no_grad():
                for parameter, value in zip(
                    self._plain.parameters(), self.layout.parameters(row).values(), strict=True
                ):
                    parameter.copy_(value)
            yield self._plain

    def tensors(self) -> dict[str, Tensor]:
        """The matrices on the CPU, by name."""
        return {name: getattr(self, name).detach().to("cpu", copy=True).contiguous() for name in _MATRICES}

    def restore(self, tensors: Mapping[str, Tensor], rows: Sequence[int]) -> None:
        """Takes up the rows of what `tensors` gave.

        Raises:
            RequestError: the matrices are of another network.
        """
        width, dtype = self.weights.shape[1], self.weights.dtype
        for name in _MATRICES:
            value = tensors.get(name)
            if value is None or value.ndim != 2 or value.shape[1] != width or value.dtype != dtype:
                got = "nothing" if value is None else f"{tuple(value.shape)} of {value.dtype}"
                raise RequestError(f"expected {name!r} with {width} columns of {dtype}, but got {got}")
            setattr(self, name, value[list(rows)].to(self.device))

    def step(
        self, gradients: Tensor, *, count: int, learning_rate: Tensor, weight_decay: Tensor, betas: tuple[float, float]
    ) -> None:
        """One step of Adam (Kingma and Ba, ICLR 2015) with decoupled weight decay (Loshchilov and Hutter, ICLR 2019).

        Args:
            gradients: (M, P).
            count: of steps, this one included; from 1.
            learning_rate, weight_decay: (M,), each member's own.
            betas: of the two moments.
        """
        # Smaller than the squares of rounding errors in the gradients: what is below is noise.
        epsilon = 1e-8 if self.weights.dtype == torch.float32 else 1e-12
        self.exp_avg.lerp_(gradients, 1 - betas[0])
        self.exp_avg_sq.mul_(betas[1]).addcmul_(gradients, gradients, value=1 - betas[1])
        scale = (self.exp_avg_sq.sqrt() / math.sqrt(1 - betas[1] ** count)).add_(epsilon)
        self.weights.mul_(1 - (learning_rate * weight_decay)[:, None])
        self.weights.sub_((learning_rate / (1 - betas[0] ** count))[:, None] * self.exp_avg / scale)


class Mapped:
    """`lab.population_task.Members` over a stack.

    Args:
        stack: the members.
        configs: their configurations.
        fused: whether functions are mapped over all members at once, or called for each.
        replays: of the functions that were mapped before; None where a function may depend on values.
    """

    def __init__(
        self,
        stack: Stack,
        configs: Sequence[Config],
        *,
        fused: bool,
        replays: dict[Callable[..., Any], Replay] | None = None,
    ) -> None:
        self.configs, self.device = configs, stack.device
        self._stack, self._fused, self._replays = stack, fused, replays

    def map(self, function: Callable[..., Any], *inputs: Any, carry: Any = None) -> Any:
        stack = self._stack
        carried = () if carry is None else (carry,)
        if not self._fused:
            with torch.no_grad():
                own = [pytree.tree_map(lambda value, row=row: value[row], carried) for row in range(len(stack))]
                each = [
                    function(stack.model(weights), *inputs, *mine)
                    for weights, mine in zip(stack.weights, own, strict=True)
                ]
                return pytree.tree_map(lambda *values: torch.stack(values), *each)

        def mapped(weights: Tensor, inputs: tuple[Any, ...], carried: tuple[Any, ...]) -> Any:
            def one(row: Tensor, mine: tuple[Any, ...]) -> Any:
                return function(stack.model(row), *inputs, *mine)

            return vmap(one, in_dims=(0, 0 if carried else None))(weights, carried)

        if self._replays is None:
            with torch.no_grad():
                return mapped(stack.weights, inputs, carried)
        if function not in self._replays:
            self._replays[function] = Replay(mapped)
        return self._replays[function](stack.weights, inputs, carried)

    def modules(self) -> Iterator[nn.Module]:
        return self._stack.modules()

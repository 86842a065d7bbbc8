"""What every cell of the L1 norm is: entries in, the read-out after each of them, and a state to go on from."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Cell", "uniform"]


class Cell(nn.Module, ABC):
    """A network that reads real numbers one after another and says after each what it makes of them.

    Weights are read in the dtype of the entries: a network trained in float64 is asked in float32 as it will be used.
    All is made of operations that `torch.func.vmap` maps.

    Attributes:
        within_rule: whether it claims to have only dense layers, ReLU, negation, sum and multiplication, and no weight
            set by hand. `lab.tasks.l1_norm.rule.violations` has nothing to say of any that claims it, and its module
            says what that vouches for and what not.
        slope: the one constant in it, of its leaky ReLU; 0 where it has none.
    """

    within_rule: ClassVar[bool] = False
    slope: float = 0.0

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Draws all weights."""

    @abstractmethod
    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Reads entries.

        Args:
            x: real (B, T), T entries of each of B sequences.
            state: what a call on the entries before returned; None at the start.

        Returns:
            The read-out after each entry, (B, T) of the dtype of `x`, and the state after the last.
        """

    def matrices(self) -> dict[str, Tensor]:
        """All weights that are no biases, by name, as they are used."""
        return {name: value for name, value in self.named_parameters() if "bias" not in name}

    def scalars(self) -> dict[str, Tensor]:
        """The weight of the state in the next state (`recurrent`) and of an entry in it (`input`), where each is one
        number."""
        return {}


def uniform(parameter: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's own way; the same numbers in every dtype."""
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))

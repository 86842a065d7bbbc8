"""Cells whose state is one number: the notebook's, those within the rule, and the Neural Addition Unit."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lab.tasks.l1_norm.cell import Cell, uniform

__all__ = ["Activation", "LeakyCell", "NauCell", "NauState", "NotebookCell", "ReluCell", "leaky"]

Activation = Literal["relu", "leaky"]


def leaky(z: Tensor, slope: float) -> Tensor:
    """Leaky ReLU (Maas, Hannun and Ng 2013) out of ReLU, negation, sum and multiplication."""
    return torch.relu(z) - slope * torch.relu(-z)


class NotebookCell(Cell):
    """The notebook's cell: `s = act(weight_hh s + weight_ih |x| + bias_ih + bias_hh)`, the state read out as it is.

    `|x|` is `where(x < 0, -x, x)`, done by hand: not within the rule. Parameters are those of
    `torch.nn.RNNCell(1, 1, bias, "relu")`; the activation may also be a leaky ReLU.
    """

    def __init__(self, bias: bool, activation: Activation, slope: float) -> None:
        super().__init__()
        self.activation, self.slope = activation, slope if activation == "leaky" else 0.0
        self.weight_ih, self.weight_hh = nn.Parameter(torch.empty(1, 1)), nn.Parameter(torch.empty(1, 1))
        self.bias_ih = nn.Parameter(torch.empty(1)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(1)) if bias else None

    def initialise(self, generator: torch.Generator) -> None:
        for parameter in self.parameters():
            uniform(parameter, 1, generator)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        drive = torch.where(x < 0, -x, x).T * self.weight_ih.to(x.dtype)
        if self.bias_ih is not None and self.bias_hh is not None:
            drive = drive + (self.bias_ih + self.bias_hh).to(x.dtype)
        weight, outputs = self.weight_hh.to(x.dtype)[0], []
        for entry in drive.unbind(0):
            z = entry if state is None else weight * state + entry
            state = torch.relu(z) if self.activation == "relu" else functional.leaky_relu(z, self.slope)
            outputs.append(state)
        return torch.stack(outputs, 1), outputs[-1]

    def scalars(self) -> dict[str, Tensor]:
        return {"recurrent": self.weight_hh[0, 0], "input": self.weight_ih[0, 0]}


class _Drive(Cell):
    """What an entry adds to the state: `weight_o relu(weight_i x + bias_i) + bias_o`, a dense layer over `width` units.

    Two units suffice for `|x| = relu(x) + relu(-x)`. The state's own weight is `weight_r`, (1, 1).
    """

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weight_i, self.weight_o = nn.Parameter(torch.empty(width, 1)), nn.Parameter(torch.empty(1, width))
        self.weight_r = nn.Parameter(torch.empty(1, 1))
        self.bias_i = nn.Parameter(torch.empty(width, 1)) if bias else None
        self.bias_o = nn.Parameter(torch.empty(1)) if bias else None

    def initialise(self, generator: torch.Generator) -> None:
        width = len(self.weight_i)
        for name, parameter in self.named_parameters():
            uniform(parameter, width if name.endswith("_o") else 1, generator)

    def activate(self, z: Tensor) -> Tensor:
        """The activation of the hidden units."""
        return torch.relu(z)

    def drive(self, x: Tensor) -> Tensor:
        """What the entries add, (T, B). All entries at once: only the loop over the state goes one by one."""
        z = self.weight_i.to(x.dtype) * x.T.reshape(1, -1)
        if self.bias_i is not None:
            z = z + self.bias_i.to(x.dtype)
        drive = self.weight_o.to(x.dtype) @ self.activate(z)
        if self.bias_o is not None:
            drive = drive + self.bias_o.to(x.dtype)
        return drive.view(x.shape[1], x.shape[0])

    def scalars(self) -> dict[str, Tensor]:
        return {"recurrent": self.weight_r[0, 0]}


class ReluCell(_Drive):
    """Within the rule: `s = weight_r s + weight_o relu(weight_i x)`, with biases in the dense layer if asked for.

    The state has no activation: with a ReLU on it a fifth of all initialisations starts dead.
    """

    within_rule = True

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weight, outputs = self.weight_r.to(x.dtype)[0], []
        for entry in self.drive(x).unbind(0):
            state = entry if state is None else weight * state + entry
            outputs.append(state)
        return torch.stack(outputs, 1), outputs[-1]


class LeakyCell(_Drive):
    """Within the rule: `s = leaky(weight_r s + weight_o leaky(weight_i x))`, where `leaky(z)` is written as
    `relu(z) - slope relu(-z)`.

    The notebook's conclusion was that a leaky ReLU on the state keeps the cell from dying.
    """

    within_rule = True

    def __init__(self, width: int, bias: bool, slope: float) -> None:
        super().__init__(width, bias)
        self.slope = slope

    def activate(self, z: Tensor) -> Tensor:
        return leaky(z, self.slope)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weight, outputs = self.weight_r.to(x.dtype)[0], []
        for entry in self.drive(x).unbind(0):
            state = leaky(entry if state is None else weight * state + entry, self.slope)
            outputs.append(state)
        return torch.stack(outputs, 1), outputs[-1]


class NauState(NamedTuple):
    """The state of a Neural Addition Unit, and how far its weights are from -1, 0 and 1.

    Attributes:
        total: the accumulator, (B,).
        sparsity: the regulariser of W, a scalar.
    """

    total: Tensor
    sparsity: Tensor


class NauCell(Cell):
    """A Neural Addition Unit (Madsen and Johansen, ICLR 2020) as accumulator: `s = W [s; relu(weight_i x)]`.

    A NAU only adds and subtracts, so `|x|` comes from a learned layer of ReLU units as in the cells within the rule;
    without it no NAU could solve the task. W is clamped to [-1, 1] where it is used, and its regulariser, the mean of
    `min(|W|, 1 - |W|)`, draws it to -1, 0 and 1; clamping is what puts it outside the rule. W is drawn from U(-r, r),
    `r = min(1/2, sqrt(3) sqrt(2 / (inputs + outputs)))`.

    Unlike the authors', whose code also sets W itself to its clamped value after each step, so that the next gradient
    can pull it back: here a weight that has once gone past 1 or -1 gets no gradient any more and is used as exactly
    1 or -1 for good (but for weight decay and what is left of Adam's momentum). Of the recurrent weight 1 is the right
    answer, so the difference is in favour of the NAU.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight_i = nn.Parameter(torch.empty(width, 1))
        self.weight = nn.Parameter(torch.empty(1, 1 + width))

    def initialise(self, generator: torch.Generator) -> None:
        uniform(self.weight_i, 1, generator)
        bound = min(0.5, math.sqrt(3) * math.sqrt(2 / (self.weight.shape[1] + 1)))
        uniform(self.weight, 1, generator)
        with torch.no_grad():
            self.weight.mul_(bound)

    def forward(self, x: Tensor, state: NauState | None = None) -> tuple[Tensor, NauState]:
        weights = self.weight.to(x.dtype).clamp(-1, 1)
        features = torch.relu(self.weight_i.to(x.dtype) * x.T.reshape(1, -1))
        drive = (weights[:, 1:] @ features).view(x.shape[1], x.shape[0])
        total, weight, outputs = None if state is None else state.total, weights[0, :1], []
        for entry in drive.unbind(0):
            total = entry if total is None else weight * total + entry
            outputs.append(total)
        sparsity = torch.minimum(weights.abs(), 1 - weights.abs()).mean()
        return torch.stack(outputs, 1), NauState(outputs[-1], sparsity)

    def matrices(self) -> dict[str, Tensor]:
        return {"weight_i": self.weight_i, "weight": self.weight.clamp(-1, 1)}

    def scalars(self) -> dict[str, Tensor]:
        return {"recurrent": self.weight[0, 0].clamp(-1, 1)}

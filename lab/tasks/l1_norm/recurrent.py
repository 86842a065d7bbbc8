"""The field's recurrent cells as baselines: a state of `width` units and a dense read-out.

Parameters have the names and shapes of `torch.nn.RNNCell`, `GRUCell` and `LSTMCell`, and the arithmetic is theirs,
written out in operations that `torch.func.vmap` maps. What does not depend on the state is done for all entries at
once.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lab.tasks.l1_norm.cell import Cell, uniform

__all__ = ["ElmanCell", "GruCell", "IrnnCell", "LstmCell"]


class _Recurrent(Cell):
    def __init__(self, width: int, gates: int) -> None:
        super().__init__()
        self.width = width
        self.weight_ih = nn.Parameter(torch.empty(gates * width, 1))
        self.weight_hh = nn.Parameter(torch.empty(gates * width, width))
        self.bias_ih, self.bias_hh = (nn.Parameter(torch.empty(gates * width)) for _ in range(2))
        self.readout_weight, self.readout_bias = nn.Parameter(torch.empty(1, width)), nn.Parameter(torch.empty(1))

    def initialise(self, generator: torch.Generator) -> None:
        for parameter in self.parameters():
            uniform(parameter, self.width, generator)

    def entries(self, x: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        """What each entry gives to the gates, T tensors of (B, gates x width)."""
        return (x.T.unsqueeze(2) * self.weight_ih.to(x.dtype).T + bias.to(x.dtype)).unbind(0)

    def start(self, x: Tensor) -> Tensor:
        """The state before the first entry, (B, width)."""
        return x.new_zeros(x.shape[0], self.width)

    def read(self, states: list[Tensor]) -> Tensor:
        """The read-outs of T states, (B, T)."""
        stacked = torch.stack(states, 1)
        weight, bias = self.readout_weight.to(stacked.dtype), self.readout_bias.to(stacked.dtype)
        return (stacked @ weight.T).squeeze(2) + bias


class ElmanCell(_Recurrent):
    """Elman's cell (1990): `h = act(W_ih x + b_ih + W_hh h + b_hh)`, act is tanh or ReLU."""

    def __init__(self, width: int, activation: Literal["tanh", "relu"] = "tanh") -> None:
        super().__init__(width, 1)
        self.activation = activation

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        hidden, weight, states = self.start(x) if state is None else state, self.weight_hh.to(x.dtype).T, []
        for entry in self.entries(x, self.bias_ih + self.bias_hh):
            z = hidden @ weight + entry
            hidden = torch.tanh(z) if self.activation == "tanh" else torch.relu(z)
            states.append(hidden)
        return self.read(states), hidden


class IrnnCell(ElmanCell):
    """The identity-initialised ReLU network (Le, Jaitly and Hinton 2015): `W_hh` starts as the identity, biases at 0,
    all other weights from N(0, 0.001)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, "relu")

    def initialise(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.empty(parameter.shape).normal_(0.0, 1e-3, generator=generator))
            self.weight_hh.copy_(torch.eye(self.width))
            for bias in (self.bias_ih, self.bias_hh, self.readout_bias):
                bias.zero_()


class GruCell(_Recurrent):
    """The gated recurrent unit (Cho et al. 2014) as torch has it: `r, z = sigmoid(...)`, `n = tanh(W_in x + b_in +
    r (W_hn h + b_hn))`, `h = (1 - z) n + z h`."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 3)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gates, width = 2 * self.width, self.width
        hidden, states = self.start(x) if state is None else state, []
        weight = self.weight_hh.to(x.dtype).T
        weight_g, weight_n, bias_n = weight[:, :gates], weight[:, gates:], self.bias_hh.to(x.dtype)[gates:]
        bias = torch.cat([self.bias_ih[:gates] + self.bias_hh[:gates], self.bias_ih[gates:]])
        for entry in self.entries(x, bias):
            reset, update = torch.sigmoid(hidden @ weight_g + entry[:, :gates]).split(width, 1)
            new = torch.tanh(reset * (hidden @ weight_n + bias_n) + entry[:, gates:])
            hidden = new + update * (hidden - new)
            states.append(hidden)
        return self.read(states), hidden


class LstmCell(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) as torch has it, gates in the order i, f, g, o."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 4)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        width, weight, states = self.width, self.weight_hh.to(x.dtype).T, []
        hidden, memory = (self.start(x), self.start(x)) if state is None else state
        for entry in self.entries(x, self.bias_ih + self.bias_hh):
            first, new, last = (hidden @ weight + entry).split([2 * width, width, width], 1)
            write, keep = torch.sigmoid(first).split(width, 1)
            memory = keep * memory + write * torch.tanh(new)
            hidden = torch.sigmoid(last) * torch.tanh(memory)
            states.append(hidden)
        return self.read(states), (hidden, memory)

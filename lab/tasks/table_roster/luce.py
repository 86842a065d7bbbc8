"""What the gradient and the policy share: a logit for each entry and backend, and how rankings follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Adam", "logits_of", "order"]


def logits_of(rankings: NDArray[np.int64], scale: float) -> Tensor:
    """Logits that are in the order of rankings: float32 (size, N), the expected Gumbel variables of the places, times
    `scale`."""
    n = rankings.shape[1]
    # The mean of the k-th largest of n exponentials' negative logarithms is close to -log of the mean exponential.
    mean = np.cumsum(1 / np.arange(n, 0, -1))
    logits = np.empty(rankings.shape, dtype=np.float32)
    np.put_along_axis(logits, rankings, -scale * np.log(mean)[None].astype(np.float32), axis=1)
    return torch.from_numpy(logits)


def order(logits: Tensor) -> NDArray[np.int64]:
    """The rankings of logits, the largest first; ties by place in the roster."""
    return (-logits.detach().numpy()).argsort(axis=-1, kind="stable")


class Adam:
    """Adam (Kingma and Ba 2015) over named tensors, with a state that can be written down."""

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        self.parameters = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
        self._optimizer = torch.optim.Adam(self.parameters.values())

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """One step down the gradient of `loss`."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.zero_grad()
        torch.autograd.backward([loss])
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Copies of all tensors, those of the optimiser too."""
        found = {name: tensor.detach().clone() for name, tensor in self.parameters.items()}
        for name, tensor in self.parameters.items():
            found |= {f"{name}.{key}": value.clone() for key, value in self._optimizer.state[tensor].items()}
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state` returned."""
        for name, tensor in self.parameters.items():
            with torch.no_grad():
                tensor.copy_(state[name])
            moments: dict[str, Any] = {
                key.removeprefix(f"{name}."): value.clone()
                for key, value in state.items()
                if key.startswith(f"{name}.")
            }
            self._optimizer.state[tensor] = moments

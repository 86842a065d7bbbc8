"""The table of a bandit: the classical builder that it takes for the best of its arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from lab.config import Config, parse
from lab.errors import RequestError
from lab.tables.registry import Builder, get

__all__ = ["ArmOptions", "ArmTables", "arm_builder", "table_of_arm"]


class ArmOptions(Config):
    """Which builders there are to choose from, by name and version (`maglev@1`): other tables are other arms."""

    arms: tuple[str, ...] = Field(min_length=1, description="registered classical builders, stateless ones")

    @model_validator(mode="after")
    def _known(self) -> ArmOptions:
        for name in self.arms:
            arm_builder(name)
        return self


def arm_builder(name: str) -> Builder:
    """The builder of an arm.

    Raises:
        ValueError: it is not registered under this name and version, or is trained or stateful.
    """
    if ":" in name:
        raise ValueError(f"an arm must be a classical builder, but got {name!r}")
    try:
        builder = get(name)
    except RequestError as error:
        raise ValueError(str(error)) from None
    if builder.trained or not builder.stateless:
        raise ValueError(f"an arm must be a classical builder, stateless, but got {name!r}")
    return builder


class ArmTables:
    """A table function: the arm with the highest mean reward (a `lab.tables.learned.TableModel`).

    Attributes:
        pulls: int64 (A,), how often each arm was pulled.
        means: float64 (A,), the mean of what it was paid; 0 where never.
        exact: whether the chosen arm is.
    """

    def __init__(self, options: ArmOptions) -> None:
        self.options = options
        self._take(torch.zeros(len(options.arms), dtype=torch.int64), torch.zeros(len(options.arms)).double())

    def _take(self, pulls: Tensor, means: Tensor) -> None:
        self.pulls, self.means = pulls, means
        # Of equals the first; an arm that was never pulled is none's choice while another was.
        known = np.where(pulls.numpy() > 0, means.numpy(), -np.inf)
        self._builder = arm_builder(self.options.arms[int(known.argmax())])
        self.exact = self._builder.exact

    @property
    def chosen(self) -> str:
        """The name of the arm that builds the tables."""
        return self._builder.name

    def state_dict(self) -> Mapping[str, Tensor]:
        """`pulls` int64 (A,) and `means` float64 (A,)."""
        return {"pulls": self.pulls, "means": self.means}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Takes what a bandit found.

        Raises:
            RuntimeError: other tensors, shapes or types than these arms have.
        """
        expected = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in self.state_dict().items()}
        found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state_dict.items()}
        if found != expected:
            raise RuntimeError(f"expected {expected}, but got {found}")
        self._take(state_dict["pulls"], state_dict["means"])

    def check(self, size: int, n_backends: int) -> None:
        """As the chosen arm's."""
        self._builder.check(size, n_backends)

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """As the chosen arm's, see `lab.tables.registry.Builder`."""
        return self._builder.build_batch(hashes, present, size, None)


def table_of_arm(options: Mapping[str, Any]) -> ArmTables:
    """The table function of `ArmOptions` as a mapping, no arm pulled yet.

    Raises:
        RequestError: an arm that is not registered, or none.
    """
    return ArmTables(parse(ArmOptions, options))

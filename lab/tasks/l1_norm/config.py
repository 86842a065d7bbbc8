"""The configuration of a network that learns the L1 norm."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lab.config import Config
from lab.tasks.l1_norm import signs
from lab.tasks.l1_norm.accumulators import Activation
from lab.tasks.l1_norm.cells import CellName, CellOptions, Dtype

__all__ = ["L1NormConfig"]

_NARROW = ("notebook",)
_WITH_BIAS = ("notebook", "relu", "leaky")


class L1NormConfig(Config):
    """What is trained and how: sequences of 1 to `max_length` entries, the loss is the squared error of the read-out
    after the last one."""

    seed: int = Field(default=0, ge=0, description="seed of the weights and of the training sequences")
    iterations: int = Field(
        default=20, ge=1, description="how often results are reported; the schedules span all of them"
    )
    steps: int = Field(default=50, ge=1, description="gradient steps in an iteration")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where networks are trained and validated")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of torch")
    checkpoint_every: int = Field(
        default=5, ge=1, description="iterations between checkpoints; the last has one always"
    )

    cell: CellName = Field(default="relu", description="which cell; relu and leaky are within the rule")
    width: int = Field(default=16, ge=1, le=512, description="hidden units; the notebook's cell has one")
    bias: bool = Field(default=False, description="notebook, relu, leaky: with biases; the others have their own way")
    activation: Activation = Field(default="relu", description="notebook: the activation of the state")
    slope: float = Field(default=0.01, ge=0, lt=1, description="of a leaky ReLU where it is negative")
    signs: str = Field(
        default="", description="notebook: a pattern of initial signs, which also says whether there are biases"
    )
    dtype: Dtype = Field(default="float64", description="precision of the training; networks are used in float32")

    batch_size: int = Field(default=32, ge=1, le=4096, description="sequences in a gradient step")
    max_length: int = Field(default=10, ge=1, le=10_000, description="entries of the longest training sequence")
    input_range: Literal["normal", "uniform", "times_1000", "negative", "outlier"] = Field(
        default="normal", description="where the entries of training sequences come from"
    )
    curriculum: Literal["none", "grow"] = Field(
        default="none", description="grow: the longest length rises from 1 over the first half of the training"
    )
    learning_rate: float = Field(default=0.03, gt=0, le=1, description="Adam's, where the schedule is highest")
    schedule: Literal["constant", "cosine", "geometric"] = Field(
        default="geometric", description="how the learning rate falls after the hold"
    )
    hold: float = Field(default=0.5, ge=0, lt=1, description="share of the training before the learning rate falls")
    decay: float = Field(default=1e-6, gt=0, le=1, description="what it is multiplied with by the end")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="decoupled from the gradients")
    max_gradient_norm: float = Field(default=0.0, ge=0, description="longer gradients are scaled down; 0 for none")
    regularizer: float = Field(
        default=0.01, ge=0, description="nau: what its sparsity regulariser counts, from the middle of the training"
    )

    validation_length: int = Field(default=10_000, ge=1, le=1_000_000, description="entries of a validation sequence")
    validation_sequences: int = Field(default=8, ge=1, le=4096, description="sequences of a validation")

    @model_validator(mode="after")
    def _consistent(self) -> L1NormConfig:
        if self.signs:
            signs.get(self.signs)
            if self.cell != "notebook":
                raise ValueError(f"a pattern of signs is for the cell notebook, but the cell is {self.cell}")
        if self.activation != "relu" and self.cell != "notebook":
            raise ValueError(f"activation is for the cell notebook, but the cell is {self.cell}")
        if self.bias and self.signs and not signs.get(self.signs).bias:
            raise ValueError(f"the pattern {self.signs} is one without biases, but bias is true")
        return self

    def options(self) -> CellOptions:
        """The shape of the cell, as it stands in the artefact; what its cell does not have is at its default."""
        leaky = self.cell == "leaky" or self.activation == "leaky"
        return CellOptions(
            cell=self.cell,
            width=1 if self.cell in _NARROW else self.width,
            bias=signs.get(self.signs).bias if self.signs else self.bias and self.cell in _WITH_BIAS,
            activation=self.activation,
            slope=self.slope if leaky else 0.0,
        )

    def learning_rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The learning rates of gradient steps (n,), counted from 0."""
        done = np.maximum(0.0, self._done(steps) - self.hold) / (1 - self.hold)
        if self.schedule == "constant":
            return np.full(steps.shape, self.learning_rate)
        if self.schedule == "geometric":
            return self.learning_rate * self.decay**done
        return self.learning_rate * (self.decay + (1 - self.decay) * (0.5 + 0.5 * np.cos(np.pi * done)))

    def regularizers(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the sparsity regulariser counts in gradient steps (n,): nothing in the first half, then rising evenly
        over a quarter of the training (the authors bring it in once the function is roughly learned)."""
        return self.regularizer * np.clip(4 * self._done(steps) - 2, 0.0, 1.0)

    def _done(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        return steps / (self.iterations * self.steps)

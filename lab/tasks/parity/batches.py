"""What the gradient steps of a parity model are made on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.tasks.parity.asked import Asked
from lab.tasks.parity.config import ParityConfig
from lab.tasks.parity.groups import Augmentation, shuffled_groups
from lab.tasks.parity.scheme_of import output_of

__all__ = ["Batch", "Batches", "learning_rates"]

_AT_ONCE = 1 << 22
"""Bytes of queries in a block: large enough that a block costs as little as a batch, small enough for many members."""


@dataclass(frozen=True)
class Batch:
    """One batch, or n of the same size with a first axis more.

    Attributes:
        queries: float32 (B, k, C, H, W), augmented.
        predictions: float32 (B, k, n), what the base model hands out for each.
        labels: int64 (B, k), the true classes.
    """

    queries: Tensor
    predictions: Tensor
    labels: Tensor

    def each(self) -> Iterator[Batch]:
        """The batches of a block."""
        for place in range(len(self.labels)):
            yield Batch(self.queries[place], self.predictions[place], self.labels[place])


class Batches:
    """The batches of the training epochs: a function of configuration and epoch, so that a resume repeats none.

    Args:
        config: what is trained.
        asked: its base model.
    """

    def __init__(self, config: ParityConfig, asked: Asked) -> None:
        self.config, self.asked = config, asked
        data = asked.data
        self.inputs, self.labels = data.train.inputs.to(config.device), data.train.labels.to(config.device)
        self.augment = Augmentation(config.shift, config.flip, config.mix)
        self.black = data.black.to(config.device)

    def blocks(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, counted from 0, in blocks; the last batch may be smaller than the others."""
        config = self.config
        groups = torch.from_numpy(shuffled_groups(len(self.labels), config.k, config.seed, epoch))
        rng = np.random.default_rng([config.seed, epoch, 2])
        size = config.groups_in_batch
        most = max(1, _AT_ONCE // (4 * size * config.k * self.inputs[0].numel()))
        whole = len(groups) // size * size
        for part in groups[:whole].view(-1, size, config.k).split(most):
            yield self._block(part.to(config.device), rng)
        if whole < len(groups):
            yield self._block(groups[None, whole:].to(config.device), rng)

    def _block(self, places: Tensor, rng: np.random.Generator) -> Batch:
        """The batches of some places of samples, int64 (n, B, k)."""
        queries = self.asked.data.scaled(self.inputs[places.flatten(1)])
        predictions = self.asked.predictions["train"][places]
        if self.augment:
            queries = torch.stack([self.augment(batch, self.black, rng) for batch in queries])
            if self.config.distil:
                with torch.no_grad():
                    found = output_of(self.config)(self.asked.model(queries.flatten(0, 1)))
                predictions = found.unflatten(0, places.shape)
        return Batch(queries.unflatten(1, places.shape[1:]), predictions, self.labels[places])


def learning_rates(config: ParityConfig, epochs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The learning rate after so many epochs, which need not be whole."""
    if config.schedule == "constant":
        return np.full(np.shape(epochs), config.learning_rate)
    return config.learning_rate * 0.5 * (1 + np.cos(np.pi * epochs / (config.iterations * config.epochs)))

"""Labelled samples, and how they are split."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.errors import RequestError

__all__ = ["Dataset", "Part", "Source", "check_labels", "part_of", "split"]


@dataclass(frozen=True)
class Part:
    """Some samples.

    Attributes:
        inputs: uint8 or float32 (N, C, H, W).
        labels: int64 (N,), from 0.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Source:
    """What a reader finds.

    Attributes:
        train, test: the official parts, or fixed ones where there are no official ones.
        validation: the official part, None where it is still to be taken from `train`.
        classes: how many there are.
        mean, std: float32 (C, 1, 1), `(inputs - mean) / std` is what a network reads.
    """

    train: Part
    validation: Part | None
    test: Part
    classes: int
    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Dataset:
    """A data set with all three of its parts; the fields are those of `Source`."""

    name: str
    train: Part
    validation: Part
    test: Part
    classes: int
    mean: Tensor
    std: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one input."""
        channels, height, width = self.train.inputs.shape[1:]
        return channels, height, width

    def scaled(self, inputs: Tensor) -> Tensor:
        """`inputs` (..., C, H, W) as a network reads them, float32, on their own device."""
        return (inputs.float() - self.mean.to(inputs.device)) / self.std.to(inputs.device)

    @property
    def black(self) -> Tensor:
        """What a pixel of 0 is scaled to, float32 (C, 1, 1), on the CPU."""
        return self.scaled(torch.zeros(self.shape[0], 1, 1))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of every sample, label and scale, in hexadecimal digits: equal for equal parts in equal order."""
        found = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for tensor in (part.inputs, part.labels):
                found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
                found.update(tensor.contiguous().numpy().data)
        for tensor in (self.mean, self.std):
            found.update(tensor.contiguous().numpy().data)
        return found.hexdigest()

    def require(self, k: int) -> None:
        """Raises RequestError if a part has fewer samples than a group of `k` queries."""
        for words, part in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if len(part) < k:
                raise RequestError(
                    f"expected at least k = {k} {words} samples of {self.name} for one group, but it has {len(part)}"
                )


def split(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two sets of places, each with about the same classes; a function of its arguments alone.

    Args:
        labels: int64 (N,).
        share: of each class that goes to the second set, rounded; a class of two samples or more is in both.
        seed: of the draw.

    Returns:
        Sorted places, int64, of the first and of the second set.
    """
    taken = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = min(max(round(share * len(places)), 1), len(places) - 1)
        taken.append(np.random.default_rng([seed, int(label)]).permutation(places)[:count])
    second = np.sort(np.concatenate(taken))
    return np.setdiff1d(np.arange(len(labels)), second), second


def part_of(inputs: NDArray[np.uint8] | NDArray[np.float32], labels: NDArray[np.int64]) -> Part:
    """Arrays (N, C, H, W) and (N,) as tensors that own their memory."""
    return Part(torch.from_numpy(np.ascontiguousarray(inputs)), torch.from_numpy(labels.astype(np.int64)))


def check_labels(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Raises RequestError if a label is outside 0 to `classes` - 1."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise RequestError(f"expected labels from 0 to {classes - 1} in {where}, but got {wrong[0]}")

"""Groups of k queries: which samples are asked about together, and how queries are varied in training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Augmentation", "fixed_groups", "shuffled_groups"]


def fixed_groups(count: int, k: int, groupings: int = 1) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Groups of k for measuring, in `groupings` orders that are drawn once and for all.

    Files are often sorted by class: groups of consecutive samples would be groups of one class.

    Returns:
        Places of samples, int64 (G, k), and which count, bool (G, k): the last group of an order is filled up with its
        first samples, which do not count again, so that each sample counts exactly once in each order.
    """
    orders = [np.random.default_rng([count, number]).permutation(count) for number in range(groupings)]
    size = -(-count // k) * k
    places = np.concatenate([np.resize(order, size) for order in orders])
    return places.reshape(-1, k), np.tile(np.arange(size) < count, groupings).reshape(-1, k)


def shuffled_groups(count: int, k: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The groups of a training epoch, int64 (G, k): every sample, and of the first ones some again in the last group.

    A function of its arguments alone, so that an epoch is the same after a resume.
    """
    order = np.random.default_rng([seed, epoch, 1]).permutation(count)
    return np.resize(order, (-(-count // k), k))


class Augmentation:
    """Varies queries before they are encoded.

    Args:
        shift: most pixels that a query is moved by, each way; what is moved in is black.
        flip: whether half of the queries are mirrored.
        mix: share of the queries that are blended with another of the batch, by a weight drawn from [0, 1].
    """

    def __init__(self, shift: int, flip: bool, mix: float) -> None:
        self.shift, self.flip, self.mix = shift, flip, mix

    def __bool__(self) -> bool:
        return bool(self.shift or self.flip or self.mix)

    def __call__(self, queries: Tensor, black: Tensor, rng: np.random.Generator) -> Tensor:
        """Varied queries, float (N, C, H, W), as given; `black` (C, 1, 1) is what a pixel of 0 is scaled to."""
        count, _, height, width = queries.shape
        device = queries.device
        if self.shift:
            most = self.shift
            padded = black.expand(count, -1, height + 2 * most, width + 2 * most).clone()
            padded[:, :, most : most + height, most : most + width] = queries
            down, right = torch.from_numpy(rng.integers(0, 2 * most + 1, (2, count))).to(device)
            rows = (down[:, None] + torch.arange(height, device=device))[:, None, :, None]
            columns = (right[:, None] + torch.arange(width, device=device))[:, None, None, :]
            sample = torch.arange(count, device=device)[:, None, None, None]
            channel = torch.arange(queries.shape[1], device=device)[None, :, None, None]
            queries = padded[sample, channel, rows, columns]
        if self.flip:
            mirrored = torch.from_numpy(rng.random(count) < 0.5).to(device)
            queries = torch.where(mirrored[:, None, None, None], queries.flip(-1), queries)
        if self.mix:
            blended = rng.random(count) < self.mix
            weight = torch.from_numpy(np.where(blended, rng.random(count), 1.0).astype(np.float32)).to(device)
            other = torch.from_numpy(rng.permutation(count)).to(device)
            queries = torch.lerp(queries[other], queries, weight[:, None, None, None])
        return queries

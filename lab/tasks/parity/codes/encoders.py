"""Encoders: k queries to r parity queries of the same shape.

Every encoder works on each channel by itself: R is coded with R, G with G, B with B.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lab.errors import RequestError
from lab.tasks.parity.codes.matrices import vandermonde

__all__ = ["ENCODERS", "Concatenation", "ConvEncoder", "MLPEncoder", "WeightedAddition"]

Shape = tuple[int, int, int]


class WeightedAddition(nn.Module):
    """Parity query j is the sum of the queries with the weights of row j of `vandermonde(k, r)`: addition for r = 1."""

    weights: Tensor

    def __init__(self, k: int, r: int, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(vandermonde(k, r), dtype=torch.float32), persistent=False)

    def forward(self, queries: Tensor) -> Tensor:
        """Float (B, k, C, H, W) to (B, r, C, H, W)."""
        return torch.einsum("rk,bkchw->brchw", self.weights, queries)


class Concatenation(nn.Module):
    """Queries side by side in one image: two of half the width, or four as quadrants, of which k = 3 leaves one black.

    Each is made smaller by the mean over the pixels that become one.

    Raises:
        RequestError: k is above 4, or a side that is halved is odd.
    """

    def __init__(self, k: int, r: int, shape: Shape) -> None:
        super().__init__()
        if k not in (2, 3, 4) or r != 1:
            raise RequestError(f"expected k from 2 to 4 and r = 1 with concatenation, but got k = {k} and r = {r}")
        _, height, width = shape
        self.rows, self.columns = (1, 2) if k == 2 else (2, 2)
        if height % self.rows or width % self.columns:
            raise RequestError(
                f"expected images whose sides are even for concatenation of k = {k}, but got {height} x {width} pixels"
            )

    def forward(self, queries: Tensor) -> Tensor:
        """Float (B, k, C, H, W) to (B, 1, C, H, W)."""
        size, k = queries.shape[:2]
        small = nn.functional.avg_pool2d(queries.flatten(0, 1), (self.rows, self.columns)).unflatten(0, (size, k))
        empty = small.new_zeros(size, self.rows * self.columns - k, *small.shape[2:])
        places = torch.cat([small, empty], dim=1).unflatten(1, (self.rows, self.columns))
        rows = [torch.cat(list(row.unbind(1)), dim=-1) for row in places.unbind(1)]
        return torch.cat(rows, dim=-2)[:, None]


class MLPEncoder(nn.Module):
    """A hidden layer of k d ReLU units over the k d pixels of a channel (Kosaian et al., arXiv 1806.01259)."""

    def __init__(self, k: int, r: int, shape: Shape) -> None:
        super().__init__()
        pixels = shape[1] * shape[2]
        self.r = r
        self.layers = nn.Sequential(nn.Linear(k * pixels, k * pixels), nn.ReLU(), nn.Linear(k * pixels, r * pixels))

    def forward(self, queries: Tensor) -> Tensor:
        """Float (B, k, C, H, W) to (B, r, C, H, W)."""
        by_channel = queries.transpose(1, 2)
        coded = self.layers(by_channel.flatten(2))
        return coded.unflatten(2, (self.r, *queries.shape[3:])).transpose(1, 2)


class ConvEncoder(nn.Module):
    """Dilated convolutions over the k images of a channel (Kosaian et al., arXiv 1806.01259).

    Six layers of 20 k channels, 3 x 3 at dilations 1, 1, 2, 4, 8 and 1, each with ReLU, and one of 1 x 1.
    """

    def __init__(self, k: int, r: int, shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = k
        for dilation in (1, 1, 2, 4, 8, 1):
            layers += [nn.Conv2d(channels, 20 * k, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            channels = 20 * k
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, r, 1))

    def forward(self, queries: Tensor) -> Tensor:
        """Float (B, k, C, H, W) to (B, r, C, H, W)."""
        size, _, channels = queries.shape[:3]
        coded = self.layers(queries.transpose(1, 2).flatten(0, 1))
        return coded.unflatten(0, (size, channels)).transpose(1, 2)


ENCODERS: Mapping[str, Callable[[int, int, Shape], nn.Module]] = {
    "addition": WeightedAddition,
    "vandermonde": WeightedAddition,
    "concatenation": Concatenation,
    "mlp": MLPEncoder,
    "conv": ConvEncoder,
}
"""Name -> a function of k, r and the shape (C, H, W) of a query; `addition` is `vandermonde` with r = 1."""

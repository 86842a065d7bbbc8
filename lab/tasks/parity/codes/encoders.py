"""Encoders: k queries to r parity queries of the same shape.

Every encoder works on each channel by itself: R is coded with R, G with G, B with B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lab.errors import RequestError
from lab.tasks.parity.codes.matrices import vandermonde

__all__ = ["ENCODERS", "Concatenation", "ConvEncoder", "Grid", "MLPEncoder", "WeightedAddition"]

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
    """Queries side by side in one image, the tiles of a grid (`Grid`), each made smaller by the mean over its pixels.

    What no tile covers is 0: the fourth quadrant for k = 3, and what is left of a side that the grid does not divide.

    Raises:
        RequestError: r is above 1; a side that is halved is odd; a side has fewer pixels than the grid tiles.
    """

    def __init__(self, k: int, r: int, shape: Shape) -> None:
        super().__init__()
        if r != 1:
            raise RequestError(f"expected r = 1 with concatenation, but got r = {r}")
        self.grid = Grid(k, shape)

    def forward(self, queries: Tensor) -> Tensor:
        """Float (B, k, C, H, W) to (B, 1, C, H, W)."""
        size, k = queries.shape[:2]
        small = nn.functional.adaptive_avg_pool2d(queries.flatten(0, 1), self.grid.tile).unflatten(0, (size, k))
        grid, (height, width) = self.grid, queries.shape[3:]
        empty = small.new_zeros(size, grid.rows * grid.columns - k, *small.shape[2:])
        places = torch.cat([small, empty], dim=1).unflatten(1, (grid.rows, grid.columns))
        rows = [torch.cat(list(row.unbind(1)), dim=-1) for row in places.unbind(1)]
        image = torch.cat(rows, dim=-2)
        return nn.functional.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))[:, None]


class Grid:
    """Where the tiles of k queries lie in one image: two halves, quadrants for k up to 4, a near-square grid above.

    Attributes:
        k: queries.
        rows, columns: of the grid.
        tile: height and width of a tile, in pixels.

    Raises:
        RequestError: a side that is halved is odd, or a side has fewer pixels than the grid tiles.
    """

    def __init__(self, k: int, shape: Shape) -> None:
        self.k = k
        self.columns = 2 if k == 2 else math.isqrt(k - 1) + 1
        self.rows = -(-k // self.columns)
        _, height, width = shape
        if k <= 4 and (height % self.rows or width % self.columns):
            raise RequestError(
                f"expected images whose sides are even for concatenation of k = {k}, but got {height} x {width} pixels"
            )
        self.tile = height // self.rows, width // self.columns
        if not all(self.tile):
            raise RequestError(
                f"expected images of at least {self.rows} x {self.columns} pixels for concatenation of k = {k}, "
                f"but got {height} x {width}"
            )

    def tiles(self, images: Tensor) -> Tensor:
        """The tiles of images (B, C, H, W), row by row: (B, k, C, h, w)."""
        high, wide = self.tile
        covered = images[..., : self.rows * high, : self.columns * wide]
        by_tile = covered.unflatten(-1, (self.columns, wide)).unflatten(-3, (self.rows, high))
        return by_tile.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)[:, : self.k]


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

"""A scheme: which answers there are to a group of k queries, and how predictions are rebuilt from those that came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lab.tasks.parity.codes.decoders import apply_decoder
from lab.tasks.parity.codes.encoders import Grid
from lab.tasks.parity.codes.erasures import Erasure, erasures, losses_of_queries
from lab.tasks.parity.codes.matrices import (
    Interpolator,
    berrut,
    chebyshev_points,
    natural_spline,
    query_points,
    systematic_points,
)

__all__ = ["Berrut", "Fallback", "Parity", "Scheme", "Spline", "Tiled"]

Predict = Callable[[Tensor], Tensor]
"""Queries, float (N, C, H, W), to predictions, float (N, n)."""


class Scheme(nn.Module):
    """Base of all schemes.

    Attributes:
        k: queries in a group.
        systematic: whether the first k answers are the queries' own predictions.
        erasures: every way to lose as many answers as it stands for.
        extra: servers it takes beside the k of the queries.
    """

    def __init__(self, k: int, extra: int, patterns: Sequence[Erasure], *, systematic: bool = True) -> None:
        super().__init__()
        self.k, self.extra, self.erasures, self.systematic = k, extra, list(patterns), systematic

    def answers(self, queries: Tensor, predictions: Tensor) -> Tensor:
        """Every answer to some groups.

        Args:
            queries: float (B, k, C, H, W).
            predictions: float (B, k, n), what the base model says of each.

        Returns:
            Float (B, W, n).
        """
        raise NotImplementedError

    def estimate(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        """Predictions (B, k, n) from the answers (B, W, n) for which `arrived`, (W,), is true."""
        raise NotImplementedError

    def rebuild(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        """What is handed out: the queries' own answers where they came, bit for bit, and estimates for the others."""
        if not self.systematic:
            return self.estimate(answers, arrived)
        own = torch.tensor(arrived[: self.k], device=answers.device)
        if bool(own.all()):
            return answers[:, : self.k]
        return torch.where(own[:, None], answers[:, : self.k], self.estimate(answers, arrived))


class Parity(Scheme):
    """Parity models (Kosaian, Rashmi and Venkataraman, SOSP 2019): an encoder, r models, a decoder.

    Attributes:
        encoder: `lab.tasks.parity.codes.encoders`.
        parity_models: one for each parity query, queries (N, C, H, W) to answers (N, m n), m predictions in a row.
        decoder: `lab.tasks.parity.codes.decoders`, whose `answers_each` is m.
    """

    def __init__(self, k: int, encoder: nn.Module, parity_models: Sequence[nn.Module], decoder: nn.Module) -> None:
        r = len(parity_models)
        super().__init__(k, r, erasures(k, r))
        self.encoder, self.parity_models, self.decoder = encoder, nn.ModuleList(parity_models), decoder

    def forward(self, use: Callable[..., Any], *inputs: Any) -> Any:
        """`use(self, *inputs)`, so that `torch.func` can put other weights in for any use."""
        return use(self, *inputs)

    def parts(self) -> dict[str, nn.Module]:
        """What can be trained, by the names in `lab.tasks.parity.config.PARTS`."""
        return {"encoder": self.encoder, "parity_model": self.parity_models, "decoder": self.decoder}

    def parities(self, queries: Tensor) -> Tensor:
        """The predictions of the parity models: (B, k, C, H, W) to (B, r m, n)."""
        coded = self.encoder(queries).unbind(1)
        found = [model(query) for model, query in zip(self.parity_models, coded, strict=True)]
        return torch.cat([answer.unflatten(1, (self.decoder.answers_each, -1)) for answer in found], dim=1)

    def answers(self, queries: Tensor, predictions: Tensor) -> Tensor:
        return torch.cat([predictions, self.parities(queries)], dim=1)

    def estimate(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        found: Tensor = self.decoder(answers, arrived)
        return found


class Tiled(nn.Module):
    """A parity model that is asked about each tile of a grid: images (N, C, H, W) to predictions (N, k n) in a row.

    Args:
        model: of a tile, (N, C, h, w) to (N, n).
        grid: where the tiles are.
    """

    def __init__(self, model: nn.Module, grid: Grid) -> None:
        super().__init__()
        self.model, self.grid = model, grid

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.model(self.grid.tiles(images).flatten(0, 1))
        return found.view(len(images), -1)


class Interpolated(Scheme):
    """Workers run the base model itself on values of a curve through the queries; a curve through answers gives back.

    Attributes:
        generator: float64 (W, k).
    """

    def __init__(
        self, k: int, r: int, predict: Predict, encode: Interpolator, decode: Interpolator, *, systematic: bool
    ) -> None:
        super().__init__(k, r, erasures(k, r, systematic=systematic), systematic=systematic)
        self.predict, self.decode = predict, decode
        if systematic:
            self.points, parities = systematic_points(k, r)
            self.workers = np.concatenate([self.points, parities])
        else:
            self.points, self.workers = query_points(k), chebyshev_points(k + r)
        self.generator = encode(self.points, self.workers)

    def answers(self, queries: Tensor, predictions: Tensor) -> Tensor:
        rows = self.generator[self.k :] if self.systematic else self.generator
        matrix = torch.as_tensor(rows, dtype=queries.dtype, device=queries.device)
        coded = torch.einsum("wk,bk...->bw...", matrix, queries)
        found = self.predict(coded.flatten(0, 1)).unflatten(0, coded.shape[:2])
        return torch.cat([predictions, found], dim=1) if self.systematic else found

    def estimate(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        came = np.array(arrived, bool)
        decoder = np.zeros((self.k, len(came)))
        decoder[:, came] = self.decode(self.workers[came], self.points)
        return apply_decoder(decoder, answers, arrived)


class Berrut(Interpolated):
    """Berrut's rational interpolation: ApproxIFER and BACC, or with the queries' own answers among the nodes."""

    def __init__(self, k: int, r: int, predict: Predict, *, systematic: bool) -> None:
        super().__init__(k, r, predict, berrut, berrut, systematic=systematic)


class Spline(Interpolated):
    """Smoothing splines: NeRCC and LeTCC.

    Args:
        k, r, predict: as in `Interpolated`.
        encoder_smoothing, decoder_smoothing: of `lab.tasks.parity.codes.matrices.natural_spline`.
    """

    def __init__(self, k: int, r: int, predict: Predict, *, encoder_smoothing: float, decoder_smoothing: float) -> None:
        super().__init__(
            k,
            r,
            predict,
            lambda nodes, points: natural_spline(nodes, points, encoder_smoothing),
            lambda nodes, points: natural_spline(nodes, points, decoder_smoothing),
            systematic=False,
        )


class Fallback(Scheme):
    """Something that is not coded stands in for each prediction that is lost.

    Args:
        k: queries in a group.
        r: how many predictions are lost.
        stand_in: queries (B, k, C, H, W) and predictions (B, k, n) to what stands in, (B, k, n).
        extra: servers it takes.
    """

    def __init__(self, k: int, r: int, stand_in: Callable[[Tensor, Tensor], Tensor], extra: int) -> None:
        super().__init__(k, extra, losses_of_queries(k, r))
        self.stand_in = stand_in

    def answers(self, queries: Tensor, predictions: Tensor) -> Tensor:
        return torch.cat([predictions, self.stand_in(queries, predictions)], dim=1)

    def estimate(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        return answers[:, self.k :]

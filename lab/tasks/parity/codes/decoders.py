"""Decoders: predictions of all k queries from the answers that arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lab.tasks.parity.codes.matrices import Matrix, linear_decoder, vandermonde

__all__ = ["DECODERS", "FixedDecoder", "LinearDecoder", "MLPDecoder", "SelectionDecoder", "apply_decoder"]


def apply_decoder(decoder: Matrix, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
    """Estimates by a matrix.

    Args:
        decoder: float64 (k, W).
        answers: float (B, W, n); lost ones are not read, they may be NaN.
        arrived: (W,).

    Returns:
        Float (B, k, n).
    """
    came = torch.tensor(arrived, device=answers.device)
    matrix = torch.as_tensor(decoder, dtype=answers.dtype, device=answers.device)
    return torch.einsum("kw,bwn->bkn", matrix, answers.where(came[:, None], 0.0))


class FixedDecoder(nn.Module):
    """A decoder without weights: what the parity models have to answer is known.

    Attributes:
        answers_each: predictions in the answer of a parity model.
    """

    answers_each = 1

    def targets(self, predictions: Tensor) -> Tensor:
        """What the parity models have to answer for the decoder to be exact: (B, k, n) to (B, r answers_each, n)."""
        raise NotImplementedError


class SelectionDecoder(FixedDecoder):
    """The parity model's own prediction of the query whose answer is lost: it has one for each of the k queries."""

    def __init__(self, k: int, r: int, classes: int) -> None:
        super().__init__()
        self.answers_each = k

    def targets(self, predictions: Tensor) -> Tensor:
        return predictions

    def forward(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        """Float (B, 2 k, n), the parity model's behind the queries' own, to (B, k, n)."""
        return answers[:, self.answers_each :]


class LinearDecoder(FixedDecoder):
    """Undoes sums with the weights of `vandermonde(k, r)`: subtraction for r = 1."""

    def __init__(self, k: int, r: int, classes: int) -> None:
        super().__init__()
        self.weights = vandermonde(k, r)
        self.undoing: dict[tuple[bool, ...], Matrix] = {}

    def targets(self, predictions: Tensor) -> Tensor:
        weights = torch.as_tensor(self.weights, dtype=predictions.dtype, device=predictions.device)
        return torch.einsum("rk,bkn->brn", weights, predictions)

    def forward(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        """Float (B, k + r, n) to (B, k, n)."""
        # A training through the decoder asks for every way to lose answers in each step.
        came = tuple(arrived)
        if came not in self.undoing:
            self.undoing[came] = linear_decoder(self.weights, came)
        return apply_decoder(self.undoing[came], answers, came)


class MLPDecoder(nn.Module):
    """Two hidden layers of k n ReLU units over all k + r answers, 0 for each that is lost (arXiv 1806.01259)."""

    answers_each = 1

    def __init__(self, k: int, r: int, classes: int) -> None:
        super().__init__()
        self.k = k
        width = k * classes
        self.layers = nn.Sequential(
            nn.Linear((k + r) * classes, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, answers: Tensor, arrived: Sequence[bool]) -> Tensor:
        """Float (B, k + r, n) to (B, k, n)."""
        came = torch.tensor(arrived, device=answers.device)
        return self.layers(answers.where(came[:, None], 0.0).flatten(1)).unflatten(1, (self.k, -1))


DECODERS: Mapping[str, Callable[[int, int, int], nn.Module]] = {
    "subtraction": LinearDecoder,
    "linear": LinearDecoder,
    "mlp": MLPDecoder,
    "selection": SelectionDecoder,
}
"""Name -> a function of k, r and the number of classes; `subtraction` is `linear` with r = 1."""

"""What a parity model, an encoder and a decoder are trained on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lab.tasks.parity.codes import FixedDecoder, Parity

__all__ = ["loss_of"]


def loss_of(
    scheme: Parity, queries: Tensor, predictions: Tensor, labels: Tensor, loss: str, temperature: float | Tensor
) -> Tensor:
    """The loss of some groups, a scalar.

    With `mse` and a decoder without weights: the squared error of the parity models' answers against what makes that
    decoder exact (Kosaian et al., SOSP 2019). Otherwise the loss of rebuilt predictions, each lost in each way to lose
    some, and of nothing else (arXiv 1806.01259).

    Args:
        scheme: what is trained.
        queries: float (B, k, C, H, W).
        predictions: float (B, k, n), the base model's.
        labels: int64 (B, k), the true ones.
        loss: `mse`, `kl` or `cross-entropy`.
        temperature: that predictions are divided by in `kl`.
    """
    if loss == "mse" and isinstance(scheme.decoder, FixedDecoder):
        return functional.mse_loss(scheme.parities(queries), scheme.decoder.targets(predictions))
    answers = scheme.answers(queries, predictions)
    # Places, not masks: members of a population have them mapped.
    lost = [[place for place, rebuilt in enumerate(erasure.rebuilt) if rebuilt] for erasure in scheme.erasures]
    estimates = [scheme.estimate(answers, erasure.arrived) for erasure in scheme.erasures]
    rebuilt = torch.cat([found[:, of].flatten(0, 1) for found, of in zip(estimates, lost, strict=True)])
    wanted = torch.cat([predictions[:, of].flatten(0, 1) for of in lost])
    if loss == "mse":
        return functional.mse_loss(rebuilt, wanted)
    if loss == "cross-entropy":
        return functional.cross_entropy(rebuilt, torch.cat([labels[:, of].flatten() for of in lost]))
    return functional.kl_div(
        functional.log_softmax(rebuilt / temperature, -1),
        functional.log_softmax(wanted / temperature, -1),
        reduction="batchmean",
        log_target=True,
    )

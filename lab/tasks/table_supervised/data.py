"""Scenarios as a network reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.scenarios import ScenarioBatch
from lab.tables.networks import Decoder, Scorer
from lab.tables.scored import compact, slots_of

__all__ = ["Batch", "batch_of"]


@dataclass(frozen=True)
class Batch:
    """B scenarios, the sets before and after in slots of their own; the same arrays whatever the weights.

    Attributes:
        features: float32 (2B, ...), what the network reads: the sets before, then the sets after.
        present: bool (2B, S).
        same: int64 (B, S), for each slot before the slot in which its backend stands after, -1 if it left.
    """

    features: Tensor
    present: Tensor
    same: Tensor


def batch_of(scenarios: ScenarioBatch, scorer: Scorer, decoder: Decoder, device: torch.device) -> Batch:
    """The scenarios as `scorer` reads them, on `device`.

    The decoder `argmax` sees a slot for each entry; the others as many as the largest set has backends.
    """
    most = int(np.maximum(scenarios.n_before, scenarios.n_after).max())
    present = np.concatenate([scenarios.before, scenarios.after])
    slots = slots_of(present, scenarios.size if decoder == "argmax" else most)
    hashes, there = compact(np.concatenate([scenarios.hashes, scenarios.hashes]), slots)
    before = slots[: len(scenarios)]
    slot_after = np.where(scenarios.after, np.cumsum(scenarios.after, axis=1) - 1, -1)
    same = np.where(before >= 0, np.take_along_axis(slot_after, np.maximum(before, 0), axis=1), -1)
    features = scorer.features(hashes, there, scenarios.size)
    return Batch(
        features=torch.from_numpy(features.astype(np.float32)).to(device),
        present=torch.from_numpy(there).to(device),
        same=torch.from_numpy(same).to(device),
    )

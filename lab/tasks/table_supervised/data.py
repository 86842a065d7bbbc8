"""Scenarios as a network reads them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from envs.scenarios import ScenarioBatch
from lab.tables.networks import Scorer
from lab.tables.scored import compact, slots_of

__all__ = ["batch_of"]


def batch_of(scenarios: ScenarioBatch, scorer: Scorer, slots: int) -> dict[str, Tensor]:
    """The scenarios as networks of the shape of `scorer` read them; the same tensors whatever the weights.

    Args:
        scenarios: B of them.
        scorer: makes the features.
        slots: S, at least as many as the largest set has backends.

    Returns:
        On the CPU: `features`, float32 (2B, ...), what the network reads, the sets before, then the sets after;
        `present`, bool (2B, S), which slots hold a backend; `same`, int64 (B, S), for each slot before the slot in
        which its backend stands after, -1 if it left.
    """
    columns = slots_of(np.concatenate([scenarios.before, scenarios.after]), slots)
    hashes, there = compact(np.concatenate([scenarios.hashes, scenarios.hashes]), columns)
    before = columns[: len(scenarios)]
    slot_after = np.where(scenarios.after, np.cumsum(scenarios.after, axis=1) - 1, -1)
    same = np.where(before >= 0, np.take_along_axis(slot_after, np.maximum(before, 0), axis=1), -1)
    features = scorer.features(hashes, there, scenarios.size)
    return {
        "features": torch.from_numpy(features.astype(np.float32)),
        "present": torch.from_numpy(there),
        "same": torch.from_numpy(same),
    }

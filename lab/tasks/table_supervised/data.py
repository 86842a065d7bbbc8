"""Scenarios as a network reads them, and tables as they are judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.scenarios import ScenarioBatch
from envs.scoring import churn_ratio, table_scores, transition_scores
from lab.tables.networks import Decoder, Scorer
from lab.tables.scored import ScoredTables, compact, slots_of

__all__ = ["OBJECTIVE", "Batch", "batch_of", "evaluate"]

OBJECTIVE = "even_churn_ratio"
"""The measure that a network is chosen by; see `evaluate`."""


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


def evaluate(tables: ScoredTables, scenarios: ScenarioBatch) -> dict[str, float]:
    """Judges decoded tables, by identity.

    Returns:
        Means over the scenarios of `changed`, `excess`, `regret` (shares of entries), and of `imbalance` and `invalid`
        over both tables; `churn_ratio`; and `even_churn_ratio`, the objective: the churn ratio if every entry that is
        invalid, or more than an even load, were moved once more in each of the two tables to make them even. No
        network gains by being uneven or invalid: it bounds the churn ratio of an exactly even pair of tables from
        above, and equals `churn_ratio` where the tables are valid and even.
    """
    before = tables.build_batch(scenarios.hashes, scenarios.before, scenarios.size)
    after = tables.build_batch(scenarios.hashes, scenarios.after, scenarios.size)
    pair = transition_scores(before, after, scenarios.before, scenarios.after)
    ends = table_scores(before, scenarios.before), table_scores(after, scenarios.after)
    repairs = sum(end.imbalance + end.invalid for end in ends)
    ratios = churn_ratio(pair.changed, pair.optimum), churn_ratio(pair.changed + repairs, pair.optimum)
    return {
        "churn_ratio": float("nan") if ratios[0] is None else ratios[0],
        OBJECTIVE: float("nan") if ratios[1] is None else ratios[1],
        "changed": float(pair.changed.mean()),
        "excess": float(pair.excess.mean()),
        "regret": float(pair.regret.mean()),
        "imbalance": float(np.mean([end.imbalance for end in ends])),
        "invalid": float(np.mean([end.invalid for end in ends])),
    }

"""What a policy is judged by in training: the tables it builds on the validation stream."""

from __future__ import annotations

import numpy as np

from envs.scenarios import ScenarioConfig, sample_batch, stream
from envs.scoring import table_scores, transition_scores
from lab.tables.sequential import SequentialTables
from lab.tasks.table_ppo.config import VALIDATION_SIZE

__all__ = ["OBJECTIVE", "Validation"]

OBJECTIVE = "validation/even_churn_ratio"
"""The metric that is minimised."""


class Validation:
    """Scores a policy, taken deterministically, on scenarios that are the same for every trial and every seed."""

    def __init__(self, pairs: int) -> None:
        """Draws `pairs` scenarios from the validation stream."""
        self.batch = sample_batch(ScenarioConfig(size=VALIDATION_SIZE), pairs, stream("validation", 0))

    def __call__(self, tables: SequentialTables) -> dict[str, float]:
        """Builds both tables of every scenario.

        Returns:
            Means over scenarios, as shares of entries, of `validation/excess`, `validation/imbalance` and
            `validation/invalid` (the latter two over both tables); `validation/churn_ratio`; and the objective,
            `validation/even_churn_ratio`: the churn ratio if every entry that is invalid, or more than an even load,
            were moved once more in each of the two tables. Where the mask holds the quotas it is the churn ratio; where
            it does not, no policy gains by being uneven.
        """
        batch = self.batch
        before = tables.build_batch(batch.hashes, batch.before, VALIDATION_SIZE)
        after = tables.build_batch(batch.hashes, batch.after, VALIDATION_SIZE)
        moves = transition_scores(before, after, batch.before, batch.after)
        ends = (table_scores(before, batch.before), table_scores(after, batch.after))
        repairs = np.sum([end.imbalance + end.invalid for end in ends], axis=0)
        # Some backend always leaves or joins and has a load, so the optimum is above 0.
        optimum = float(moves.optimum.sum())
        return {
            OBJECTIVE: float((moves.changed + repairs).sum()) / optimum,
            "validation/churn_ratio": float(moves.changed.sum()) / optimum,
            "validation/excess": float(moves.excess.mean()),
            "validation/imbalance": float(np.mean([end.imbalance for end in ends])),
            "validation/invalid": float(np.mean([end.invalid for end in ends])),
        }

"""What a policy is judged by in training: the tables it builds on the validation stream."""

from __future__ import annotations

import numpy as np

from envs.scenarios import ScenarioConfig, sample_batch, stream
from envs.scoring import table_scores, transition_scores
from lab.tables.sequential import SequentialTables
from lab.tasks.table_ppo.config import VALIDATION_SIZE

__all__ = ["OBJECTIVE", "Validation"]

OBJECTIVE = "validation/score"
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
            `validation/invalid` (the latter two over both tables); `validation/churn_ratio`; and `validation/score`,
            the objective: the churn ratio with every entry that is held unevenly or by nobody counted as one more
            changed entry. Where the mask holds the quotas it is the churn ratio; where it does not, a table cannot
            gain by being uneven.
        """
        batch = self.batch
        before = tables.build_batch(batch.hashes, batch.before, VALIDATION_SIZE)
        after = tables.build_batch(batch.hashes, batch.after, VALIDATION_SIZE)
        moves = transition_scores(before, after, batch.before, batch.after)
        scores = (table_scores(before, batch.before), table_scores(after, batch.after))
        imbalance = np.mean([score.imbalance for score in scores], axis=0)
        invalid = np.mean([score.invalid for score in scores], axis=0)
        optimum = float(moves.optimum.sum())
        return {
            OBJECTIVE: float((moves.changed + imbalance + invalid).sum()) / optimum,
            "validation/churn_ratio": float(moves.changed.sum()) / optimum,
            "validation/excess": float(moves.excess.mean()),
            "validation/imbalance": float(imbalance.mean()),
            "validation/invalid": float(invalid.mean()),
        }

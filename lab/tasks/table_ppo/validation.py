"""What a policy is judged by in training: the tables it builds on the validation stream."""

from __future__ import annotations

from envs.scenarios import ScenarioBatch, ScenarioConfig, sample_batch, stream
from lab.tables import judging
from lab.tables.sequential import SequentialTables
from lab.tasks.table_ppo.config import VALIDATION_SIZE, SequentialConfig

__all__ = ["OBJECTIVE", "Validation", "validation_scenarios"]

OBJECTIVE = f"validation/{judging.OBJECTIVE}"
"""The metric that is minimised."""


def validation_scenarios(config: SequentialConfig) -> ScenarioBatch:
    """The scenarios that a training is validated on, the same for every seed."""
    return Validation(config.validation_pairs).batch


class Validation:
    """Scores a policy, taken deterministically, on scenarios that are the same for every trial and every seed."""

    def __init__(self, pairs: int) -> None:
        """Draws `pairs` scenarios from the validation stream."""
        self.batch = sample_batch(ScenarioConfig(size=VALIDATION_SIZE), pairs, stream("validation", 0))

    def __call__(self, tables: SequentialTables, iteration: int) -> dict[str, float]:
        """The measures of `lab.tables.judging.judge`, as `validation/...`, and the iteration they are of: reports
        between two validations repeat the last one's."""
        measures = {f"validation/{name}": value for name, value in judging.judge(tables, self.batch).items()}
        return {**measures, "validation/iteration": float(iteration)}

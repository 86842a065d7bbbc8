"""How a table function is judged while it is trained: every score of `envs.scoring`, on scenarios."""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.scenarios import ScenarioBatch
from envs.scoring import churn_ratio, table_scores, transition_scores

__all__ = ["OBJECTIVE", "judge", "measure"]

OBJECTIVE = "even_churn_ratio"
"""The measure that networks are chosen by; see `judge`."""


class _Builds(Protocol):
    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]: ...


def judge(tables: _Builds, scenarios: ScenarioBatch) -> dict[str, float]:
    """Builds both tables of every scenario and scores them, by identity.

    Args:
        tables: what builds them; where it has a `stateless` of False, its `rebuild` builds the second.
        scenarios: B of them, of which each has an optimum above 0.

    Returns:
        Means over the scenarios of every field of `TransitionScores` and, over both tables, of `TableScores`, in their
        units; `churn_ratio`; and `even_churn_ratio`, the objective: the churn ratio if every entry that is invalid, or
        more than an even load, were moved once more in each of the two tables. It bounds the churn ratio of an exactly
        even pair of tables from above, and equals `churn_ratio` where tables are valid and even: no network gains by
        being uneven or invalid.
    """
    before = tables.build_batch(scenarios.hashes, scenarios.before, scenarios.size)
    if getattr(tables, "stateless", True):
        after = tables.build_batch(scenarios.hashes, scenarios.after, scenarios.size)
    else:
        after = tables.rebuild(before, scenarios.hashes, scenarios.before, scenarios.after)  # type: ignore[attr-defined]
    return measure(before, after, scenarios)


def measure(before: NDArray[np.int32], after: NDArray[np.int32], scenarios: ScenarioBatch) -> dict[str, float]:
    """What `judge` returns, of tables that are built already, int32 (B, size) of columns each."""
    moves = transition_scores(before, after, scenarios.before, scenarios.after)
    ends = (table_scores(before, scenarios.before), table_scores(after, scenarios.after))
    repairs = sum(end.imbalance + end.invalid for end in ends)
    ratios = {"churn_ratio": moves.changed, OBJECTIVE: moves.changed + repairs}
    found = {name: churn_ratio(changed, moves.optimum) for name, changed in ratios.items()}
    return {
        **{name: float("nan") if ratio is None else ratio for name, ratio in found.items()},
        **{name: float(values.mean()) for name, values in asdict(moves).items()},
        **{name: float(np.mean([asdict(end)[name] for end in ends])) for name in asdict(ends[0])},
    }

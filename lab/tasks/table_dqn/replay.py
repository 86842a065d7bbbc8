"""A replay buffer of rollouts: transitions are drawn by index from flat arrays.

RLlib's own buffers keep an object for each episode and make one for each transition that is drawn, which takes ten
times as long as all the rest.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns

from lab.tasks.table_ppo.rollout import Rollout

__all__ = ["TransitionBuffer", "Transitions"]

Transitions = dict[str, Any]
"""`obs` and `new_obs`, name -> (B, ...); `actions` int64, `rewards` float32, `terminateds` bool, all (B,)."""


class TransitionBuffer:
    """The newest rollouts whose steps fit in `capacity`, and uniform draws from all their transitions.

    Args:
        capacity: environment steps.
        seed: of the draws.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self._rollouts: deque[Rollout] = deque()
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Transitions that are held."""
        return sum(len(rollout) for rollout in self._rollouts)

    def add(self, rollouts: list[Rollout]) -> None:
        """Adds rollouts whose last steps end all their episodes, and lets the oldest go."""
        self._rollouts.extend(rollouts)
        while len(self) > self.capacity and len(self._rollouts) > 1:
            self._rollouts.popleft()

    def sample(self, num_items: int, **kwargs: Any) -> list[Transitions]:
        """`num_items` transitions, drawn uniformly with replacement; a list of one, as RLlib passes episodes on."""
        ends = np.cumsum([len(rollout) for rollout in self._rollouts])
        picked = np.sort(self._rng.integers(ends[-1], size=num_items))
        parts: list[Transitions] = []
        for rollout, end in zip(self._rollouts, ends, strict=True):
            low, high = np.searchsorted(picked, (end - len(rollout), end))
            if low < high:
                parts.append(_transitions(rollout, picked[low:high] - (end - len(rollout))))
        return [{name: _joined([part[name] for part in parts]) for name in parts[0]}]

    def get_metrics(self) -> dict[str, Any]:
        """None, for RLlib."""
        return {}


def _transitions(rollout: Rollout, index: NDArray[np.int64]) -> Transitions:
    step, table = np.divmod(index, rollout.terminated.shape[1])
    # Nothing comes after the last step, where every episode ends: its own observation stands in.
    following = np.minimum(step + 1, len(rollout.terminated) - 1)
    return {
        Columns.OBS: {name: values[step, table] for name, values in rollout.observations.items()},
        Columns.NEXT_OBS: {name: values[following, table] for name, values in rollout.observations.items()},
        Columns.ACTIONS: rollout.columns[Columns.ACTIONS][step, table],
        Columns.REWARDS: rollout.columns[Columns.REWARDS][step, table],
        Columns.TERMINATEDS: rollout.terminated[step, table],
    }


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)

"""What an environment runner hands to the learner: the steps of many environments in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "Rollout"]

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments whose episodes begin and end together.

    RLlib passes it on where it passes lists of episodes, and asks it for its lengths.

    Attributes:
        observations: name -> (T, N, ...), what was seen before each step.
        columns: RLlib's name of a column -> (T, N, ...): `actions`, `rewards` float32, and what the module said of the
            step: `action_logp` float32, `action_dist_inputs`, ...
        terminated: bool (T, N), after which steps nothing comes.
        successors: step -> observations (N, ...) after it, for steps that the next row does not follow: where episodes
            were cut off, and at the end of the rollout. A step whose episodes all terminated needs none.
    """

    observations: Arrays
    columns: Arrays
    terminated: NDArray[np.bool_]
    successors: dict[int, Arrays] = field(default_factory=dict)

    def __len__(self) -> int:
        """Environment steps."""
        return self.terminated.size

    def env_steps(self) -> int:
        """Environment steps, as RLlib's episodes say them."""
        return len(self)

    def agent_steps(self) -> int:
        """The same: there is one agent."""
        return len(self)

"""What a DQN training of the sequential table is told."""

from __future__ import annotations

from pydantic import Field, model_validator

from lab.tasks.table_ppo.config import SequentialConfig

__all__ = ["TableDqnConfig"]


class TableDqnConfig(SequentialConfig):
    """Double DQN (van Hasselt et al., 2016), as `SequentialConfig` has the environment and the policy.

    The policy's scores are the values of the actions, so `sharpness` is their scale: a needless move costs 1 / size.
    """

    sharpness: float = Field(default=0.1, gt=0, le=1000, description="scale of the values")
    minibatch: int = Field(default=1024, ge=1, description="transitions of one gradient step")
    replays: float = Field(default=3.0, gt=0, le=100, description="how often a transition is learned from, on average")
    capacity: int = Field(default=120_000, ge=1, description="transitions that are kept")
    epsilon: float = Field(default=0.3, ge=0, le=1, description="first share of random actions; it falls linearly")
    epsilon_final: float = Field(default=0.01, ge=0, le=1, description="share of random actions from the half on")
    target_every: int = Field(default=6016, ge=1, description="environment steps between two copies into the target")

    @model_validator(mode="after")
    def _fits(self) -> TableDqnConfig:
        if self.reward == "terminal" and not self.gamma:
            raise ValueError("gamma must be above 0 with reward terminal, which is paid at the last step alone")
        if self.capacity < self.batch:
            raise ValueError(f"capacity must be at least envs * 2 * size = {self.batch}, but got {self.capacity}")
        return self

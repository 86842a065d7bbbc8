"""What a bandit over builders is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from envs.scenarios import ScenarioConfig
from lab.config import Config
from lab.tables.arm import ArmOptions

__all__ = ["TableBanditConfig"]


class TableBanditConfig(Config):
    """A bandit whose arms are classical builders. A pull builds both tables of a fresh scenario with one of them.

    One arm serves both sets: a load balancer that chose by the set would change its whole table whenever the choice
    changes. All that both sets share is the size, and there is one size in a training, so the bandit has one context.
    """

    seed: int = Field(default=0, ge=0, description="of the scenarios, the exploration and the ties")
    iterations: int = Field(default=50, ge=1, description="how often results are reported")
    pulls: int = Field(default=128, ge=1, le=100_000, description="pulls in an iteration, one after the other")
    device: Literal["cpu"] = Field(default="cpu", description="builders are NumPy")
    threads: int = Field(default=1, ge=1, le=256, description="reserved for a trial; one is used")
    size: int = Field(default=47, ge=2, le=4096, description="entries of a table")
    max_delta: int = Field(default=10, ge=1, description="the largest difference of the two sets, in backends")
    w_evenness: float = Field(default=1.0, ge=0, description="weight of the mean imbalance of the two tables")
    w_stability: float = Field(default=1.0, ge=0, description="weight of the excess")
    arms: tuple[str, ...] = Field(
        default=(
            "maglev@1",
            "modulo@1",
            "ring@1",
            "ring-bounded@1",
            "multi-probe@1",
            "rendezvous@1",
            "rendezvous-stratified@1",
            "balanced@1",
            "balanced-stratified@1",
            "balanced-stratified+0@1",
            "balanced-stratified+1@1",
            "balanced-stratified-floors@1",
        ),
        min_length=2,
        description="builders, by name and version",
    )
    explore: Literal["epsilon", "ucb"] = Field(default="epsilon", description="epsilon-greedy, or UCB1")
    epsilon: float = Field(default=0.5, ge=0, le=1, description="epsilon: share of random pulls at the first")
    epsilon_final: float = Field(default=0.02, ge=0, le=1, description="epsilon: at the last pull, geometrically")
    bonus: float = Field(
        default=0.1, ge=0, description="ucb: factor of sqrt(2 ln t / pulls): the range of the rewards, for UCB1's bound"
    )
    validation_pairs: int = Field(default=512, ge=1, description="scenarios of a validation, the same for every trial")
    checkpoint_every: int = Field(default=10, ge=1, description="iterations between two checkpoints")

    @model_validator(mode="after")
    def _fits(self) -> TableBanditConfig:
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("arms must be given once each")
        if self.explore == "epsilon" and not 0 < self.epsilon_final <= self.epsilon:
            raise ValueError(
                f"epsilon_final must be above 0 and at most epsilon, but got {self.epsilon_final} and {self.epsilon}"
            )
        ArmOptions(arms=self.arms)
        return self

    def scenario(self, size: int) -> ScenarioConfig:
        """The notebook's rule at `size`."""
        return ScenarioConfig(
            size=size, n_before=(min(3, size), size), n_after=(1, size), max_delta=min(self.max_delta, size)
        )

    def epsilon_at(self, pull: int) -> float:
        """The share of random pulls at pull `pull`, counted from 0."""
        done = pull / (self.iterations * self.pulls)
        return float(self.epsilon * (self.epsilon_final / self.epsilon) ** done)

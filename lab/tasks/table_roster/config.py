"""What a search for rankings is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lab.config import Config
from lab.tables.subsets import ALL_UP_TO

__all__ = ["Method", "TableRosterConfig"]

Method = Literal["heat_bath", "insertion", "anneal", "flow", "gradient", "ppo"]

_LARGEST: dict[str, int] = {"heat_bath": ALL_UP_TO, "flow": 10}
"""Backends of the largest roster that a method can do, where all of its subsets are in memory at once."""


class TableRosterConfig(Config):
    """A search for the rankings of a roster. Excess is 0 by construction; what is searched for is evenness."""

    universe: Literal["roster"] = Field(default="roster", description="what is known of the backends beforehand")
    method: Method = Field(
        default="heat_bath",
        description="heat_bath: whole rankings drawn anew, up to 12 backends; insertion: the place of one backend in "
        "one ranking drawn anew; anneal: swaps (the peer); flow: an integer programme over flows, up to 10 backends, "
        "needs ortools; gradient: descent through a soft argmax; ppo: a policy that gives rankings out",
    )
    seed: int = Field(default=0, ge=0, description="of the chains")
    iterations: int = Field(
        default=700,
        ge=1,
        description="sweeps of heat_bath, insertion and anneal (each looks at every entry, with the latter two at "
        "every place of it), solver calls of flow, gradient steps, or updates of the policy",
    )
    device: Literal["cpu"] = Field(default="cpu", description="the searches are NumPy and small networks")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of torch: of gradient and ppo")
    size: int = Field(default=47, ge=2, le=4096, description="entries of a table")
    backends: int = Field(default=7, ge=2, le=128, description="of the roster")
    chains: int = Field(
        default=16, ge=1, le=1024, description="heat_bath, insertion, anneal: searches side by side, which do not meet"
    )
    subsets: int = Field(
        default=2048,
        ge=16,
        le=1 << 16,
        description="drawn for every iteration: of rosters of more than 12 backends, and by gradient and ppo always",
    )
    temperature_start: float = Field(
        default=0.55,
        gt=0,
        le=1e4,
        description="of the first iteration; gradient: of the soft argmax; flow: of the heat bath before "
        "it; not read by ppo",
    )
    temperature_end: float = Field(default=0.27, gt=0, le=1e4, description="of the last iteration, geometrically")
    power: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="of a subset's squared distance from even loads, in its cost: the less, the more does it matter "
        "whether it is even at all; not read by gradient",
    )
    effort: float = Field(default=2.0, gt=0, description="flow: deterministic time of one solver call, near seconds")
    learning_rate: float = Field(default=0.05, gt=0, le=10, description="gradient, ppo: of Adam, on the logits")
    start_scale: float = Field(
        default=1.0, gt=0, le=100, description="gradient, ppo: how firmly the logits hold to the first rankings"
    )
    variance_start: float = Field(
        default=1e-3, gt=0, le=100, description="gradient: weight of undecided entries in the first loss"
    )
    variance_end: float = Field(default=0.1, gt=0, le=100, description="in the last, geometrically")
    rollouts: int = Field(default=16, ge=2, le=1024, description="ppo: tables of rankings drawn for an update")
    epochs: int = Field(default=4, ge=1, le=100, description="ppo: passes over them")
    clip: float = Field(default=0.2, gt=0, le=1, description="ppo: how far a ratio may leave 1")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="ppo: of generalised advantage estimation")
    validate_every: int = Field(
        default=1, ge=1, description="iterations between validations, and so reports; every checkpoint has one, too"
    )
    checkpoint_every: int = Field(default=20, ge=1, description="iterations between two checkpoints")

    @model_validator(mode="after")
    def _fits(self) -> TableRosterConfig:
        if self.temperature_end > self.temperature_start:
            raise ValueError(
                f"temperature_end must be at most temperature_start, but got {self.temperature_end} and "
                f"{self.temperature_start}"
            )
        if self.backends > self.size:
            raise ValueError(f"size must be at least backends, but got {self.size} and {self.backends}")
        largest = _LARGEST.get(self.method, self.backends)
        if self.backends > largest:
            raise ValueError(
                f"backends must be at most {largest} with method={self.method}, but got {self.backends}: "
                "try method=insertion"
            )
        return self

    def done(self, iteration: int) -> float:
        """How far a search is at the beginning of `iteration`, counted from 1: 0 at the first, 1 at the last."""
        return (iteration - 1) / max(1, self.iterations - 1)

    def temperature(self, iteration: int) -> float:
        """Of `iteration`, counted from 1."""
        return _between(self.temperature_start, self.temperature_end, self.done(iteration))

    def variance_weight(self, iteration: int) -> float:
        """Of `iteration`, counted from 1."""
        return _between(self.variance_start, self.variance_end, self.done(iteration))


def _between(start: float, end: float, done: float) -> float:
    return float(start * (end / start) ** done)

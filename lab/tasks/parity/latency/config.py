"""What a serving cluster is like, and how its queries are protected from slow servers."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from lab.config import Config

__all__ = ["MODES", "Mode", "ServingConfig"]

Mode = Literal["none", "equal", "replication", "parity", "cheap"]
"""none: a query goes to one server. equal: as many servers as with parity, all of the base model. replication: each
query goes to a second pool of as many servers, too. parity: groups of k queries have r parity queries in a pool of
their own. cheap: each query also goes to a cheaper model, in a pool as large as that of parity."""

MODES: tuple[Mode, ...] = get_args(Mode)


class ServingConfig(Config):
    """Queries that arrive as a Poisson process, and servers that slow down and hang (Kosaian et al., SOSP 2019).

    Times are seconds. Each pool has one queue, from which a server that is free takes the next query. Every server goes
    through slow and hung phases of its own: times between two of them and their lengths are exponential.
    """

    seed: int = Field(default=0, ge=0, description="of arrivals, service times and phases; the same for every mode")
    queries: int = Field(default=100_000, ge=1, le=10_000_000, description="how many arrive")
    servers: int = Field(default=12, ge=1, le=10_000, description="of the base model")
    load: float = Field(
        default=0.6, gt=0, lt=1, description="arrivals, as a share of what the servers of the base model could serve"
    )
    service: float = Field(default=0.02, gt=0, description="mean time of one prediction of the base model")
    variation: float = Field(default=0.1, ge=0, le=10, description="standard deviation of that time, over its mean")
    k: int = Field(default=2, ge=1, le=64, description="queries in a group")
    r: int = Field(default=1, ge=1, le=64, description="parity queries of a group, each to a pool of its own")
    coding: float = Field(default=0.0002, ge=0, description="time to encode, and time to decode, a group")
    patience: float = Field(
        default=1.5,
        ge=0,
        description="for how many mean service times a query waits for its own answer before it takes a second one",
    )
    cheap_service: float = Field(
        default=0.4, gt=0, le=1, description="time of the cheaper model, over the base model's"
    )
    slow_every: float = Field(default=5.0, gt=0, description="mean time between two slow phases of a server")
    slow_for: float = Field(default=0.2, ge=0, description="mean length of a slow phase; 0 for none")
    slow_factor: float = Field(default=5.0, ge=1, description="how many times longer a prediction then takes")
    hang_every: float = Field(default=60.0, gt=0, description="mean time between two hangs of a server")
    hang_for: float = Field(default=0.5, ge=0, description="mean time that it hangs and then goes on; 0 for none")

    @model_validator(mode="after")
    def _fits(self) -> ServingConfig:
        if self.queries < self.k:
            raise ValueError(f"k must be at most queries = {self.queries}, but got {self.k}")
        return self

    @property
    def rate(self) -> float:
        """Arrivals a second."""
        return self.load * self.servers / self.service

    @property
    def extra(self) -> int:
        """Servers that parity adds for each of its r pools, rounded up."""
        return -(-self.servers // self.k)

    def servers_of(self, mode: Mode) -> int:
        """Servers of a mode, all pools together."""
        added = {"none": 0, "replication": self.servers, "cheap": self.extra}.get(mode, self.r * self.extra)
        return self.servers + added

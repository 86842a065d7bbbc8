"""What a search for caps is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lab.tables.lookahead import LARGEST
from lab.tasks.leaves import LeavesConfig

__all__ = ["TableSlackConfig"]


class TableSlackConfig(LeavesConfig):
    """Caps for each number of backends, by dynamic programming over what training fleets show: the least excess there
    is within a budget of unevenness.

    Any-hash universe, stateless. An iteration adds fresh fleets to the estimates and finds the best caps anew.
    """

    seed: int = Field(default=0, ge=0, description="of the fleets")
    iterations: int = Field(default=4, ge=1, description="how often fleets are added")
    device: Literal["cpu"] = Field(default="cpu", description="tables are built with NumPy")
    threads: int = Field(default=1, ge=1, le=256, description="reserved for a trial; one is used")
    size: int = Field(default=47, ge=2, le=1024, description="entries of a table; caps serve no other size")
    slack: float = Field(
        default=0.1,
        ge=0,
        le=10,
        description="how far the largest load may be above that of exactly even tables, in means: on average over the "
        "numbers of backends and both ends of their steps",
    )
    most: float = Field(
        default=1.5,
        ge=1,
        le=10,
        description="largest cap that is tried, over the mean, beside the ceiling and one more, and no cap at all",
    )
    look: bool = Field(
        default=False,
        description="tables look ahead (`lab.tables.lookahead`) where a backend leaves: the lower number up, the upper "
        "one down; for `leaves` of which no two steps share a number",
    )
    joiners: int = Field(default=16, ge=1, le=64, description="look: backends that may join, asked about by each table")
    fleets: int = Field(default=32, ge=1, description="fleets of each of these numbers, in an iteration")
    validation_pairs: int = Field(default=64, ge=1, description="fleets of each number that a validation has")
    checkpoint_every: int = Field(default=2, ge=1, description="iterations between two checkpoints")

    @model_validator(mode="after")
    def _steps_apart(self) -> TableSlackConfig:
        if self.look:
            if any(n - 1 in self.numbers for n in self.numbers):
                raise ValueError(f"look needs leaves of which no two are neighbours, but got {self.leaves or 'all'}")
            if self.size > LARGEST:
                raise ValueError(f"size must be at most {LARGEST} with look, but got {self.size}")
        return self

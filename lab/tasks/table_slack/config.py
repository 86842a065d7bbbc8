"""What a search for caps is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.tasks.leaves import LeavesConfig

__all__ = ["TableSlackConfig"]


class TableSlackConfig(LeavesConfig):
    """Caps for each number of backends, by dynamic programming over what training fleets show.

    Any-hash universe, stateless. An iteration adds fresh fleets to the estimates and finds the best caps anew.
    """

    seed: int = Field(default=0, ge=0, description="of the fleets")
    iterations: int = Field(default=4, ge=1, description="how often fleets are added")
    device: Literal["cpu"] = Field(default="cpu", description="tables are built with NumPy")
    threads: int = Field(default=1, ge=1, le=256, description="reserved for a trial; one is used")
    size: int = Field(default=47, ge=2, le=1024, description="entries of a table; caps serve no other size")
    unevenness: float = Field(
        default=0.05, ge=0, le=10, description="excess that is worth as much as a largest load of one mean more"
    )
    most_extra: int = Field(default=5, ge=1, le=64, description="entries above the ceiling that are tried, at most")
    fleets: int = Field(default=32, ge=1, description="fleets of each of these numbers, in an iteration")
    validation_pairs: int = Field(default=64, ge=1, description="fleets of each number that a validation has")
    checkpoint_every: int = Field(default=2, ge=1, description="iterations between two checkpoints")

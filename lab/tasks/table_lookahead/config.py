"""What a search for roles is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.tables.lookahead import LARGEST, MAX_LEVEL, LookaheadOptions
from lab.tasks.leaves import LeavesConfig

__all__ = ["TableLookaheadConfig"]


class TableLookaheadConfig(LeavesConfig):
    """Coordinate search over what each number of backends does: policy search on top of policy improvement.

    Any-hash universe, stateless, exactly even. An iteration visits the step from one number of backends to one less:
    other roles for both, and then other prices, are tried on the same fresh fleets, and kept where they move less.
    """

    seed: int = Field(default=0, ge=0, description="of the fleets")
    iterations: int = Field(default=46, ge=1, description="visits; `leaves` are visited in turn")
    device: Literal["cpu"] = Field(default="cpu", description="tables are built with NumPy")
    threads: int = Field(default=1, ge=1, le=256, description="reserved for a trial; one is used")
    size: int = Field(default=47, ge=2, le=LARGEST, description="entries of a table; roles serve no other size")
    joiners: int = Field(default=16, ge=1, le=64, description="backends that may join, asked about by each table")
    furthest: int = Field(default=1, ge=1, le=MAX_LEVEL, description="how many changes ahead a number may look")
    start: Literal["none", "learned"] = Field(
        default="learned", description="prices begun with: `none`, or those of `learned`, the builder"
    )
    look: Literal["none", "both"] = Field(
        default="both", description="roles begun with: `none` looks; or all look one change ahead, to both sides"
    )
    fleets: int = Field(
        default=64, ge=2, description="fleets of a number that the best candidates of a visit are tried on"
    )
    validate_every: int = Field(
        default=46, ge=1, description="visits between two validations; the first and the last are always validated"
    )
    validation_pairs: int = Field(default=64, ge=1, description="fleets of each number that a validation has")
    checkpoint_every: int = Field(default=23, ge=1, description="visits between two checkpoints")

    @property
    def options(self) -> LookaheadOptions:
        """The size, and the backends that may join."""
        return LookaheadOptions(size=self.size, joiners=self.joiners)

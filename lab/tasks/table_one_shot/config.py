"""The configuration of the one-shot table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lab.tables.networks import Decoder
from lab.tasks.table_supervised.config import TableSupervisedConfig

__all__ = ["TableOneShotConfig"]


class TableOneShotConfig(TableSupervisedConfig):
    """REINFORCE (Williams, 1992) on a contextual bandit: the context is a scenario, the action both of its tables.

    The network and what it reads are those of the supervised table. The decoder says what the policy is a distribution
    over: `balanced` is Plackett-Luce over pairs under floor and ceiling, `ranking` draws each entry by itself.
    """

    decoder: Decoder = Field(
        default="balanced", description="balanced: Plackett-Luce over whole even tables; ranking: each entry by itself"
    )
    tables: int = Field(default=4, ge=2, le=256, description="pairs of tables drawn for a scenario, for the baseline")
    credit: Literal["table", "entry"] = Field(
        default="table",
        description="what an entry is paid for: both whole tables, or (biased, less noise) its own needless move",
    )
    spread_start: float = Field(default=0.3, gt=0, le=100, description="temperature of the policy at the first step")
    spread_end: float = Field(default=0.04, gt=0, le=100, description="temperature at the last step, geometrically")
    supervised_share: float = Field(
        default=0.0, ge=0, lt=1, description="share of the steps that first descend on plans, as table_supervised does"
    )

    @model_validator(mode="after")
    def _valid_tables(self) -> TableOneShotConfig:
        if self.decoder == "argmax":
            raise ValueError("decoder must be balanced or ranking, which name no empty slot, but got argmax")
        return self

"""What a search for rankings is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lab.config import Config

__all__ = ["TableRosterConfig"]


class TableRosterConfig(Config):
    """Annealing by a heat bath over whole rankings, judged on all subsets of a roster. Excess is 0 by construction."""

    universe: Literal["roster"] = Field(default="roster", description="what is known of the backends beforehand")
    seed: int = Field(default=0, ge=0, description="of the chains")
    iterations: int = Field(default=700, ge=1, description="sweeps: in each, every entry's ranking is drawn anew once")
    device: Literal["cpu"] = Field(default="cpu", description="the search is NumPy")
    threads: int = Field(default=1, ge=1, le=256, description="reserved for a trial; one is used")
    size: int = Field(default=47, ge=2, le=4096, description="entries of a table")
    backends: int = Field(default=7, ge=2, le=12, description="of the roster; all of its subsets are judged")
    chains: int = Field(default=16, ge=1, le=1024, description="searches side by side, which do not meet")
    temperature_start: float = Field(default=0.55, gt=0, le=100, description="temperature of the first sweep")
    temperature_end: float = Field(default=0.27, gt=0, le=100, description="of the last sweep, geometrically")
    power: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="of a subset's squared distance from even loads, in its cost: the less, the more does it matter "
        "whether it is even at all",
    )
    checkpoint_every: int = Field(default=20, ge=1, description="sweeps between two checkpoints")

    @model_validator(mode="after")
    def _fits(self) -> TableRosterConfig:
        if self.temperature_end > self.temperature_start:
            raise ValueError(
                f"temperature_end must be at most temperature_start, but got {self.temperature_end} and "
                f"{self.temperature_start}"
            )
        if self.backends > self.size:
            raise ValueError(f"size must be at least backends, but got {self.size} and {self.backends}")
        return self

    def temperature(self, iteration: int) -> float:
        """Of sweep `iteration`, counted from 1."""
        done = (iteration - 1) / max(1, self.iterations - 1)
        return float(self.temperature_start * (self.temperature_end / self.temperature_start) ** done)

"""A cell of the grid as a training: its own task's, on a budget of environment steps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from envs.scenarios import ScenarioBatch
from lab.config import Config
from lab.errors import unknown_name
from lab.experiment import Report, Result
from lab.tables import judging
from lab.tasks.table_rl_grid.cells import CELLS

__all__ = ["OBJECTIVE", "TableRlGridConfig", "fit", "validation_scenarios"]

OBJECTIVE = f"validation/{judging.OBJECTIVE}"
"""The metric that is minimised."""


class TableRlGridConfig(Config):
    """One cell of formulation x algorithm, and the seed."""

    cell: str = Field(default="pairs-ppo", description="formulation and algorithm: " + ", ".join(CELLS))
    seed: int = Field(default=0, ge=0, description="of weights, scenarios and exploration")
    env_steps: int = Field(default=300_000, ge=1, description="environment steps, entries given out, of the training")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where networks are trained")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of torch")

    @model_validator(mode="after")
    def _known(self) -> TableRlGridConfig:
        if self.cell not in CELLS:
            raise ValueError(str(unknown_name("cell", self.cell, CELLS)))
        self.resolved()
        return self

    @property
    def iterations(self) -> int:
        """Of the cell's own training."""
        return int(getattr(self.resolved(), "iterations", 1))

    def resolved(self) -> Config:
        """The configuration of the cell's own task."""
        shared = {"seed": self.seed, "device": self.device, "threads": self.threads}
        return CELLS[self.cell].resolve(self.env_steps, shared)


def validation_scenarios(config: TableRlGridConfig) -> ScenarioBatch:
    """The scenarios that the cell's own task validates on."""
    return CELLS[config.cell].validation(config.resolved())


def fit(config: TableRlGridConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains a cell: the fit of its task, which see."""
    return CELLS[config.cell].fit(config.resolved(), report, resume=resume)

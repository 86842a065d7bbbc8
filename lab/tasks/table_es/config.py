"""What a search for prices is told."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.scenarios import ScenarioConfig
from lab.tables.priced import PricedOptions
from lab.tasks.leaves import LeavesConfig

__all__ = ["TableEsConfig"]


class TableEsConfig(LeavesConfig):
    """Policy search by CMA-ES (Hansen, 2016): which pair of entry and backend is given out next.

    An iteration is one generation: `population` tables of prices build the tables of the same fresh fleets. Any-hash
    universe, stateless, exactly even.

    Fleets of all sizes count by default. A search that is judged on a few numbers of backends alone moves what cannot
    be helped to the others: where the floor changes, some step from one number to the next is dear, and prices decide
    which.
    """

    seed: int = Field(default=0, ge=0, description="of the search and of the fleets")
    iterations: int = Field(default=120, ge=1, description="generations")
    device: Literal["cpu"] = Field(default="cpu", description="tables are built with NumPy")
    threads: int = Field(default=1, ge=1, le=256, description="reserved for a trial; one is used")
    levels: int = Field(default=4, ge=1, le=64, description="entries of a backend for which there is a price each")
    knots: int = Field(default=9, ge=2, le=65, description="shares of the mean load for which there is a price each")
    start: Literal["none", "floors"] = Field(
        default="floors",
        description="prices begun with: `none`, which is balanced rendezvous; `floors`, which serves all floors first",
    )
    fleets: int = Field(default=10, ge=1, description="fleets of each of these numbers, in a generation")
    scenarios: int = Field(default=192, ge=1, description="scenarios in a generation")
    max_delta: int = Field(default=10, ge=1, description="largest difference of the two sets of a scenario")
    scenario_weight: float = Field(
        default=0.5, ge=0, le=1, description="of the scenarios in the objective; the rest is of fleets that lose one"
    )
    population: int = Field(default=16, ge=4, le=1024, description="tables of prices in a generation")
    sigma: float = Field(default=0.08, gt=0, le=10, description="first standard deviation of a price's step")
    validate_every: int = Field(
        default=10, ge=1, description="generations between two validations; the first and the last are always validated"
    )
    validation_pairs: int = Field(
        default=256, ge=1, description="scenarios, and fleets of each number, that a validation has"
    )
    checkpoint_every: int = Field(default=20, ge=1, description="generations between two checkpoints")

    @property
    def options(self) -> PricedOptions:
        """The shape of a table of prices."""
        return PricedOptions(levels=self.levels, knots=self.knots)

    @property
    def rule(self) -> ScenarioConfig:
        """The scenarios: the notebook's rule, at `size`."""
        return ScenarioConfig(
            size=self.size, n_before=(min(3, self.size), self.size), n_after=(1, self.size), max_delta=self.max_delta
        )

    @property
    def first(self) -> NDArray[np.float64]:
        """The prices begun with, float64 (levels, knots), in units.

        A little below 0 is no price, and leaves the search to find out where one pays. `floors` has a full price where
        a backend has the mean load, which falls to none at half of that, for the first two entries.
        """
        steps = np.full((self.levels, self.knots), -0.05)
        if self.start == "floors":
            share = np.linspace(0, 1, self.knots)
            steps[:2] = np.interp(share, [0, 0.5, 0.75, 0.875, 1], [-0.05, 0.05, 0.3, 0.6, 1.0])
        return steps

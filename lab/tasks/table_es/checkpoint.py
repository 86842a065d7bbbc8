"""Checkpoint directories of a search: JSON and safetensors, nothing that runs.

model.safetensors, model.json   the best prices by validation so far (`lab.tables.learned`)
untrained.safetensors           the prices begun with
search.json                     all that the search was told, and how far it is
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lab.config import Config
from lab.tables import learned
from lab.tables.priced import PricedTables
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_es.config import TableEsConfig

__all__ = ["Progress", "load", "save"]

_SEARCH = "search.json"


class Progress(Config):
    """How far a search is.

    Attributes:
        iteration: generations done.
        seconds: time so far.
        told: for each generation what each of its members scored.
        best_score: the lowest `validation/relative` so far.
        validation: the last validation's metrics.
        timing: where the time went (`lab.timing.Timing.tree`).
    """

    iteration: int = 0
    seconds: float = 0.0
    told: list[list[float]] = Field(default_factory=list)
    best_score: float | None = None
    validation: dict[str, float] = Field(default_factory=dict)
    timing: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Progress:
        if len(self.told) != self.iteration:
            raise ValueError(f"told must be of {self.iteration} generations, but is of {len(self.told)}")
        return self


def save(
    directory: Path, progress: Progress, config: TableEsConfig, best: NDArray[np.int64], untrained: NDArray[np.int64]
) -> None:
    """Writes a checkpoint into the empty directory `directory`."""
    states = []
    for steps in (best, untrained):
        tables = PricedTables(config.options)
        tables.steps = steps
        states.append(tables.state_dict())
    meta = {"experiment": "table_es", "size": config.size, "validation": {"relative": progress.best_score}}
    learned.save(directory, "priced", config.options.model_dump(), states[0], meta, untrained=states[1])
    write_progress(directory / _SEARCH, progress)


def load(directory: Path) -> tuple[Progress, NDArray[np.int64], NDArray[np.int64]]:
    """Reads a checkpoint.

    Returns:
        The progress, the best steps and those begun with, int64 (levels, knots).

    Raises:
        RequestError: no checkpoint of this task, or one that is truncated or changed.
    """
    what = "checkpoint of table_es"
    progress = read_progress(directory / _SEARCH, Progress, what)
    best, untrained = (
        read_weights(directory / name, what)["steps"].numpy() for name in (learned.MODEL, learned.UNTRAINED)
    )
    return progress, best, untrained

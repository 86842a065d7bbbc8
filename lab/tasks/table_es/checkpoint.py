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
from pydantic import Field, ValidationError

from lab.config import Config
from lab.errors import RequestError
from lab.files import read_json, sha256, write_json
from lab.tables import learned
from lab.tables.priced import PricedTables
from lab.tasks.table_es.config import TableEsConfig
from lab.tensor_files import read_tensors

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
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    write_json(directory / _SEARCH, {"format": 1, **progress.model_dump(), "files": files})


def load(directory: Path) -> tuple[Progress, NDArray[np.int64], NDArray[np.int64]]:
    """Reads a checkpoint.

    Returns:
        The progress, the best steps and those begun with, int64 (levels, knots).

    Raises:
        RequestError: no checkpoint of this task, or one that is truncated or changed.
    """
    what = "checkpoint of table_es"
    raw = read_json(directory / _SEARCH, what)
    try:
        files = dict(raw.pop("files"))
        if raw.pop("format") != 1:
            raise ValueError("format")
        progress = Progress.model_validate(raw)
        if len(progress.told) != progress.iteration:
            raise ValueError("told")
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError):
        raise RequestError(f"expected a {what} at {directory}, but {_SEARCH} is of another kind") from None
    for name in (learned.DESCRIPTION, learned.MODEL, learned.UNTRAINED):
        if not (directory / name).is_file() or sha256(directory / name) != files.get(name):
            raise RequestError(f"expected a whole {what} at {directory}, but {name} is missing, truncated or changed")
    best, untrained = (
        read_tensors(directory / name, files[name], _SEARCH, "a learned table")["steps"].numpy()
        for name in (learned.MODEL, learned.UNTRAINED)
    )
    return progress, best, untrained

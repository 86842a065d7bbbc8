"""Checkpoint directories of a sequential policy's training: RLlib's own beside the artefact.

algorithm/              RLlib's checkpoint: the latest weights, optimiser and counters
model.safetensors, model.json   the best policy by validation so far (`lab.tables.learned`)
untrained.safetensors   the same policy before the first iteration
progress.json           how far the training is, and the SHA-256 of every file above
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from ray.rllib.algorithms.algorithm import Algorithm
from torch import Tensor

from lab.config import Config
from lab.errors import RequestError
from lab.tables import learned
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_ppo.config import VALIDATION_SIZE, SequentialConfig

__all__ = ["Progress", "Weights", "load", "restore_algorithm", "save"]

Weights = dict[str, Tensor]

_ALGORITHM, _PROGRESS = "algorithm", "progress.json"


class Progress(Config):
    """How far a training is.

    Attributes:
        iteration: iterations done.
        seconds: training time so far.
        best_score: the lowest `validation/even_churn_ratio` so far.
        validation: the last validation's metrics.
        timing: where the time went (`lab.timing.Timing.tree`); None in a checkpoint of before there was one.
    """

    iteration: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    validation: dict[str, float] = Field(default_factory=dict)
    timing: dict[str, Any] | None = None


def save(
    directory: Path,
    experiment: str,
    algorithm: Algorithm,
    progress: Progress,
    config: SequentialConfig,
    best: Weights,
    untrained: Weights,
) -> None:
    """Writes a checkpoint into the empty directory `directory`."""
    algorithm.save_to_path(str(directory / _ALGORITHM))
    meta = {"experiment": experiment, "size": VALIDATION_SIZE}
    if experiment != "table_ppo":
        meta["family"] = "rl"
    learned.save(directory, "sequential", config.policy.model_dump(), best, meta, untrained=untrained)
    write_progress(directory / _PROGRESS, progress)


def load(directory: Path) -> tuple[Progress, Weights, Weights]:
    """Reads a checkpoint, save RLlib's part of it.

    Every file is compared with its hash first, so that what RLlib unpickles later is what `save` wrote.

    Returns:
        The progress, the best weights and the untrained weights.

    Raises:
        RequestError: no checkpoint of this task, or one that is truncated or changed.
    """
    what = "checkpoint of a sequential policy"
    progress = read_progress(directory / _PROGRESS, Progress, what)
    best, untrained = (read_weights(directory / name, what) for name in (learned.MODEL, learned.UNTRAINED))
    return progress, best, untrained


def restore_algorithm(directory: Path, algorithm: Algorithm) -> None:
    """Puts the state of the checkpoint `directory`, which `load` has read, into a fresh `algorithm`.

    Raises:
        RequestError: the checkpoint is of another network.
    """
    try:
        algorithm.restore_from_path(str(directory.absolute() / _ALGORITHM))
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"expected a checkpoint of the same network at {directory}, but got: {reason}") from None

"""A training whose reports are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lab.experiment import Fit, Result

__all__ = ["recorded"]


def recorded(
    fit: Fit, config: Any, folder: Path | None = None, resume: Path | None = None
) -> tuple[list[dict[str, float]], Result]:
    """What a fit reports, without the seconds, which no two trainings share, and what it ends with.

    Args:
        fit: the training.
        config: its configuration.
        folder: where its checkpoints are kept, by iteration; nowhere if None.
        resume: a checkpoint to go on from.
    """
    rows = []

    def report(metrics: dict[str, float], checkpoint: Path | None = None) -> None:
        rows.append({name: value for name, value in metrics.items() if name != "seconds"})
        if checkpoint is not None and folder is not None:
            shutil.copytree(checkpoint, folder / str(int(metrics["iteration"])))

    return rows, fit(config, report, resume=resume)

"""Which comparison a run belongs to."""

from __future__ import annotations

from lab.experiment import get, names
from lab.runs import Run

__all__ = ["TABLES", "kind_of"]

TABLES = "tables"


def kind_of(run: Run) -> str:
    """What the run's experiment says (`lab.experiment.Experiment.comparison`); tables where it is not registered."""
    name = run.manifest.experiment
    return get(name).comparison if name in names() else TABLES

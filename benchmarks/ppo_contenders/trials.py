"""Several trainings at once, each a trial of the lab's own sweep."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass

import experiments  # noqa: F401  (importing the package registers them)
from lab.experiment import get
from lab.runs import Run
from lab.sweep import run_sweep
from lab.sweep.cluster import environment
from lab.tasks.table_ppo import TablePpoConfig
from lab.tracking import standard_trackers

__all__ = ["Swept", "sweep"]

_WARM = 3
"""Iterations of a trial before its pace counts."""


@dataclass(frozen=True)
class Swept:
    """What some trials at once came to.

    Attributes:
        steady: environment steps a second of all trials together, while all of them were training.
        whole: environment steps over the seconds of the sweep, from its start to its last file.
        seconds: of the sweep.
    """

    steady: float
    whole: float
    seconds: float


def sweep(config: TablePpoConfig, trials: int) -> Swept:
    """Trains `trials` of a configuration at once, through Ray Tune, with all trackers; they differ in `clip`, which
    changes nothing of the work. Validations and checkpoints are made at the first and last iteration alone."""
    experiment = get("table_ppo")
    fixed = config.model_dump(mode="json")
    fixed |= {"validate_every": config.iterations, "checkpoint_every": config.iterations, "validation_pairs": 16}
    del fixed["clip"]
    with tempfile.TemporaryDirectory() as runs, environment({"LAB_RUNS": runs}):
        started = time.perf_counter()
        run = run_sweep(
            experiment,
            overrides=fixed,
            trackers=standard_trackers(),
            samples=trials,
            search="random",
            scheduler="none",
            max_concurrent=trials,
        )
        seconds = time.perf_counter() - started
        ended = Run(run.folder).trials.values()
    # The last iteration ends with a validation and a checkpoint.
    began = max(trial.times[_WARM] for trial in ended)
    until = min(trial.times[config.iterations - 1] for trial in ended)
    if until <= began:
        raise RuntimeError("expected trials that train at the same time, but one had ended before another began")
    steady = 0.0
    for trial in ended:
        within = [trial.results[iteration] for iteration, when in trial.times.items() if began <= when <= until]
        first, last = within[0], within[-1]
        steady += (last["env_steps"] - first["env_steps"]) / (last["seconds"] - first["seconds"])
    return Swept(steady, trials * config.iterations * config.batch / seconds, seconds)

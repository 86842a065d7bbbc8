"""Population based training in generations, Jaderberg et al., 2017 (arXiv:1711.09846).

All trials train to the next boundary and wait there; the worst quarter then goes on from the checkpoint of one of the
best quarter, with its configuration perturbed. What happens at a boundary is a pure function of the journal and the
seed, and is recorded in one line, so a sweep that was killed renews its population as one that was not. Ray Tune's own
scheduler decides by the order in which results arrive, from the global random state, and forgets both on a restore.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from lab.config import parse
from lab.errors import RequestError
from lab.experiment import Experiment
from lab.journal import Trial
from lab.sweep.space import perturb

__all__ = ["GENERATIONS", "boundary_after", "renew"]

GENERATIONS = 5
"""Parts into which the training of each trial is cut."""


def boundary_after(generation: int, iterations: int, every: int = 1) -> int | None:
    """The iteration at which trials wait next, None when they train to their end.

    Args:
        generation: the last boundary that was passed, 0 at the start.
        iterations: the length of a trial.
        every: iterations between two checkpoints. Boundaries are multiples of it, so that a donor has a checkpoint of
            exactly the iteration by which it was chosen.
    """
    boundary = math.ceil((generation + math.ceil(iterations / GENERATIONS)) / every) * every
    return boundary if boundary < iterations else None


def renew(experiment: Experiment, trials: Iterable[Trial], iteration: int, seed: int) -> dict[int, dict[str, Any]]:
    """Which trials give up, and what they go on with.

    Args:
        experiment: gives the space and the objective.
        trials: those that are still in the race; each has a result at or before `iteration`.
        iteration: the boundary.
        seed: of the sweep.

    Returns:
        trial -> `config`, `donor`, `checkpoint`, `checkpoint_iteration`. Empty where nobody gives up.
    """
    sign = 1.0 if experiment.mode == "min" else -1.0
    scored = []
    for trial in trials:
        steps = [step for step, row in trial.results.items() if step <= iteration and experiment.metric in row]
        if steps:
            scored.append((sign * trial.results[max(steps)][experiment.metric], trial.index, trial))
    ranked = [trial for _, _, trial in sorted(scored, key=lambda item: item[:2])]
    count = min(math.ceil(len(ranked) / 4), len(ranked) // 2)
    donors = [trial for trial in ranked[:count] if trial.checkpoint is not None]
    if not donors:
        return {}
    changes = {}
    for loser in ranked[len(ranked) - count :]:
        rng = np.random.default_rng([seed, iteration, loser.index])
        donor = donors[int(rng.integers(len(donors)))]
        # What identifies the trial stays its own: a clone that also had the donor's seed would be its copy.
        values = {**donor.config, "seed": loser.config.get("seed", 0)} | perturb(experiment.space, donor.config, rng)
        try:
            config = parse(experiment.config, values).model_dump(mode="json")
        except RequestError:
            config = donor.config
        changes[loser.index] = {
            "config": config,
            "donor": donor.index,
            "checkpoint": donor.checkpoint,
            "checkpoint_iteration": donor.checkpoint_iteration,
        }
    return changes

"""The training: an RLlib algorithm, validated and kept as a table builder."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm

from lab.errors import WorkError
from lab.experiment import Report, Result
from lab.tables.sequential import SequentialTables
from lab.tasks.table_ppo import checkpoint
from lab.tasks.table_ppo.algorithm import local_ray, make_algorithm, policy_weights, train_once
from lab.tasks.table_ppo.config import SequentialConfig, TablePpoConfig
from lab.tasks.table_ppo.validation import OBJECTIVE, Validation
from lab.threads import torch_threads
from lab.timing import Timing

__all__ = ["fit", "train"]


def fit(config: TablePpoConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains a sequential table policy.

    Runs in the calling process; it starts a small local Ray for RLlib if there is none, and stops only that one.
    With `env_runners=0` two trainings with the same config report the same metrics bit for bit, save `seconds`.

    Args:
        config: the training.
        report: called once an iteration with `iteration`, `seconds`, `env_steps`, `episode_return`, the losses,
            `entropy` and `kl` in nats, `explained_variance`, `learning_rate`, and the last validation's metrics.
        resume: a checkpoint directory that a fit wrote (`lab.tasks.table_ppo.checkpoint`).

    Returns:
        The last metrics, and where the time went, from the first iteration on. Checkpoint directories live no longer
        than a `report`, which copies them.

    Raises:
        RequestError: there is no such device, or `resume` is no whole checkpoint of this network.
        WorkError: the weights became infinite or NaN; the objective was reported as NaN before.
    """
    return train(config, report, resume, "table_ppo", make_algorithm, train_once)


def train(
    config: SequentialConfig,
    report: Report,
    resume: Path | None,
    experiment: str,
    make: Callable[[Any, int], Algorithm],
    once: Callable[[Algorithm, Timing], dict[str, float]],
) -> Result:
    """Trains a sequential policy by an algorithm of RLlib's; see `fit`.

    Args:
        config, report, resume: those of `fit`.
        experiment: what is trained, as the artefact says it.
        make: makes the algorithm, given how many iterations are done already.
        once: trains it for an iteration and says its metrics.
    """
    with torch_threads(config.threads), local_ray(config):
        return _train(config, report, resume, experiment, make, once)


def _train(
    config: SequentialConfig,
    report: Report,
    resume: Path | None,
    experiment: str,
    make: Callable[[Any, int], Algorithm],
    once: Callable[[Algorithm, Timing], dict[str, float]],
) -> Result:
    progress = checkpoint.Progress()
    if resume is not None:
        progress, best, untrained = checkpoint.load(resume)
    timing = Timing(progress.timing)
    with timing("set-up"):
        algorithm = make(config, progress.iteration)
    try:
        if resume is not None:
            checkpoint.restore_algorithm(resume, algorithm)
        else:
            best = untrained = policy_weights(algorithm)
        validate = Validation(config.validation_pairs)
        started = time.perf_counter() - progress.seconds
        metrics = {"iteration": float(progress.iteration), "seconds": progress.seconds, **progress.validation}
        for iteration in range(progress.iteration + 1, config.iterations + 1):
            metrics = {"iteration": float(iteration), "seconds": 0.0, **once(algorithm, timing)}
            last = iteration == config.iterations
            weights = policy_weights(algorithm)
            if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
                report({**metrics, "seconds": time.perf_counter() - started, OBJECTIVE: math.nan}, None)
                raise WorkError(
                    f"the weights are not finite after iteration {iteration}: a smaller learning_rate may help"
                )
            validation, best_score = progress.validation, progress.best_score
            if iteration == 1 or last or iteration % config.validate_every == 0:
                with timing("validation"):
                    tables = SequentialTables(config.policy)
                    tables.load_state_dict(weights)
                    validation = validate(tables, iteration)
                if best_score is None or validation[OBJECTIVE] < best_score:
                    best, best_score = weights, validation[OBJECTIVE]
            progress = checkpoint.Progress(
                iteration=iteration,
                seconds=time.perf_counter() - started,
                best_score=best_score,
                validation=validation,
            )
            metrics |= {"seconds": progress.seconds, **validation}
            if last or iteration % config.checkpoint_every == 0:
                with tempfile.TemporaryDirectory(prefix="table-ppo-") as directory:
                    with timing("checkpoint"):
                        so_far = progress.model_copy(update={"timing": timing.tree()})
                        checkpoint.save(Path(directory), experiment, algorithm, so_far, config, best, untrained)
                    with timing("report"):
                        report(metrics, Path(directory))
            else:
                with timing("report"):
                    report(metrics, None)
        return Result(metrics, timing=timing.tree())
    finally:
        algorithm.stop()

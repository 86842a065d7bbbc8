"""The training of a supervised table, from the first step to the last."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from pathlib import Path

import torch

from envs.scenarios import sample_batch, stream
from lab.experiment import Report, Result, require_device
from lab.tables.judging import OBJECTIVE, judge
from lab.tables.scored import ScoredTables
from lab.tasks.table_supervised.config import TableSupervisedConfig
from lab.tasks.table_supervised.data import Batch, batch_of
from lab.tasks.table_supervised.losses import Losses, losses, plan_of, total
from lab.tasks.table_supervised.state import Training

__all__ = ["fit", "loss_of"]

_BETAS = (0.9, 0.98)
_VALIDATION_SEED = 0
"""All trials are validated on the same scenarios, so that their objectives can be compared."""


def fit(config: TableSupervisedConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains a supervised table (`lab.experiment.Fit`).

    Minimises `config.weights()` times the losses of `lab.tasks.table_supervised.losses`, on fresh scenarios of the
    `train` stream in each step, while the temperature of the plans falls. The network is validated as the table
    builder that it will be, on scenarios of the `validation` stream; the best one by `validation/even_churn_ratio` is
    the artefact.

    Args:
        config: what to train.
        report: called once an iteration. Metrics: `iteration`, `seconds`, `validation/<measure>` for each of
            `lab.tables.judging.judge`, `untrained/even_churn_ratio`, `best/even_churn_ratio`, and means
            over the iteration's steps of `train/loss`, its parts and `train/gradient_norm`. Where a loss is not finite,
            the metrics say so and the training ends there.
        resume: a checkpoint directory of a training with the same network. What follows is bit for bit what would have
            followed without the break (same config, device and threads).

    Returns:
        The last metrics. Checkpoint directories live no longer than a `report`, which copies them.

    Raises:
        RequestError: no such device, or a checkpoint that is damaged or of another network.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="table-supervised-") as directory:
            return _fit(config, report, resume, Path(directory))
    finally:
        torch.set_num_threads(threads)


def loss_of(
    config: TableSupervisedConfig, scorer: torch.nn.Module, batch: Batch, temperature: float
) -> tuple[torch.Tensor, Losses]:
    """The total loss of one network on one batch, a scalar, and its parts: a pure function of the network's weights."""
    scores = scorer(batch.features, batch.present)
    plans = plan_of(scores, batch.present, config.decoder, temperature, config.sinkhorn_iterations)
    half = len(batch.same)
    parts = losses(plans[:half], plans[half:], batch.present[:half], batch.present[half:], batch.same, config.decoder)
    return total(parts, config.weights()), parts


def _fit(config: TableSupervisedConfig, report: Report, resume: Path | None, directory: Path) -> Result:
    require_device(config)
    device = torch.device(config.device)
    validation = sample_batch(
        config.scenarios(), config.validation_scenarios, stream("validation", _VALIDATION_SEED, config.size)
    )
    training = _begin(config, device)
    if resume is None:
        training.untrained = training.weights()
        training.untrained_objective = judge(_tables(training, config), validation)[OBJECTIVE]
    else:
        training.restore(resume)
    result = Result({})
    while training.iteration < config.iterations:
        started = time.perf_counter()
        metrics = _train(config, training, device)
        finite = math.isfinite(metrics["train/loss"]) and math.isfinite(metrics["train/gradient_norm"])
        measures = judge(_tables(training, config), validation) if finite else {OBJECTIVE: math.nan}
        if measures[OBJECTIVE] < training.best_objective:
            training.best, training.best_objective = training.weights(), measures[OBJECTIVE]
        training.iteration += 1
        training.seconds += time.perf_counter() - started
        metrics |= {
            "iteration": float(training.iteration),
            "seconds": training.seconds,
            "pairs": float(training.iteration * config.steps * config.batch_size),
            "untrained/" + OBJECTIVE: training.untrained_objective,
            **({"best/" + OBJECTIVE: training.best_objective} if finite else {}),
            **{f"validation/{name}": value for name, value in measures.items()},
        }
        due = training.iteration % config.checkpoint_every == 0 or training.iteration == config.iterations
        if finite and due:
            _save(config, training, directory)
        report(metrics, directory if finite and due else None)
        result = Result(metrics)
        if not finite:
            break
    return result


def _begin(config: TableSupervisedConfig, device: torch.device) -> Training:
    scorer = config.scorer()
    scorer.initialise(torch.Generator().manual_seed(config.seed))
    scorer.to(device)
    optimizer = torch.optim.Adam(scorer.parameters(), lr=config.learning_rate, betas=_BETAS)
    return Training(scorer, optimizer, untrained={}, untrained_objective=math.nan)


def _train(config: TableSupervisedConfig, training: Training, device: torch.device) -> dict[str, float]:
    """One iteration's gradient steps; means over them."""
    scorer, optimizer = training.scorer, training.optimizer
    sums: dict[str, float] = {}
    learning_rate = temperature = math.nan
    for step in range(training.iteration * config.steps, (training.iteration + 1) * config.steps):
        learning_rate, temperature = config.learning_rate_at(step), config.temperature_at(step)
        scenarios = sample_batch(config.scenarios(), config.batch_size, stream("train", config.seed, step))
        batch = batch_of(scenarios, scorer, config.decoder, device)
        loss, parts = loss_of(config, scorer, batch, temperature)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(scorer.parameters(), config.max_gradient_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        for name, value in {"loss": loss, **vars(parts), "gradient_norm": norm}.items():
            sums[name] = sums.get(name, 0.0) + value.item()
    means = {f"train/{name}": value / config.steps for name, value in sums.items()}
    return means | {"train/learning_rate": learning_rate, "train/temperature": temperature}


def _tables(training: Training, config: TableSupervisedConfig) -> ScoredTables:
    """The network as it is now as a table builder: a copy, on the CPU and in float64."""
    return ScoredTables(copy.deepcopy(training.scorer).cpu(), config.decoder)


def _save(config: TableSupervisedConfig, training: Training, directory: Path) -> None:
    meta = {
        "experiment": "table_supervised",
        "size": config.size,
        "validation": {OBJECTIVE: training.best_objective, "untrained": training.untrained_objective},
    }
    training.save(directory, config.network, config.options().model_dump(mode="json"), meta)

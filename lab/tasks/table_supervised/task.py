"""What is trained, step by step: the task that `lab.sweep.population` trains one or many networks of."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.scenarios import ScenarioBatch, ScenarioConfig, sample_batch, stream
from lab.experiment import Report, Result
from lab.population_task import Members, Model
from lab.sweep.population import fit_one
from lab.tables import learned
from lab.tables.judging import OBJECTIVE, measure
from lab.tables.networks import Scorer
from lab.tables.scored import ScoredTables, build_stack
from lab.tasks.table_supervised.config import TableSupervisedConfig
from lab.tasks.table_supervised.data import batch_of
from lab.tasks.table_supervised.losses import WEIGHTS, losses, plan_of, total

__all__ = ["TASK", "SupervisedTables", "fit", "validation_scenarios"]

_WARM_UP = 20
"""Steps over which the learning rate rises to its value: Adam's first steps follow noise."""

_VALIDATION_SEED = 0
"""All trials are validated on the same scenarios, so that their objectives can be compared."""


class SupervisedTables:
    """The supervised table as a task of populations (`lab.population_task.PopulationTask`).

    Minimises the weighted losses of `lab.tasks.table_supervised.losses` on fresh scenarios of the `train` stream in
    each step, while the temperature of the plans falls. A network is validated as the table builder that it will be,
    on scenarios of the `validation` stream; the best one by `validation/even_churn_ratio` is the artefact.

    Learning rates, schedules, temperatures, weights of losses and seeds may differ between members; members with one
    seed see the same scenarios.
    """

    objective = f"validation/{OBJECTIVE}"
    mode: Literal["min", "max"] = "min"
    betas = (0.9, 0.98)
    meta: Mapping[str, str] = MappingProxyType({"experiment": "table_supervised"})
    # Plans are scaled until they no longer change.
    replayable = False

    def key(self, config: TableSupervisedConfig) -> Hashable:
        """The shape of the network, the rule and number of scenarios, and the most scalings of a plan."""
        return (
            config.network,
            config.options(),
            config.scenarios(),
            config.batch_size,
            config.validation_scenarios,
            config.sinkhorn_iterations,
        )

    def init(self, config: TableSupervisedConfig) -> Scorer:
        """The network before training."""
        scorer = config.scorer()
        scorer.initialise(torch.Generator().manual_seed(config.seed))
        return scorer

    def stream(self, config: TableSupervisedConfig) -> Hashable:
        """The seed, the number of steps in an iteration, and what the shape of a batch depends on."""
        return config.seed, config.steps, config.batch_size, config.scenarios(), config.network, config.options()

    def blocks(self, config: TableSupervisedConfig, iteration: int) -> Iterator[Mapping[str, Tensor]]:
        """`lab.tasks.table_supervised.data.batch_of` of fresh scenarios in each step, a stream for each.

        There is a slot for each backend of the largest set that the rule allows; under `argmax`, one for each entry.
        """
        rule, reader = config.scenarios(), _reader(config)
        slots = config.size if config.decoder == "argmax" else rule.max_backends
        for step in range(iteration * config.steps, (iteration + 1) * config.steps):
            scenarios = sample_batch(rule, config.batch_size, stream("train", config.seed, step))
            # A block for each: the features of one batch are megabytes.
            yield {name: value[None] for name, value in batch_of(scenarios, reader, slots).items()}

    def knobs(
        self, config: TableSupervisedConfig, steps: NDArray[np.int64]
    ) -> Mapping[str, float | NDArray[np.float64]]:
        """A linear warm-up of the learning rate, then half a cosine to a tenth; the temperature falls geometrically."""
        done = np.minimum(1.0, steps / (config.iterations * config.steps))
        warm_up = np.minimum(1.0, (steps + 1) / _WARM_UP)
        return {
            "learning_rate": config.learning_rate * warm_up * (0.55 + 0.45 * np.cos(math.pi * done)),
            "weight_decay": 0.0,
            "max_gradient_norm": config.max_gradient_norm,
            "temperature": config.temperature_start * (config.temperature_end / config.temperature_start) ** done,
            **{f"weight_{name}": getattr(config, f"weight_{name}") for name in WEIGHTS},
        }

    def loss(
        self, config: TableSupervisedConfig, model: Model, batch: Mapping[str, Tensor], knobs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The weighted sum of the losses, and each of them: `validity`, `evenness`, `stability`, `confidence`."""
        present, same = batch["present"], batch["same"]
        scores = model(batch["features"], present)
        plans = plan_of(scores, present, config.decoder, knobs["temperature"], config.sinkhorn_iterations)
        half = len(same)
        parts = losses(plans[:half], plans[half:], present[:half], present[half:], same, config.decoder)
        return total(parts, {name: knobs[f"weight_{name}"] for name in WEIGHTS}), vars(parts)

    def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
        """`validation/<measure>` for each of `lab.tables.judging.judge`, and `pairs`, the scenarios trained on.

        Tables are built exactly as the artefact will build them: on the CPU, in float64.
        """
        config = members.configs[0]
        assert isinstance(config, TableSupervisedConfig)
        scenarios = validation_scenarios(config)
        stack = [ScoredTables(cast(Scorer, copy.deepcopy(module)), config.decoder) for module in members.modules()]
        before, after = (
            build_stack(stack, scenarios.hashes, present, scenarios.size)
            for present in (scenarios.before, scenarios.after)
        )
        return [
            {
                "pairs": float(iteration * config.steps * config.batch_size),
                **{f"validation/{name}": value for name, value in measure(*tables, scenarios).items()},
            }
            for tables in zip(before, after, strict=True)
        ]

    def save(
        self,
        config: TableSupervisedConfig,
        directory: Path,
        *,
        best: dict[str, Tensor],
        untrained: dict[str, Tensor],
        best_objective: float,
        untrained_objective: float,
    ) -> None:
        """Writes the artefact, `lab.tables.learned`."""
        meta = {
            **self.meta,
            "size": config.size,
            "validation": {OBJECTIVE: best_objective, "untrained": untrained_objective},
        }
        options = config.options().model_dump(mode="json")
        learned.save(directory, config.network, options, best, meta, untrained=untrained)


def validation_scenarios(config: TableSupervisedConfig) -> ScenarioBatch:
    """The scenarios that a training is validated on, the same for every seed."""
    return _validation(config.scenarios(), config.validation_scenarios)


@functools.lru_cache(maxsize=4)
def _validation(rule: ScenarioConfig, count: int) -> ScenarioBatch:
    return sample_batch(rule, count, stream("validation", _VALIDATION_SEED, rule.size))


def _reader(config: TableSupervisedConfig) -> Scorer:
    """A network without weights: what networks read depends on their shape alone."""
    with torch.device("meta"):
        return config.scorer()


TASK = SupervisedTables()


def fit(config: TableSupervisedConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains one supervised table (`lab.experiment.Fit`), as `lab.sweep.population.fit_one` has it."""
    return fit_one(TASK, config, report, resume=resume)

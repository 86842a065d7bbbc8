"""Parity models as a task of which many train as one (`lab.population_task.CheckpointedTask`)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import RequestError
from lab.population_task import Members, MemberState, Model
from lab.tasks.parity.asked import SAMPLES, Asked, asked_of, part_of_base, say_accuracy
from lab.tasks.parity.base_models import BASE_FIELDS
from lab.tasks.parity.batches import Batches, learning_rates
from lab.tasks.parity.checkpoint import Progress, save, save_artefact
from lab.tasks.parity.codes import DECODERS, ENCODERS, Parity
from lab.tasks.parity.codes.erasures import erasures
from lab.tasks.parity.config import ParityConfig, architecture
from lab.tasks.parity.fit import OBJECTIVE, best_of
from lab.tasks.parity.losses import loss_of
from lab.tasks.parity.measures import Tally, batches
from lab.tasks.parity.models import MODELS
from lab.tasks.parity.scheme_of import check, make_scheme, parity_shape

__all__ = ["TASK", "ParityTask"]

_PLAIN = ("linear", "mlp", "lenet")
"""Models whose weights are all that they have: batch normalisation also keeps means of what went through it."""

_MOST_WEIGHTS = 1 << 17
"""Weights beyond which members train alone on a CPU: a step is then all arithmetic, which a stack does not make less,
and the weights of many no longer stay in a cache (`benchmarks/fused_sweep.txt`)."""

_QUERIES = 1 << 15
"""Most queries that all members together are measured on at a time."""


class ParityTask:
    """Encoders, parity models and decoders that are trained around base models of their own.

    Members have data set, code, k, r, architectures, batch size and epochs in common. They may differ in seed, and so
    in base model and batches; in learning rate, schedule, optimiser and weight decay; in augmentation, distillation
    and what models hand out; and in the base model itself. Trained alone are codes that need no training, models with
    batch normalisation, and trainings in which something is frozen or that go on from a checkpoint; on a CPU also
    convolutions and wide networks, to which it brings nothing.

    Trained alone, `lab.tasks.parity.fit` is the loop: it can do all of that. Its metrics are a member's, too, save
    those that only a population has (`lab.sweep.population.fit_one`).

    Args:
        trained: whether base models are trained; False for what only has the shapes.
    """

    objective = OBJECTIVE
    mode: Literal["min", "max"] = "max"
    betas = (0.9, 0.999)
    replayable = False
    latest_of_equals = True

    def __init__(self, *, trained: bool = True) -> None:
        self._trained = trained

    @property
    def sketch(self) -> ParityTask:
        return ParityTask(trained=False)

    def key(self, config: ParityConfig) -> Hashable | None:
        if (
            config.encoder is None
            or config.trained != config.weighted
            or config.continue_from is not None
            or config.parity_architecture not in _PLAIN
        ):
            return None
        with suppress(RequestError):
            check(config, True)
            if config.device == "cpu" and not _small(config):
                return None
            names = ("dataset", "data_dir", "validation_share", "split_seed", "validation_groupings", "k", "r", "code")
            shape = (config.parity_architecture, config.parity_width, config.loss, config.epochs)
            return (*(getattr(config, name) for name in names), *shape, config.groups_in_batch)
        # What is wrong with it, it will say trained alone, as a trial that failed.
        return None

    def init(self, config: ParityConfig) -> nn.Module:
        asked, config = self._asked(config), self._here(config)
        return make_scheme(config, asked.data, asked.model).cpu()

    def stream(self, config: ParityConfig) -> Hashable:
        augmentation = (config.shift, config.flip, config.mix, config.distil)
        return (part_of_base(config), config.k, config.groups_in_batch, config.epochs, *augmentation)

    def blocks(self, config: ParityConfig, iteration: int) -> Iterator[Mapping[str, Tensor]]:
        found = Batches(self._here(config), self._asked(config))
        for epoch in range(iteration * config.epochs, (iteration + 1) * config.epochs):
            for block in found.blocks(epoch):
                yield vars(block)

    def knobs(self, config: ParityConfig, steps: NDArray[np.int64]) -> Mapping[str, float | NDArray[np.float64]]:
        decoupled = config.optimiser == "adamw"
        return {
            "learning_rate": learning_rates(config, steps / config.steps_in_epoch),
            "weight_decay": config.weight_decay if decoupled else 0.0,
            "l2": 0.0 if decoupled else config.weight_decay,
            "max_gradient_norm": math.inf,
            "temperature": config.temperature,
        }

    def loss(
        self, config: ParityConfig, model: Model, batch: Mapping[str, Tensor], knobs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        groups = (batch["queries"], batch["predictions"], batch["labels"])
        return model(loss_of, *groups, config.loss, knobs["temperature"]), {}

    def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
        configs = [config for config in members.configs if isinstance(config, ParityConfig)]
        asked, first = [self._asked(config) for config in configs], configs[0]
        rows: list[dict[str, float]] = [
            {"epoch": float(iteration * first.epochs), "extra_servers": float(first.r), **one.accuracies}
            for one in asked
        ]
        for name in SAMPLES:
            groupings = first.validation_groupings if name == "validation" else 1
            tally = _measured(members, asked, first, name, groupings)
            for row, found in zip(rows, tally.rows([config.loss_rate for config in configs]), strict=True):
                row.update({f"{name}/{key}": value for key, value in found.items()})
        return rows

    def introduce(self, configs: Sequence[ParityConfig]) -> None:
        """Says of each base model how good it is, once for all members that are trained around it."""
        different = {(config.seed, *(getattr(config, name) for name in BASE_FIELDS)): config for config in configs}
        for config in different.values():
            say_accuracy(config, self._asked(config))

    def of_best(self, metrics: Mapping[str, float]) -> dict[str, float]:
        return best_of(metrics)

    def save(
        self,
        config: ParityConfig,
        directory: Path,
        *,
        best: dict[str, Tensor],
        untrained: dict[str, Tensor],
        best_objective: float,
        untrained_objective: float,
    ) -> None:
        metrics = {f"best/{OBJECTIVE}": best_objective}
        save_artefact(directory, architecture(config), best=best, asked=self._asked(config), metrics=metrics)

    def save_checkpoint(self, config: ParityConfig, directory: Path, state: MemberState) -> None:
        """Writes what `lab.tasks.parity.checkpoint.load` reads."""
        asked = self._asked(config)
        progress = Progress(
            iteration=state.iteration,
            seconds=state.seconds,
            architecture=architecture(config),
            data=asked.data.digest,
            trained=config.trained,
            best=state.best_metrics,
        )
        # As in the state of torch's own optimiser.
        step = torch.tensor(float(state.iteration * config.steps))
        moments = {
            place: {"step": step.clone(), "exp_avg": state.exp_avg[name], "exp_avg_sq": state.exp_avg_sq[name]}
            for place, name in enumerate(state.current)
        }
        save(directory, progress, best=state.best, current=state.current, optimiser=moments, asked=asked)

    def _asked(self, config: ParityConfig) -> Asked:
        return asked_of(self._here(config), trained=self._trained)

    def _here(self, config: ParityConfig) -> ParityConfig:
        return config if self._trained else config.model_copy(update={"device": "cpu"})


def _small(config: ParityConfig) -> bool:
    """Whether a step is mostly the overhead of the library."""
    if "conv" in config.code.split("/") or config.parity_architecture == "lenet":
        return False
    assert config.encoder is not None
    assert config.decoder is not None
    k, r, data = config.k, config.r, config.samples
    with torch.device("meta"):
        model = MODELS[config.parity_architecture](parity_shape(config, data), data.classes, config.parity_width)
        parts = (ENCODERS[config.encoder](k, r, data.shape), DECODERS[config.decoder](k, r, data.classes))
    weights = r * _weights(model) + sum(_weights(part) for part in parts)
    return weights <= _MOST_WEIGHTS


def _weights(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _measured(members: Members, asked: list[Asked], config: ParityConfig, name: str, groupings: int) -> Tally:
    """What the members rebuild of a part of the data."""
    data, part = asked[0].data, getattr(asked[0].data, name)
    said = {id(one): one.predictions[name] for one in asked}
    tally = Tally(erasures(config.k, config.r), data.classes)
    most = max(64, _QUERIES // len(asked))
    for places, count, queries in batches(data, part, config.k, groupings, members.device, most):
        own = torch.stack([said[id(one)][places] for one in asked])
        answers = torch.cat([own, members.map(_parities, queries)], dim=2)
        rebuilt = [members.map(_estimates(erasure.arrived), carry=answers) for erasure in tally.erasures]
        tally.add(own, rebuilt, own, part.labels[places.cpu()], count)
    return tally


def _parities(model: Model, queries: Tensor) -> Any:
    return model(Parity.parities, queries)


@functools.cache
def _estimates(arrived: tuple[bool, ...]) -> Callable[[Model, Tensor], Any]:
    def estimates(model: Model, answers: Tensor) -> Any:
        return model(Parity.estimate, answers, arrived)

    return estimates


TASK = ParityTask()

"""A base model together with what it says of every sample: asked once, read ever after."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from torch import Tensor, nn

from lab.console import print_aside
from lab.tasks.parity.base_models import BASE_FIELDS, accuracy, base_model, logits, untrained_base_model
from lab.tasks.parity.config import ParityConfig
from lab.tasks.parity.data import Dataset
from lab.tasks.parity.scheme_of import data_of, output_of

__all__ = ["SAMPLES", "Asked", "ask", "asked_of", "part_of_base", "say_accuracy"]

SAMPLES = ("train", "validation", "test")
"""The parts of a data set."""

_FIELDS = ("seed", "device", "threads", "data_dir", "cache_dir", "output", "temperature", "smoothing", *BASE_FIELDS)
"""All that the answers of a base model depend on."""


@dataclass(frozen=True)
class Asked:
    """A base model and its answers.

    Attributes:
        data: the samples.
        model: the base model, in evaluation mode.
        predictions: part of the data -> what the model hands out for it, float32 (N, n), on the model's device.
        accuracies: `base/<part>_accuracy`.
    """

    data: Dataset
    model: nn.Module
    predictions: dict[str, Tensor]
    accuracies: dict[str, float]


def ask(config: ParityConfig, data: Dataset, model: nn.Module) -> Asked:
    """Asks `model` about all samples of `data`, and hands its logits out as `config` says."""
    hand_out = output_of(config)
    said = {name: logits(model, data, getattr(data, name), config.device) for name in SAMPLES}
    accuracies = {f"base/{name}_accuracy": accuracy(said[name], getattr(data, name).labels) for name in SAMPLES}
    return Asked(data, model, {name: hand_out(found) for name, found in said.items()}, accuracies)


def say_accuracy(config: ParityConfig, asked: Asked) -> None:
    """Says how good the base model of `config` is, on standard error."""
    train, test = (100 * asked.accuracies[f"base/{name}_accuracy"] for name in ("train", "test"))
    print_aside(f"base model {config.model} on {config.dataset}: {train:.2f} % train, {test:.2f} % test accuracy")


def asked_of(config: ParityConfig, *, trained: bool = True) -> Asked:
    """The base model of `config`, asked; the same object for configurations that have one in common.

    Args:
        config: gives the base model, and on what it is trained if it is not in the cache.
        trained: False for one as it is drawn: of the same shapes, at no cost.

    Raises:
        RequestError, WorkError: as `lab.tasks.parity.base_models.base_model`.
    """
    return _asked(part_of_base(config), trained)


def part_of_base(config: ParityConfig) -> ParityConfig:
    """`config` with all that its base model's answers do not depend on set back: equal for equal answers."""
    kept = {name: getattr(config, name) for name in _FIELDS}
    return ParityConfig.model_validate(kept)


@functools.lru_cache(maxsize=64)
def _asked(config: ParityConfig, trained: bool) -> Asked:
    data = data_of(config)
    model = base_model(config, data, config.model) if trained else untrained_base_model(config, data, config.model)
    return ask(config, data, model)

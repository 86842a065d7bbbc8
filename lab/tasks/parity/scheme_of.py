"""From a configuration to a scheme."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab.experiment import require_device
from lab.tasks.parity.base_models import base_model
from lab.tasks.parity.checkpoint import starting_point
from lab.tasks.parity.codes import DECODERS, ENCODERS, Berrut, Fallback, Grid, Parity, Scheme, Spline, Tiled
from lab.tasks.parity.config import ParityConfig
from lab.tasks.parity.data import Dataset
from lab.tasks.parity.models import MODELS, begin_as, initialise, make_model

__all__ = ["check", "data_of", "make_scheme", "output_of", "parity_shape"]


def check(config: ParityConfig, in_sweep: bool = False) -> None:
    """Raises RequestError for what cannot be trained here: data that is missing, wrong or too little, images that a
    model or the encoder cannot read, no GPU, or a checkpoint that does not fit."""
    if not in_sweep:
        require_device(config)
    data = data_of(config)
    data.require(config.k)
    with torch.device("meta"):
        MODELS[config.model](data.shape, data.classes, 1.0)
        if config.code == "cheap-model":
            MODELS[config.cheap_model](data.shape, data.classes, 1.0)
        if config.encoder is not None:
            MODELS[config.parity_architecture](parity_shape(config, data), data.classes, config.parity_width)
            ENCODERS[config.encoder](config.k, config.r, data.shape)
    if config.continue_from is not None:
        starting_point(config, data.digest)


def data_of(config: ParityConfig) -> Dataset:
    """The data set of `config`, read."""
    return config.samples


def parity_shape(config: ParityConfig, data: Dataset) -> tuple[int, int, int]:
    """What the parity models see, (C, h, w): a parity query, or a tile of it."""
    if config.decoder != "selection":
        return data.shape
    return data.shape[0], *Grid(config.k, data.shape).tile


def output_of(config: ParityConfig) -> Callable[[Tensor], Tensor]:
    """What models hand out for logits (..., n).

    Of logits z, with `smoothing` s and `temperature` T: z itself at s = 0, and `log((1 - s) softmax(z / T) + s / n)`
    above, the logits of a model that was trained to perfection on labels that are smoothed by s (Szegedy et al., CVPR
    2016). No entry is below log(s / n), so a class that is out of the question weighs no more in a sum of predictions
    than it has to. The order of the classes of one prediction stays as it is, and with it the accuracy with nothing
    lost. That of a sum may change, since each of its terms is bounded; subtracting the others, softened alike, from an
    exact sum still leaves the lost one exactly.
    """
    if config.output == "probabilities":
        return lambda logits: torch.softmax(logits / config.temperature, -1)
    if not config.smoothing:
        return lambda logits: logits
    share = config.smoothing

    def soften(logits: Tensor) -> Tensor:
        return torch.log((1 - share) * torch.softmax(logits / config.temperature, -1) + share / logits.shape[-1])

    return soften


def make_scheme(config: ParityConfig, data: Dataset, base: nn.Module, cheap: nn.Module | None = None) -> Scheme:
    """The scheme of `config`, on its device, with weights as they are before training.

    Args:
        config: says which.
        data: its shapes, and the frequencies of its classes.
        base: the model that it stands in for.
        cheap: what answers for lost predictions where the code is `cheap-model`; trained, or read from the cache, if
            it is not given.

    Raises:
        RequestError: images that the encoder or a model cannot read.
    """
    hand_out = output_of(config)

    def predict(queries: Tensor) -> Tensor:
        return hand_out(base(queries))

    k, r = config.k, config.r
    if config.encoder is not None and config.decoder is not None:
        generator = torch.Generator().manual_seed(config.seed + 1)
        encoder = ENCODERS[config.encoder](k, r, data.shape)
        decoder = DECODERS[config.decoder](k, r, data.classes)
        initialise(encoder, generator)
        initialise(decoder, generator)
        name = config.parity_architecture
        shape = parity_shape(config, data)
        parity_models = [make_model(name, shape, data.classes, config.parity_width, generator) for _ in range(r)]
        if config.decoder == "selection":
            parity_models = [Tiled(model, Grid(k, data.shape)) for model in parity_models]
        if config.parity_init == "base":
            for model in parity_models:
                begin_as(model, base)
        return Parity(k, encoder, parity_models, decoder).to(config.device)
    if config.code == "spline":
        smoothing = {name: getattr(config, name) for name in ("encoder_smoothing", "decoder_smoothing")}
        return Spline(k, r, predict, **smoothing)
    if config.code.startswith("berrut"):
        return Berrut(k, r, predict, systematic=config.code == "berrut-systematic")
    if config.code == "replication":
        return Fallback(k, r, lambda queries, predictions: predictions, extra=k * r)
    if config.code == "cheap-model":
        model = base_model(config, data, config.cheap_model) if cheap is None else cheap

        def ask(queries: Tensor, predictions: Tensor) -> Tensor:
            return hand_out(model(queries.flatten(0, 1))).unflatten(0, predictions.shape[:2])

        return Fallback(k, r, ask, extra=k)
    frequency = torch.bincount(data.train.labels, minlength=data.classes).float().to(config.device)
    return Fallback(k, r, lambda queries, predictions: frequency.expand_as(predictions), extra=0)

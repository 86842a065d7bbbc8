"""From a trial and its checkpoint back to the models that were trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from lab.config import parse
from lab.errors import RequestError
from lab.runs import Trial
from lab.tasks.parity.base_models import untrained_base_model
from lab.tasks.parity.codes import Scheme
from lab.tasks.parity.config import ParityConfig
from lab.tasks.parity.data import Dataset
from lab.tasks.parity.scheme_of import make_scheme

__all__ = ["restored_base_model", "restored_scheme", "trained_config"]


def trained_config(trial: Trial, data_dir: Path | None = None) -> ParityConfig:
    """The configuration that a trial was trained under, with folders of this machine.

    A base model that no checkpoint has is looked for where the training kept them; if that folder is not here, it is
    kept beside the runs that are.

    Args:
        trial: of a run of parity models.
        data_dir: where the data sets are now; where the training had them if it is None.

    Raises:
        RequestError: it is of another version of the lab.
    """
    values = dict(trial.config) if data_dir is None else {**trial.config, "data_dir": str(data_dir)}
    config = parse(ParityConfig, values)
    assert config.cache_dir is not None  # the config fills it in
    return config if os.access(config.cache_dir, os.R_OK) else parse(ParityConfig, {**values, "cache_dir": None})


def restored_base_model(config: ParityConfig, data: Dataset, weights: Mapping[str, Tensor]) -> nn.Module:
    """The base model of `config` with the weights of a checkpoint, by name, on the config's device in evaluation mode.

    Raises:
        RequestError: images too small for the model, or weights of other names or shapes.
    """
    model = untrained_base_model(config, data, config.model)
    _load(model, weights, "base model")
    return model


def restored_scheme(
    config: ParityConfig,
    data: Dataset,
    base: nn.Module,
    weights: Mapping[str, Tensor],
    cheap: nn.Module | None = None,
) -> Scheme:
    """The scheme of `config` with the weights of a checkpoint, by name, on the config's device in evaluation mode.

    Args:
        config, data, base, cheap: as `lab.tasks.parity.scheme_of.make_scheme` has them.
        weights: of encoder, parity models and decoder, as far as they have any.

    Raises:
        RequestError: images that the encoder or a model cannot read, or weights of other names or shapes.
    """
    scheme = make_scheme(config, data, base, cheap)
    _load(scheme, weights, "checkpoint")
    return scheme.eval()


def _load(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RequestError(f"expected the weights of this architecture in the {what}, but: {reason}") from None

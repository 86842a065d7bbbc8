"""Who answers what: real models' predictions of a stream of queries, own ones and second ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import RequestError
from lab.paths import find_run
from lab.runs import Run
from lab.tables.learned import split_trial
from lab.tasks.parity.base_models import base_model
from lab.tasks.parity.checkpoint import checkpoint_of, load
from lab.tasks.parity.codes import Parity
from lab.tasks.parity.config import ParityConfig
from lab.tasks.parity.data import Dataset
from lab.tasks.parity.latency.config import Mode
from lab.tasks.parity.restore import restored_base_model, restored_scheme, trained_config
from lab.tasks.parity.scheme_of import data_of, output_of

__all__ = ["Service", "Stream", "service_of"]

_QUERIES = 4096
"""Most queries that models are asked about at a time."""


@dataclass(frozen=True)
class Service:
    """The models behind a serving cluster.

    Attributes:
        name: the run's.
        config: of the parity models.
        data: queries are its test samples.
        base: the model that they stand in for, in evaluation mode.
        scheme: encoder, parity models and decoder, in evaluation mode.
        cheap: a model that takes less time.
    """

    name: str
    config: ParityConfig
    data: Dataset
    base: nn.Module
    scheme: Parity
    cheap: nn.Module

    @property
    def predict(self) -> Callable[[Tensor], Tensor]:
        """What the base model hands to the decoder: queries (N, C, H, W) to predictions (N, n)."""
        hand_out = output_of(self.config)
        return lambda queries: hand_out(self.base(queries))


def service_of(name: str, data_dir: Path | None = None) -> Service:
    """The models of a run.

    Args:
        name: of the run, of which it is the best network by validation; `<run>#<trial>` for another trial.
        data_dir: where the data sets are now; where the training had them if it is None.

    Raises:
        RequestError: no such run, one that trained no parity models with an encoder, data that is missing or wrong, or
            a damaged checkpoint.
    """
    run_name, trial = split_trial(name)
    run = Run(find_run(run_name))
    if trial is None:
        trial = run.manifest.best_trial
    if trial is None or trial not in run.trials:
        raise RequestError(f"expected a run with a finished trial, but {run.name} has none called {trial}")
    if not run.manifest.experiment.startswith("parity"):
        raise RequestError(f"expected a run of parity, but {run.name} is one of {run.manifest.experiment}")
    config = trained_config(run.trials[trial], data_dir).model_copy(update={"device": "cpu"})
    if config.encoder is None:
        raise RequestError(
            f"expected a run with an encoder and parity models, but {run.name} has the code {config.code}"
        )
    data = data_of(config)
    loaded = load(checkpoint_of(run, trial), config, data.digest)
    base = restored_base_model(config, data, loaded.base)
    scheme = restored_scheme(config, data, base, loaded.best)
    assert isinstance(scheme, Parity)
    return Service(run.name, config, data, base, scheme, base_model(config, data, config.cheap_model))


class Stream:
    """Queries in the order in which they arrive: test samples, drawn with replacement.

    Attributes:
        places: int64 (queries,), which test samples.
        labels: int64 (queries,).
    """

    def __init__(self, service: Service, queries: int, seed: int) -> None:
        self.service = service
        self.places = np.random.default_rng([seed, 3]).integers(len(service.data.test), size=queries)
        self.labels = service.data.test.labels.numpy()[self.places]

    def right(self, mode: Mode) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each query's own answer is right, and whether its second answer is, bool (queries,) each."""
        service, test = self.service, self.service.data.test
        own = self._of_samples(service.predict)
        if mode == "parity":
            second = self._rebuilt(own[self.places])
        elif mode == "cheap":
            second = self._of_samples(service.cheap)[self.places]
        else:
            second = own[self.places]
        assert len(own) == len(test)
        first = own.argmax(1).numpy()[self.places] == self.labels
        return first, second.argmax(1).numpy() == self.labels

    @torch.no_grad()
    def _of_samples(self, model: Callable[[Tensor], Tensor]) -> Tensor:
        data = self.service.data
        return torch.cat([model(data.scaled(part)) for part in data.test.inputs.split(_QUERIES)])

    @torch.no_grad()
    def _rebuilt(self, own: Tensor) -> Tensor:
        """Each query's prediction as it is rebuilt where it alone is late; the last ones, in no group, as their own."""
        scheme, data, k = self.service.scheme, self.service.data, self.service.config.k
        whole = len(own) // k * k
        rebuilt = own.clone()
        groups = torch.from_numpy(self.places[:whole]).view(-1, k)
        for start in range(0, len(groups), _QUERIES // k):
            some = groups[start : start + _QUERIES // k]
            predictions = own[start * k : (start + len(some)) * k].view(len(some), k, -1)
            answers = scheme.answers(data.scaled(data.test.inputs[some]), predictions)
            for late in range(k):
                arrived = [place != late for place in range(answers.shape[1])]
                rebuilt[start * k + late : (start + len(some)) * k : k] = scheme.estimate(answers, arrived)[:, late]
        return rebuilt

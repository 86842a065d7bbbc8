"""The training of a parity model: a base model, a scheme around it, and epochs of groups."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lab.console import print_aside
from lab.errors import RequestError
from lab.experiment import Report, Result
from lab.tasks.parity.asked import SAMPLES, ask, say_accuracy
from lab.tasks.parity.base_models import base_model
from lab.tasks.parity.batches import Batches, learning_rates
from lab.tasks.parity.checkpoint import Loaded, Progress, load, save, starting_point
from lab.tasks.parity.codes import Parity, Scheme
from lab.tasks.parity.config import ParityConfig, architecture
from lab.tasks.parity.losses import loss_of
from lab.tasks.parity.measures import measure
from lab.tasks.parity.restore import restored_base_model, restored_scheme
from lab.tasks.parity.scheme_of import data_of, make_scheme
from lab.threads import torch_threads

__all__ = ["OBJECTIVE", "best_of", "fit"]

OBJECTIVE = "validation/degraded_accuracy"
"""The metric that is maximised."""


def fit(config: ParityConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains a code around a base model, which is trained first unless it is in the cache.

    On a CPU, two trainings with the same config report the same metrics, save `seconds`, resumed or not.

    Args:
        config: what is trained. Where there is nothing to train, there is one report.
        report: called once an iteration with `iteration`, `seconds`, `epoch`, `extra_servers` (beside the k of the
            queries), `base/<part>_accuracy`, `train/loss` (mean of the iteration), `<part>/<measure>` for the parts
            `train`, `validation` and `test` (`lab.tasks.parity.measures`), and `best/<part>/<measure>`, without ways
            to lose answers, of the best network by validation so far.
        resume: a checkpoint directory that a fit wrote; it goes before `config.continue_from`.

    Raises:
        RequestError: data that is missing or wrong, images that a model or an encoder cannot read, or a checkpoint that
            is not whole, or of another architecture or other data.
    """
    with torch_threads(config.threads):
        return _Training(config, resume).run(report)


class _Training:
    def __init__(self, config: ParityConfig, resume: Path | None) -> None:
        self.config, self.resumed = config, resume is not None
        self.data = data_of(config)
        self.data.require(config.k)
        self.loaded: Loaded | None = None
        if resume is not None:
            self.loaded = load(resume, config, self.data.digest)
        elif config.continue_from is not None:
            self.loaded = starting_point(config, self.data.digest)
        if self.loaded is None:
            self.base = base_model(config, self.data, config.model)
            self.scheme = make_scheme(config, self.data, self.base)
        else:
            weights = self.loaded.best if config.only_test else self.loaded.current
            self.base = restored_base_model(config, self.data, self.loaded.base)
            self.scheme = restored_scheme(config, self.data, self.base, weights)
        self.asked = ask(config, self.data, self.base)
        self.batches = Batches(config, self.asked)
        self._introduce()
        self.optimiser = self._optimiser()

    def run(self, report: Report) -> Result:
        config, scheme, loaded = self.config, self.scheme, self.loaded
        if loaded is None:
            progress = Progress(architecture=architecture(config), data=self.data.digest)
        else:
            progress = loaded.progress
        best = _copy(scheme) if loaded is None else loaded.best
        started = time.perf_counter() - progress.seconds
        if config.only_test or not config.trained:
            # Nothing changes from here on: one report says it all.
            first, last = 1, 0 if self.resumed else 1
        else:
            first, last = progress.iteration + 1, config.iterations
        metrics: dict[str, float] = {}
        for iteration in range(first, last + 1):
            loss = {"train/loss": self._iteration(iteration)} if config.trained and not config.only_test else {}
            measures = self._measures()
            metrics = {
                "iteration": float(iteration),
                "seconds": time.perf_counter() - started,
                "epoch": float(iteration * config.epochs) if loss else 0.0,
                "extra_servers": float(scheme.extra),
                **self.asked.accuracies,
                **loss,
                **measures,
            }
            found = progress.best
            # Of equals the last: the learning rate is lower there.
            if not found or measures[OBJECTIVE] >= found[f"best/{OBJECTIVE}"]:
                best = _copy(scheme)
                found = best_of(measures)
            metrics |= found
            progress = progress.model_copy(
                update={
                    "iteration": iteration,
                    "seconds": metrics["seconds"],
                    "best": found,
                    "trained": () if config.only_test else config.trained,
                }
            )
            if iteration == last or iteration % config.checkpoint_every == 0:
                with tempfile.TemporaryDirectory(prefix="parity-") as directory:
                    self._save(Path(directory), progress, best)
                    report(metrics, Path(directory))
            else:
                report(metrics, None)
        return Result(metrics)

    def _introduce(self) -> None:
        """Says how good the base model is, and what is frozen."""
        config = self.config
        say_accuracy(config, self.asked)
        for part in config.weighted:
            if part not in config.trained and not config.only_test:
                print_aside(f"frozen: the {part.replace('_', ' ')}, {self._origin(part)}")

    def _origin(self, part: str) -> str:
        if self.loaded is not None:
            return "as it was loaded"
        if part == "parity_model" and self.config.parity_init == "base":
            return "with the weights of the base model"
        return "as it was drawn, untrained by intent"

    def _optimiser(self) -> torch.optim.Optimizer | None:
        config, scheme, loaded = self.config, self.scheme, self.loaded
        if not config.trained or config.only_test:
            return None
        assert isinstance(scheme, Parity)
        for name, module in scheme.parts().items():
            module.requires_grad_(name in config.trained)
        kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
        parameters = [parameter for parameter in scheme.parameters() if parameter.requires_grad]
        # Ten times as fast as torch's plain loop over parameters, and half of a step of a wide MLP.
        optimiser = kind(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        if loaded is not None and loaded.progress.trained == config.trained:
            if set(loaded.optimiser) != set(range(len(parameters))):
                raise RequestError("expected the state of an optimiser in the checkpoint, but it is of other weights")
            optimiser.load_state_dict({**optimiser.state_dict(), "state": loaded.optimiser})
        elif loaded is not None:
            print_aside(f"the optimiser begins anew: trained are {', '.join(config.trained)} from here on")
        return optimiser

    def _iteration(self, iteration: int) -> float:
        """Trains the epochs of an iteration, counted from 1; the mean loss of a step."""
        config, scheme, optimiser = self.config, self.scheme, self.optimiser
        assert isinstance(scheme, Parity)
        assert optimiser is not None
        for name, module in scheme.parts().items():
            module.train(name in config.trained)
        total, steps = torch.zeros((), device=config.device), 0
        each = config.steps_in_epoch
        rates = learning_rates(config, np.arange((iteration - 1) * config.steps, iteration * config.steps) / each)
        for epoch in range((iteration - 1) * config.epochs, iteration * config.epochs):
            for block in self.batches.blocks(epoch):
                for batch in block.each():
                    for group in optimiser.param_groups:
                        group["lr"] = float(rates[steps])
                    optimiser.zero_grad()
                    loss = loss_of(
                        scheme, batch.queries, batch.predictions, batch.labels, config.loss, config.temperature
                    )
                    loss.backward()
                    optimiser.step()
                    total, steps = total + loss.detach(), steps + 1
        scheme.eval()
        return float(total) / steps

    def _measures(self) -> dict[str, float]:
        config, found = self.config, {}
        self.scheme.eval()
        for name in SAMPLES:
            groupings = config.validation_groupings if name == "validation" else 1
            part, predictions = getattr(self.data, name), self.asked.predictions[name]
            measures = measure(self.scheme, self.data, part, predictions, config.loss_rate, groupings)
            found.update({f"{name}/{key}": value for key, value in measures.items()})
        return found

    def _save(self, directory: Path, progress: Progress, best: dict[str, Tensor]) -> None:
        save(
            directory,
            progress,
            best=best,
            current=self.scheme.state_dict(),
            optimiser={} if self.optimiser is None else self.optimiser.state_dict()["state"],
            asked=self.asked,
        )


def best_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """What is reported of the best network by validation: `best/<part>/<measure>`, without ways to lose answers."""
    return {
        f"best/{name}": value
        for name, value in metrics.items()
        # Of a training step there are figures, too, but no measures.
        if name.count("/") == 1 and f"test/{name.partition('/')[2]}" in metrics
    }


def _copy(scheme: Scheme) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in scheme.state_dict().items()}

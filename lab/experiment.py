"""An experiment: what is trained, over which space, judged by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from envs.scenarios import ScenarioBatch
from lab.config import Config, parse
from lab.errors import RequestError, unknown_name
from lab.population_task import PopulationTask

__all__ = ["Experiment", "Fit", "Grid", "Report", "Result", "get", "names", "register", "require_device", "resources"]

Report = Callable[[dict[str, float], Path | None], None]
"""`report(metrics, checkpoint)`, called once an iteration; a directory given as checkpoint is copied at once."""


@dataclass(frozen=True)
class Result:
    """What a fit ends with.

    Attributes:
        metrics: its last ones.
        checkpoint: the directory that it reported last, if any.
        timing: where its time went (`lab.timing.Timing.tree`), if it measured that; over a resume, from the beginning.
    """

    metrics: dict[str, float]
    checkpoint: Path | None = None
    timing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Grid:
    """A grid that a file asks for.

    Attributes:
        fields: config fields that all its points share.
        axes: config field -> its values; every combination is a point.
    """

    fields: Mapping[str, Any]
    axes: Mapping[str, list[Any]]


class Fit(Protocol):
    """A training: a plain function that knows nothing of Tune.

    `metrics` always hold `iteration` (counted from 1), `seconds` (training time so far, continued over a resume; of a
    member of a population its share, where `members` is above 1) and the experiment's objective. A checkpoint directory
    is complete in itself: the latest training state, and the artefact (`model.safetensors`, `model.json`) of the best
    network by validation so far. `resume` is such a directory.
    """

    def __call__(self, config: Any, report: Report, *, resume: Path | None = None) -> Result: ...


def resources(config: Any, *, gpu: float = 1.0) -> dict[str, float]:
    """A CPU for each of the config's `threads`, and `gpu` GPUs if its `device` is `cuda`."""
    return {"cpu": float(config.threads), **({"gpu": gpu} if config.device == "cuda" else {})}


def require_device(config: Any) -> None:
    """Raises RequestError if the config's `device` is `cuda` and torch finds no CUDA device here."""
    if config.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise RequestError("expected device=cpu, since torch finds no CUDA device here, but got device=cuda")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is trained, over which space, judged by what.

    Attributes:
        name: what a person types.
        summary: one line for `lab list`.
        config: the class of the configuration; it has the fields `seed`, `iterations`, `device` and `threads`.
        fit: the training.
        space: config field -> one of Ray Tune's distributions (`tune.loguniform(...)`, `tune.choice([...])`).
        metric: the key in the reported metrics that is the objective.
        mode: whether a good objective is small (`min`) or large (`max`).
        presets: name -> config fields that differ from their defaults. `quick` takes minutes on 2 cores, `default` is
            what is published, `full` is for a cluster.
        samples: trials of a sweep, unless it is told otherwise.
        searcher: `random`, `grid` or `optuna`, likewise.
        scheduler: `none`, `asha` or `pbt`, likewise.
        check: `(config, in_sweep)`, raises RequestError for a configuration that cannot be trained on this machine, or
            not in a trial of a sweep; asked before anything is written.
        resources: Ray resources of one trial, from its config; a fraction of a GPU lets trials share it.
        population: what lets a sweep train many of its trials as one; None where each is trained alone.
        comparison: which comparison of `lab compare` its runs belong to.
        validation: config -> the scenarios whose churn ratio it reports as `validation/churn_ratio`; None for what
            trains no tables.
        read_grid: reads a file as a grid that takes the place of the space, for `lab sweep --config`; raises
            RequestError. None for an experiment that has no such files.
        texts: the metrics of a trial, one after another -> text files by name, which a run has in the trial's folder
            when it ends.
    """

    name: str
    summary: str
    config: type[Config]
    fit: Fit
    space: Mapping[str, Any]
    metric: str
    mode: Literal["min", "max"]
    presets: Mapping[str, Mapping[str, Any]]
    samples: int = 16
    searcher: str = "random"
    scheduler: str = "none"
    check: Callable[[Any, bool], None] = field(default=lambda config, in_sweep: None)
    resources: Callable[[Any], dict[str, float]] = field(default=lambda config: resources(config))
    population: PopulationTask | None = None
    comparison: str = "tables"
    validation: Callable[[Any], ScenarioBatch] | None = None
    read_grid: Callable[[Path], Grid] | None = None
    texts: Callable[[Sequence[Mapping[str, float]]], Mapping[str, str]] | None = None

    def __post_init__(self) -> None:
        for source in (self.space, *self.presets.values()):
            for key in source:
                if key not in self.config.model_fields:
                    raise unknown_name(f"config field of {self.name}", key, self.config.model_fields)
        if self.mode not in ("min", "max"):
            raise RequestError(f"expected the mode min or max, but got {self.mode!r}")
        task = self.population
        if task is not None and (task.objective, task.mode) != (self.metric, self.mode):
            raise RequestError(
                f"expected the population of {self.name} to have the objective {self.metric!r} ({self.mode}), "
                f"but it has {task.objective!r} ({task.mode})"
            )

    def resolve(self, preset: str = "default", overrides: Mapping[str, Any] | None = None) -> Config:
        """The configuration of a preset with some fields replaced.

        Raises:
            RequestError: an unknown preset or field, or a value out of range.
        """
        if preset not in self.presets:
            raise unknown_name(f"preset of {self.name}", preset, self.presets)
        return parse(self.config, {**self.presets[preset], **(overrides or {})})


_REGISTRY: dict[str, Experiment] = {}


def register(experiment: Experiment) -> Experiment:
    """Adds `experiment` to the registry and hands it back.

    Raises:
        RequestError: another experiment has the name already.
    """
    if experiment.name in _REGISTRY:
        raise RequestError(f"expected a new experiment name, but {experiment.name!r} is registered already")
    _REGISTRY[experiment.name] = experiment
    return experiment


def get(name: str) -> Experiment:
    """The experiment called `name`.

    Raises:
        RequestError: there is none; the nearest name is suggested.
    """
    if name not in _REGISTRY:
        raise unknown_name("experiment", name, _REGISTRY)
    return _REGISTRY[name]


def names() -> list[str]:
    """The names of all registered experiments, sorted."""
    return sorted(_REGISTRY)

"""Checkpoint directories of a parity model: JSON and safetensors, nothing that runs.

model.safetensors     the best network by validation so far: encoder, parity models, decoder
model.json            what it is, and how good
current.safetensors   the network after the last iteration, and the state of its optimiser
base.safetensors      the base model that it stands in for
progress.json         how far the training is; vouches for the others
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from lab.config import Config
from lab.errors import RequestError
from lab.files import write_json
from lab.paths import CHECKPOINT, find_run
from lab.runs import Run
from lab.tables.learned import split_trial
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.parity.config import ParityConfig, architecture

if TYPE_CHECKING:
    from lab.tasks.parity.asked import Asked

__all__ = ["Loaded", "Progress", "checkpoint_of", "load", "save", "save_artefact", "starting_point"]

_BEST, _CURRENT, _BASE, _PROGRESS = "model.safetensors", "current.safetensors", "base.safetensors", "progress.json"
_WHAT = "checkpoint of parity"


class Progress(Config):
    """How far a training is.

    Attributes:
        iteration: iterations done.
        seconds: time so far.
        architecture: `lab.tasks.parity.config.architecture`.
        data: `Dataset.digest`.
        trained: the parts that the optimiser has a state for.
        best: the metrics of the best network by validation so far, as they were reported.
    """

    iteration: int = 0
    seconds: float = 0.0
    architecture: dict[str, Any] = Field(default_factory=dict)
    data: str = ""
    trained: tuple[str, ...] = ()
    best: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """What is in a checkpoint.

    Attributes:
        progress: how far it is.
        best, current, base: tensors by name.
        optimiser: parameter -> name -> tensor, as in `torch.optim.Optimizer.state_dict`.
    """

    progress: Progress
    best: dict[str, Tensor]
    current: dict[str, Tensor]
    base: dict[str, Tensor]
    optimiser: dict[int, dict[str, Tensor]]


def save(
    directory: Path,
    progress: Progress,
    *,
    best: Mapping[str, Tensor],
    current: Mapping[str, Tensor],
    optimiser: Mapping[int, Mapping[str, Tensor]],
    asked: Asked,
) -> None:
    """Writes a checkpoint into the empty directory `directory`.

    Args:
        directory: where.
        progress: how far the training is.
        best, current: the weights of both networks, by name.
        optimiser: the state of the optimiser, as `Loaded` has it; empty if nothing is trained.
        asked: the base model.
    """
    both = {f"network.{name}": tensor for name, tensor in current.items()}
    for parameter, state in optimiser.items():
        both.update({f"optimiser.{parameter}.{key}": value for key, value in state.items()})
    for name, tensors in ((_CURRENT, both), (_BASE, asked.model.state_dict())):
        _write(directory / name, tensors)
    save_artefact(directory, progress.architecture, best=best, asked=asked, metrics=progress.best)
    write_progress(directory / _PROGRESS, progress)


def save_artefact(
    directory: Path,
    described: Mapping[str, Any],
    *,
    best: Mapping[str, Tensor],
    asked: Asked,
    metrics: Mapping[str, float],
) -> None:
    """Writes `model.safetensors` and `model.json`.

    Args:
        directory: where.
        described: `lab.tasks.parity.config.architecture`.
        best: the weights, by name.
        asked: the base model.
        metrics: of this network.
    """
    _write(directory / _BEST, best)
    description = {"format": "parity/1", "architecture": dict(described), "base": asked.accuracies}
    write_json(directory / "model.json", {**description, "best": dict(metrics)})


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)


def load(directory: Path, config: ParityConfig, digest: str) -> Loaded:
    """Reads a checkpoint that is to be used under `config`, with data of `digest`.

    Raises:
        RequestError: no whole checkpoint of a parity model, or one of another architecture or other data.
    """
    progress = read_progress(directory / _PROGRESS, Progress, _WHAT)
    for name, wanted in architecture(config).items():
        # Checkpoints of before there was smoothing have none.
        got = progress.architecture.get(name, 0.0 if name == "smoothing" else None)
        if got != wanted:
            raise RequestError(f"expected a checkpoint with {name} = {wanted}, but {directory} has {name} = {got}")
    if progress.data != digest:
        raise RequestError(
            f"expected a checkpoint of the same samples and the same split, but {directory} was trained on others: "
            "has a file of the data set changed?"
        )
    best, both, base = (read_weights(directory / name, _WHAT) for name in (_BEST, _CURRENT, _BASE))
    current: dict[str, Tensor] = {}
    optimiser: dict[int, dict[str, Tensor]] = {}
    for name, tensor in both.items():
        kind, _, rest = name.partition(".")
        parameter, _, key = rest.partition(".")
        if kind == "network":
            current[rest] = tensor
        elif kind == "optimiser" and parameter.isdecimal():
            optimiser.setdefault(int(parameter), {})[key] = tensor
        else:
            raise RequestError(f"expected a whole {_WHAT} at {directory}, but {_CURRENT} has a tensor {name!r}")
    return Loaded(progress, best, current, base, optimiser)


def starting_point(config: ParityConfig, digest: str) -> Loaded:
    """The checkpoint that `config.continue_from` names.

    Raises:
        RequestError: there is none, it does not fit, or its training has done all iterations already.
    """
    assert config.continue_from is not None
    loaded = load(_find(config.continue_from), config, digest)
    if not config.only_test and loaded.progress.iteration >= config.iterations:
        raise RequestError(
            f"expected more iterations than the {loaded.progress.iteration} that {config.continue_from} has done "
            f"already, but got iterations = {config.iterations}"
        )
    return loaded


def checkpoint_of(run: Run, trial: int) -> Path:
    """The checkpoint directory of a trial: in its own folder, or where Ray Tune put that of a trial in a sweep.

    Raises:
        RequestError: it is not in the run's folder, or there is none.
    """
    folder = run.trial_folder(trial) / CHECKPOINT
    address = run.trials[trial].checkpoint if trial in run.trials else None
    if not folder.is_dir() and address is not None:
        # A journal that came from elsewhere must not name any file.
        named = Path(address).resolve()
        if named.is_relative_to(run.folder.resolve()) and (named / _PROGRESS).is_file():
            return named
    if not (folder / _PROGRESS).is_file():
        raise RequestError(f"expected a checkpoint of {run.name}#{trial} at {folder}, but there is none")
    return folder


def _find(name: str) -> Path:
    """The checkpoint directory called `name`: a path, or a run, of which it is the first trial's, or `RUN#TRIAL`.

    Raises:
        RequestError: there is none.
    """
    direct = Path(name)
    if (direct / _PROGRESS).is_file():
        return direct
    run, trial = split_trial(name)
    try:
        folder = find_run(run)
    except RequestError as error:
        raise RequestError(
            f"expected a checkpoint directory or a run, but {name!r} is no directory, and: {error}"
        ) from None
    return checkpoint_of(Run(folder), trial or 0)

"""From a trial to the models that answer: safetensors are read, nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lab.compare.parity.methods import Member
from lab.errors import RequestError
from lab.files import read_json
from lab.paths import CHECKPOINT
from lab.runs import ARTEFACT
from lab.tasks.parity import ParityConfig
from lab.tasks.parity.base_models import base_model, logits, stored_base_model
from lab.tasks.parity.checkpoint import load
from lab.tasks.parity.codes import Scheme
from lab.tasks.parity.data import Dataset, Part
from lab.tasks.parity.restore import restored_base_model, restored_scheme
from lab.tasks.parity.scheme_of import data_of, output_of
from lab.tensor_files import read_tensors

__all__ = ["Loaded", "load_member"]


@dataclass(frozen=True)
class Loaded:
    """The models of a trial, on the CPU and in evaluation mode.

    Attributes:
        config: under which they were trained.
        data: the samples.
        base: the base model.
        scheme: the best one by validation.
        recorded: metrics of it as the training reported them, `best/<part>/<measure>`, and of the base model.
    """

    config: ParityConfig
    data: Dataset
    base: nn.Module
    scheme: Scheme
    recorded: dict[str, float]

    def predictions(self, part: Part) -> Tensor:
        """What the base model hands out for each sample: float32 (N, n)."""
        return output_of(self.config)(logits(self.base, self.data, part, self.config.device))


def load_member(member: Member) -> Loaded:
    """The models of a trial, from its checkpoint.

    A sweep may have kept its checkpoints where this machine does not see them. The best network is in the trial's
    folder always; the base model then comes from the cache, or is trained again as it was.

    Raises:
        RequestError: a checkpoint that is missing, damaged, or of other data; or a base model that is not the one that
            was protected.
    """
    config = member.config.model_copy(update={"device": "cpu"})
    data = data_of(config)
    cheap = _again(member, data, config.cheap_model) if config.code == "cheap-model" else None
    folder = _checkpoint(member)
    if folder is None:
        base = _again(member, data, config.model)
        best, recorded = _artefact(member)
    else:
        loaded = load(folder, config, data.digest)
        base = restored_base_model(config, data, loaded.base)
        best, recorded = loaded.best, loaded.progress.best
    scheme = restored_scheme(config, data, base, best, cheap)
    results = member.run.trials[member.trial].results
    last = results[max(results)] if results else {}
    said = {name: value for name, value in last.items() if name.startswith("base/")}
    return Loaded(config, data, base, scheme, {**said, **recorded})


def _checkpoint(member: Member) -> Path | None:
    """The directory of the last whole checkpoint, where this machine sees it."""
    said = member.run.trials[member.trial].checkpoint
    places = [member.run.trial_folder(member.trial) / CHECKPOINT, *([Path(said)] if said else [])]
    return next((place for place in places if (place / "progress.json").is_file()), None)


def _artefact(member: Member) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The best network that stands in the trial's folder, and what it was reported to be."""
    run, folder = member.run, member.run.trial_folder(member.trial)
    tensors, description = (folder / name for name in ARTEFACT[:2])
    digest = run.manifest.artefacts.get(str(tensors.relative_to(run.folder)))
    state = read_tensors(tensors, digest, "run.json", "a parity model")
    found: Any = read_json(description, "description of a parity model")
    best = found.get("best") if isinstance(found, dict) else None
    if not isinstance(best, dict):
        raise RequestError(f"expected a description of a parity model at {description}, but it has no entry 'best'")
    return state, best


def _again(member: Member, data: Dataset, name: str) -> nn.Module:
    """A model that stands in no checkpoint: from the cache of base models, or trained again as it was.

    Raises:
        RequestError: it was trained on a GPU, and is not in the cache.
    """
    found = stored_base_model(member.config, data, name)
    if found is None and member.config.device != "cpu":
        raise RequestError(
            f"expected the model {name} of {member.run.name}, trained on {member.config.device}, in "
            f"{member.config.cache_dir}, but it is not there, and a CPU would train another one"
        )
    return base_model(member.config, data, name) if found is None else found

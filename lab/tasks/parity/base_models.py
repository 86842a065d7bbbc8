"""Base models: trained once for each configuration, then read from a cache.

A cached model is a folder named by the SHA-256 of all that it depends on: `base.safetensors`, and `base.json` with what
it is and how good. Two trials that want the same model at once train it once.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save_file
from torch import Tensor, nn

from lab.config import Config
from lab.errors import RequestError, WorkError
from lab.files import read_json, replace_directory, settle_directory, sha256, write_json
from lab.tasks.parity.config import ParityConfig
from lab.tasks.parity.data import Dataset, Part
from lab.tasks.parity.groups import Augmentation
from lab.tasks.parity.models import make_model
from lab.tensor_files import read_tensors

__all__ = [
    "BASE_FIELDS",
    "BaseTraining",
    "accuracy",
    "base_model",
    "logits",
    "stored_base_model",
    "untrained_base_model",
]

BASE_FIELDS = (
    "dataset",
    "validation_share",
    "split_seed",
    "model",
    "base_epochs",
    "base_learning_rate",
    "base_weight_decay",
    "base_batch_size",
    "base_shift",
)
"""Fields of a configuration on which the base model depends, beside its seed and where it is trained."""

_WEIGHTS, _DESCRIPTION = "base.safetensors", "base.json"


class BaseTraining(Config):
    """All that a base model depends on.

    Attributes:
        version: of what `_train` does.
        digest: `Dataset.digest`.
        model: its architecture.
        seed, epochs, learning_rate, weight_decay, batch_size, shift, device, threads, torch: as its fields say.
    """

    version: Literal[1] = 1
    dataset: str
    digest: str
    model: str
    seed: int
    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    shift: int
    device: str
    threads: int
    torch: str

    def key(self) -> str:
        """SHA-256 of all fields, in hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def base_model(config: ParityConfig, data: Dataset, name: str) -> nn.Module:
    """The model `name` trained on `data` as `config` says, in evaluation mode on the config's device.

    It comes from the cache in `config.cache_dir` if it is there; a damaged copy is trained again.

    Raises:
        RequestError: images too small for the model.
        WorkError: the cache cannot be written.
    """
    training = _training(config, data, name)
    model = untrained_base_model(config, data, name)
    folder = _folder(config, training)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(f"cannot write {folder.parent}: {error.strerror or error}") from error
    with FileLock(folder.with_suffix(".lock")):
        settle_directory(folder)
        state = None
        with suppress(RequestError):
            state = _read(folder)
        if state is None:
            _train(training, model, data)
            _write(folder, training, model, data)
        else:
            model.load_state_dict(state)
    return model


def stored_base_model(config: ParityConfig, data: Dataset, name: str) -> nn.Module | None:
    """The model that `base_model` would hand out if it has been trained, in evaluation mode on the CPU, wherever it was
    trained; None if it is not in the cache, or damaged there."""
    with suppress(RequestError):
        state = _read(_folder(config, _training(config, data, name)))
        model = untrained_base_model(config.model_copy(update={"device": "cpu"}), data, name)
        model.load_state_dict(state)
        return model
    return None


def _training(config: ParityConfig, data: Dataset, name: str) -> BaseTraining:
    return BaseTraining(
        dataset=data.name,
        digest=data.digest,
        model=name,
        seed=config.seed,
        epochs=config.base_epochs,
        learning_rate=config.base_learning_rate,
        weight_decay=config.base_weight_decay,
        batch_size=config.base_batch_size,
        shift=config.base_shift,
        device=config.device,
        threads=config.threads,
        torch=torch.__version__,
    )


def _folder(config: ParityConfig, training: BaseTraining) -> Path:
    assert config.cache_dir is not None  # the config fills it in
    return Path(config.cache_dir) / training.key()


def untrained_base_model(config: ParityConfig, data: Dataset, name: str) -> nn.Module:
    """The same model before training, for weights that are loaded into it.

    Raises:
        RequestError: images too small for the model.
    """
    generator = torch.Generator().manual_seed(config.seed)
    return make_model(name, data.shape, data.classes, 1.0, generator).to(config.device).eval()


def logits(model: nn.Module, data: Dataset, part: Part, device: str) -> Tensor:
    """What `model`, in evaluation mode on `device`, says of each sample of a part: float32 (N, n), on `device`."""
    with torch.no_grad():
        return torch.cat([model(data.scaled(batch.to(device))) for batch in part.inputs.split(512)])


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """The share of predictions (N, n) whose largest entry is at the label (N,)."""
    return float((predictions.argmax(-1) == labels.to(predictions.device)).float().mean())


def _train(training: BaseTraining, model: nn.Module, data: Dataset) -> None:
    """Adam on the cross-entropy of the training part, at a learning rate that falls to 0 in half a cosine."""
    model.train()
    optimiser = torch.optim.Adam(
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    inputs, labels = data.train.inputs.to(training.device), data.train.labels.to(training.device)
    batches = -(-len(labels) // training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.epochs * batches)
    rng = np.random.default_rng([training.seed, 0])
    augment = Augmentation(training.shift, False, 0.0)
    for _ in range(training.epochs):
        order = torch.from_numpy(rng.permutation(len(labels))).to(training.device)
        for places in order.split(training.batch_size):
            optimiser.zero_grad()
            queries = augment(data.scaled(inputs[places]), data.black.to(training.device), rng)
            loss = nn.functional.cross_entropy(model(queries), labels[places])
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()


def _write(folder: Path, training: BaseTraining, model: nn.Module, data: Dataset) -> None:
    with tempfile.TemporaryDirectory(prefix="parity-base-") as made:
        weights = Path(made) / _WEIGHTS
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, weights)
        found = {
            name: accuracy(logits(model, data, part, training.device), part.labels)
            for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test))
        }
        description = {"training": training.model_dump(), "accuracy": found, "sha256": sha256(weights)}
        write_json(Path(made) / _DESCRIPTION, description)
        replace_directory(Path(made), folder)


def _read(folder: Path) -> dict[str, Tensor]:
    description = read_json(folder / _DESCRIPTION, "description of a base model")
    digest = description.get("sha256") if isinstance(description, dict) else None
    return read_tensors(folder / _WEIGHTS, digest, _DESCRIPTION, "a base model")

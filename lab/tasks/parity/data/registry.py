"""Data sets by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from lab.errors import RequestError, unknown_name
from lab.tasks.parity.data.cifar import cifar10, cifar100
from lab.tasks.parity.data.dataset import Dataset, Part, Source, split
from lab.tasks.parity.data.idx import mnist_like
from lab.tasks.parity.data.offline import digits, mnist5k
from lab.tasks.parity.data.pictures import cat_v_dog
from lab.tasks.parity.data.speech import speech_commands

__all__ = ["ALIASES", "DATASETS", "load"]

_OFFLINE: Mapping[str, Callable[[], Source]] = {"digits": digits, "mnist5k": mnist5k}

_FROM_FILES: Mapping[str, Callable[[Path], Source]] = {
    "mnist": partial(mnist_like, folder="mnist"),
    "fashion-mnist": partial(mnist_like, folder="fashion-mnist"),
    "cifar10": cifar10,
    "cifar100": cifar100,
    "speech-commands": speech_commands,
    "cat_v_dog": cat_v_dog,
}

DATASETS = (*_OFFLINE, *_FROM_FILES)
"""The names of all data sets."""

ALIASES = {"gcommands": "speech-commands"}
"""Other spelling -> name."""


@functools.lru_cache(maxsize=2)
def load(name: str, data_dir: Path | None, validation_share: float, split_seed: int) -> Dataset:
    """Reads a data set. Nothing is downloaded.

    Args:
        name: one of `DATASETS`.
        data_dir: where its folder is; None for those that come inside packages.
        validation_share: of the training part, unless the data set has a validation part of its own.
        split_seed: of that split.

    Raises:
        RequestError: an unknown name, no folder, a file that is missing or wrong, or a part that lacks a class.
    """
    if name in _OFFLINE:
        source = _OFFLINE[name]()
    elif name not in _FROM_FILES:
        raise unknown_name("data set", name, DATASETS)
    elif data_dir is None:
        raise RequestError(f"expected --data-dir for the data set {name}, which does not come with the lab")
    elif not data_dir.is_dir():
        raise RequestError(f"expected a folder as --data-dir, but there is none at {data_dir}")
    else:
        source = _FROM_FILES[name](data_dir)
    train, validation = source.train, source.validation
    if validation is None:
        kept, held = split(train.labels.numpy(), validation_share, split_seed)
        held = np.random.default_rng(split_seed).permutation(held)
        train, validation = (Part(train.inputs[places], train.labels[places]) for places in (kept, held))
    if len(train.labels.unique()) < source.classes:
        raise RequestError(
            f"expected training samples of all {source.classes} classes of {name}, "
            f"but there are samples of {len(train.labels.unique())}"
        )
    return Dataset(name, train, validation, source.test, source.classes, source.mean, source.std)

"""CIFAR-10 and CIFAR-100, binary version (Krizhevsky, 2009). The Python version is pickles, which run code: refused.

A record is the label, for CIFAR-100 the coarse label and the fine one, and 3,072 bytes: red, green and blue, 32 x 32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lab.errors import RequestError
from lab.tasks.parity.data.dataset import Part, Source, check_labels, part_of
from lab.tasks.parity.data.folders import find

__all__ = ["cifar10", "cifar100"]

_PIXELS = 3 * 32 * 32
_LIMIT = 60_000
"""Most records of a file."""


def cifar10(data_dir: Path) -> Source:
    """`data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` in `cifar10` or `cifar-10-batches-bin`.

    Raises:
        RequestError: a file is missing or wrong, or only the pickled version is there.
    """
    names = [[f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"]]
    return _read(data_dir, ("cifar10", "cifar-10-batches-bin"), names, 10, ("cifar-10-batches-py", "cifar-10-binary"))


def cifar100(data_dir: Path) -> Source:
    """`train.bin` and `test.bin` in `cifar100` or `cifar-100-binary`; labels are the 100 fine ones.

    Raises:
        RequestError: a file is missing or wrong, or only the pickled version is there.
    """
    names = [["train.bin"], ["test.bin"]]
    return _read(data_dir, ("cifar100", "cifar-100-binary"), names, 100, ("cifar-100-python", "cifar-100-binary"))


def _read(
    data_dir: Path, folders: tuple[str, ...], names: list[list[str]], classes: int, pickled: tuple[str, str]
) -> Source:
    _refuse_pickles(data_dir, folders, [name for part in names for name in part], *pickled)
    parts: list[Part] = []
    for part in names:
        read = [_records(find(data_dir, folders, [name]), classes) for name in part]
        parts.append(part_of(np.concatenate([images for images, _ in read]), np.concatenate([y for _, y in read])))
    mean, std = torch.tensor([[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])[..., None, None] * 255
    return Source(parts[0], None, parts[1], classes=classes, mean=mean, std=std)


def _records(path: Path, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = 1 if classes == 10 else 2
    length, size = labels + _PIXELS, path.stat().st_size
    if size == 0 or size % length or size // length > _LIMIT:
        raise RequestError(
            f"expected from 1 to {_LIMIT:,} records of {length:,} bytes at {path}, but it has {size:,} bytes"
        )
    try:
        records = np.fromfile(path, np.uint8).reshape(-1, length)
    except (OSError, ValueError) as error:
        raise RequestError(f"expected a readable CIFAR file at {path}, but got: {error}") from None
    found = records[:, labels - 1].astype(np.int64)
    check_labels(found, classes, str(path))
    return records[:, labels:].reshape(-1, 3, 32, 32), found


def _refuse_pickles(data_dir: Path, folders: tuple[str, ...], names: list[str], python: str, binary: str) -> None:
    for folder in (*folders, python):
        for name in (*names, *(name.removesuffix(".bin") for name in names)):
            path = data_dir / folder / name
            # Protocol 2 and later begin with this byte; as a label it is out of range for either data set.
            if not path.is_file():
                continue
            with path.open("rb") as file:
                first = file.read(1)
            if first == b"\x80":
                raise RequestError(
                    f"expected the binary version of CIFAR, but {path} is a pickle, which runs code when it is read: "
                    f"get {binary}.tar.gz and unpack it into {data_dir}"
                )

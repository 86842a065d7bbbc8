"""MNIST and Fashion-MNIST: IDX files (LeCun, Cortes and Burges; Xiao, Rasul and Vollgraf, arXiv 1708.07747).

An IDX file is two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian
uint32, and the bytes. Nothing is allocated before the header has been checked, and no more is unpacked than it says.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray

from lab.errors import RequestError
from lab.tasks.parity.data.dataset import Source, check_labels, part_of
from lab.tasks.parity.data.folders import find

__all__ = ["LIMIT", "mnist_like", "read_idx"]

LIMIT = 200_000
"""Most samples of a file; MNIST has 60,000."""


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes, packed with gzip if its name ends in `.gz`.

    Args:
        path: the file.
        shape: of one entry, () or (height, width).

    Returns:
        uint8 (N, *shape).

    Raises:
        RequestError: unreadable, of another kind, shape or size than it should be, or of more than `LIMIT` entries.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            return _read(file, path, shape)
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(f"expected a whole {'gzipped ' if packed else ''}IDX file at {path}: {error}") from None


def _read(file: IO[bytes] | gzip.GzipFile, path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    dimensions = len(shape) + 1
    header = _take(file, 4 + 4 * dimensions)
    magic = bytes([0, 0, 8, dimensions])
    if header[:4] != magic:
        raise RequestError(
            f"expected the magic number {magic.hex()} at {path}, but got {header[:4].hex() or 'nothing'}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise RequestError(f"expected {dimensions} dimensions at {path}, but the header is truncated")
    count, *rest = (int(value) for value in np.frombuffer(header[4:], ">u4"))
    if tuple(rest) != shape:
        raise RequestError(f"expected entries of shape {shape} at {path}, but got {tuple(rest)}")
    if not 1 <= count <= LIMIT:
        raise RequestError(f"expected from 1 to {LIMIT:,} entries at {path}, but its header says {count:,}")
    size = count * int(np.prod(shape, dtype=np.int64))
    body = _take(file, size + 1)
    if len(body) != size:
        found = f"only {len(body):,}" if len(body) < size else "more"
        raise RequestError(f"expected {size:,} bytes after the header of {path}, but there are {found}")
    return np.frombuffer(body, np.uint8).reshape(count, *shape)


def _take(file: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
    """`size` bytes, or as many as there are."""
    parts, left = [], size
    while left and (part := file.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def mnist_like(data_dir: Path, folder: str) -> Source:
    """The data set in `<data_dir>/<folder>`: its four files under their usual names, with or without `.gz`.

    Raises:
        RequestError: a file is missing or wrong.
    """
    parts = []
    for prefix in ("train", "t10k"):
        images_at = _find(data_dir, folder, f"{prefix}-images-idx3-ubyte")
        labels_at = _find(data_dir, folder, f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(images_at, (28, 28)), read_idx(labels_at, ()).astype(np.int64)
        if len(images) != len(labels):
            raise RequestError(f"expected {len(images):,} labels at {labels_at}, but got {len(labels):,}")
        check_labels(labels, 10, str(labels_at))
        parts.append(part_of(images[:, None].copy(), labels))
    scale = torch.full((1, 1, 1), 255.0)
    return Source(parts[0], None, parts[1], classes=10, mean=torch.zeros(1, 1, 1), std=scale)


def _find(data_dir: Path, folder: str, name: str) -> Path:
    return find(data_dir, (folder,), (name, f"{name}.gz"))

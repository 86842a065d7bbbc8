"""Cats and dogs (the Kaggle competition of 2013) from a folder of images."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lab.errors import RequestError
from lab.tasks.parity.data.dataset import Part, Source
from lab.tasks.parity.data.folders import class_files, find_folder

__all__ = ["SIDE", "cat_v_dog", "read_image"]

SIDE = 224
"""Pixels of a side."""

_MOST_PIXELS = 50_000_000


def cat_v_dog(data_dir: Path) -> Source:
    """Images in `cat_v_dog/{train,val,test}/{cat,dog}`, uint8 (N, 3, 224, 224); without `val` it is taken from `train`.

    Raises:
        RequestError: a folder or file is missing or wrong.
    """
    root = find_folder(data_dir, ("cat_v_dog",))
    parts = {name: _part(root / name) for name in ("train", "val", "test") if name != "val" or (root / "val").is_dir()}
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None] * 255
    return Source(parts["train"], parts.get("val"), parts["test"], 2, mean, std)


def read_image(path: Path) -> NDArray[np.uint8]:
    """The middle of an image whose shorter side is scaled to 256 pixels, uint8 (3, 224, 224).

    Raises:
        RequestError: it is no whole JPEG or PNG, or has more than 50 million pixels.
    """
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("JPEG", "PNG")) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # Known from the header, before a pixel is unpacked.
            if image.width * image.height > _MOST_PIXELS:
                raise RequestError(
                    f"expected at most {_MOST_PIXELS:,} pixels at {path}, but got {image.width} x {image.height}"
                )
            # The same as scaling the shorter side to 256 and then cropping, without the pixels that are cropped away.
            side = min(image.size) * SIDE / 256
            left, top = (image.width - side) / 2, (image.height - side) / 2
            box = (left, top, left + side, top + side)
            middle = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RequestError(f"expected a JPEG or PNG at {path}, but got: {error}") from None
    return np.asarray(middle).transpose(2, 0, 1)


def _part(root: Path) -> Part:
    if not root.is_dir():
        raise RequestError(f"expected a folder {root.name} in {root.parent}, but there is none")
    files = class_files(root, ("cat", "dog"), (".jpg", ".jpeg", ".png"))
    inputs = torch.empty(len(files), 3, SIDE, SIDE, dtype=torch.uint8)
    for place, (path, _) in enumerate(files):
        inputs[place] = torch.from_numpy(read_image(path).copy())
    # Folders are read class after class; groups of a part are consecutive.
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(files)))
    return Part(inputs[order], torch.tensor([label for _, label in files])[order])

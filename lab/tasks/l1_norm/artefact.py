"""A trained network on disk: safetensors and JSON, nothing that runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as dump_tensors
from torch import Tensor

from lab.config import parse
from lab.errors import RequestError
from lab.files import read_json
from lab.tasks.l1_norm.cell import Cell
from lab.tasks.l1_norm.cells import CellOptions, make
from lab.tensor_files import read_tensors

__all__ = ["DESCRIPTION", "FORMAT", "MODEL", "UNTRAINED", "load_model", "save_model"]

FORMAT = "l1_norm/1"
"""Unlike a learned table's, which is a number: neither is taken for the other."""

MODEL, UNTRAINED, DESCRIPTION = "model.safetensors", "untrained.safetensors", "model.json"


def save_model(
    directory: Path,
    options: CellOptions,
    state: Mapping[str, Tensor],
    untrained: Mapping[str, Tensor],
    meta: Mapping[str, Any],
) -> None:
    """Writes an artefact, in float32 as networks are used.

    Files are not synced: hundreds of members end at once, and whoever keeps an artefact copies it from here.

    Args:
        directory: where `model.safetensors`, `model.json` and `untrained.safetensors` go.
        options: of the cell.
        state: the parameters of the trained network, by name.
        untrained: those of the same network before its first step.
        meta: what else is said of it; JSON.
    """
    digests = {}
    for name, tensors in ((MODEL, state), (UNTRAINED, untrained)):
        whole = {key: value.detach().to("cpu", torch.float32).contiguous().clone() for key, value in tensors.items()}
        written = dump_tensors(whole)
        (directory / name).write_bytes(written)
        digests[name] = hashlib.sha256(written).hexdigest()
    fixed = {"format": FORMAT, "dtype": "float32", "options": options.model_dump(mode="json"), "sha256": digests}
    text = json.dumps({**meta, "cell": options.cell, **fixed}, indent=2, allow_nan=False) + "\n"
    (directory / DESCRIPTION).write_text(text, encoding="utf-8")


def load_model(directory: Path, weights: str = MODEL) -> tuple[Cell, dict[str, Any]]:
    """The network of an artefact, and what is said of it.

    Args:
        directory: a directory that `save_model` wrote.
        weights: `MODEL`, or `UNTRAINED` for the network before training.

    Returns:
        The cell, float32 on the CPU, and the whole of `model.json`: `format`, `cell`, `options`, `dtype`, `sha256`, and
        of a training also `seed`, `trained_in` (dtype) and `validation` (objective -> value).

    Raises:
        RequestError: a missing, truncated or corrupt file, files that do not belong together, another format, options
            or tensors that do not fit.
    """
    directory = Path(directory)
    path = directory / DESCRIPTION
    description = read_json(path, "description of a network for the L1 norm")
    known = description.get("format") if isinstance(description, dict) else None
    if known != FORMAT:
        raise RequestError(f"expected a network of format {FORMAT} at {path}, but got format {known!r}")
    for key in ("options", "sha256"):
        if not isinstance(description.get(key), dict):
            raise RequestError(f"expected {key!r} of a network at {path}, but it is missing or malformed")
    try:
        cell = make(parse(CellOptions, description["options"]))
    except RequestError as error:
        raise RequestError(f"expected the options of a cell at {path}, but got: {error}") from None
    cell.load_state_dict(_tensors(directory / weights, description["sha256"].get(weights), cell))
    return cell, description


def _tensors(path: Path, digest: object, cell: Cell) -> dict[str, Tensor]:
    tensors = read_tensors(path, digest, DESCRIPTION, "a network")
    found, mine = (
        {key: (tuple(value.shape), value.dtype) for key, value in state.items()}
        for state in (tensors, cell.state_dict())
    )
    if found != mine:
        key = sorted(key for key in found.keys() | mine.keys() if found.get(key) != mine.get(key))[0]
        raise RequestError(f"expected at {path} {key!r} as {mine.get(key)}, but got {found.get(key)}")
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise RequestError(f"expected finite tensors at {path}, but {key!r} is not")
    return tensors

"""The learned table that comes with the lab: `build("learned", ids, size)`, offline and the same on every machine.

`presets/learned-1` is an artefact as `lab.tables.learned` has them, of a `table_es` search (`model.json` says which
command, seed and commit made it, and what it scored on validation fleets). Another artefact would be another version.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lab.tables.registry import Builder, register

__all__ = ["FOLDER", "PRESETS"]

PRESETS = Path(__file__).parent / "presets"
FOLDER = PRESETS / "learned-1"


@functools.cache
def _loaded() -> Builder:
    # It needs torch, which takes seconds to import: only those who ask for a learned table pay.
    builder: Builder = importlib.import_module("lab.tables.learned").load(FOLDER, name="learned")
    return builder


def _build_batch(
    hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    return _loaded().build_batch(hashes, present, size, weights)


def _check(size: int, n_backends: int) -> None:
    _loaded().check(size, n_backends)


register(
    Builder(
        name="learned",
        version=1,
        summary="priced rendezvous, stratified scores: best pair first, at prices found by table_es",
        build_batch=_build_batch,
        exact=True,
        check=_check,
        trained=True,
    )
)

"""Success by two of the fields that a sweep searched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lab.compare.l1.success import Proportion, wilson
from lab.runs import Run

__all__ = ["Grid", "grid"]

_MOST = 6
"""Columns: more values of a number than these are put into bins."""

_BINS = 5
_PREFERRED = ("cell", "learning_rate")


@dataclass(frozen=True)
class Grid:
    """Successes of a sweep's trials by two fields.

    Attributes:
        run: its name.
        row_field, column_field: the fields.
        rows, columns: their values, or bins of them, as text.
        shares: a proportion for each row and column; `of` 0 where no trial fell.
        seeds: how many different seeds the trials have.
    """

    run: str
    row_field: str
    column_field: str
    rows: list[str]
    columns: list[str]
    shares: list[list[Proportion]]
    seeds: int


def grid(run: Run, success: Mapping[int, bool]) -> Grid | None:
    """The grid of a sweep; None where fewer than two fields were searched.

    Args:
        run: the sweep.
        success: trial -> whether it succeeded, for all that ended and are not copies of others.
    """
    trials = [run.trials[index] for index in sorted(success)]
    swept = [
        name for name in run.manifest.space if name != "seed" and len({str(t.config.get(name)) for t in trials}) > 1
    ]
    # The two that are asked for most; among the others, those with the most values say the most.
    swept.sort(key=lambda name: -len({str(t.config.get(name)) for t in trials}))
    swept = [name for name in _PREFERRED if name in swept] + [name for name in swept if name not in _PREFERRED]
    if len(swept) < 2:
        return None
    row_field, column_field = swept[:2]
    rows, row_of = _places([t.config.get(row_field) for t in trials])
    columns, column_of = _places([t.config.get(column_field) for t in trials])
    counts = np.zeros((2, len(rows), len(columns)), dtype=int)
    for trial, row, column in zip(trials, row_of, column_of, strict=True):
        counts[:, row, column] += (int(success[trial.index]), 1)
    shares = [
        [wilson(int(a), int(b)) for a, b in zip(good, of, strict=True)]
        for good, of in zip(counts[0], counts[1], strict=True)
    ]
    return Grid(run.name, row_field, column_field, rows, columns, shares, len({t.config.get("seed") for t in trials}))


def _places(values: list[object]) -> tuple[list[str], list[int]]:
    """The distinct values as text, or bins of them where they are many numbers; and the place of each value."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        distinct = sorted(set(numbers))
        if len(distinct) > _MOST:
            return _bins(np.array(numbers, dtype=np.float64))
        return [f"{v:g}" for v in distinct], [distinct.index(v) for v in numbers]
    texts = sorted({str(v) for v in values})
    return texts, [texts.index(str(v)) for v in values]


def _bins(values: np.ndarray) -> tuple[list[str], list[int]]:
    low, high = float(values.min()), float(values.max())
    logarithmic = low > 0 and high / low > 10
    edges = np.geomspace(low, high, _BINS + 1) if logarithmic else np.linspace(low, high, _BINS + 1)
    # Rounded outward at the ends: the least and the largest value stay inside.
    edges = np.array([_round(e) for e in edges])
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
    return [f"{a:.2g} to {b:.2g}" for a, b in pairwise(edges)], [int(p) for p in place]


def _round(value: float) -> float:
    """To two digits."""
    return 0.0 if value == 0 else round(value, 1 - math.floor(math.log10(abs(value))))

"""Learning curves: the validation churn ratio of each seed against what its training took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.compare.methods import Kind, Method, Training
from lab.compare.statistics import Interval, generator, stratified_interval
from lab.runs import Run

__all__ = ["METRIC", "Curve", "curves"]

METRIC = "validation/churn_ratio"

_POINTS = 40
"""Where the seeds are read off to be averaged: they do not validate at the same seconds."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The curve of one method along one axis.

    Attributes:
        method: its label.
        kind: `supervised`, `ppo` or `es`.
        axis: `seconds` of training, or what its steps are called (`env_steps`).
        lines: for each seed the points (x, churn ratio), as recorded.
        band_x: where the average is taken, (K,); empty with one seed.
        band: interquartile mean over seeds with its 95 % interval, K of them.
    """

    method: str
    kind: Kind
    axis: str
    lines: tuple[tuple[Floats, Floats], ...]
    band_x: Floats
    band: tuple[Interval, ...]


def curves(methods: list[Method]) -> list[Curve]:
    """The curves of all trained methods that recorded any, along seconds and along their steps."""
    found = []
    for method in methods:
        training = method.training
        if training is None or not method.trained:
            continue
        axes = ["seconds", *([training.steps_name] if training.steps_name else [])]
        for axis in axes:
            lines = _lines(training, axis)
            if lines:
                found.append(_curve(method, axis, lines))
    return found


def _lines(training: Training, axis: str) -> list[tuple[Floats, Floats]]:
    metrics = Run(training.folder).metrics()
    if not {axis, METRIC} <= set(metrics.columns):
        return []
    lines = []
    for trial in training.trials:
        # Not every iteration validates, and a ratio over 0 is not defined.
        rows = metrics[metrics["trial"] == trial][[axis, METRIC]].dropna().sort_values(axis)
        points = rows.to_numpy(dtype=np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            lines.append((points[:, 0], points[:, 1]))
    return lines


def _curve(method: Method, axis: str, lines: list[tuple[Floats, Floats]]) -> Curve:
    start, stop = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    if len(lines) < 2 or stop <= start:
        return Curve(method.label, method.kind, axis, tuple(lines), np.empty(0), ())
    grid = np.linspace(start, stop, _POINTS)
    seeds = np.stack([np.interp(grid, x, y) for x, y in lines])
    intervals, _ = stratified_interval(seeds[:, None, :], generator("curve", method.label, axis), 1000)
    return Curve(method.label, method.kind, axis, tuple(lines), grid, tuple(intervals))

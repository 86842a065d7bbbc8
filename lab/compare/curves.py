"""Learning curves: how each seed's churn ratio in validation falls with the seconds and steps of its training.

All learners share their axes. A step is an entry given out, which is what a step of the environment is; a pair of
tables, before and after, that a network or a search was judged by counts as `2 * size` of them. Each learner validates
on scenarios of its own, so a churn ratio is told as a multiple of that of Maglev on the same scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from envs.scenarios import ScenarioBatch, ScenarioConfig, sample_batch, stream
from lab import experiment
from lab.compare.methods import Kind, Method, Training
from lab.compare.quantiles import seed_quantiles
from lab.compare.statistics import Interval, generator, stratified_interval
from lab.config import parse
from lab.errors import RequestError
from lab.runs import Run, Trial
from lab.tables.judging import measure
from lab.tables.registry import build_batch

__all__ = ["AXES", "LEVEL_PAIRS", "METRIC", "Curve", "Passing", "curves", "levels", "passing"]

AXES = ("seconds", "env_steps")

METRIC = "validation/churn_ratio"
EVEN_METRIC = "validation/even_churn_ratio"
"""Where it is recorded, it is what is drawn: an uneven table changes little, so what is uneven counts as moves, too."""

LEVEL_PAIRS = 2000
"""Scenarios of the validation stream that tables without training are held against Maglev on."""

_USUAL_SIZE = 47
"""Entries of a table where a configuration does not say."""

_POINTS = 40
"""Where the seeds are read off to be averaged: they do not validate at the same seconds."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The curve of one method along one axis.

    Attributes:
        method: its label.
        kind: `supervised`, `ppo`, `es` or `learned`.
        axis: `seconds` of training, or `env_steps`: entries given out.
        size: entries of the tables it was trained on.
        own: whether Maglev's churn ratio is that on the very scenarios of its validation; if the experiment does not
            tell them, on others of the same stream.
        lines: for each seed the points (x, churn ratio over Maglev's), one a validation.
        band_x: where the average is taken, (K,); empty with one seed. Along seconds seeds are averaged where they are
            equally far in their own time, and this is the median over seeds.
        band: interquartile mean over seeds with its 95 % interval, K of them.
    """

    method: str
    kind: Kind
    axis: str
    size: int
    own: bool
    lines: tuple[tuple[Floats, Floats], ...]
    band_x: Floats
    band: tuple[Interval, ...]


@dataclass(frozen=True)
class Passing:
    """What a method takes until it changes less than Maglev in validation.

    Attributes:
        method: its label.
        seeds, passed: how many there are, and how many of them ever do.
        at: axis -> the median over seeds of the first validation that does, None where more than half never do.
    """

    method: str
    seeds: int
    passed: int
    at: dict[str, Interval]


def passing(curves: list[Curve]) -> list[Passing]:
    """`Passing` of every method with a curve along each of `AXES`, the one with the fewest steps first."""
    by_method: dict[str, dict[str, Curve]] = {}
    for curve in curves:
        by_method.setdefault(curve.method, {})[curve.axis] = curve
    found = []
    for method, by_axis in by_method.items():
        if set(AXES) <= set(by_axis):
            firsts = {
                axis: np.array([[x[y < 1][0] if (y < 1).any() else np.inf] for x, y in by_axis[axis].lines])
                for axis in AXES
            }
            at = {
                axis: seed_quantiles(values, (0.5,), generator("passing", method, axis))[0]
                for axis, values in firsts.items()
            }
            found.append(Passing(method, len(firsts[AXES[0]]), int(np.isfinite(firsts[AXES[0]]).sum()), at))
    return sorted(found, key=lambda each: each.at["env_steps"].value or np.inf)


def curves(methods: list[Method]) -> list[Curve]:
    """The curves of all trained methods that recorded any, along seconds and along steps."""
    found = []
    for method in methods:
        if method.training is None or not method.trained:
            continue
        run = Run(method.training.folder)
        trials = [run.trials[trial] for trial in method.training.trials]
        size = trials[0].config.get("size", _USUAL_SIZE)
        scenarios = _own_scenarios(run.manifest.experiment, trials[0])
        maglev = _churn_ratio("maglev", _scenarios(size) if scenarios is None else scenarios)
        for axis in AXES:
            if lines := _lines(run, method.training, axis, size):
                relative = [(x, y / maglev) for x, y in lines]
                found.append(_curve(method, axis, size, scenarios is not None, relative))
    return found


def levels(curves: list[Curve], builders: list[str]) -> dict[str, float]:
    """The churn ratios of builders without training, over Maglev's, on scenarios of the validation stream.

    Empty where there are no curves, or curves of several sizes.
    """
    sizes = {curve.size for curve in curves}
    if len(sizes) != 1:
        return {}
    scenarios = _scenarios(sizes.pop())
    maglev = _churn_ratio("maglev", scenarios)
    return {name: _churn_ratio(name, scenarios) / maglev for name in builders}


def _own_scenarios(name: str, trial: Trial) -> ScenarioBatch | None:
    """What a trial was validated on; None where its experiment does not tell, or has other fields today."""
    described = experiment.get(name) if name in experiment.names() else None
    if described is None or described.validation is None:
        return None
    try:
        return described.validation(parse(described.config, trial.config))
    except RequestError:
        return None


@cache
def _scenarios(size: int) -> ScenarioBatch:
    return sample_batch(ScenarioConfig(size=size), LEVEL_PAIRS, stream("validation", 0))


def _churn_ratio(name: str, scenarios: ScenarioBatch) -> float:
    before, after = (
        build_batch(name, scenarios.hashes, each, scenarios.size) for each in (scenarios.before, scenarios.after)
    )
    return measure(before, after, scenarios)["churn_ratio"]


def _lines(run: Run, training: Training, axis: str, size: int) -> list[tuple[Floats, Floats]]:
    metrics, column, scale = run.metrics(), axis, 1.0
    if axis == "env_steps" and training.steps_name == "pairs":
        column, scale = "pairs", 2.0 * size
    metric = EVEN_METRIC if EVEN_METRIC in metrics.columns else METRIC
    if not {column, metric} <= set(metrics.columns):
        return []
    lines = []
    for trial in training.trials:
        # Not every iteration validates, and a ratio over 0 is not defined.
        rows = metrics[metrics["trial"] == trial][[column, metric]].dropna().sort_values(column)
        points = rows.to_numpy(dtype=np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            # Between two validations, reports repeat the last one's.
            new = np.append(True, points[1:, 1] != points[:-1, 1])
            new[-1] = True
            lines.append((scale * points[new, 0], points[new, 1]))
    return lines


def _curve(method: Method, axis: str, size: int, own: bool, lines: list[tuple[Floats, Floats]]) -> Curve:
    ends = np.array([x[-1] for x, _ in lines])
    if axis == "seconds":
        # A busy machine makes one seed take many times as long as another: averaged is where they are equally far.
        start, stop, scales = max(x[0] / x[-1] for x, _ in lines), 1.0, ends
    else:
        start, stop, scales = max(x[0] for x, _ in lines), float(ends.min()), np.ones(len(ends))
    if len(lines) < 2 or stop <= start:
        return Curve(method.label, method.kind, axis, size, own, tuple(lines), np.empty(0), ())
    grid = np.linspace(start, stop, _POINTS)
    seeds = np.stack([np.interp(grid * scale, x, y) for scale, (x, y) in zip(scales, lines, strict=True)])
    intervals, _ = stratified_interval(seeds[:, None, :], generator("curve", method.label, axis), 1000)
    return Curve(method.label, method.kind, axis, size, own, tuple(lines), grid * np.median(scales), tuple(intervals))

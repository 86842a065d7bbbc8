"""The fronts of the largest load against needless moves: what the learned tables reach, and what the classical ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.compare.evaluate import Evaluation
from lab.compare.methods import Method
from lab.compare.statistics import Interval, generator, pareto_front, stratified_interval
from lab.compare.suites import Suite

__all__ = ["LARGEST", "Front", "Fronts", "dominated_area", "fronts", "level"]

LARGEST = 1.5
"""The largest load, over the mean, up to which fronts are compared."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Front:
    """The methods of a side that no other of that side beats in both.

    Attributes:
        labels: their names, by largest load.
        points: float64 (K, 2): largest load over the mean, excess; means over seeds.
        area: what they dominate (`dominated_area`); over seeds where there are any.
    """

    labels: tuple[str, ...]
    points: Floats
    area: Interval


@dataclass(frozen=True)
class Fronts:
    """Both fronts of a suite.

    Attributes:
        classical, learned: the fronts.
        corner: (largest load, excess) that areas are counted up to: `LARGEST`, and the most excess on either front.
        lead: the mean of the classical front's excess less the learned one's, over the largest loads that both reach.
        behind: the most by which the learned front is above the classical one anywhere there; below 0 if nowhere.
    """

    classical: Front
    learned: Front
    corner: tuple[float, float]
    lead: float
    behind: float


def level(points: Floats, x: Floats) -> Floats:
    """The least excess that points (K, 2) offer at largest loads of at most `x`; infinite where none is."""
    below = points[None, :, 0] <= x[:, None] + 1e-12
    return np.where(below, points[None, :, 1], np.inf).min(axis=1)


def dominated_area(points: Floats, corner: tuple[float, float]) -> float:
    """The area between points (K, 2) and a corner above and right of them: Zitzler and Thiele's hypervolume (1999).

    In excess (a share of entries) times largest load (in means); points beyond the corner count for nothing.
    """
    right, top = corner
    inside = points[(points < np.array(corner)).all(axis=1)]
    if not len(inside):
        return 0.0
    inside = inside[np.argsort(inside[:, 0], kind="stable")]
    ends = np.append(inside[1:, 0], right)
    heights = top - np.minimum.accumulate(inside[:, 1])
    return float(((ends - inside[:, 0]) * heights).sum())


def fronts(suite: Suite, evaluations: Mapping[Method, Evaluation]) -> Fronts | None:
    """Both fronts of the stateless methods whose every entry leads somewhere.

    None where fewer than two learned methods stand on theirs: one table is a point, and no front.
    """
    sides: dict[bool, dict[str, Floats]] = {False: {}, True: {}}
    for method, evaluation in evaluations.items():
        if method.stateless and method.trained and not evaluation.pooled("invalid").any():
            sides[method.kind != "classical"][method.label] = _by_seed(evaluation)
    kept = {side: _front(found) for side, found in sides.items()}
    if len(kept[True]) < 2 or not kept[False]:
        return None
    means = {side: np.array([points.mean(axis=0) for points in found.values()]) for side, found in kept.items()}
    corner = (LARGEST, max(float(points[:, 1].max()) for points in means.values()))
    sides_done = {side: _done(suite, kept[side], means[side], corner) for side in kept}
    start = max(points[:, 0].min() for points in means.values())
    x = np.linspace(start, LARGEST, 2001)
    gap = level(means[False], x) - level(means[True], x)
    return Fronts(sides_done[False], sides_done[True], corner, float(gap.mean()), float(-gap.min()))


def _by_seed(evaluation: Evaluation) -> Floats:
    """Largest load over the mean and excess of each seed, means over fleets, then over groups: (seeds, 2)."""
    groups = evaluation.scores.values()
    return np.stack(
        [np.mean([group[score].mean(axis=1) for group in groups], axis=0) for score in ("max_over_mean", "excess")],
        axis=1,
    )


def _front(found: Mapping[str, Floats]) -> dict[str, Floats]:
    """Those on the front, by largest load."""
    if not found:
        return {}
    means = np.round([points.mean(axis=0) for points in found.values()], 9)
    order = np.argsort(means[:, 0], kind="stable")
    on_front, items = pareto_front(means), list(found.items())
    return dict(items[place] for place in order if on_front[place])


def _done(suite: Suite, found: Mapping[str, Floats], means: Floats, corner: tuple[float, float]) -> Front:
    seeds = max(len(points) for points in found.values())
    if seeds == 1:
        area = Interval(dominated_area(means, corner), None, None, "fleets")
    else:
        # A seed's front is that of all methods with this seed; what has none is the same in each.
        areas = [
            dominated_area(np.array([points[seed % len(points)] for points in found.values()]), corner)
            for seed in range(seeds)
        ]
        rng = generator("front", suite.label, *found)
        (area,), _ = stratified_interval(np.array(areas)[:, None, None], rng)
    return Front(tuple(found), means, area)

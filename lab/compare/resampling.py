"""The bootstrap of one suite: the same resampled fleets for all methods, the same resampled seeds in all groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from lab.compare.evaluate import Evaluation
from lab.compare.methods import Method
from lab.compare.statistics import generator, interquartile_mean, over_seeds, resampling_weights
from lab.compare.suites import Suite

__all__ = ["MEANS", "Floats", "Resampled"]

Floats = NDArray[np.float64]

MEANS = ("excess", "regret", "imbalance", "max_over_mean", "invalid")
"""Scores that are averaged over fleets. The churn ratio is not: it is a ratio of sums."""

_RESAMPLED = (*MEANS, "changed", "optimum")


class Resampled:
    """Means of every score, by seed, over the fleets as they are and over every bootstrap resample of them.

    Fleets and seeds are crossed: every seed of a method is scored on the same fleets, and sees the same resample.
    """

    def __init__(self, suite: Suite, evaluations: Mapping[Method, Evaluation]) -> None:
        self.suite = suite
        self._key = {method.label: method.seed_key for method in evaluations}
        self._values: dict[tuple[str, str, str], Floats] = {}
        self._replicates: dict[tuple[str, str, str], Floats] = {}
        order: dict[str, NDArray[np.int64]] = {}
        for method, evaluation in evaluations.items():
            # Sorted seeds, so that the order in which they were given cannot change an interval; a network and itself
            # before training keep the same order, for they are paired.
            order.setdefault(method.seed_key, np.argsort(evaluation.pooled("changed").mean(axis=1), kind="stable"))
        for group in suite.groups:
            weights = resampling_weights(generator("fleets", suite.label, group), suite.count)
            for method, evaluation in evaluations.items():
                rows = order[method.seed_key]
                stacked = np.stack([evaluation.scores[group][score][rows] for score in _RESAMPLED])
                replicates = np.moveaxis(stacked @ weights.T, -1, 1)
                for index, score in enumerate(_RESAMPLED):
                    self._values[method.label, group, score] = stacked[index].mean(axis=1)
                    self._replicates[method.label, group, score] = replicates[index]

    def mean(self, label: str, group: str, score: str) -> tuple[Floats, Floats]:
        """A score in one group: by seed, (seeds,), and in every resample of the fleets, (replicates, seeds)."""
        return self._values[label, group, score], self._replicates[label, group, score]

    def churn_ratio(self, label: str, groups: Iterable[str]) -> tuple[Floats, Floats]:
        """Sum of `changed` over sum of `optimum` over all pairs of `groups`, shaped as `mean`; NaN where that is 0."""
        names = list(groups)

        def total(score: str, index: int) -> Floats:
            return np.sum([self.mean(label, group, score)[index] for group in names], axis=0)

        values, replicates = (_ratio(total("changed", index), total("optimum", index)) for index in (0, 1))
        return values, replicates

    def difference(self, a: str, b: str, values: Callable[[str], tuple[Floats, Floats]]) -> tuple[float, Floats]:
        """Method `a` minus method `b`: the interquartile mean over seeds.

        Args:
            a, b: labels.
            values: label -> what `mean` and `churn_ratio` return.

        Returns:
            The estimate, and its replicates (replicates,) over resampled fleets and seeds.
        """
        (va, ra), (vb, rb) = values(a), values(b)
        paired = self._key[a] == self._key[b] and len(va) == len(vb)
        if paired or len(vb) == 1:
            # Subtracted first: a method compared with itself is then exactly 0 in every resample.
            return float(interquartile_mean(va - vb)), self._over_seeds(a, ra - rb)
        return float(interquartile_mean(va) - interquartile_mean(vb)), self._over_seeds(a, ra) - self._over_seeds(b, rb)

    def _over_seeds(self, label: str, values: Floats) -> Floats:
        """The interquartile mean over resampled seeds, the same in each call: (replicates, seeds) -> (replicates,)."""
        return over_seeds(values, generator("seeds", self._key[label]))


def _ratio(changed: Floats, optimum: Floats) -> Floats:
    """`changed / optimum`, NaN where the optimum is 0: such a ratio is not defined."""
    return np.divide(changed, optimum, out=np.full_like(changed, np.nan), where=optimum > 0)

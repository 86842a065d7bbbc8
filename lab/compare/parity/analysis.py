"""From the answers of networks to what a report says of each code, with intervals.

Two sources of chance are crossed: a seed is one base model with the code trained around it, a sample is one test query.
All seeds and all methods of a setting see the same samples, and a seed is the same base model for all methods. So each
resample takes the same samples for all, the same seeds for all that have the same ones, and differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lab.compare.parity.evaluate import Answers, Floats
from lab.compare.parity.methods import Method, Setting
from lab.compare.statistics import (
    REPLICATES,
    Interval,
    Verdict,
    generator,
    interquartile_mean,
    over_seeds,
    percentile_interval,
    resampling_weights,
    verdict,
)

__all__ = ["RATES", "Analysis", "Difference", "Row", "analyse"]

RATES = tuple(round(0.01 * step, 2) for step in range(31))
"""Loss rates at which the accuracy of all answers together is told."""

_SCORES = ("base", "accuracy", "degraded", "agreement")
_AT_ONCE = 250
"""Resamples at once: bounds the memory."""


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        method: who.
        servers: extra servers for each server of a query.
        base: accuracy of the base model.
        accuracy: A_a, of what is handed out with nothing lost.
        degraded: A_d, of rebuilt predictions.
        agreement: share of rebuilt predictions that are the base model's.
        gap: `degraded` less `base`, by seed and sample.
        cost: `accuracy` less `base`: what a code takes where nothing is lost. 0 for a systematic one.
        overall: (1 - f) A_a + f A_d for each f of `RATES`.
        patterns: what is lost -> A_d; empty where there is one way only.
        uneven: whether A_d depends on what is lost: some way differs from all together, at 95 % over all ways.
        by_seed: A_d of each seed.
        validation: mean A_d on validation data, by which networks and methods are chosen.
        confusion, base_confusion: true class x rebuilt class (x the base model's), shares of the row, (n, n); NaN in
            the row of a class without samples.
    """

    method: Method
    servers: float
    base: Interval
    accuracy: Interval
    degraded: Interval
    agreement: Interval
    gap: Interval
    cost: Interval
    overall: list[Interval]
    patterns: dict[str, Interval]
    uneven: bool
    by_seed: list[float]
    validation: float
    confusion: Floats
    base_confusion: Floats


@dataclass(frozen=True)
class Difference:
    """The best code by validation against another method of the same k and r.

    Attributes:
        best, other: rows.
        degraded: A_d of the best less that of the other.
        seeds: that are paired; 0 where the seeds of the two have nothing in common.
    """

    best: Row
    other: Row
    degraded: Interval
    seeds: int

    @property
    def least_seeds(self) -> int:
        """Seeds of the method that has fewer."""
        return min(len(self.best.method.seeds), len(self.other.method.seeds))

    @property
    def verdict(self) -> Verdict:
        """What the interval says of the best, however few the seeds."""
        found = self.degraded
        value, low, high = (None if bound is None else -bound for bound in (found.value, found.high, found.low))
        # A verdict is of what is better the less there is of it.
        return verdict(Interval(value, low, high, found.over))


@dataclass(frozen=True)
class Analysis:
    """One setting.

    Attributes:
        setting: what is protected.
        samples: test samples that were asked about, of how many.
        classes: how many there are.
        base: accuracy of the base model over all its seeds.
        base_seeds: how many.
        rows: by r and k, the best by validation first.
        differences: of the best code of each k and r from all others of it.
    """

    setting: Setting
    samples: tuple[int, int]
    classes: int
    base: Interval
    base_seeds: int
    rows: list[Row]
    differences: list[Difference]

    def places(self) -> list[tuple[int, int]]:
        """Every (r, k) that there is."""
        return sorted({(row.method.r, row.method.k) for row in self.rows})

    def at(self, r: int, k: int) -> list[Row]:
        """The rows of an r and k, the best by validation first."""
        return [row for row in self.rows if (row.method.r, row.method.k) == (r, k)]

    def best(self, r: int, k: int) -> Row | None:
        """The best code by validation; None where nothing is coded."""
        return next((row for row in self.at(r, k) if row.method.coded), None)


def analyse(found: Mapping[Method, tuple[Sequence[Answers], Sequence[float]]], whole: int, classes: int) -> Analysis:
    """Rows and differences of the methods of one setting. Deterministic: resamples depend on names alone.

    Args:
        found: method -> for each of its seeds, answers and A_d on validation data.
        whole: samples of the whole test part.
        classes: of the data set.
    """
    resampled = _Resampled({method: answers for method, (answers, _) in found.items()})
    rows = [_row(method, *each, resampled) for method, each in found.items()]
    rows.sort(key=lambda row: (row.method.r, row.method.k, -row.validation))
    method = rows[0].method
    shown = Analysis(method.setting, (resampled.samples, whole), classes, *resampled.base(), rows, [])
    differences = [
        _difference(best, other, resampled)
        for place in shown.places()
        if (best := shown.best(*place)) is not None
        for other in shown.at(*place)
        if other is not best
    ]
    return Analysis(shown.setting, shown.samples, classes, shown.base, shown.base_seeds, rows, differences)


class _Resampled:
    """Means of every score, by seed, over the samples as they are and over every bootstrap resample of them."""

    def __init__(self, found: Mapping[Method, Sequence[Answers]]) -> None:
        self.label = next(iter(found)).setting.label
        self.samples = len(next(iter(found.values()))[0].base)
        keys: list[tuple[Method, int, str]] = []
        stacked: list[Floats] = []
        for method, seeds in found.items():
            for place, answers in enumerate(seeds):
                arrays = {name: getattr(answers, name) for name in _SCORES}
                for pattern, right, asked in zip(answers.patterns, answers.right, answers.asked, strict=True):
                    arrays |= {f"right {pattern}": right, f"asked {pattern}": asked}
                keys += [(method, place, name) for name in arrays]
                stacked += arrays.values()
        values = np.stack(stacked)
        means, replicates = values.mean(axis=1), self._resample(values)
        self._at = {key: (float(means[place]), replicates[:, place]) for place, key in enumerate(keys)}

    def _resample(self, values: Floats) -> Floats:
        """Means of `values` (rows, samples) in every resample of the samples: (replicates, rows)."""
        rng = generator("samples", self.label)
        parts = [
            resampling_weights(rng, self.samples, min(_AT_ONCE, REPLICATES - start)) @ values.T
            for start in range(0, REPLICATES, _AT_ONCE)
        ]
        return np.concatenate(parts)

    def of(self, method: Method, name: str) -> tuple[Floats, Floats]:
        """A score by seed, (seeds,), and in every resample of the samples, (replicates, seeds)."""
        found = [self._at[method, place, name] for place in range(len(method.members))]
        return np.array([value for value, _ in found]), np.stack([replicates for _, replicates in found], axis=1)

    def pattern(self, method: Method, pattern: str) -> tuple[Floats, Floats]:
        """A_d where `pattern` is lost, as `of`."""
        right, asked = (self.of(method, f"{word} {pattern}") for word in ("right", "asked"))
        # A resample of few samples may hold none that was lost so: it says nothing then.
        replicates = np.divide(right[1], asked[1], out=np.full_like(right[1], np.nan), where=asked[1] > 0)
        return right[0] / asked[0], replicates

    def interval(self, seeds: Sequence[int], values: Floats, replicates: Floats) -> Interval:
        """The interquartile mean over seeds, and its interval over seeds and samples."""
        drawn = self.drawn(seeds, replicates)
        return percentile_interval(float(interquartile_mean(values)), drawn, _over(len(seeds)))

    def drawn(self, seeds: Sequence[int], replicates: Floats) -> Floats:
        # Equal seeds, equal draws: what is said of two methods is then paired.
        return over_seeds(replicates, generator("seeds", self.label, *seeds))

    def base(self) -> tuple[Interval, int]:
        """The base model's accuracy, each of its seeds once, and how many there are."""
        first: dict[int, tuple[float, Floats]] = {}
        for (method, place, name), found in self._at.items():
            if name == "base":
                first.setdefault(method.seeds[place], found)
        seeds = sorted(first)
        values = np.array([first[seed][0] for seed in seeds])
        replicates = np.stack([first[seed][1] for seed in seeds], axis=1)
        return self.interval(seeds, values, replicates), len(seeds)


def _over(seeds: int) -> str:
    return "seeds and samples" if seeds > 1 else "samples"


def _row(method: Method, answers: Sequence[Answers], validation: Sequence[float], resampled: _Resampled) -> Row:
    seeds = method.seeds
    scores = {name: resampled.of(method, name) for name in _SCORES}

    def mixed(*parts: tuple[float, str]) -> Interval:
        values = [sum(weight * scores[name][i] for weight, name in parts) for i in (0, 1)]
        return resampled.interval(seeds, *map(np.asarray, values))

    patterns = answers[0].patterns if len(answers[0].patterns) > 1 else ()
    return Row(
        method=method,
        servers=answers[0].extra / method.k,
        base=mixed((1, "base")),
        accuracy=mixed((1, "accuracy")),
        degraded=mixed((1, "degraded")),
        agreement=mixed((1, "agreement")),
        gap=mixed((1, "degraded"), (-1, "base")),
        cost=mixed((1, "accuracy"), (-1, "base")),
        overall=[mixed((1 - rate, "accuracy"), (rate, "degraded")) for rate in RATES],
        patterns={name: resampled.interval(seeds, *resampled.pattern(method, name)) for name in patterns},
        uneven=any(_differs(method, name, len(patterns), resampled) for name in patterns),
        by_seed=scores["degraded"][0].tolist(),
        validation=float(np.mean(validation)),
        confusion=_shares([each.confusion for each in answers]),
        base_confusion=_shares([each.base_confusion for each in answers]),
    )


def _differs(method: Method, pattern: str, patterns: int, resampled: _Resampled) -> bool:
    """Whether A_d under one way to lose answers differs from that under all: Bonferroni's 95 % over all ways."""
    replicates = resampled.pattern(method, pattern)[1] - resampled.of(method, "degraded")[1]
    drawn = resampled.drawn(method.seeds, replicates)
    if not np.isfinite(drawn).all():
        return False
    low, high = np.percentile(drawn, [2.5 / patterns, 100 - 2.5 / patterns])
    return bool(low > 0 or high < 0)


def _shares(counts: Sequence[np.ndarray]) -> Floats:
    total = np.sum(counts, axis=0).astype(np.float64)
    rows = total.sum(axis=1, keepdims=True)
    return np.divide(total, rows, out=np.full_like(total, np.nan), where=rows > 0)


def _difference(best: Row, other: Row, resampled: _Resampled) -> Difference:
    a, b = best.method, other.method
    common = sorted(set(a.seeds) & set(b.seeds))
    (va, ra), (vb, rb) = (resampled.of(method, "degraded") for method in (a, b))
    if len(common) == min(len(a.seeds), len(b.seeds)):
        ia, ib = ([method.seeds.index(seed) for seed in common] for method in (a, b))
        found = resampled.interval(common, va[ia] - vb[ib], ra[:, ia] - rb[:, ib])
        return Difference(best, other, found, len(common))
    # Other seeds, other base models: only the samples are common.
    value = float(interquartile_mean(va) - interquartile_mean(vb))
    drawn = resampled.drawn(a.seeds, ra) - resampled.drawn(b.seeds, rb)
    return Difference(best, other, percentile_interval(value, drawn, _over(2)), 0)

"""From scores to what a report says: a row for each method, differences in pairs, and who is on the front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lab.compare.evaluate import Evaluation
from lab.compare.front import Fronts, fronts
from lab.compare.methods import ENOUGH_SEEDS, Method
from lab.compare.resampling import MEANS, Floats, Resampled
from lab.compare.statistics import (
    Interval,
    Verdict,
    generator,
    pareto_front,
    percentile_interval,
    stratified_interval,
    verdict,
)
from lab.compare.suites import Suite

__all__ = ["Analysis", "Difference", "Row", "analyse"]
Against = Literal["Maglev", "best exactly even classical", "best classical", "its untrained network", "other learned"]


@dataclass(frozen=True)
class Row:
    """One method on one suite.

    Attributes:
        method: who.
        scores: score -> interquartile mean over seeds in each group, averaged over groups; `churn_ratio` pools them.
        by_group: group -> score -> interquartile mean over seeds.
        spread: the largest spread of any table, in entries.
        exact: every table valid, no two loads differ by more than one entry.
        on_front: no ranked method is both more even and moves less (False where not ranked).
        single_seconds, batch_seconds: wall time for a table, alone and in a batch.
    """

    method: Method
    scores: dict[str, Interval]
    by_group: dict[str, dict[str, Interval]]
    spread: float
    exact: bool
    on_front: bool
    single_seconds: float
    batch_seconds: float

    @property
    def ranked(self) -> bool:
        """Whether it stands for a place: trained, stateless, and every entry leads somewhere."""
        return self.method.stateless and self.method.trained and self.scores["invalid"].value == 0


@dataclass(frozen=True)
class Difference:
    """`method - baseline`, paired by fleet (and by seed where both come from the same seeds). Less is better.

    Attributes:
        method, baseline: labels.
        against: why this baseline.
        excess, churn_ratio, imbalance: differences of means over groups (of ratios of sums for the churn ratio).
        by_group: group -> difference of excess.
        equally_even: both are exactly even.
        seeds: seeds of the method; 0 for a builder without seeds.
        baseline_seeds: likewise of the baseline.
        headline: `excess` or `churn_ratio`: the one the verdict is about.
    """

    method: str
    baseline: str
    against: Against
    excess: Interval
    churn_ratio: Interval
    imbalance: Interval
    by_group: dict[str, Interval]
    equally_even: bool
    seeds: int
    baseline_seeds: int
    headline: str

    @property
    def too_few_seeds(self) -> bool:
        """Whether a side of it was trained too seldom to say that one beats the other: a first look, not a result."""
        return any(0 < seeds < ENOUGH_SEEDS for seeds in (self.seeds, self.baseline_seeds))

    @property
    def interval(self) -> Interval:
        """The difference of the headline score."""
        return self.churn_ratio if self.headline == "churn_ratio" else self.excess

    @property
    def verdict(self) -> Verdict:
        """`better`, `worse` or `no difference shown`: what the interval says, however few the seeds."""
        return verdict(self.interval)


@dataclass(frozen=True)
class Analysis:
    """Everything said about one suite."""

    suite: Suite
    rows: list[Row]
    differences: list[Difference]
    best_exact: str | None
    best_classical: str | None
    fronts: Fronts | None = None

    @property
    def headline(self) -> str:
        """The suite's headline score: `excess` where n is fixed, else `churn_ratio`."""
        return headline(self.suite)

    def ordered(self) -> list[tuple[str, list[Row]]]:
        """The rows under a heading each: exactly even, not exactly even, not ranked; the best first."""

        def key(row: Row) -> tuple[float, float]:
            score = self.headline if row.exact else "excess"
            return row.scores[score].value or 0.0, row.scores["imbalance"].value or 0.0

        ranked = [row for row in self.rows if row.ranked]
        parts = {
            "Exactly even": [row for row in ranked if row.exact],
            "Not exactly even": [row for row in ranked if not row.exact],
            "Not ranked": [row for row in self.rows if not row.ranked],
        }
        return [(heading, sorted(rows, key=key)) for heading, rows in parts.items() if rows]

    def row(self, label: str) -> Row:
        """The row of a method."""
        return next(row for row in self.rows if row.method.label == label)


def headline(suite: Suite) -> str:
    """Excess where all pairs of a group force alike moves; the churn ratio where pairs differ in what they force."""
    return "excess" if suite.by_n else "churn_ratio"


def analyse(suite: Suite, evaluations: Mapping[Method, Evaluation]) -> Analysis:
    """Rows and differences of all methods on one suite. Deterministic: resamples depend on names alone."""
    resampled = Resampled(suite, evaluations)
    plain = {method: _row(method, evaluation, resampled) for method, evaluation in evaluations.items()}
    front = _front([row for row in plain.values() if row.ranked])
    rows = [replace(row, on_front=row.method.label in front) for row in plain.values()]

    score = headline(suite)
    classical = [row for row in rows if row.method.kind == "classical" and row.method.stateless]
    best_exact = _best([row for row in classical if row.exact], score)
    # Uneven tables force other moves than even ones, so among them it is the needless moves that can be compared.
    best_any = _best(classical, "excess")
    differences = _differences(suite, {row.method.label: row for row in rows}, resampled, best_exact, best_any)
    return Analysis(suite, rows, differences, best_exact, best_any, fronts(suite, evaluations))


def _row(method: Method, evaluation: Evaluation, resampled: Resampled) -> Row:
    label, groups = method.label, list(resampled.suite.groups)
    cells = {(g, score): resampled.mean(label, g, score) for g in groups for score in MEANS}
    cells |= {(g, "churn_ratio"): resampled.churn_ratio(label, [g]) for g in groups}
    pooled = resampled.churn_ratio(label, groups)
    names = (*MEANS, "churn_ratio")
    if evaluation.seeds > 1:
        by_seed = np.stack([np.stack([cells[g, s][0] for s in names], axis=-1) for g in groups], axis=1)
        overall, by_task = stratified_interval(by_seed, generator("rows", resampled.suite.label, label))
        (ratio,), _ = stratified_interval(pooled[0][:, None, None], generator("ratio", resampled.suite.label, label))
        by_group = {g: dict(zip(names, by_task[i], strict=True)) for i, g in enumerate(groups)}
        scores = dict(zip(names, overall, strict=True)) | {"churn_ratio": ratio}
    else:
        by_group = {g: {s: _one(*cells[g, s]) for s in names} for g in groups}
        means = {s: [np.mean([cells[g, s][i] for g in groups], axis=0) for i in (0, 1)] for s in MEANS}
        scores = {s: _one(*means[s]) for s in MEANS} | {"churn_ratio": _one(*pooled)}
    return Row(
        method=method,
        scores=scores,
        by_group=by_group,
        spread=float(evaluation.pooled("spread").max()),
        exact=evaluation.exact,
        on_front=False,
        single_seconds=evaluation.single_seconds,
        batch_seconds=evaluation.batch_seconds,
    )


def _one(values: Floats, replicates: Floats) -> Interval:
    """The interval of what has one seed or none: over fleets."""
    return percentile_interval(float(values[0]), replicates[:, 0], "fleets")


def _front(rows: list[Row]) -> set[str]:
    """Labels of the methods that no other beats in both evenness and excess."""
    if not rows:
        return set()
    # Rounded, so that what differs only in the last bits of a sum is equal.
    points = np.array([[round(row.scores[s].value or 0.0, 9) for s in ("imbalance", "excess")] for row in rows])
    return {row.method.label for row, kept in zip(rows, pareto_front(points), strict=True) if kept}


def _best(rows: list[Row], score: str) -> str | None:
    """The label of the row with the least `score`; what agrees in four digits is decided by evenness."""

    def key(row: Row) -> tuple[float, float]:
        return round(row.scores[score].value or 0.0, 4), row.scores["imbalance"].value or 0.0

    return min(rows, key=key).method.label if rows else None


def _differences(
    suite: Suite, rows: dict[str, Row], resampled: Resampled, best_exact: str | None, best_any: str | None
) -> list[Difference]:
    wanted: list[tuple[str, str, Against]] = []
    for label, row in rows.items():
        method = row.method
        if not method.stateless or not method.trained:
            continue
        if "maglev" in rows and label != "maglev":
            wanted.append((label, "maglev", "Maglev"))
        if best_exact and label != best_exact and best_exact != "maglev":
            wanted.append((label, best_exact, "best exactly even classical"))
        if method.kind != "classical":
            if best_any and best_any not in (best_exact, "maglev"):
                wanted.append((label, best_any, "best classical"))
            if method.untrained_label in rows:
                wanted.append((label, method.untrained_label, "its untrained network"))
    learned = [label for label, row in rows.items() if row.method.kind != "classical" and row.method.trained]
    wanted += [(a, b, "other learned") for i, a in enumerate(learned) for b in learned[i + 1 :]]
    return [_difference(suite, rows[a], rows[b], against, resampled) for a, b, against in wanted]


def _difference(suite: Suite, a: Row, b: Row, against: Against, resampled: Resampled) -> Difference:
    groups = list(suite.groups)
    over = "seeds and fleets" if max(a.method.seeds, b.method.seeds) > 1 else "fleets"

    def difference(score: str, group: str) -> tuple[float, Floats]:
        return resampled.difference(a.method.label, b.method.label, lambda label: resampled.mean(label, group, score))

    def averaged(score: str) -> Interval:
        # The interquartile mean over seeds is taken in each group, as in the rows, and then averaged.
        values, replicates = zip(*(difference(score, group) for group in groups), strict=True)
        return percentile_interval(float(np.mean(values)), np.mean(replicates, axis=0), over)

    ratio = resampled.difference(a.method.label, b.method.label, lambda label: resampled.churn_ratio(label, groups))
    return Difference(
        method=a.method.label,
        baseline=b.method.label,
        against=against,
        excess=averaged("excess"),
        churn_ratio=percentile_interval(*ratio, over),
        imbalance=averaged("imbalance"),
        by_group={group: percentile_interval(*difference("excess", group), over) for group in groups},
        equally_even=a.exact and b.exact,
        seeds=a.method.seeds,
        baseline_seeds=b.method.seeds,
        headline=headline(suite),
    )

"""Scoring a table builder on a suite: every score of every pair, and what a table costs to build."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from envs.scenarios import ScenarioBatch
from envs.scoring import table_scores, transition_scores
from lab.compare.suites import Suite
from lab.tables.registry import Builder, Tables, get

__all__ = ["SCORES", "Evaluation", "evaluate"]

SCORES = ("changed", "forced", "excess", "optimum", "regret", "invalid", "spread", "max_over_mean", "imbalance")
"""The scores of a pair, as in `envs.scoring`. Of its two tables: the larger `spread`, the means of the others."""

_PAIRS_PER_CALL = 1 << 22
"""Backends x entries in one call of a builder: bounds memory at some 100 MB whatever the suite."""

_SINGLE_TABLES = 24
"""Tables built one at a time to measure what a single one costs."""

Floats = NDArray[np.float64]
Advance = Callable[[int], None]
"""Called with the number of pairs that have been scored since the last call."""


@dataclass(frozen=True)
class Evaluation:
    """One method on one suite.

    Attributes:
        scores: group -> score -> float64 (seeds, pairs).
        single_seconds: wall time of one table built alone: median over tables spread over the suite, first seed.
        batch_seconds: wall time for each table when the suite is built in batches, all seeds.
    """

    scores: dict[str, dict[str, Floats]]
    single_seconds: float
    batch_seconds: float

    @property
    def seeds(self) -> int:
        """How many builders were scored."""
        return len(next(iter(self.scores.values()))["excess"])

    def pooled(self, score: str) -> Floats:
        """One score over all groups, float64 (seeds, pairs of all groups)."""
        return np.concatenate([group[score] for group in self.scores.values()], axis=1)

    @property
    def exact(self) -> bool:
        """Whether every table was valid and no two of its loads differed by more than one."""
        return bool((self.pooled("spread") <= 1).all() and (self.pooled("invalid") == 0).all())


def evaluate(names: Sequence[str], suite: Suite, advance: Advance = lambda pairs: None) -> Evaluation:
    """Scores the builders `names` (one for each seed of a method) on `suite`.

    Args:
        names: what `lab.tables` calls the builders; loaded one after another, so that memory stays bounded.
        suite: the pairs.
        advance: told how many pairs were scored, `len(names) * suite.count * len(suite.groups)` in all.

    Raises:
        RequestError: an unknown builder, or one that cannot build tables of this size.
    """
    rows: dict[str, dict[str, list[Floats]]] = {group: {score: [] for score in SCORES} for group in suite.groups}
    seconds, tables, single = 0.0, 0, 0.0
    for index, name in enumerate(names):
        builder = get(name)
        for batch in suite.groups.values():
            builder.check(suite.size, int(np.maximum(batch.n_before, batch.n_after).max()))
        if index == 0:
            single = _time_single(builder, suite)
        for group, batch in suite.groups.items():
            scores, spent = _score_group(builder, batch, advance)
            seconds, tables = seconds + spent, tables + 2 * len(batch)
            for score in SCORES:
                rows[group][score].append(scores[score])
    stacked = {group: {score: np.stack(parts) for score, parts in by.items()} for group, by in rows.items()}
    return Evaluation(stacked, single, seconds / tables)


def _score_group(builder: Builder, batch: ScenarioBatch, advance: Advance) -> tuple[dict[str, Floats], float]:
    parts: dict[str, list[Floats]] = {score: [] for score in SCORES}
    seconds = 0.0
    step = max(1, _PAIRS_PER_CALL // (batch.before.shape[1] * batch.size))
    for start, stop in pairwise([*range(0, len(batch), step), len(batch)]):
        pairs = batch.select(slice(start, stop))
        started = time.perf_counter()
        first = builder.build_batch(pairs.hashes, pairs.before, pairs.size, None)
        second = _second_table(builder, first, pairs)
        seconds += time.perf_counter() - started
        for score, values in _scores(first, second, pairs).items():
            parts[score].append(values)
        advance(stop - start)
    return {score: np.concatenate(values) for score, values in parts.items()}, seconds


def _second_table(builder: Builder, first: Tables, pairs: ScenarioBatch) -> Tables:
    """The table after the change; only a stateful builder is shown the one in force."""
    if builder.rebuild is None:
        return builder.build_batch(pairs.hashes, pairs.after, pairs.size, None)
    return builder.rebuild(first, pairs.hashes, pairs.before, pairs.after)


def _scores(first: Tables, second: Tables, pairs: ScenarioBatch) -> dict[str, Floats]:
    moved = transition_scores(first, second, pairs.before, pairs.after)
    before, after = table_scores(first, pairs.before), table_scores(second, pairs.after)
    return {
        "changed": moved.changed,
        "forced": moved.forced,
        "excess": moved.excess,
        "optimum": moved.optimum,
        "regret": moved.regret,
        "invalid": (before.invalid + after.invalid) / 2,
        "spread": np.maximum(before.spread, after.spread),
        "max_over_mean": (before.max_over_mean + after.max_over_mean) / 2,
        "imbalance": (before.imbalance + after.imbalance) / 2,
    }


def _time_single(builder: Builder, suite: Suite) -> float:
    """Seconds for one table alone: what a load balancer pays when its backends change."""
    tables = []
    for batch in suite.groups.values():
        for row in range(min(len(batch), -(-_SINGLE_TABLES // len(suite.groups)))):
            tables.append((batch.hashes[row : row + 1], batch.before[row : row + 1]))
    # The first call pays for lazy imports and allocations that no later one pays.
    builder.build_batch(*tables[0], suite.size, None)
    spent = []
    for hashes, present in tables:
        kept = present[0]
        started = time.perf_counter()
        builder.build_batch(hashes[:, kept], present[:, kept], suite.size, None)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))

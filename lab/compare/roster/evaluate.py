"""Scoring table builders on the subsets of a roster, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.scoring import table_scores, transition_scores
from lab.compare.methods import ENOUGH_SEEDS, Method
from lab.compare.roster.suite import RosterSuite
from lab.compare.statistics import (
    Interval,
    Verdict,
    generator,
    interquartile_mean,
    percentile_interval,
    resampling_weights,
    stratified_interval,
    verdict,
)
from lab.tables.registry import build_batch

__all__ = ["PEER", "SCORES", "Row", "ordered", "score"]

PEER = "rendezvous-stratified"
"""The classical table that moves nothing needlessly either."""

SCORES = {
    "uneven": "subsets not perfectly even",
    "spread": "spread, mean",
    "worst_spread": "spread, worst",
    "max_over_mean": "busiest, of the mean load",
    "imbalance": "imbalance, % of entries",
    "excess": "excess when one leaves, %",
}
"""Score -> what it is called. `uneven` is a share of subsets, and `spread` in entries."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One method on one suite.

    Attributes:
        method: it.
        scores: of `SCORES`, interquartile means over seeds.
        uneven: subsets that are not perfectly even, a number for each seed (one where there are none).
        by_count: number of present backends -> mean spread over subsets and seeds, and the worst one.
        against_peer: mean spread less that of `PEER`; None for classical builders.
        verdict: what that says; None for classical builders, and of fewer than five seeds.
    """

    method: Method
    scores: Mapping[str, Interval]
    uneven: tuple[int, ...]
    by_count: Mapping[int, tuple[float, float]]
    against_peer: Interval | None
    verdict: Verdict | None


def score(method: Method, suite: RosterSuite, peer: Row | None) -> Row:
    """Scores all seeds of a method; `peer` is the row of `PEER` on the same suite."""
    found = [_scores(name, suite) for name in method.builders]
    each = {key: np.stack([scores[key] for scores in found]) for key in found[0]}
    scores = _intervals(method, suite, each)
    present = suite.present.sum(axis=1)
    by_count = {
        int(n): (float(each["spread"][:, present == n].mean()), float(each["spread"][:, present == n].max()))
        for n in np.unique(present)
    }
    against = said = None
    if method.seeds and peer is not None:
        less, base = scores["spread"], peer.scores["spread"].value
        assert less.value is not None
        assert base is not None
        low, high = (None if bound is None else bound - base for bound in (less.low, less.high))
        against = Interval(less.value - base, low, high, less.over)
        said = verdict(against) if method.seeds >= ENOUGH_SEEDS else None
    uneven = tuple(each["uneven"].sum(axis=1).astype(int).tolist())
    return Row(method, scores, uneven, by_count, against, said)


def _scores(name: str, suite: RosterSuite) -> dict[str, Floats]:
    hashes = np.broadcast_to(suite.hashes, (suite.count, *suite.hashes.shape))
    before, after = (build_batch(name, hashes, sets, suite.size) for sets in (suite.present, suite.after))
    even = table_scores(before, suite.present)
    return {
        "uneven": ((even.imbalance > 0) | (even.invalid > 0)).astype(float),
        "spread": even.spread,
        "max_over_mean": even.max_over_mean,
        "imbalance": even.imbalance,
        "excess": transition_scores(before, after, suite.present, suite.after).excess,
    }


def _intervals(method: Method, suite: RosterSuite, each: Mapping[str, Floats]) -> dict[str, Interval]:
    """Over seeds where there are some, over subsets where they were drawn, and none where all were asked about."""
    means = {key: values.mean(axis=1) for key, values in each.items()} | {"worst_spread": each["spread"].max(axis=1)}
    if method.seeds > 1:
        stacked = np.stack([means[key] for key in SCORES], axis=1)[:, None]
        intervals, _ = stratified_interval(stacked, generator("roster", suite.label, method.seed_key))
        return dict(zip(SCORES, intervals, strict=True))
    found = {key: Interval(float(interquartile_mean(means[key])), None, None, "nothing") for key in SCORES}
    if not method.seeds and not suite.exhaustive:
        weights = resampling_weights(generator("subsets", suite.label), suite.count)
        for key, values in each.items():
            found[key] = percentile_interval(float(values.mean()), weights @ values[0], "subsets")
    return found


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Those that move nothing needlessly first, the most even of them first."""

    def key(row: Row) -> tuple[bool, float]:
        excess, spread = row.scores["excess"].value, row.scores["spread"].value
        assert excess is not None
        assert spread is not None
        return excess > 0, spread

    return sorted(rows, key=key)

"""What a search is after: needless moves, as a share of those of balanced stratified rendezvous on the same fleets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.scenarios import ScenarioBatch, churn_batch, sample_batch, stream
from envs.scoring import transition_scores
from lab.tables.priced import build_stack
from lab.tasks.table_es.config import TableEsConfig

__all__ = ["Fleets", "draw", "relative", "validation_scenarios"]


@dataclass(frozen=True)
class Fleets:
    """Pairs of sets to be judged on.

    Attributes:
        pairs: all of them: of each number of backends, fleets of which one leaves, then the scenarios.
        leaves: for each number of backends which pairs are its fleets.
        scenarios: which pairs are scenarios of the notebook's rule.
    """

    pairs: ScenarioBatch
    leaves: tuple[slice, ...]
    scenarios: slice

    def __len__(self) -> int:
        return len(self.pairs)


def draw(config: TableEsConfig, purpose: Literal["train", "validation"], *, generation: int = 0) -> Fleets:
    """Fleets of a purpose's stream.

    Those of `validation` are the same for every seed and generation. None of them are in an evaluation suite.
    """
    if purpose == "train":
        seeds, fleets, scenarios = (config.seed, generation), config.fleets, config.scenarios
    else:
        seeds, fleets, scenarios = (0, 0), config.validation_pairs, config.validation_pairs
    batches = [churn_batch(config.size, n, fleets, stream(purpose, *seeds, n)) for n in config.numbers]
    batches.append(sample_batch(config.rule, scenarios, stream(purpose, *seeds)))
    ends = np.cumsum([0, *map(len, batches)]).tolist()
    parts = [slice(start, stop) for start, stop in pairwise(ends)]
    return Fleets(_together(batches), tuple(parts[:-1]), parts[-1])


def _together(batches: list[ScenarioBatch]) -> ScenarioBatch:
    """One batch, as wide as the widest: a table is built at one time with all others of as many backends."""
    width = max(batch.before.shape[1] for batch in batches)

    def joined(name: str) -> NDArray[Any]:
        arrays = [getattr(batch, name) for batch in batches]
        pads = [[(0, 0), (0, width - array.shape[1]), *[(0, 0)] * (array.ndim - 2)] for array in arrays]
        return np.concatenate([np.pad(array, pad) for array, pad in zip(arrays, pads, strict=True)])

    return ScenarioBatch(joined("hashes"), joined("before"), joined("after"), joined("ids"), batches[0].size)


def validation_scenarios(config: TableEsConfig) -> ScenarioBatch:
    """The scenarios that a search is validated on, beside fleets; the same for every seed."""
    fleets = draw(config, "validation")
    return fleets.pairs.select(fleets.scenarios)


def relative(config: TableEsConfig, stack: NDArray[np.int64], fleets: Fleets) -> dict[str, NDArray[np.float64]]:
    """How M tables of prices do.

    Args:
        config: the weights.
        stack: int64 (M, levels, knots).
        fleets: what they build tables for.

    Returns:
        float64 (M,) each. `excess`: the mean over `leaves` of the mean excess. `churn_ratio`: of the scenarios.
        `relative`, which is minimised: the weighted mean of two ratios, of the excess and of what is changed beyond the
        optimum on scenarios, each to that of balanced stratified rendezvous on the same fleets.
    """
    pairs = fleets.pairs
    # Without prices, it is balanced stratified rendezvous.
    whole = np.concatenate([np.zeros_like(stack[:1]), stack])
    tables = build_stack(
        whole, np.concatenate([pairs.hashes] * 2), np.concatenate([pairs.before, pairs.after]), pairs.size
    )
    count = len(pairs)
    moves = [transition_scores(each[:count], each[count:], pairs.before, pairs.after) for each in tables]
    excess = np.array([np.mean([each.excess[part].mean() for part in fleets.leaves]) for each in moves])
    changed, optimum = (
        np.array([getattr(each, name)[fleets.scenarios].mean() for each in moves]) for name in ("changed", "optimum")
    )
    ratio = changed / optimum
    weight = config.scenario_weight
    score = (1 - weight) * _share(excess) + weight * _share(ratio - 1)
    return {"relative": score[1:], "excess": excess[1:], "churn_ratio": ratio[1:]}


def _share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the first; 1 where that is 0: so few fleets tell nothing apart."""
    return values / values[0] if values[0] > 0 else np.ones_like(values)

"""What a table function has learned: which features its tables rest on, and how its scores are distributed.

*Importance*: the second table of each validation scenario is built again with one feature drawn anew, which breaks what
the feature says of the backends' identities, and the churn ratio rises by what the table rested on it. (Shuffling it in
both tables alike would show nothing: a backend's hash words are as good as any other's.)

*Dispersion*: in a fleet, a share q of all pairs of an entry and a backend scores above a threshold. The number of
entries for which a backend is above it has a variance over backends of `1 - q` times its mean if scores are independent
draws, and of nearly none if they are stratified: then no backend is lucky overall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.features import GLOBALS, feature_names
from envs.scenarios import ScenarioBatch, ScenarioConfig, churn_batch, sample_batch, stream
from lab.compare.methods import Method
from lab.compare.statistics import Interval, generator, stratified_interval
from lab.runs import Run
from lab.tables.hashing import independent_scores, stratified_scores
from lab.tables.judging import OBJECTIVE, measure
from lab.tables.learned import TableModel, model
from lab.tables.networks import HASHES, Decoder, EquivariantScorer
from lab.tables.priced import UNIT, PricedTables
from lab.tables.scored import ScoredTables
from lab.tables.sequential import SequentialTables

__all__ = ["FLEET", "SHARES", "Dispersion", "Explanation", "Importance", "explain"]

FLEET = 16
"""Backends of the fleets that scores are looked at in."""

SHARES = np.array([0.02, 0.04, 1 / FLEET, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
"""The shares q of pairs that are above a threshold. `1 / FLEET` of all pairs is as many as a table has entries."""

_SEEDS, _SCENARIOS, _FLEETS = 5, 96, 200
"""Seeds of a method that are looked at, scenarios and fleets of tables of 47: some seconds for each method."""

_SEED = 41
"""Of the validation stream; no training is validated on it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """What a table rests on.

    Attributes:
        feature: in words.
        rise: of the churn ratio (`even_churn_ratio`) when the feature is drawn anew for the second table.
    """

    feature: str
    rise: Interval


@dataclass(frozen=True)
class Dispersion:
    """Variance over mean of a backend's number of entries above a threshold, at each of `SHARES`.

    Attributes:
        learned: of the method's scores, with intervals over seeds.
        independent, stratified: of scores that are so, on the same fleets.
    """

    learned: tuple[Interval, ...]
    independent: tuple[float, ...]
    stratified: tuple[float, ...]

    @property
    def at_best(self) -> tuple[float, float, float]:
        """Of learned, independent and stratified scores among the best pairs: as many as a table has entries."""
        best = int(np.flatnonzero(SHARES == 1 / FLEET)[0])
        return self.learned[best].value or 0.0, self.independent[best], self.stratified[best]


@dataclass(frozen=True)
class Explanation:
    """What one method has learned.

    Attributes:
        method: its label.
        kind: as of the method.
        seeds: how many of its seeds were looked at.
        churn_ratio: mean of the objective over them with nothing drawn anew; None where there is no importance.
        importance: the features, the most important first.
        dispersion: of its scores; None where they are not those of pairs alone.
        prices: float64 (seeds, levels, knots), the steps that a search found (`lab.tables.priced.prices_of`), in score
            ranges and not yet held between 0 and 1; None for others.
    """

    method: str
    kind: str
    seeds: int
    churn_ratio: float | None = None
    importance: tuple[Importance, ...] = ()
    dispersion: Dispersion | None = None
    prices: Floats | None = None


def explain(methods: Sequence[Method]) -> list[Explanation]:
    """What the first of each kind has learned, of those whose networks can be asked: give the best of a kind first.

    Pair scorers (`lab.tables.networks.EquivariantScorer`), sequential policies and learned prices can.
    """
    found: dict[str, Explanation] = {}
    for method in methods:
        if method.training is None or not method.trained or method.kind in found:
            continue
        run = Run(method.training.folder)
        models = [model(run.trial_folder(trial)) for trial in method.training.trials[:_SEEDS]]
        size = run.trials[method.training.trials[0]].config.get("size", 47)
        explained = _explained(method, models, size)
        if explained is not None:
            found[method.kind] = explained
    return list(found.values())


def _explained(method: Method, models: Sequence[TableModel], size: int) -> Explanation | None:
    first = models[0]
    if isinstance(first, PricedTables):
        steps = np.stack([each.state_dict()["steps"].numpy() for each in models])
        return Explanation(method.label, method.kind, len(models), prices=steps / UNIT)
    redrawn = [list(_redrawn(each)) for each in models]
    if not redrawn[0]:
        return None
    scenarios = sample_batch(ScenarioConfig(size=size), _fewer(_SCENARIOS, size), stream("validation", _SEED))
    base, rises = _rises(models, redrawn, scenarios)
    names = [name for name, _ in redrawn[0]]
    importance = [
        Importance(name, _over_seeds(rises[:, i], "importance", method.label, name)) for i, name in enumerate(names)
    ]
    importance.sort(key=lambda each: -(each.rise.value or 0.0))
    dispersion = _dispersion(method, models, size) if isinstance(first, ScoredTables) and size >= FLEET else None
    return Explanation(method.label, method.kind, len(models), base, tuple(importance), dispersion)


def _over_seeds(values: Floats, *names: str) -> Interval:
    """The interquartile mean of (S,) with its interval; with one seed there is none."""
    if len(values) < 2:
        return Interval(float(values[0]), None, None, "seeds")
    (interval,), _ = stratified_interval(values[:, None, None], generator(*names), 1000)
    return interval


def _fewer(count: int, size: int) -> int:
    """Of larger tables fewer, so that it takes no longer."""
    return max(16, min(count, count * 47 // size))


# ---- importance


def _redrawn(tables: TableModel) -> Iterator[tuple[str, TableModel]]:
    """The features of a network in words, and its tables with each of them drawn anew; none of one that is unknown."""
    # One that sees the table in force rests on that: it is shown and not ranked.
    if isinstance(tables, SequentialTables) and tables.stateless:
        yield from _sequential(tables)
    elif isinstance(tables, ScoredTables) and isinstance(tables.scorer, EquivariantScorer):
        yield from _scored(tables.scorer, tables.decoder)


def _rises(
    models: Sequence[TableModel], redrawn: Sequence[Sequence[tuple[str, TableModel]]], scenarios: ScenarioBatch
) -> tuple[float, Floats]:
    """The mean objective, and float64 (S, F): by how much it rises with each feature drawn anew."""
    bases, rises = [], []
    for whole, others in zip(models, redrawn, strict=True):
        before = whole.build_batch(scenarios.hashes, scenarios.before, scenarios.size)

        def ratio(tables: TableModel, before: NDArray[np.int32] = before) -> float:
            after = tables.build_batch(scenarios.hashes, scenarios.after, scenarios.size)
            return measure(before, after, scenarios)[OBJECTIVE]

        bases.append(ratio(whole))
        rises.append([ratio(other) - bases[-1] for _, other in others])
    return float(np.mean(bases)), np.array(rises)


class _Redrawn(EquivariantScorer):
    """A scorer that reads some of its features of other hashes; where they are figures of the set, of another set."""

    def __init__(self, whole: EquivariantScorer, columns: slice, of_set: bool) -> None:
        with torch.device("meta"):
            super().__init__(whole.options)
        self.load_state_dict(whole.state_dict(), assign=True)
        self._columns, self._of_set = columns, of_set
        self._rng = stream("validation", _SEED, columns.start)

    def features(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
        read = super().features(hashes, present, size)
        if self._of_set:
            other = read[self._rng.permutation(len(read))]
        else:
            other = super().features(self._rng.integers(1 << 64, size=hashes.shape, dtype=np.uint64), present, size)
        read[..., self._columns] = other[..., self._columns]
        return read


def _scored(scorer: EquivariantScorer, decoder: Decoder) -> Iterator[tuple[str, TableModel]]:
    waves, strata = 2 * scorer.options.frequencies, scorer.options.strata
    first = HASHES * waves
    groups = [(f"ring offset, hash {k + 1}", slice(k * waves, (k + 1) * waves)) for k in range(HASHES) if waves]
    groups += [(f"stratified draw {k + 1}", slice(first + k, first + k + 1)) for k in range(strata)]
    if scorer.options.sees_set:
        groups.append(("number of backends", slice(first + strata + 1, first + strata + 3)))
    for name, columns in groups:
        of_set = columns.start > first + strata
        yield name, ScoredTables(_Redrawn(scorer, columns, of_set), decoder)


class _Shuffled(SequentialTables):
    """A sequential policy that reads one feature of another backend of the set at each step, or of another table."""

    def __init__(self, whole: SequentialTables, feature: str) -> None:
        super().__init__(whole.options)
        self.load_state_dict(whole.state_dict())
        self._feature = feature
        self._names = feature_names(whole.options.features)
        self._rng = stream("validation", _SEED, (*self._names, *GLOBALS).index(feature))

    def choose(self, observation: Mapping[str, NDArray[Any]], size: int) -> NDArray[np.int64]:
        observation = {name: values.copy() for name, values in observation.items()}
        rows = len(observation["globals"])
        if self._feature in GLOBALS:
            values = observation["globals"][:, GLOBALS.index(self._feature)]
            values[:] = self._rng.permutation(values)
        else:
            slots = observation["backends"].reshape(rows, -1, len(self._names))
            values = slots[..., self._names.index(self._feature)]
            there = slots[..., self._names.index("present")] > 0
            # Backends come first among the slots, so theirs are exchanged among themselves.
            order = np.where(there, self._rng.random(there.shape), np.inf).argsort(axis=1)
            values[:] = np.where(there, np.take_along_axis(values, order, axis=1), values)
        return super().choose(observation, size)


_SEQUENTIAL = {
    "load": "load so far",
    "below_floor": "below its floor",
    "takes_ceiling": "may take a ceiling",
    **{f"offset_{k}": f"ring offset, hash {k + 1}" for k in range(HASHES)},
    "uniform": "independent score",
    "stratified": "stratified score",
    "rank": "rank by stratified score",
    "demand": "entries that want it most",
    "n": "number of backends",
    "ceilings": "ceilings in all",
    "ceilings_left": "ceilings left",
}
"""The features of `envs.features` in words; those that are the same for all backends and tables are left out."""


def _sequential(tables: SequentialTables) -> Iterator[tuple[str, TableModel]]:
    for feature in (*feature_names(tables.options.features), *GLOBALS):
        if feature in _SEQUENTIAL:
            yield _SEQUENTIAL[feature], _Shuffled(tables, feature)


# ---- dispersion


def _dispersion(method: Method, models: Sequence[TableModel], size: int) -> Dispersion:
    fleets = churn_batch(size, FLEET, _fewer(_FLEETS, size), stream("validation", _SEED, FLEET))
    by_seed = []
    for each in models:
        assert isinstance(each, ScoredTables)
        features = each.scorer.features(fleets.hashes, fleets.before, size)
        with torch.inference_mode():
            scores = each.scorer(torch.from_numpy(features), torch.from_numpy(fleets.before)).numpy()
        by_seed.append(_indices(scores.transpose(0, 2, 1)))
    learned = [
        _over_seeds(np.array(values), "dispersion", method.label, str(q))
        for q, values in zip(SHARES, zip(*by_seed, strict=True), strict=True)
    ]
    plain = [_indices(scores(fleets.hashes, size)) for scores in (independent_scores, stratified_scores)]
    return Dispersion(tuple(learned), *(tuple(values.tolist()) for values in plain))


def _indices(scores: NDArray[Any]) -> Floats:
    """The index of dispersion at each of `SHARES`, mean over fleets, of scores (fleets, n, size)."""
    fleets, n, size = scores.shape
    order = np.argsort(np.argsort(-scores.reshape(fleets, -1), axis=1, kind="stable"), axis=1).reshape(scores.shape)
    found = []
    for share in SHARES:
        counts = (order < round(share * n * size)).sum(axis=2)
        found.append((counts.var(axis=1, ddof=1) / counts.mean(axis=1)).mean())
    return np.array(found)

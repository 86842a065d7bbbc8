"""The search: steps from a number of backends to one less are visited in turn, each for the roles and prices of both.

Candidates of a visit are tried on the same fleets and thinned out by successive halving (Jamieson and Talwalkar, 2016).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import save as dump_tensors

from envs.scenarios import ScenarioBatch, churn_batch, stream
from envs.scoring import transition_scores
from lab.config import Config
from lab.experiment import Report, Result
from lab.files import write_bytes
from lab.tables import learned
from lab.tables.lookahead import HEAVIEST, LookaheadTables
from lab.tables.preset import FOLDER
from lab.tables.priced import MAX_PRICE, UNIT, PricedTables, prices_of
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_lookahead.config import TableLookaheadConfig

__all__ = ["OBJECTIVE", "begin", "fit"]

OBJECTIVE = "validation/excess"
"""The metric that is minimised: needless moves when one backend leaves, the mean over numbers of backends."""

_PROGRESS, _CURRENT = "progress.json", "current.safetensors"

_OFF, _DOWN, _UP, _BOTH = (0, 0), (HEAVIEST, 0), (0, HEAVIEST), (HEAVIEST, HEAVIEST)

_PAIRS = (
    ((0, *_OFF), (0, *_OFF)),
    ((1, *_DOWN), (0, *_OFF)),
    ((0, *_OFF), (1, *_UP)),
    ((2, *_DOWN), (1, *_UP)),
    ((1, *_DOWN), (2, *_UP)),
    ((1, *_BOTH), (1, *_BOTH)),
    ((2, *_BOTH), (1, *_BOTH)),
    ((1, *_BOTH), (2, *_BOTH)),
    ((1, HEAVIEST, 3), (1, 3, HEAVIEST)),
)
"""Roles that are tried for a number of backends and for one less: who leads, who follows, and who does both."""

_FIRST = 32
"""Fleets that all candidates are tried on; each time the better half goes on to twice as many."""

_STEP = UNIT // 20


class Progress(Config):
    """How far a search is.

    Attributes:
        iteration: visits done.
        seconds: time so far.
        pairs: before/after pairs that tables were built for.
        best_score: the lowest `validation/excess` so far.
        validation: the last validation's metrics.
    """

    iteration: int = 0
    seconds: float = 0.0
    pairs: int = 0
    best_score: float | None = None
    validation: dict[str, float] = Field(default_factory=dict)


def begin(config: TableLookaheadConfig) -> LookaheadTables:
    """Tables of the roles and prices to begin with."""
    tables = LookaheadTables(config.options)
    if config.look == "both":
        tables.roles[2:] = (1, *_BOTH)
    if config.start == "learned":
        model = learned.model(FOLDER)
        assert isinstance(model, PricedTables)
        for n in range(1, config.size + 1):
            row = prices_of(model.steps, n, config.size)
            tables.prices[n, : len(row)] = row
    return tables


def _needless(tables: LookaheadTables, fleets: ScenarioBatch) -> NDArray[np.float64]:
    """Excess of each fleet when its backend leaves, float64 (B,)."""
    before, after = (tables.build_batch(fleets.hashes, side, tables.size) for side in (fleets.before, fleets.after))
    return transition_scores(before, after, fleets.before, fleets.after).excess


State = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Roles and prices of a number of backends and of one less: int64 (2, 3) and (2, size + 1)."""


def _roles(state: State, furthest: int) -> Iterator[State]:
    """Other roles for both, and for either alone."""
    now, prices = state
    for pair in _PAIRS:
        roles = np.array(pair)
        if roles[:, 0].max() <= furthest:
            yield roles, prices
            yield np.stack([roles[0], now[1]]), prices
            yield np.stack([now[0], roles[1]]), prices


def _prices(state: State, n: int, size: int) -> Iterator[State]:
    """Other prices for either: none, all floors first, and the last entry or every entry a little dearer or not."""
    roles, now = state
    for row, number in enumerate((n, n - 1)):
        entries = np.arange(size + 1)
        last, within = entries == size // number, entries <= size // number
        rows = [np.zeros_like(entries), 2 * UNIT * last]
        rows += [now[row] + step * last for step in (-4 * _STEP, -_STEP, _STEP, 4 * _STEP)]
        rows += [now[row] + step * entries * within for step in (-_STEP, _STEP)]
        for each in rows:
            prices = now.copy()
            prices[row] = each.clip(-MAX_PRICE * UNIT, MAX_PRICE * UNIT)
            yield roles, prices


class _Visit:
    """One step, from n backends to one less, and the fleets that its candidates are tried on."""

    def __init__(self, config: TableLookaheadConfig, tables: LookaheadTables, n: int, iteration: int) -> None:
        self._tables = tables
        self._rows = [n, n - 1]
        # Tables that look `furthest` see a number from that far.
        near = range(n - 1 - config.furthest, n + config.furthest + 1)
        self._fleets = [
            churn_batch(config.size, each, config.fleets, stream("train", config.seed, iteration, each))
            for each in config.numbers
            if each in near or each - 1 in near
        ]
        self.pairs = 0
        self.excess = float("nan")

    @property
    def state(self) -> State:
        """Roles and prices of the two numbers."""
        return self._tables.roles[self._rows].copy(), self._tables.prices[self._rows].copy()

    def _put(self, state: State) -> None:
        self._tables.roles[self._rows], self._tables.prices[self._rows] = state

    def _measure(self, state: State, fleets: slice) -> NDArray[np.float64]:
        """Excess, summed over the numbers whose steps see these two, for each of `fleets`."""
        self._put(state)
        self.pairs += len(self._fleets) * (fleets.stop - fleets.start)
        return np.sum([_needless(self._tables, each.select(fleets)) for each in self._fleets], axis=0)

    def improve(self, candidates: Iterable[State]) -> None:
        """Takes the best candidate, found by successive halving, if it moves less by a standard error."""
        kept = self.state
        count = len(self._fleets[0])
        left = list({(roles.tobytes(), prices.tobytes()): (roles, prices) for roles, prices in candidates}.values())
        found = [np.zeros(0) for _ in (kept, *left)]
        tried = 0
        while tried < count:
            more = slice(tried, min(count, max(2 * tried, _FIRST)))
            found = [
                np.append(values, self._measure(state, more))
                for values, state in zip(found, (kept, *left), strict=True)
            ]
            tried = more.stop
            best = sorted(range(len(left)), key=lambda place: found[place + 1].mean())[: max(1, len(left) // 2)]
            left, found = [left[place] for place in best], [found[0], *(found[place + 1] for place in best)]
        gains = found[0] - found[1]
        taken = gains.mean() > gains.std(ddof=1) / np.sqrt(count)
        self._put(left[0] if taken else kept)
        self.excess = float(found[int(taken)].mean() / len(self._fleets))


def fit(config: TableLookaheadConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Searches for roles and prices. A search that is resumed is the one that was not stopped, save `seconds`.

    Args:
        config: the search.
        report: called once a visit with `iteration`, `seconds`, `pairs` (before/after pairs that tables were built
            for), `number` (of backends, the upper one of the step), `train/excess` (mean over the fleets of the visit,
            with what was kept) and the last validation.
        resume: a checkpoint directory that a fit wrote.

    Raises:
        RequestError: `resume` is no whole checkpoint of such a search.
    """
    progress, tables = Progress(), begin(config)
    untrained = _copied(tables.state_dict())
    best = untrained
    if resume is not None:
        what = "checkpoint of table_lookahead"
        progress = read_progress(resume / _PROGRESS, Progress, what)
        states = (read_weights(resume / name, what) for name in (_CURRENT, learned.MODEL, learned.UNTRAINED))
        current, best, untrained = states
        tables.load_state_dict(current)
    held_out = [
        churn_batch(config.size, n, config.validation_pairs, stream("validation", 0, n)) for n in config.numbers
    ]
    started = time.perf_counter() - progress.seconds
    metrics: dict[str, float] = {}
    pairs, best_score, validation = progress.pairs, progress.best_score, progress.validation
    for iteration in range(progress.iteration + 1, config.iterations + 1):
        n = config.numbers[(iteration - 1) % len(config.numbers)]
        visit = _Visit(config, tables, n, iteration)
        visit.improve(_roles(visit.state, config.furthest))
        visit.improve(_prices(visit.state, n, config.size))
        pairs += visit.pairs
        last = iteration == config.iterations
        if iteration == 1 or last or iteration % config.validate_every == 0:
            validation = {OBJECTIVE: float(np.mean([_needless(tables, fleets).mean() for fleets in held_out]))}
            if best_score is None or validation[OBJECTIVE] < best_score:
                best, best_score = _copied(tables.state_dict()), validation[OBJECTIVE]
        seconds = time.perf_counter() - started
        metrics = {
            "iteration": float(iteration),
            "seconds": seconds,
            "pairs": float(pairs),
            "number": float(n),
            "train/excess": visit.excess,
            **validation,
        }
        if last or iteration % config.checkpoint_every == 0:
            so_far = Progress(
                iteration=iteration, seconds=seconds, pairs=pairs, best_score=best_score, validation=validation
            )
            with tempfile.TemporaryDirectory(prefix="table-lookahead-") as directory:
                _save(Path(directory), config, so_far, tables.state_dict(), best, untrained)
                report(metrics, Path(directory))
        else:
            report(metrics, None)
    return Result(metrics)


def _copied(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def _save(
    directory: Path,
    config: TableLookaheadConfig,
    progress: Progress,
    current: Mapping[str, torch.Tensor],
    best: Mapping[str, torch.Tensor],
    untrained: Mapping[str, torch.Tensor],
) -> None:
    meta = {"experiment": "table_lookahead", "size": config.size, "validation": {"excess": progress.best_score}}
    learned.save(directory, "lookahead", config.options.model_dump(), best, meta, untrained=untrained)
    write_bytes(directory / _CURRENT, dump_tensors(dict(current)))
    write_progress(directory / _PROGRESS, progress)

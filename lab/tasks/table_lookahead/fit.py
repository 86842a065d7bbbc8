"""The search: numbers of backends are visited in turn, and each takes the role and the prices that move least."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
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

__all__ = ["OBJECTIVE", "fit"]

OBJECTIVE = "validation/excess"
"""The metric that is minimised: needless moves when one backend leaves, the mean over numbers of backends."""

_PROGRESS, _CURRENT = "progress.json", "current.safetensors"

_SIDES = ((HEAVIEST, 0), (0, HEAVIEST), (HEAVIEST, HEAVIEST), (HEAVIEST, 3), (3, HEAVIEST))
"""Weights of the votes from below and above that are tried."""

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
    validation: dict[str, float] = {}


def _begin(config: TableLookaheadConfig) -> LookaheadTables:
    """Tables that do not look yet, at the prices to begin with."""
    tables = LookaheadTables(config.options)
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


def _roles(config: TableLookaheadConfig) -> Iterator[tuple[int, int, int]]:
    yield 0, 0, 0
    for level in range(1, config.furthest + 1):
        for below, above in _SIDES:
            yield level, below, above


def _prices(current: NDArray[np.int64], n: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Other prices for n backends: none, all floors first, and the last entry or every entry a little dearer or not."""
    floor = size // n
    entries = np.arange(floor + 1)
    last = entries == floor
    yield np.zeros_like(current[: floor + 1])
    yield np.where(last, 2 * UNIT, 0)
    for step in (-4 * _STEP, -_STEP, _STEP, 4 * _STEP):
        yield (current[: floor + 1] + step * last).clip(-MAX_PRICE * UNIT, MAX_PRICE * UNIT)
    for step in (-_STEP, _STEP):
        yield (current[: floor + 1] + step * entries).clip(-MAX_PRICE * UNIT, MAX_PRICE * UNIT)


class _Visit:
    """One number, and the fleets that its candidates are tried on."""

    def __init__(self, config: TableLookaheadConfig, tables: LookaheadTables, n: int, iteration: int) -> None:
        self._tables = tables
        self._n = n
        # Tables that look `furthest` see the number from that far.
        near = range(n - config.furthest, n + config.furthest + 1)
        self._fleets = [
            churn_batch(config.size, each, config.fleets, stream("train", config.seed, iteration, each))
            for each in config.numbers
            if each in near or each - 1 in near
        ]
        self.pairs = 0
        self.excess = self._measure()

    def _measure(self) -> NDArray[np.float64]:
        self.pairs += sum(map(len, self._fleets))
        return np.stack([_needless(self._tables, fleets) for fleets in self._fleets])

    def improve(self, rows: NDArray[np.int64], candidates: Iterator[NDArray[np.int64]]) -> None:
        """Puts the best candidate into row n of `rows`, where it moves less than what is there by a standard error."""
        kept = rows[self._n].copy()
        best, least = kept, 0.0
        found = self.excess
        for candidate in candidates:
            if np.array_equal(rows[self._n], candidate):
                continue
            rows[self._n] = candidate
            excess = self._measure()
            more = (excess - self.excess).sum(axis=0)
            error = more.std(ddof=1) / np.sqrt(len(more))
            if more.mean() < -error and more.mean() < least:
                best, least, found = candidate, more.mean(), excess
            rows[self._n] = kept
        rows[self._n], self.excess = best, found


def fit(config: TableLookaheadConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Searches for roles and prices. A search that is resumed is the one that was not stopped, save `seconds`.

    Args:
        config: the search.
        report: called once a visit with `iteration`, `seconds`, `pairs` (before/after pairs that tables were built
            for), `number` (of backends, the one visited), `train/excess` (mean over the fleets of the visit, with what
            was kept) and the last validation.
        resume: a checkpoint directory that a fit wrote.

    Raises:
        RequestError: `resume` is no whole checkpoint of such a search.
    """
    progress, tables = Progress(), _begin(config)
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
        n = config.visited[(iteration - 1) % len(config.visited)]
        visit = _Visit(config, tables, n, iteration)
        visit.improve(tables.roles, (np.array(role) for role in _roles(config)))
        visit.improve(tables.prices, _padded(_prices(tables.prices[n], n, config.size), config.size + 1))
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
            "train/excess": float(visit.excess.mean()),
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


def _padded(rows: Iterator[NDArray[np.int64]], length: int) -> Iterator[NDArray[np.int64]]:
    for row in rows:
        yield np.pad(row, (0, length - len(row)))


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
    write_bytes(directory / _CURRENT, dump_tensors(_copied(current)))
    write_progress(directory / _PROGRESS, progress)

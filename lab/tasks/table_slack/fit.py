"""The search: what every pair of caps costs on training fleets, and the best caps for all numbers within a budget.

When one of n backends leaves, what moves depends on the cap for n and on that for n - 1. So what moves, over all n, is
a sum along a chain, and so is what the largest loads are above the mean. The least of the first within a budget of the
second is found by dynamic programming over both (Bellman, 1957; in units of the budget). A price of unevenness instead
of a budget finds the convex hull of the front alone (Das and Dennis, 1997), and points between two of its corners are
above those that classical tables reach. Tables may look ahead as well (`look`), from one end of a step to the other.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as dump_tensors

from envs.scenarios import ScenarioBatch, churn_batch, stream
from envs.scoring import table_scores, transition_scores
from lab.config import Config
from lab.errors import RequestError
from lab.experiment import Report, Result
from lab.files import write_bytes
from lab.tables import learned
from lab.tables.capped import build_capped
from lab.tables.lookahead import HEAVIEST, LookaheadOptions, LookaheadTables
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_slack.config import TableSlackConfig

__all__ = ["OBJECTIVE", "best_caps", "caps_tried", "fit", "measure"]

OBJECTIVE = "validation/excess"
"""The metric that is minimised. The budget holds on training fleets; on those of validation it may be exceeded a little
(`validation/slack`). Between searches of other budgets it says nothing."""

_MOST_TRIED = 16
"""Caps between the ceiling and the largest that are tried for a number of backends, at most: evenly spaced."""

_PROGRESS, _SUMS = "progress.json", "sums.safetensors"

Sums = dict[str, NDArray[np.float64]]


class Progress(Config):
    """How far a search is.

    Attributes:
        iteration: iterations done.
        seconds: time so far.
    """

    iteration: int = 0
    seconds: float = 0.0


def caps_tried(config: TableSlackConfig, n: int) -> list[int]:
    """The caps that are tried for n backends: 0, which is floor and ceiling, then from the ceiling upwards, and last
    the size, under which nobody is held back."""
    least = -(-config.size // n)
    most = min(max(least + 1, int(config.most * config.size / n)), config.size)
    between = np.linspace(least, most, min(most - least + 1, _MOST_TRIED)).astype(int)
    return [0, *sorted({*between.tolist(), config.size})]


def _options(config: TableSlackConfig) -> int:
    """The most caps that are tried for a number of backends."""
    return max(len(caps_tried(config, each)) for n in config.numbers for each in (n, n - 1))


def _costs(config: TableSlackConfig, iteration: int) -> Sums:
    """What pairs of caps cost on the fleets of an iteration.

    It does not depend on the budget: a sweep over budgets in one process builds the tables once.

    Returns:
        Means over fleets, float64 (numbers, A, A), by the places in `caps_tried` of the cap for n and of that for
        n - 1, infinite where there are no such caps: `excess`, and `largest`, the largest load over the mean, itself
        the mean of before and after.
    """
    ahead = config.joiners if config.look else None
    tried = tuple((n, tuple(caps_tried(config, n)), tuple(caps_tried(config, n - 1))) for n in config.numbers)
    return _simulated(config.seed, config.size, tried, _options(config), config.fleets, iteration, ahead)


@functools.lru_cache(maxsize=64)
def _simulated(
    seed: int,
    size: int,
    tried: tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...],
    options: int,
    count: int,
    iteration: int,
    joiners: int | None,
) -> Sums:
    costs = {name: np.full((len(tried), options, options), np.inf) for name in ("excess", "largest")}
    numbers = tuple(n for n, *_ in tried)
    for place, (n, upper, lower) in enumerate(tried):
        fleets = churn_batch(size, n, count, stream("train", seed, iteration, n))
        # Without looking, a table does not depend on the cap of the other number.
        alone: dict[tuple[int, int], NDArray[np.int32]] = {}
        for pair in itertools.product(range(len(upper)), range(len(lower))):
            caps = np.zeros(size, dtype=np.int64)
            caps[n - 1], caps[n - 2] = upper[pair[0]], lower[pair[1]]
            tables = []
            for side, present in enumerate((fleets.before, fleets.after)):
                key = (side, pair[side])
                if joiners is not None or key not in alone:
                    alone[key] = _built(caps, fleets.hashes, present, size, numbers, joiners)
                tables.append(alone[key])
            costs["excess"][place][pair], costs["largest"][place][pair] = _scored(tables, fleets)
    return costs


def looking(caps: NDArray[np.int64], numbers: tuple[int, ...], joiners: int) -> LookaheadTables:
    """Tables under caps, int64 (size,), 0 for floor and ceiling, that look ahead at each step from one of `numbers`."""
    tables = LookaheadTables(LookaheadOptions(size=len(caps), joiners=joiners))
    tables.caps[1:] = caps
    for n in numbers:
        tables.roles[n], tables.roles[n - 1] = (2, HEAVIEST, 0), (1, 0, HEAVIEST)
    return tables


def _built(
    caps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    present: NDArray[np.bool_],
    size: int,
    numbers: tuple[int, ...],
    joiners: int | None,
) -> NDArray[np.int32]:
    if joiners is None:
        return build_capped(caps, hashes, present, size)
    return looking(caps, numbers, joiners).build_batch(hashes, present, size)


def _scored(tables: Sequence[NDArray[np.int32]], fleets: ScenarioBatch) -> tuple[float, float]:
    """Excess, and the largest load over the mean: means over fleets."""
    before, after = tables
    largest = [
        table_scores(table, present).max_over_mean.mean()
        for table, present in ((before, fleets.before), (after, fleets.after))
    ]
    excess = transition_scores(before, after, fleets.before, fleets.after).excess
    return float(excess.mean()), float(np.mean(largest))


def best_caps(config: TableSlackConfig, costs: Sums) -> NDArray[np.int64]:
    """The caps for n = 1, 2, ..., size with the least excess within the budget; of equals the evenest.

    Args:
        config: the numbers of backends, and the slack that they may have.
        costs: as `_costs` has them.

    Returns:
        int64 (size,), 0 for floor and ceiling.
    """
    # What the largest loads of a step are above even ones is rounded to units of the budget.
    budget = max(2000, 50 * len(config.numbers))
    unit = max(config.slack * len(config.numbers) / budget, 1e-9)
    tried = {n: caps_tried(config, n) for n in range(1, config.size + 1)}
    # The least excess of the numbers so far, by the cap of the last of them and by units that are spent.
    least = np.zeros((len(tried[1]), budget + 1))
    came: dict[int, NDArray[np.int16]] = {}
    units: dict[int, NDArray[np.int64]] = {}
    for n in range(2, config.size + 1):
        if n not in config.numbers:
            # Nothing was asked of this step: it costs nothing, whatever the caps.
            came[n] = np.tile(least.argmin(axis=0).astype(np.int16), (len(tried[n]), 1))
            units[n] = np.zeros((len(tried[n]), len(tried[n - 1])), dtype=np.int64)
            least = np.tile(least.min(axis=0), (len(tried[n]), 1))
            continue
        place = config.numbers.index(n)
        above = costs["largest"][place, : len(tried[n]), : len(tried[n - 1])] - _even(config.size, n)
        units[n] = np.minimum(np.rint(above / unit), budget + 1).astype(np.int64)
        after = np.full((len(tried[n]), budget + 1), np.inf)
        came[n] = np.zeros(after.shape, dtype=np.int16)
        for (upper, lower), spent in np.ndenumerate(units[n]):
            found = np.full(budget + 1, np.inf)
            found[spent:] = least[lower, : budget + 1 - spent] + costs["excess"][place, upper, lower]
            better = found < after[upper]
            after[upper, better], came[n][upper, better] = found[better], lower
        least = after
    left, option = divmod(int(least.T.argmin()), len(least))
    caps = np.zeros(config.size, dtype=np.int64)
    for n in range(config.size, 0, -1):
        caps[n - 1] = tried[n][option]
        if n > 1:
            lower = int(came[n][option, left])
            left, option = left - int(units[n][option, lower]), lower
    return caps


def _even(size: int, n: int) -> float:
    """The largest load over the mean of exactly even tables of n backends and of n - 1: the mean of the two."""
    return float(np.mean([-(-size // each) * each / size for each in (n, n - 1)]))


def measure(config: TableSlackConfig, caps: NDArray[np.int64]) -> dict[str, float]:
    """`excess`, `max_over_mean` and `slack`, what that is above exactly even tables, of caps on validation fleets:
    means over fleets, then over numbers."""
    found = []
    for n in config.numbers:
        fleets = churn_batch(config.size, n, config.validation_pairs, stream("validation", 0, n))
        joiners = config.joiners if config.look else None
        sides = (fleets.before, fleets.after)
        found.append(
            _scored([_built(caps, fleets.hashes, each, config.size, config.numbers, joiners) for each in sides], fleets)
        )
    excess, largest_load = np.mean(found, axis=0).tolist()
    return {
        "excess": excess,
        "max_over_mean": largest_load,
        "slack": largest_load - float(np.mean([_even(config.size, n) for n in config.numbers])),
    }


def fit(config: TableSlackConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Searches for caps. A search that is resumed is the one that was not stopped, bit for bit, save `seconds`.

    Args:
        config: the search.
        report: called once an iteration with `iteration`, `seconds`, `pairs` (before/after pairs so far, each built
            under every pair of caps), and `validation/...`, what `measure` says of the caps.
        resume: a checkpoint directory that a fit wrote.

    Raises:
        RequestError: `resume` is no whole checkpoint of such a search.
    """
    shapes = dict.fromkeys(("excess", "largest"), (len(config.numbers), *[_options(config)] * 2))
    progress, sums = Progress(), {name: np.zeros(shape) for name, shape in shapes.items()}
    if resume is not None:
        what = "checkpoint of table_slack"
        progress = read_progress(resume / _PROGRESS, Progress, what)
        sums = {name: tensor.numpy() for name, tensor in read_weights(resume / _SUMS, what).items()}
        if {name: values.shape for name, values in sums.items()} != shapes:
            raise RequestError(f"expected sums of the shapes {shapes} at {resume}, but got others")
    started = time.perf_counter() - progress.seconds
    metrics: dict[str, float] = {}
    validated: dict[bytes, dict[str, float]] = {}
    for iteration in range(progress.iteration + 1, config.iterations + 1):
        sums = {name: sums[name] + values for name, values in _costs(config, iteration).items()}
        caps = best_caps(config, {name: values / iteration for name, values in sums.items()})
        validation = validated.setdefault(caps.tobytes(), {}) or measure(config, caps)
        validated[caps.tobytes()] = validation
        progress = Progress(iteration=iteration, seconds=time.perf_counter() - started)
        metrics = {
            "iteration": float(iteration),
            "seconds": progress.seconds,
            "pairs": float(iteration * config.fleets * len(config.numbers)),
            **{f"validation/{name}": value for name, value in validation.items()},
        }
        if iteration == config.iterations or iteration % config.checkpoint_every == 0:
            with tempfile.TemporaryDirectory(prefix="table-slack-") as directory:
                _save(Path(directory), config, progress, sums, caps, validation)
                report(metrics, Path(directory))
        else:
            report(metrics, None)
    return Result(metrics)


def _save(
    directory: Path,
    config: TableSlackConfig,
    progress: Progress,
    sums: Sums,
    caps: NDArray[np.int64],
    validation: dict[str, float],
) -> None:
    meta = {"experiment": "table_slack", "size": config.size, "validation": validation}
    both = (caps, np.zeros_like(caps))
    if config.look:
        tables = [looking(values, config.numbers, config.joiners) for values in both]
        states = [each.state_dict() for each in tables]
        learned.save(
            directory,
            "lookahead",
            {"size": config.size, "joiners": config.joiners},
            states[0],
            meta,
            untrained=states[1],
        )
    else:
        states = [{"caps": torch.from_numpy(values)} for values in both]
        learned.save(directory, "capped", {"size": config.size}, states[0], meta, untrained=states[1])
    write_bytes(directory / _SUMS, dump_tensors({name: torch.from_numpy(values) for name, values in sums.items()}))
    write_progress(directory / _PROGRESS, progress)

"""The search: what every pair of caps costs on training fleets, and the cheapest caps for all numbers together.

When one of n backends leaves, what moves depends on the cap for n and on that for n - 1. So the sum over all n of what
moves, and of what the largest loads are worth, is a sum along a chain, and its least is found exactly (Viterbi, 1967).
Tables may look ahead as well (`look`), from one end of a step to the other.
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
from lab.tables.capped import build_capped, least_caps
from lab.tables.lookahead import HEAVIEST, LookaheadOptions, LookaheadTables
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_slack.config import TableSlackConfig

__all__ = ["OBJECTIVE", "best_extras", "fit", "measure"]

OBJECTIVE = "validation/cost"
"""The metric that is minimised: excess, and `unevenness` times what the largest load is above the mean."""

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


def _costs(config: TableSlackConfig, iteration: int) -> Sums:
    """What pairs of caps cost on the fleets of an iteration, caps as entries above the ceiling, A of them.

    It does not depend on what unevenness is worth: a sweep over that in one process builds the tables once.

    Returns:
        Means over fleets, float64 (numbers, A, A), by the cap for n and that for n - 1: `excess`, and `largest`, the
        largest load over the mean, itself the mean of before and after.
    """
    ahead = config.joiners if config.look else None
    return _simulated(config.seed, config.size, config.numbers, config.most_extra, config.fleets, iteration, ahead)


@functools.lru_cache(maxsize=64)
def _simulated(
    seed: int, size: int, numbers: tuple[int, ...], most_extra: int, count: int, iteration: int, joiners: int | None
) -> Sums:
    options = most_extra + 1
    costs = {name: np.empty((len(numbers), options, options)) for name in ("excess", "largest")}
    for place, n in enumerate(numbers):
        fleets = churn_batch(size, n, count, stream("train", seed, iteration, n))
        # Without looking, a table does not depend on the cap of the other number.
        alone: dict[tuple[int, int], NDArray[np.int32]] = {}
        for extras in itertools.product(range(options), repeat=2):
            caps = least_caps(size)
            for number, extra in zip((n, n - 1), extras, strict=True):
                caps[number - 1] = min(caps[number - 1] + extra, size)
            tables = []
            for side, present in enumerate((fleets.before, fleets.after)):
                key = (side, extras[side])
                if joiners is not None or key not in alone:
                    alone[key] = _built(caps, fleets.hashes, present, size, numbers, joiners)
                tables.append(alone[key])
            excess, largest = _scored(tables, fleets)
            costs["excess"][place][extras], costs["largest"][place][extras] = excess, largest
    return costs


def looking(caps: NDArray[np.int64], numbers: tuple[int, ...], joiners: int) -> LookaheadTables:
    """Tables under caps, int64 (size,), that look ahead at each step from one of `numbers`."""
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


def best_extras(config: TableSlackConfig, costs: Sums) -> NDArray[np.int64]:
    """The entries above the ceiling, for n = 1, 2, ..., size, that cost least in sum; of equals the fewest.

    Args:
        config: the numbers of backends, and what unevenness is worth.
        costs: as `_costs` has them.

    Returns:
        int64 (size,).
    """
    worth, options = config.unevenness, config.most_extra + 1
    edges = {}
    for place, n in enumerate(config.numbers):
        edges[n] = costs["excess"][place] + worth * costs["largest"][place]
    total = np.zeros(options)
    chosen = np.zeros((config.size + 1, options), dtype=np.int64)
    for n in range(2, config.size + 1):
        ways = total[None] + edges.get(n, np.zeros((options, options)))
        chosen[n] = ways.argmin(axis=1)
        total = ways.min(axis=1)
    extras = np.empty(config.size, dtype=np.int64)
    extras[-1] = total.argmin()
    for n in range(config.size, 1, -1):
        extras[n - 2] = chosen[n, extras[n - 1]]
    return extras


def measure(config: TableSlackConfig, caps: NDArray[np.int64]) -> dict[str, float]:
    """`excess`, `max_over_mean` and `cost` of caps on validation fleets: means over fleets, then over numbers."""
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
        "cost": excess + config.unevenness * (largest_load - 1),
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
    options = config.most_extra + 1
    shapes = dict.fromkeys(("excess", "largest"), (len(config.numbers), options, options))
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
        extras = best_extras(config, {name: values / iteration for name, values in sums.items()})
        caps = np.minimum(least_caps(config.size) + extras, config.size)
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
    both = (caps, least_caps(config.size))
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

"""The search: what every pair of caps costs on training fleets, and the cheapest caps for all numbers together.

When one of n backends leaves, what moves depends on the cap for n and on that for n - 1. So the sum over all n of what
moves, and of what the largest loads are worth, is a sum along a chain, and its least is found exactly (Viterbi, 1967).
"""

from __future__ import annotations

import functools
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as dump_tensors

from envs.scenarios import churn_batch, stream
from envs.scoring import table_scores, transition_scores
from lab.config import Config
from lab.errors import RequestError
from lab.experiment import Report, Result
from lab.files import write_bytes
from lab.tables import learned
from lab.tables.capped import build_capped, least_caps
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
        Means over fleets: `excess` float64 (numbers, A, A), by the cap for n and that for n - 1; `largest`
        (numbers, 2, A), the largest load over the mean, before and after.
    """
    return _simulated(config.seed, config.size, config.numbers, config.most_extra, config.fleets, iteration)


@functools.lru_cache(maxsize=64)
def _simulated(seed: int, size: int, numbers: tuple[int, ...], most_extra: int, count: int, iteration: int) -> Sums:
    options = most_extra + 1
    excess = np.empty((len(numbers), options, options))
    largest = np.empty((len(numbers), 2, options))
    for place, n in enumerate(numbers):
        fleets = churn_batch(size, n, count, stream("train", seed, iteration, n))
        ends = []
        for side, present in enumerate((fleets.before, fleets.after)):
            tables = [
                build_capped(np.minimum(least_caps(size) + extra, size), fleets.hashes, present, size)
                for extra in range(options)
            ]
            largest[place, side] = [table_scores(table, present).max_over_mean.mean() for table in tables]
            ends.append(tables)
        for i, before in enumerate(ends[0]):
            for j, after in enumerate(ends[1]):
                excess[place, i, j] = transition_scores(before, after, fleets.before, fleets.after).excess.mean()
    return {"excess": excess, "largest": largest}


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
        before, after = costs["largest"][place]
        edges[n] = costs["excess"][place] + worth * (before[:, None] + after[None]) / 2
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
        sets = (fleets.before, fleets.after)
        before, after = (build_capped(caps, fleets.hashes, present, config.size) for present in sets)
        largest = [
            table_scores(table, present).max_over_mean.mean()
            for table, present in zip((before, after), sets, strict=True)
        ]
        found.append([transition_scores(before, after, *sets).excess.mean(), np.mean(largest)])
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
    shapes = {"excess": (len(config.numbers), options, options), "largest": (len(config.numbers), 2, options)}
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
    states = [{"caps": torch.from_numpy(values)} for values in (caps, least_caps(config.size))]
    learned.save(directory, "capped", {"size": config.size}, states[0], meta, untrained=states[1])
    write_bytes(directory / _SUMS, dump_tensors({name: torch.from_numpy(values) for name, values in sums.items()}))
    write_progress(directory / _PROGRESS, progress)

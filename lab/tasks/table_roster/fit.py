"""The search for rankings, kept as a table builder of the lab's own roster."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as dump_tensors

from envs.backends import hash_uuid_bytes
from envs.scenarios import fixed_roster, stream
from envs.scoring import table_scores
from lab.config import Config
from lab.errors import RequestError
from lab.experiment import Report, Result
from lab.files import write_bytes
from lab.tables import learned
from lab.tables.rankings import RankingOptions, RankingTables, first_present
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_roster.config import TableRosterConfig
from lab.tasks.table_roster.heat_bath import HeatBath

__all__ = ["OBJECTIVE", "Progress", "all_subsets", "fit", "measure"]

OBJECTIVE = "validation/uneven"
"""The metric that is minimised: subsets of the roster that are not perfectly even."""

_CHAINS, _SEARCH = "chains.safetensors", "search.json"


class Progress(Config):
    """How far a search is.

    Attributes:
        iteration: sweeps done.
        seconds: time so far.
    """

    iteration: int = 0
    seconds: float = 0.0


def all_subsets(n: int) -> NDArray[np.bool_]:
    """Every non-empty subset of n, bool (2**n - 1, n): the suite `roster-n` for n up to 12."""
    return (np.arange(1, 1 << n)[:, None] >> np.arange(n) & 1).astype(bool)


def measure(rankings: NDArray[np.int64]) -> dict[str, float]:
    """How even the tables of rankings (size, N) are, over all subsets.

    Returns:
        `uneven`, how many are not perfectly even, and `uneven_share` of all; `spread`, the mean of the largest less the
        smallest load, and `worst_spread`, the largest of these.
    """
    present = all_subsets(rankings.shape[1])
    scores = table_scores(first_present(rankings, present).astype(np.int32), present)
    uneven = int((scores.imbalance > 0).sum())
    return {
        "uneven": float(uneven),
        "uneven_share": uneven / len(present),
        "spread": float(scores.spread.mean()),
        "worst_spread": float(scores.spread.max()),
    }


def fit(config: TableRosterConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Searches for rankings; ends early once every subset is perfectly even.

    A search that is resumed is the one that was not stopped, bit for bit.

    Args:
        config: the search.
        report: called once a sweep with `iteration`, `seconds`, `temperature`, `chains/uneven` (mean over the chains),
            and `validation/...`, what `measure` says of the best rankings so far. All subsets are judged: there are no
            others to be held out.
        resume: a checkpoint directory that a fit wrote.

    Raises:
        RequestError: `resume` is no whole checkpoint of such a search.
    """
    shape = (config.chains, config.size, config.backends)
    progress = Progress()
    validation: dict[str, float] | None = None
    if resume is None:
        first = stream("train", config.seed, 0).random(shape).argsort(axis=2)
        chains, best, untrained = first, first[0], first[0]
    else:
        progress, chains, best, untrained = _load(resume, shape)
        validation = measure(best)
    bath = HeatBath(config.size, config.backends, config.power, chains)
    started = time.perf_counter() - progress.seconds
    metrics: dict[str, float] = {}
    for iteration in range(progress.iteration + 1, config.iterations + 1):
        temperature = config.temperature(iteration)
        bath.sweep(temperature, stream("train", config.seed, iteration))
        uneven = bath.uneven()
        if validation is None or uneven.min() < validation["uneven"]:
            best = bath.rankings[uneven.argmin()].copy()
            validation = measure(best)
        progress = Progress(iteration=iteration, seconds=time.perf_counter() - started)
        metrics = {
            "iteration": float(iteration),
            "seconds": progress.seconds,
            "temperature": temperature,
            "chains/uneven": float(uneven.mean()),
            **{f"validation/{name}": value for name, value in validation.items()},
        }
        done = validation["uneven"] == 0
        if done or iteration == config.iterations or iteration % config.checkpoint_every == 0:
            with tempfile.TemporaryDirectory(prefix="table-roster-") as directory:
                _save(Path(directory), config, progress, bath.rankings, best, untrained, validation)
                report(metrics, Path(directory))
        else:
            report(metrics, None)
        if done:
            break
    return Result(metrics)


def _save(
    directory: Path,
    config: TableRosterConfig,
    progress: Progress,
    chains: NDArray[np.int64],
    best: NDArray[np.int64],
    untrained: NDArray[np.int64],
    validation: dict[str, float],
) -> None:
    states = []
    for rankings in (best, untrained):
        tables = RankingTables(RankingOptions(size=config.size, backends=config.backends))
        tables.rankings, tables.roster = rankings, hash_uuid_bytes(fixed_roster(config.backends))
        states.append(tables.state_dict())
    meta = {"experiment": "table_roster", "size": config.size, "validation": validation}
    options = {"size": config.size, "backends": config.backends}
    learned.save(directory, "rankings", options, states[0], meta, untrained=states[1])
    write_bytes(directory / _CHAINS, dump_tensors({"rankings": torch.from_numpy(chains.copy())}))
    write_progress(directory / _SEARCH, progress)


def _load(
    directory: Path, shape: tuple[int, ...]
) -> tuple[Progress, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    what = "checkpoint of table_roster"
    progress = read_progress(directory / _SEARCH, Progress, what)
    chains, best, untrained = (
        read_weights(directory / name, what)["rankings"].numpy() for name in (_CHAINS, learned.MODEL, learned.UNTRAINED)
    )
    if chains.shape != shape:
        raise RequestError(f"expected chains of shape {shape} at {directory}, but got {chains.shape}")
    return progress, chains, best, untrained

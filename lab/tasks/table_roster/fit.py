"""The search for rankings, kept as a table builder of the lab's own roster."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save as dump_tensors

from envs.backends import hash_uuid_bytes
from envs.scenarios import fixed_roster, stream
from lab.config import Config
from lab.experiment import Report, Result
from lab.files import write_bytes
from lab.tables import learned
from lab.tables.rankings import RankingOptions, RankingTables, measure
from lab.tables.subsets import ALL_UP_TO, validation_subsets
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_roster.config import TableRosterConfig
from lab.tasks.table_roster.loads import spreads
from lab.tasks.table_roster.searches import Search, first_rankings, search
from lab.threads import torch_threads

__all__ = ["OBJECTIVE", "Progress", "fit"]

OBJECTIVE = "validation/spread"
"""The metric that is minimised: the largest less the smallest load, mean over subsets."""

_STATE, _SEARCH = "state.safetensors", "search.json"


class Progress(Config):
    """How far a search is.

    Attributes:
        iteration: iterations done.
        seconds: time so far.
    """

    iteration: int = 0
    seconds: float = 0.0


def fit(config: TableRosterConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Searches for rankings; ends early once every subset there is is perfectly even.

    A search that is resumed is the one that was not stopped, bit for bit.

    Args:
        config: the search, by `config.method`.
        report: called at each validation with `iteration`, `seconds`, the search's own metrics, and `validation/...`,
            what `measure` says of the best rankings so far by mean spread; the first are those it begins with. Of
            rosters of up to 12 all subsets are judged: there are no others to be held out.
        resume: a checkpoint directory that a fit wrote.

    Raises:
        RequestError: `resume` is no whole checkpoint of such a search, or the method needs a library that is missing.
    """
    with torch_threads(config.threads):
        return _run(config, report, resume)


def _run(config: TableRosterConfig, report: Report, resume: Path | None) -> Result:
    progress, running, untrained = Progress(), search(config), first_rankings(config)[0]
    present = validation_subsets(config.backends)
    best = untrained
    if resume is not None:
        progress, best = _load(resume, running)
    validation = measure(best, present)
    least = validation["spread"]
    started = time.perf_counter() - progress.seconds
    metrics: dict[str, float] = {}
    for iteration in range(progress.iteration + 1, config.iterations + 1):
        own = running.step(iteration, stream("train", config.seed, iteration))
        saved = iteration == config.iterations or iteration % config.checkpoint_every == 0
        if not saved and iteration % config.validate_every:
            continue
        found = spreads(running.rankings, present).mean(axis=1)
        if found.min() < least:
            least, best = float(found.min()), running.rankings[found.argmin()].copy()
            validation = measure(best, present)
        progress = Progress(iteration=iteration, seconds=time.perf_counter() - started)
        metrics = {
            "iteration": float(iteration),
            "seconds": progress.seconds,
            **own,
            "candidates/spread": float(found.mean()),
            **{f"validation/{name}": value for name, value in validation.items()},
        }
        done = validation["uneven"] == 0 and config.backends <= ALL_UP_TO
        if done or saved:
            with tempfile.TemporaryDirectory(prefix="table-roster-") as directory:
                _save(Path(directory), config, progress, running, best, untrained, validation)
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
    running: Search,
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
    write_bytes(directory / _STATE, dump_tensors(running.state()))
    write_progress(directory / _SEARCH, progress)


def _load(directory: Path, running: Search) -> tuple[Progress, NDArray[np.int64]]:
    what = "checkpoint of table_roster"
    progress = read_progress(directory / _SEARCH, Progress, what)
    running.load(read_weights(directory / _STATE, what))
    return progress, read_weights(directory / learned.MODEL, what)["rankings"].numpy().astype(np.int64)

"""The search: CMA-ES over prices, validated and kept as a table builder."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from lab.errors import RequestError
from lab.experiment import Report, Result
from lab.tables.priced import MAX_PRICE, UNIT
from lab.tasks.table_es.checkpoint import Progress, load, save
from lab.tasks.table_es.config import TableEsConfig
from lab.tasks.table_es.objective import draw, relative
from lab.timing import Timing

__all__ = ["OBJECTIVE", "fit", "steps_of"]

OBJECTIVE = "validation/relative"
"""The metric that is minimised: below 1, fewer needless moves than balanced stratified rendezvous."""


def steps_of(config: TableEsConfig, point: NDArray[np.float64]) -> NDArray[np.int64]:
    """A point of the search, float (levels * knots,), as the integers that tables are built with."""
    units = np.rint(point.reshape(config.levels, config.knots).clip(-MAX_PRICE, MAX_PRICE) * UNIT)
    return units.astype(np.int64)


def fit(config: TableEsConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Searches for prices.

    Two searches with the same config report the same metrics, save `seconds`, resumed or not.

    Args:
        config: the search.
        report: called once a generation with `iteration`, `seconds`, `pairs` (before/after pairs that tables were built
            for, over all members), `train/relative` (mean over the generation), `sigma` (in price units), and the last
            validation of the mean of the search's distribution.
        resume: a checkpoint directory that a fit wrote.

    Returns:
        The last metrics, and where the time went.

    Raises:
        RequestError: `resume` is no whole checkpoint of such a search.
    """
    progress, best = Progress(), steps_of(config, config.first.ravel())
    untrained = best
    if resume is not None:
        progress, best, untrained = load(resume)
    timing = Timing(progress.timing)
    search = _search(config)
    with timing("replay"):
        # The state of the search is what it was told: no other need be kept.
        for values in progress.told:
            if len(values) != config.population:
                raise RequestError(f"expected generations of {config.population} at {resume}, but got {len(values)}")
            search.tell(list(zip(_ask(search, config), values, strict=True)))
    held_out = draw(config, "validation")
    started = time.perf_counter() - progress.seconds
    metrics = {"iteration": float(progress.iteration), "seconds": progress.seconds, **progress.validation}
    for iteration in range(progress.iteration + 1, config.iterations + 1):
        with timing("generation"):
            fleets = draw(config, "train", generation=iteration)
            points = _ask(search, config)
            found = relative(config, np.stack([steps_of(config, point) for point in points]), fleets)["relative"]
            search.tell(list(zip(points, found.tolist(), strict=True)))
        last = iteration == config.iterations
        validation, best_score = progress.validation, progress.best_score
        if iteration == 1 or last or iteration % config.validate_every == 0:
            with timing("validation"):
                steps = steps_of(config, search.mean)
                held = relative(config, steps[None], held_out)
                validation = {f"validation/{name}": float(values[0]) for name, values in held.items()}
            if best_score is None or validation[OBJECTIVE] < best_score:
                best, best_score = steps, validation[OBJECTIVE]
        progress = Progress(
            iteration=iteration,
            seconds=time.perf_counter() - started,
            told=[*progress.told, found.tolist()],
            best_score=best_score,
            validation=validation,
        )
        metrics = {
            "iteration": float(iteration),
            "seconds": progress.seconds,
            "pairs": float(iteration * config.population * len(fleets)),
            "train/relative": float(found.mean()),
            "sigma": float(search._sigma),
            **validation,
        }
        if last or iteration % config.checkpoint_every == 0:
            with tempfile.TemporaryDirectory(prefix="table-es-") as directory:
                so_far = progress.model_copy(update={"timing": timing.tree()})
                save(Path(directory), so_far, config, best, untrained)
                report(metrics, Path(directory))
        else:
            report(metrics, None)
    return Result(metrics, timing=timing.tree())


def _search(config: TableEsConfig) -> CMA:
    seed = int(np.random.SeedSequence([config.seed]).generate_state(1)[0])
    return CMA(mean=config.first.ravel(), sigma=config.sigma, seed=seed, population_size=config.population)


def _ask(search: CMA, config: TableEsConfig) -> list[NDArray[np.float64]]:
    return [search.ask() for _ in range(config.population)]

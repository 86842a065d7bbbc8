"""From what a person typed to a run, with every tracker on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import experiments  # noqa: F401  (importing the package registers them)
from lab.config import parse_assignments
from lab.console import busy
from lab.errors import RequestError, WorkError
from lab.experiment import Experiment, get
from lab.paths import find_run, runs_root
from lab.runs import Run, RunStatus, Trial
from lab.sweep import run_sweep, sweep
from lab.tracking import Tracker, standard_trackers
from lab.training import run_training, train

__all__ = ["InterruptedRunError", "resume", "start_sweep", "start_train"]


class InterruptedRunError(WorkError):
    """Raised when Ctrl-C or SIGTERM ended a run; the message says how to finish it."""


class _Started:
    """A tracker that remembers the run, for what is said when it is interrupted; a spinner shows until there is one."""

    name = "the run's name"
    run: Run | None = None

    def __init__(self) -> None:
        self.waiting = ExitStack()
        self.waiting.enter_context(busy("starting"))

    def start(self, run: Run) -> None:
        self.waiting.close()
        self.run = run

    def trial_starts(self, trials: Sequence[Trial]) -> None: ...

    def results(self, pairs: Sequence[tuple[Trial, int]]) -> None: ...

    def trial_ends(self, trials: Sequence[Trial]) -> None: ...

    def end(self, status: RunStatus) -> None: ...


def start_train(
    name: str,
    preset: str,
    assignments: Sequence[str],
    *,
    seed: int,
    seeds: int,
    fields: Mapping[str, Any] | None = None,
) -> Run:
    """Trains the experiment `name` in this process, once for each of `seeds` seeds from `seed` on.

    Args:
        name: of an experiment.
        preset: of the experiment.
        assignments: `key=value` texts that replace the preset's fields.
        seed: the first one.
        seeds: how many, at least 1.
        fields: config fields that have an option of their own, None where it was not given.

    Raises:
        RequestError: something asked for is wrong; nothing was written.
        WorkError: every trial failed, or the run was interrupted (`InterruptedRunError`).
    """
    experiment = get(name)
    overrides = _overrides(experiment, assignments, fields or {})
    if "seed" in overrides:
        raise RequestError(f"expected the seed as --seed {overrides['seed']}, but got seed={overrides['seed']}")
    return _watched(
        lambda trackers: run_training(
            experiment, preset=preset, overrides=overrides, seed=seed, seeds=seeds, trackers=trackers
        )
    )


def start_sweep(
    name: str,
    preset: str,
    assignments: Sequence[str],
    *,
    fields: Mapping[str, Any] | None = None,
    config: Path | None = None,
    **options: Any,
) -> Run:
    """Sweeps the experiment `name`.

    Args:
        name: of an experiment.
        preset: of the experiment; the search space is laid over it.
        assignments: `key=value` texts; a field that is given is not searched.
        fields: config fields that have an option of their own, None where it was not given.
        config: a file with a grid that takes the place of the search space, of an experiment that reads such files.
        **options: of `lab.sweep.make_plan`.

    Raises:
        RequestError: something asked for is wrong; nothing was written.
        WorkError: every trial failed, or the run was interrupted (`InterruptedRunError`).
    """
    experiment = get(name)
    overrides = _overrides(experiment, assignments, fields or {})
    if config is not None:
        if experiment.read_grid is None:
            raise RequestError(f"expected no --config with {name}, which reads no such file, but got --config {config}")
        grid = experiment.read_grid(config)
        overrides, options = {**grid.fields, **overrides}, {**options, "axes": grid.axes}
    return _watched(
        lambda trackers: run_sweep(experiment, preset=preset, overrides=overrides, trackers=trackers, **options)
    )


def resume(name: str) -> Run:
    """Finishes the run called `name` (see `lab.paths.find_run`); one that has ended is left alone.

    Raises:
        RequestError: no such run, a damaged manifest or journal, or another process works on it.
        WorkError: every trial failed, or the run was interrupted again (`InterruptedRunError`).
    """
    folder = find_run(name).resolve()
    if not folder.is_relative_to(runs_root().resolve()):
        raise RequestError(
            f"expected a run under {runs_root()}, but got {folder}: a checkpoint holds Ray's pickles, which run code "
            "when they are read; resume only runs of your own, with LAB_RUNS set to their folder"
        )
    run = Run(folder)
    experiment = get(run.manifest.experiment)

    def finish(trackers: list[Tracker]) -> Run:
        (train if run.manifest.kind == "train" else sweep)(experiment, run, trackers)
        return run

    return _watched(finish)


def _overrides(experiment: Experiment, assignments: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    overrides = parse_assignments(assignments)
    for field, value in fields.items():
        if value is None:
            continue
        option = f"--{field.replace('_', '-')}" + ("" if value is True else f" {value}")
        if field not in experiment.config.model_fields:
            raise RequestError(
                f"expected no {option.split()[0]} with {experiment.name}, which has no such choice, but got {option}"
            )
        if overrides.setdefault(field, value) != value:
            raise RequestError(f"expected one {field}, but got {option} and {field}={overrides[field]}")
    return overrides


def _watched(work: Callable[[list[Tracker]], Run]) -> Run:
    started = _Started()
    try:
        return work([started, *standard_trackers()])
    except KeyboardInterrupt:
        if started.run is None:
            raise
        raise InterruptedRunError(f"interrupted; to finish it: lab resume {started.run.name}") from None
    finally:
        started.waiting.close()

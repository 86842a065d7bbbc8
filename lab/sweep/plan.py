"""What a sweep sets out to do, checked before anything is started."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from lab.config import Config
from lab.errors import RequestError, unknown_name
from lab.experiment import Experiment
from lab.runs import Plan, describe_domain
from lab.sweep.space import check_space, draw, grid

__all__ = [
    "FUSES",
    "SCHEDULERS",
    "SEARCHES",
    "check_unchanged",
    "iterations_of",
    "make_plan",
    "narrow",
    "planned_values",
    "with_axes",
]

SEARCHES = ("random", "grid", "optuna")
SCHEDULERS = ("none", "asha", "pbt")
FUSES = ("auto", "off")


def narrow(experiment: Experiment, keys: Iterable[str]) -> Experiment:
    """The experiment with only `keys` of its space searched; the other fields stay as the configuration has them.

    Raises:
        RequestError: a key is not in the space, because the experiment changed since the run was made.
    """
    kept = set(keys)
    for key in kept:
        if key not in experiment.space:
            raise unknown_name(f"field of the search space of {experiment.name}", key, experiment.space)
    return replace(experiment, space={key: domain for key, domain in experiment.space.items() if key in kept})


def with_axes(experiment: Experiment, axes: Mapping[str, list[Any]] | None) -> Experiment:
    """The experiment with a grid of its own in place of its space, if there is one.

    Raises:
        RequestError: an axis is not a config field.
    """
    if axes is None:
        return experiment
    return replace(experiment, space={key: tune.choice(values) for key, values in axes.items()}, searcher="grid")


def check_unchanged(experiment: Experiment, described: Mapping[str, str]) -> None:
    """Refuses to go on with another space than the run has: its draws would not be the same again.

    Args:
        experiment: as it is today.
        described: field -> its domain in words, as the manifest has it.

    Raises:
        RequestError: a domain has changed.
    """
    for key, text in described.items():
        today = describe_domain(experiment.space[key])
        if today != text:
            raise RequestError(
                f"expected {key!r} in the space to be {text}, as when the run was made, but it is {today}"
            )


def make_plan(
    experiment: Experiment,
    *,
    samples: int | None = None,
    search: str | None = None,
    scheduler: str | None = None,
    max_concurrent: int | None = None,
    seed: int = 0,
    grid_points: int | None = None,
    storage: str | None = None,
    address: str | None = None,
    max_failures: int = 2,
    fuse: str = "auto",
    shard_memory: float = 2.0,
    axes: Mapping[str, list[Any]] | None = None,
) -> Plan:
    """The plan of a sweep; what is None takes the experiment's own default.

    **Fused sweeps.** Where the experiment's task allows it (`Experiment.population`), trials whose networks and batches
    have the same shapes train as one, in shards of as many as the memory holds; each stays a trial of its own in
    everything that is kept and shown. That takes configurations that are all known before anything has run, so it is
    for random and grid searches, without a scheduler or with ASHA. With Optuna, which waits for results before it
    proposes, and with populations (`pbt`), which exchange weights between trials, every trial trains alone.

    ASHA in a fused sweep means successive halving (Jamieson and Talwalkar, AISTATS 2016) within each shard, at the same
    rungs: when a shard comes to one, the best third of its members goes on, rounded up, and the others are stopped.
    Nobody waits for that, because a shard's members arrive at once. Trials that train alone beside the shards are
    halved asynchronously, among themselves.

    Args:
        experiment: what is swept.
        samples: number of trials, at least 1 (at least 2 for `pbt`). A grid has as many as it has points.
        search: one of `SEARCHES`.
        scheduler: one of `SCHEDULERS`.
        max_concurrent: trials at once, at least 1; by default as many as this machine has cores, on a cluster all that
            its resources hold. Optuna learns from trials that have ended: give it a fraction of `samples`. In a fused
            sweep a shard counts as one; on a cluster with GPUs give their number.
        seed: of the search; the trials' own seed is a config field.
        grid_points: values from each domain that is not a list of choices; for `grid` only.
        storage: where Tune's checkpoints go: a folder that every node sees, or a bucket (`s3://...`). By default the
            run folder.
        address: of an existing Ray cluster (`auto`, `host:port`). By default a Ray of its own on this machine.
        max_failures: how often a trial or shard is started again from its last checkpoint after its process died; after
            that, the members of a shard that have not ended fail together.
        fuse: one of `FUSES`; `auto` trains trials as one wherever the task, the search and the scheduler allow it.
        shard_memory: what the training of one shard may take, in GiB; it bounds the number of its members.
        axes: of the grid that is the experiment's space (`with_axes`), if a file asked for it.

    Raises:
        RequestError: an unknown name, a number out of range, or options that contradict each other.
    """
    check_space(experiment.space)
    search = search or experiment.searcher
    scheduler = scheduler or experiment.scheduler
    names = (("search", search, SEARCHES), ("scheduler", scheduler, SCHEDULERS), ("--fuse", fuse, FUSES))
    for kind, value, known in names:
        if value not in known:
            raise unknown_name(kind, value, known)
    if axes is not None and search != "grid":
        raise RequestError(f"expected no --search with --config, which is a grid, but got --search {search}")
    if grid_points is not None and search != "grid":
        raise RequestError(f"expected --grid-points with --search grid only, but the search is {search}")
    if search == "grid":
        size = len(grid(experiment.space, grid_points))
        if samples not in (None, size):
            raise RequestError(f"expected no --samples with --search grid, or {size}, its points, but got {samples}")
        samples = size
    samples = experiment.samples if samples is None else samples
    if max_concurrent is None:
        on_cluster = address is not None or bool(os.environ.get("RAY_ADDRESS"))
        max_concurrent = samples if on_cluster else os.cpu_count() or 1
    for option, number, least in (
        ("--samples", samples, 2 if scheduler == "pbt" else 1),
        ("--max-concurrent", max_concurrent, 1),
        ("--seed", seed, 0),
        ("max_failures", max_failures, 0),
    ):
        if number < least:
            raise RequestError(f"expected {option} of at least {least}, but got {number}")
    if not 0 < shard_memory < math.inf:
        raise RequestError(f"expected --shard-memory of more than 0 GiB, but got {shard_memory}")
    if scheduler == "pbt" and search == "optuna":
        raise RequestError("expected --search random or grid with --scheduler pbt, which does the searching itself")
    if address is not None and "://" in address:
        raise RequestError(
            f"expected --address auto or host:port, but got {address!r}: on a remote cluster run `lab` there "
            "(ray submit), so that the run folder lies with its driver"
        )
    return Plan(
        samples=samples,
        search=search,
        scheduler=scheduler,
        max_concurrent=max_concurrent,
        seed=seed,
        grid_points=grid_points,
        storage=storage if storage is None or "://" in storage else str(Path(storage).absolute()),
        address=address,
        max_failures=max_failures,
        fuse=fuse == "auto" and experiment.population is not None and search != "optuna" and scheduler != "pbt",
        shard_memory=shard_memory,
        axes=None if axes is None else dict(axes),
    )


def planned_values(experiment: Experiment, plan: Plan) -> Callable[[int], dict[str, Any]]:
    """Trial number -> the values of the space that it has, for a grid or a random search."""
    if plan.search == "grid":
        return grid(experiment.space, plan.grid_points).__getitem__
    return lambda index: draw(experiment.space, plan.seed, index)


def iterations_of(config: Config) -> int:
    """The number of iterations that a trial with this configuration has, at least 1."""
    return max(1, int(getattr(config, "iterations", 1)))

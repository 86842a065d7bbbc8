"""How a fused sweep begins: every planned trial is on record, and cut into shards, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import ray

from lab.config import Config, parse
from lab.errors import RequestError
from lab.experiment import Experiment
from lab.population_task import PopulationTask
from lab.runs import End, Run
from lab.sweep.plan import planned_values
from lab.sweep.shards import cut, group
from lab.tracking import Tracking

__all__ = ["begin", "slots"]


def begin(experiment: Experiment, base: Config, run: Run, tracking: Tracking, processes: int, least: int) -> None:
    """Records all planned trials, the ends of those that no configuration has, and the shards.

    Random and grid searches draw a trial from its index alone, so they are all known. What a kill leaves undone is done
    by the next call; the shards stay as they were first cut.

    Args:
        experiment: of the run, with the space that the run has.
        base: the fields that are not in the space.
        run: claimed by this process.
        tracking: is told of new trials.
        processes: how many shards can train at once.
        least: members of a shard that is cut off only to keep one more process busy.

    Raises:
        RequestError: the experiment's trials no longer train as one.
    """
    task = experiment.population
    if task is None:
        raise RequestError(
            f"expected an experiment whose trials train as one, as when the run was made, but {experiment.name} has no "
            "population any more: start a new sweep"
        )
    values = planned_values(experiment, run.manifest.plan)
    fixed = base.model_dump(mode="json")
    fresh = {index: fixed | values(index) for index in range(len(run.trials), run.manifest.plan.samples)}
    if fresh:
        known = {index: _parse(experiment, one) for index, one in fresh.items()}
        plain = {i: one.model_dump(mode="json") if isinstance(one, Config) else fresh[i] for i, one in known.items()}
        tracking.trial_starts(run.add_trials(plain))
    if run.shards:
        return
    configs: dict[int, Config] = {}
    ends: dict[int, End] = {}
    for index, trial in run.trials.items():
        if not trial.ended:
            parsed = _parse(experiment, trial.config)
            if isinstance(parsed, Config):
                configs[index] = parsed
            else:
                ends[index] = ("failed", str(parsed))
    if ends:
        run.add_ends(ends)
        tracking.trial_ends([run.trials[index] for index in ends])
    memory = int(run.manifest.plan.shard_memory * 2**30)
    groups = group(task, configs, memory, lambda config: _bytes(task, config))
    if groups:
        run.add_shards(cut(groups, processes, least))


def slots(wanted: Mapping[str, float]) -> int:
    """How many trials with these resources the nodes of the cluster hold at once."""
    found = 0
    for node in ray.nodes():
        if node["Alive"]:
            there = {{"CPU": "cpu", "GPU": "gpu"}.get(key, key): amount for key, amount in node["Resources"].items()}
            found += min((int(there.get(key, 0.0) / amount) for key, amount in wanted.items() if amount), default=1)
    return found


def _parse(experiment: Experiment, values: Mapping[str, Any]) -> Config | RequestError:
    """The configuration, or why there is none: a corner of the space that no configuration has."""
    try:
        return parse(experiment.config, values)
    except RequestError as error:
        return error


def _bytes(task: PopulationTask, config: Config) -> int:
    from lab.sweep.population import member_bytes

    try:
        return member_bytes(task, config)
    except Exception:
        # Whatever is wrong with it, trained alone it will say so itself, as a trial that failed.
        return sys.maxsize

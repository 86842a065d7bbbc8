"""What training many small models as one is worth, as sweeps and step by step.

    python benchmarks/fused_sweep.py [--device cuda] > benchmarks/fused_sweep.txt

First the sweeps, whole, each from its start to its last file: the same configurations (a) as fused shards, (b) as one
Ray Tune trial each, with actors that are used again, (c) by Optuna in this process with two workers, which writes
nothing. Then the limit of the arithmetic: the gradient steps of (a), shard by shard and as parallel as there, on
batches that lie ready, with no data, no validation, no files and no Ray. Then how it grows: one population from 1 to
1,024 members against one lone training.

Everything is measured in turn in one run, and what is compared has the same configurations, steps and validations.
Ratios carry over to other machines, the figures do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import optuna
import ray
import torch
from provenance import commit, hardware
from torch.func import grad_and_value, vmap

import experiments  # noqa: F401  (importing the package registers them)
from lab.config import parse
from lab.experiment import Experiment, get
from lab.sweep import run_sweep
from lab.sweep.plan import make_plan, planned_values
from lab.sweep.population import train_population
from lab.sweep.shards import cut
from lab.sweep.stack import Stack
from lab.tracking import standard_trackers

SEED = 0


@dataclass(frozen=True)
class Case:
    """One experiment, with a budget that a benchmark can wait for.

    Attributes:
        name: of the experiment.
        trials: configurations of the sweeps.
        overrides: config fields of all of them, over the preset `quick`.
        members: sizes of the population in the growth table.
    """

    name: str
    trials: int
    overrides: Mapping[str, Any]
    members: tuple[int, ...]


CASES = (
    Case("l1_norm", 256, {}, (1, 4, 16, 64, 256, 1024)),
    Case("table_supervised", 64, {"iterations": 2, "steps": 8, "validation_scenarios": 64}, (1, 2, 4, 8, 16, 32)),
)


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of some work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def configs_of(experiment: Experiment, case: Case, device: str) -> dict[int, Any]:
    """The configurations of the sweep, by their numbers."""
    base = experiment.resolve("quick", {**case.overrides, "device": device}).model_dump(mode="json")
    values = planned_values(experiment, plan_of(experiment, case, "auto"))
    return {index: parse(experiment.config, {**base, **values(index)}) for index in range(case.trials)}


def plan_of(experiment: Experiment, case: Case, fuse: str) -> Any:
    """The plan of the sweep."""
    return make_plan(experiment, samples=case.trials, search="random", scheduler="none", seed=SEED, fuse=fuse)


def by_the_lab(experiment: Experiment, case: Case, device: str, fuse: str) -> float:
    """Seconds of a sweep as a person starts it, Ray's start and all trackers included."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAB_RUNS"] = folder
        options = {"samples": case.trials, "search": "random", "scheduler": "none", "seed": SEED, "fuse": fuse}
        overrides = {**case.overrides, "device": device}
        spent = seconds(
            lambda: run_sweep(experiment, preset="quick", overrides=overrides, trackers=standard_trackers(), **options)
        )
        ray.shutdown()
        return spent


def by_optuna(experiment: Experiment, configs: Mapping[int, Any]) -> float:
    """Seconds of the same configurations as an Optuna study in memory, with two threads."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler(seed=SEED))

    def objective(trial: optuna.Trial) -> float:
        return experiment.fit(configs[trial.number], lambda metrics, checkpoint: None).metrics[experiment.metric]

    return seconds(lambda: study.optimize(objective, n_trials=len(configs), n_jobs=2, catch=(ValueError,)))


def bare(job: tuple[str, Mapping[int, Any], int]) -> float:
    """Milliseconds of one gradient step of a shard: the mapped gradient and the optimiser, on one batch for all.

    Args:
        job: name of the experiment, the members, steps to time.
    """
    name, configs, steps = job
    task, members = get(name).population, list(configs.values())
    assert task is not None
    torch.set_num_threads(members[0].threads)
    device = torch.device(members[0].device)
    stack = Stack([task.init(config) for config in members], device)
    drawn: dict[Any, Any] = {}
    for config in members:
        drawn.setdefault(task.stream(config), {name: value[0] for name, value in next(task.blocks(config, 0)).items()})
    place = [list(drawn).index(task.stream(config)) for config in members]
    if len(drawn) == 1:
        batch, dims = {key: value.to(device) for key, value in next(iter(drawn.values())).items()}, None
    else:
        each = list(drawn.values())
        batch = {key: torch.stack([one[key] for one in each])[place].to(device) for key in each[0]}
        dims = 0
    knobs = {
        key: torch.tensor([float(np.max(task.knobs(config, np.zeros(1, np.int64))[key])) for config in members]).to(
            stack.weights
        )
        for key in task.knobs(members[0], np.zeros(1, np.int64))
    }

    def one(row: Any, batch: Any, knobs: Any) -> Any:
        return task.loss(members[0], stack.model(row), batch, knobs)

    step = vmap(grad_and_value(one, has_aux=True), in_dims=(0, dims, 0))
    started = 0.0
    for count in range(1, steps + 4):
        if count == 4:
            _wait(device)
            started = time.perf_counter()
        gradients, _ = step(stack.weights, batch, knobs)
        stack.step(
            gradients,
            count=count,
            learning_rate=knobs["learning_rate"],
            weight_decay=knobs["weight_decay"],
            betas=task.betas,
        )
    _wait(device)
    return 1e3 * (time.perf_counter() - started) / steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def limit(experiment: Experiment, case: Case, configs: Mapping[int, Any], device: str) -> float:
    """Seconds of all gradient steps of the fused sweep and of nothing else, shards as parallel as there."""
    plan = plan_of(experiment, case, "auto")
    jobs = [
        (experiment.name, {index: configs[index] for index in shard}, _steps(configs[shard[0]]))
        for shard in cut(experiment, configs, plan)
    ]
    workers = 1 if device == "cuda" else plan.max_concurrent
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(bare, [(name, members, 1) for name, members, _ in jobs[:workers]]))
        return seconds(lambda: list(pool.map(bare, jobs)))


def _steps(config: Any) -> int:
    return int(config.iterations * config.steps)


def sweeps(case: Case, device: str) -> None:
    """Measures the sweeps of one experiment and prints them."""
    experiment = get(case.name)
    configs = configs_of(experiment, case, device)
    shards = cut(experiment, configs, plan_of(experiment, case, "auto"))
    times = {
        "(a) fused shards": by_the_lab(experiment, case, device, "auto"),
        "(b) one Tune trial a configuration": by_the_lab(experiment, case, device, "off"),
        "(c) Optuna in process, two workers": by_optuna(experiment, configs),
        "gradient steps of (a), nothing else": limit(experiment, case, configs, device),
    }
    print(f"\n{case.name}: {case.trials} configurations of `quick`, {_steps(configs[0]):,} steps each, ", end="")
    print(f"{len(shards)} shards of {min(map(len, shards))} to {max(map(len, shards))} members, device {device}")
    print(f"{'':38}{'seconds':>10}{'trials a minute':>18}{'(a) is as fast':>17}")
    fused = times["(a) fused shards"]
    for name, spent in times.items():
        print(f"{name:38}{spent:10.1f}{60 * case.trials / spent:18.1f}{spent / fused:16.2f}x")
    sys.stdout.flush()


def growth(case: Case, device: str) -> None:
    """Measures populations of growing size and prints them."""
    experiment = get(case.name)
    task = experiment.population
    assert task is not None
    short = {**case.overrides, "iterations": 2, "device": device}
    base = experiment.resolve("quick", short)

    def members(count: int) -> dict[int, Any]:
        return {seed: parse(experiment.config, {**base.model_dump(mode="json"), "seed": seed}) for seed in range(count)}

    def population(count: int) -> float:
        return seconds(lambda: train_population(task, members(count), lambda report, checkpoint: None))

    population(2)
    print(f"\n{case.name}: one population of `quick` networks that differ in seed, {_steps(base):,} steps and three ")
    print(f"validations, one process, device {device}; in turn with one lone training")
    print(f"{'members':>8}{'seconds':>10}{'trainings a minute':>20}{'as fast as alone':>18}{'ms a step, bare':>18}")
    for count in case.members:
        alone = seconds(lambda: experiment.fit(base, lambda metrics, checkpoint: None))
        spent = population(count)
        step = bare((case.name, members(count), 20))
        print(f"{count:8,}{spent:10.2f}{60 * count / spent:20.1f}{alone * count / spent:17.1f}x{step:18.2f}")
        sys.stdout.flush()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", choices=[case.name for case in CASES], help="one of the experiments")
    args = parser.parse_args()
    print(
        f"{hardware(args.device)}; Python {platform.python_version()}, torch {torch.__version__}, Ray {ray.__version__}"
    )
    print(f"commit {commit('lab', 'experiments', 'benchmarks/fused_sweep.py')}, ", end="")
    print(f"python benchmarks/fused_sweep.py {' '.join(sys.argv[1:])}".rstrip())
    for case in CASES:
        if args.only in (None, case.name):
            sweeps(case, args.device)
            growth(case, args.device)


if __name__ == "__main__":
    main()

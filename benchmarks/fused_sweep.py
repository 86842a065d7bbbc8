"""What training many small models as one is worth, as sweeps and step by step.

    python benchmarks/fused_sweep.py [--device cuda] [--growth] > benchmarks/fused_sweep.txt

First sweeps, whole, each from its start to its last file: the same configurations (a) as fused shards, (b) as one Ray
Tune trial each, with actors that are used again, and the first of them (c) by Optuna in this process with two workers,
which writes nothing. Then the limit of the arithmetic: the gradient steps of (a), shard by shard and as parallel as
there, on batches that lie ready, with no data, no validation, no files and no Ray. Then how it grows: one population
from 1 to 1,024 members against one lone training.

Everything is measured in turn in one run. Ratios carry over to other machines, the figures do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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
from lab.runs import Run
from lab.sweep import run_sweep
from lab.sweep.population import train_population
from lab.sweep.replay import Replay
from lab.sweep.stack import Stack
from lab.tracking import standard_trackers

SEED = 0


@dataclass(frozen=True)
class Case:
    """A sweep, with a budget that a benchmark can wait for.

    Attributes:
        title: what is swept.
        name: of the experiment.
        preset: of it.
        trials: configurations of (a) and (b).
        optuna: how many of them (c) trains.
        fixed: config fields that the preset does not have, or that are not searched.
        members: sizes of the population in the growth table; none if there is none.
    """

    title: str
    name: str
    preset: str
    trials: int
    optuna: int
    fixed: Mapping[str, Any]
    members: tuple[int, ...] = ()


CASES = (
    Case(
        "the notebook's cell by learning rate and schedule, a fifth of the notebook's steps",
        "l1_norm",
        "notebook",
        256,
        32,
        {"cell": "notebook", "width": 4, "batch_size": 32, "iterations": 20, "steps": 500, "seed": 0},
        (1, 4, 16, 64, 256, 1024),
    ),
    Case("the whole space, eight cells in up to 30 architectures", "l1_norm", "quick", 64, 32, {"seed": 0}),
    Case(
        "the rule-abiding cell by learning rate and schedule",
        "l1_norm",
        "default",
        256,
        32,
        {"cell": "relu", "width": 16, "batch_size": 32, "seed": 0},
        (1, 4, 16, 64, 256, 1024),
    ),
    Case(
        "the supervised table, 16 steps",
        "table_supervised",
        "quick",
        64,
        64,
        {
            "iterations": 2,
            "steps": 8,
            "validation_scenarios": 64,
            "width": 16,
            "frequencies": 2,
            "strata": 2,
        },
        (1, 2, 4, 8, 16, 32),
    ),
    Case(
        "parity models of the base model's width by rate, decay, augmentation and smoothing, 20 epochs",
        "parity_search",
        "digits-k2-addition",
        32,
        8,
        {"iterations": 2, "epochs": 10, "parity_width": 1.0, "batch_groups": 64, "base_epochs": 5},
        (1, 4, 16),
    ),
)


CLOCK = time.perf_counter


def seconds(work: Callable[[], Any]) -> float:
    """Time of some work, by `CLOCK`."""
    started = CLOCK()
    work()
    return CLOCK() - started


def by_the_lab(case: Case, device: str, fuse: str) -> tuple[float, Run]:
    """Seconds of a sweep as a person starts it, Ray's start and all trackers included, and what it left."""
    os.environ["LAB_RUNS"] = tempfile.mkdtemp()
    started = time.perf_counter()
    run = run_sweep(
        get(case.name),
        preset=case.preset,
        overrides={**case.fixed, "device": device},
        trackers=standard_trackers(),
        samples=case.trials,
        search="random",
        scheduler="none",
        seed=SEED,
        fuse=fuse,
    )
    spent = time.perf_counter() - started
    found = Run(run.folder)
    shutil.rmtree(os.environ["LAB_RUNS"])
    return spent, found


def by_optuna(experiment: Experiment, configs: Sequence[Any]) -> float:
    """Seconds of some configurations as an Optuna study in memory, with two threads."""
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
    if task.replayable:
        step = Replay(step)
    started = 0.0
    for count in range(1, steps + 4):
        if count == 4:
            _wait(device)
            started = CLOCK()
        gradients, _ = step(stack.weights, batch, knobs)
        stack.step(
            gradients,
            count=count,
            learning_rate=knobs["learning_rate"],
            weight_decay=knobs["weight_decay"],
            betas=task.betas,
        )
    _wait(device)
    return 1e3 * (CLOCK() - started) / steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def limit(case: Case, configs: Mapping[int, Any], shards: Sequence[Sequence[int]], workers: int) -> float:
    """Seconds of all gradient steps of the shards and of nothing else, as parallel as there."""
    jobs = [(case.name, {index: configs[index] for index in shard}, _steps(configs[shard[0]])) for shard in shards]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # The processes are there, and have imported what they need.
        list(pool.map(bare, [(name, members, 1) for name, members, _ in jobs[:workers]]))
        return seconds(lambda: list(pool.map(bare, jobs)))


def _steps(config: Any) -> int:
    return int(config.iterations * config.steps)


def sweeps(case: Case, device: str) -> None:
    """Measures the sweeps of one case and prints them."""
    experiment = get(case.name)
    fused, run = by_the_lab(case, device, "auto")
    lone, _ = by_the_lab(case, device, "off")
    configs = {index: parse(experiment.config, trial.config) for index, trial in run.trials.items()}
    optuna_seconds = by_optuna(experiment, [configs[index] for index in range(case.optuna)])
    together = {index for shard in run.shards for index in shard}
    arithmetic = limit(case, configs, run.shards, 1 if device == "cuda" else run.manifest.plan.max_concurrent)
    sizes = [len(shard) for shard in run.shards]
    print(f"\n{case.name}, {case.title}: {case.trials} configurations of `{case.preset}`, {_steps(configs[0]):,} steps")
    print(
        f"each, {len(sizes)} shards of {min(sizes)} to {max(sizes)} members and {case.trials - len(together)} alone, ",
        end="",
    )
    print(f"device {device}")
    print(f"{'':38}{'trials':>8}{'seconds':>10}{'trials a minute':>18}{'(a) is as fast':>17}")
    for name, trials, spent in (
        ("(a) fused shards", case.trials, fused),
        ("(b) one Tune trial a configuration", case.trials, lone),
        ("(c) Optuna in process, two workers", case.optuna, optuna_seconds),
        ("gradient steps of (a), nothing else", len(together), arithmetic),
    ):
        ratio = (case.trials / fused) / (trials / spent)
        print(f"{name:38}{trials:8}{spent:10.1f}{60 * trials / spent:18.1f}{ratio:16.2f}x")
    sys.stdout.flush()


def growth(case: Case, device: str) -> None:
    """Measures populations of growing size and prints them."""
    experiment = get(case.name)
    task = experiment.population
    assert task is not None
    base = experiment.resolve(case.preset, {**case.fixed, "iterations": 2, "device": device})

    def members(count: int) -> dict[int, Any]:
        return {seed: parse(experiment.config, {**base.model_dump(mode="json"), "seed": seed}) for seed in range(count)}

    print(f"\n{case.name}, {case.title}: one population that differs in seed, {_steps(base):,} steps and three")
    print(f"validations, in this process alone, device {device}; in turn with one lone training")
    print(f"{'members':>8}{'seconds':>10}{'trainings a minute':>20}{'as fast as alone':>18}{'bare steps, share':>19}")
    # The first training also imports.
    experiment.fit(base, lambda metrics, checkpoint: None)
    for count in case.members:
        for config in members(count).values():
            # What is made once and kept, as a base model is, is there for both.
            task.init(config)
        alone = seconds(lambda: experiment.fit(base, lambda metrics, checkpoint: None))
        spent = seconds(lambda: train_population(task, members(count), lambda report, checkpoint: None))  # noqa: B023
        share = bare((case.name, members(count), 50)) * _steps(base) / 1e3 / spent
        print(f"{count:8,}{spent:10.2f}{60 * count / spent:20.1f}{alone * count / spent:17.1f}x{100 * share:17.0f} %")
        sys.stdout.flush()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--case", type=int, choices=range(1, len(CASES) + 1), help="one of the cases (default: all)")
    parser.add_argument("--growth", action="store_true", help="only how populations grow, no sweeps")
    parser.add_argument("--cpu-time", action="store_true", help="with --growth: on a machine that others use, too")
    args = parser.parse_args()
    if args.cpu_time:
        if not args.growth or args.device != "cpu":
            parser.error("expected --cpu-time with --growth and on a CPU, where all work is in this thread")
        global CLOCK
        CLOCK = time.process_time
    print(
        f"{hardware(args.device)}; Python {platform.python_version()}, torch {torch.__version__}, Ray {ray.__version__}"
    )
    print(f"commit {commit('lab', 'experiments', 'benchmarks/fused_sweep.py')}, ", end="")
    print(f"python benchmarks/fused_sweep.py {' '.join(sys.argv[1:])}".rstrip())
    for number, case in enumerate(CASES, start=1):
        if args.case in (None, number):
            if not args.growth:
                sweeps(case, args.device)
            if case.members:
                growth(case, args.device)


if __name__ == "__main__":
    main()

"""How much faster N lookup tables at once are than the same work by N single environments.

    python benchmarks/env_speed.py [--tables 64 1024] [--features all] > benchmarks/env_speed.txt

All are measured in turn in one run, several times, with the same scenarios and the same legal actions, resets
included: eight tables one after the other, then an episode of all of them. None uses a second thread, so time is the
process's CPU time: another program on the machine disturbs it less. The ratios carry over to other machines, the
figures do not.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time

import gymnasium
import numpy as np
from provenance import commit, hardware

from envs.lookup_table import LookupTableEnv, LookupTableVectorEnv
from envs.scenarios import ScenarioBatch, sample_batch, stream


def actions_of(env: LookupTableVectorEnv, scenarios: ScenarioBatch, rng: np.random.Generator) -> np.ndarray:
    """Random legal actions of an episode, int64 (2 * size, tables): found beforehand, only stepping is timed."""
    observation, _ = env.reset(options={"scenarios": scenarios})
    actions = np.empty((2 * env.task.entries, env.num_envs), dtype=np.int64)
    for step in range(len(actions)):
        actions[step] = (observation["action_mask"] * rng.uniform(0.1, 1, (env.num_envs, env.task.slots))).argmax(
            axis=1
        )
        observation, *_ = env.step(actions[step])
    return actions


def vector_rate(env: LookupTableVectorEnv, scenarios: ScenarioBatch, actions: np.ndarray) -> float:
    """Env steps a CPU second of all tables at once, the reset included."""
    start = time.process_time()
    env.reset(options={"scenarios": scenarios})
    for step in actions:
        env.step(step)
    return actions.size / (time.process_time() - start)


def single_rate(env: LookupTableEnv, scenarios: ScenarioBatch, actions: np.ndarray, tables: int) -> float:
    """Env steps a CPU second of the same work by one table after the other, resets included; a sample of tables."""
    rows = [scenarios.select(row) for row in range(tables)]
    plans = actions.T[:tables].tolist()
    start = time.process_time()
    for row, plan in zip(rows, plans, strict=True):
        env.reset(options={"scenarios": row})
        for action in plan:
            env.step(action)
    return tables * len(actions) / (time.process_time() - start)


def main() -> None:
    """Prints the rates and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--features", default="all")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()

    single = LookupTableEnv(features=args.features)
    drawn = sample_batch(single.task.config, max(args.tables), stream("validation", 0))
    scenarios = [drawn.select(slice(tables)) for tables in args.tables]
    many = [LookupTableVectorEnv(tables, features=args.features) for tables in args.tables]
    actions = [actions_of(*pair, np.random.default_rng(0)) for pair in zip(many, scenarios, strict=True)]
    batches = list(zip(many, scenarios, actions, strict=True))
    rates = [
        [single_rate(single, scenarios[0], actions[0], 8), *(vector_rate(*batch) for batch in batches)]
        for _ in range(args.repeats)
    ]
    slow, *fast = (statistics.median(column) for column in zip(*rates, strict=True))
    ratios = [statistics.median(row[place] / row[0] for row in rates) for place in range(1, len(rates[0]))]
    print(f"LookupTable-v0, size {single.task.entries}, {single.task.slots} slots, features={args.features}")
    print(
        f"{hardware()}; Python {platform.python_version()}, NumPy {np.__version__}, Gymnasium {gymnasium.__version__}"
    )
    measured = commit("envs", "benchmarks/env_speed.py")
    print(f"commit {measured}, python benchmarks/env_speed.py {' '.join(sys.argv[1:])}".rstrip())
    print(f"one table at a time      {slow:12,.0f} env steps a CPU second")
    for tables, rate, ratio in zip(args.tables, fast, ratios, strict=True):
        print(f"{tables:5,} tables at once     {rate:12,.0f} env steps a CPU second, {ratio:6.1f} times as many")
    print(f"(medians of {args.repeats}, measured in turn)")


if __name__ == "__main__":
    main()

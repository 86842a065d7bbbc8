"""How much faster N lookup tables at once are than the same work by N single environments.

    python benchmarks/env_speed.py [--tables 1024] [--features all] > benchmarks/env_speed.txt

Both are measured in turn in one run, several times, with the same scenarios and the same legal actions, resets
included: an episode of all tables, then eight of them one after the other. Neither uses a second thread, so time is the
process's CPU time: another program on the machine disturbs it less. The ratio carries over to other machines, the
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
    """Prints both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", type=int, default=1024)
    parser.add_argument("--features", default="all")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()

    single, many = LookupTableEnv(features=args.features), LookupTableVectorEnv(args.tables, features=args.features)
    scenarios = sample_batch(many.task.config, args.tables, stream("validation", 0))
    actions = actions_of(many, scenarios, np.random.default_rng(0))
    rates = [
        (vector_rate(many, scenarios, actions), single_rate(single, scenarios, actions, 8)) for _ in range(args.repeats)
    ]
    fast, slow = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(vector / one for vector, one in rates)
    print(f"LookupTable-v0, size {many.task.entries}, {many.task.slots} slots, features={args.features}")
    print(
        f"{hardware()}; Python {platform.python_version()}, NumPy {np.__version__}, Gymnasium {gymnasium.__version__}"
    )
    measured = commit("envs", "benchmarks/env_speed.py")
    print(f"commit {measured}, python benchmarks/env_speed.py {' '.join(sys.argv[1:])}".rstrip())
    print(f"one table at a time      {slow:12,.0f} env steps a CPU second")
    print(f"{args.tables:5,} tables at once     {fast:12,.0f} env steps a CPU second")
    print(f"ratio                    {ratio:12.1f}   (median of {args.repeats}, measured in turn)")


if __name__ == "__main__":
    main()

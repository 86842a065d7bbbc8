"""How fast PPO on `LookupTable-v0` is: the lab's, RLlib's own, MaskablePPO's, and a bare loop's, which is the limit.

    python benchmarks/ppo_speed.py [--sections loops trials seeds] > benchmarks/ppo_speed.txt

`loops`: the same environment, network shapes, batch, minibatch, epochs and thread for all. Each contender has a process
of its own; they take turns in rounds, each a few iterations after its warm-up, while the others wait. "Rest" is what an
iteration takes besides sampling and learning: bookkeeping. Memory is the resident memory of the process, at its peak
and what of it came after the contender was built. RLlib's has Ray's client in it, not Ray's own processes; the bare
loop imports Ray, too, with the lab's loss. The return is the mean of the last rollout's episodes: all of them learn.
RLlib fills its last minibatch up, which is 2 % more rows than the others learn from.

`trials`: trainings at once, each a trial of the lab's own sweep, with Ray Tune and all trackers.

`seeds`: many seeds as one bare loop, with stacked weights, against the bare loop alone.

Everything is measured in turn in one run. Ratios carry over to other machines, the figures do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ppo_contenders import Clock, Measured, Process, Setting, Spent
from provenance import commit, hardware

if TYPE_CHECKING:
    from lab.tasks.table_ppo import TablePpoConfig

SECTIONS = ("loops", "trials", "seeds")
NETWORKS = ("mlp", "pointer")

LOOPS = {
    "ours": ("ours: RLlib, fast runner", "rllib:Fast"),
    "stock": ("RLlib, stock runner, tuned", "rllib:Stock"),
    "maskable": ("MaskablePPO, tuned", "maskable:Maskable"),
    "own": ("MaskablePPO, own MlpPolicy", "maskable:Own"),
    "bare": ("bare loop in torch", "bare:Bare"),
}
"""Contender -> what it is called, and its place."""

AIMS: Mapping[str, Mapping[str, float]] = {
    "mlp": {"stock": 3.0, "maskable": 2.0, "bare": 0.85},
    "pointer": {"bare": 0.85},
}
"""Network -> contender -> how many times as fast as it ours is to be."""

TRIALS_AIM = 1.6
"""How many times as fast two trials on two cores are to be as one."""

MEMBERS = (1, 2, 4, 8, 16)

_WARM_UP = 2
"""Iterations."""


def config(network: str, minibatch: int, epochs: int, **fields: Any) -> TablePpoConfig:
    """The default training, with schedules that stay where they begin: no other contender has RLlib's."""
    # Here, not above: each contender's process imports this file, and would have Ray in its memory.
    from lab.tasks.table_ppo import TablePpoConfig

    base = TablePpoConfig(network=network, minibatch=minibatch, epochs=epochs, threads=1, iterations=10_000)
    constant = {"learning_rate_final": base.learning_rate, "entropy_final": base.entropy}
    return TablePpoConfig(**{**base.model_dump(mode="json"), **constant, **fields})


def in_turn(processes: Mapping[str, Process], iterations: Callable[[str], int], rounds: int) -> dict[str, list[Spent]]:
    """Lets each process train for some iterations, one after the other, `rounds` times after a warm-up."""
    for process in processes.values():
        process.ready()
    for process in processes.values():
        process.run(_WARM_UP)
    spent: dict[str, list[Spent]] = {name: [] for name in processes}
    for _ in range(rounds):
        for name, process in processes.items():
            spent[name].append(process.run(iterations(name)))
    return spent


def rate(setting: Setting, spent: Spent, members: int = 1) -> float:
    """Environment steps a second."""
    return members * setting.batch * spent.iterations / spent.total


def middle(values: Sequence[float], form: str) -> str:
    """The median, and from where to where the values go."""
    low, median, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return f"{median} ({low} to {high})"


def milliseconds(rounds: Sequence[Spent]) -> list[float]:
    """Medians of an iteration's sampling, learning and rest."""
    parts = [(*one.parts.values(), one.total - sum(one.parts.values())) for one in rounds]
    each = zip(*parts, strict=True)
    return [1e3 * statistics.median(column) / rounds[0].iterations for column in each]


def mebibytes(measured: Measured) -> list[float]:
    """Resident memory at its peak, and what of it came after the contender was built."""
    return [measured.peak / 2**20, (measured.peak - measured.before) / 2**20]


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """How many times as fast these are, round by round."""
    return [this / that for this, that in zip(these, those, strict=True)]


def verdict(found: Sequence[float], aim: float | None) -> str:
    """A ratio, and whether it is what it is to be."""
    text = f"{middle(found, '.2f')} times as fast"
    return text if aim is None else f"{text}; aim {aim}, {'reached' if statistics.median(found) >= aim else 'missed'}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints columns as wide as they need be, all but the first one to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for first, *others in (heads, *rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        print("   ".join([f"{first:{widths[0]}}", *cells]))


def loops(network: str, setting: Setting, clock: Clock, rounds: int, iterations: int) -> None:
    """Measures the contenders with one network and prints them."""
    contenders = {name: loop for name, loop in LOOPS.items() if network == "mlp" or name != "own"}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(Process(place, setting, clock)) for name, (_, place) in contenders.items()
        }
        spent = in_turn(processes, lambda name: iterations, rounds)
        measured = {name: process.end() for name, process in processes.items()}
    rates = {name: [rate(setting, one) for one in spent[name]] for name in contenders}
    print(
        f"\n{network}, width {setting.policy.width}, critic's {setting.critic_width}: {setting.envs} tables of ", end=""
    )
    print(f"{setting.steps} steps, minibatches of {setting.minibatch:,}, {setting.epochs} epochs")
    print(f"{rounds} rounds of {iterations} iterations, {clock} time, one thread")
    heads = ("", "env steps a second", "sampling ms", "learning ms", "rest ms", "peak MiB", "of training", "return")
    rows = [
        (
            title,
            middle(rates[name], ",.0f"),
            *(f"{part:.1f}" for part in milliseconds(spent[name])),
            *(f"{part:.0f}" for part in mebibytes(measured[name])),
            f"{measured[name].episode_return:.3f}",
        )
        for name, (title, _) in contenders.items()
    ]
    table(heads, rows)
    for name, (title, _) in contenders.items():
        if name != "ours":
            print(f"against {title}: {verdict(ratios(rates['ours'], rates[name]), AIMS[network].get(name))}")


def trials(network: str, minibatch: int, epochs: int, rounds: int, iterations: int) -> None:
    """Measures one trial alone and as many as there are cores, and prints them."""
    from ppo_contenders.trials import sweep

    cores = os.cpu_count() or 1
    each = config(network, minibatch, epochs, iterations=iterations)
    counts = (1, cores)
    swept = [[sweep(each, count) for count in counts] for _ in range(rounds)]
    by_count = list(zip(*swept, strict=True))
    print(f"\n{network}: trials of {iterations} iterations in a sweep, one thread each; wall time, {rounds} rounds")
    rows = [
        (
            f"{count} at once",
            middle([one.steady for one in found], ",.0f"),
            middle([one.whole for one in found], ",.0f"),
            middle([one.seconds for one in found], ".1f"),
        )
        for count, found in zip(counts, by_count, strict=True)
    ]
    table(("trials", "env steps a second, steady", "of the whole sweep", "its seconds"), rows)
    for name, aim in (("steady", TRIALS_AIM if cores == 2 else None), ("whole", None)):
        alone, together = ([getattr(one, name) for one in found] for found in by_count)
        print(f"{name}: {cores} at once against one: {verdict(ratios(together, alone), aim)}")


def seeds(network: str, setting: Setting, clock: Clock, rounds: int, iterations: int) -> None:
    """Measures seeds that train as one and prints them."""
    members = {"the bare loop": 1, **{f"{count} as one": count for count in MEMBERS}}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                Process("seeds:Fused", setting, clock, members=count)
                if name.endswith("one")
                else Process(LOOPS["bare"][1], setting, clock)
            )
            for name, count in members.items()
        }
        spent = in_turn(processes, lambda name: max(1, iterations // members[name]), rounds)
        measured = {name: process.end() for name, process in processes.items()}
    rates = {name: [rate(setting, one, members[name]) for one in spent[name]] for name in members}
    bare, single, *_ = rates.values()
    print(f"\n{network}: seeds that train as one, {setting.envs} tables each; {clock} time, {rounds} rounds")
    rows = [
        (
            name,
            middle(rates[name], ",.0f"),
            *(f"{statistics.median(ratios(rates[name], base)):.2f}x" for base in (single, bare)),
            *(f"{part / count:.1f}" for part in milliseconds(spent[name])[:2]),
            f"{mebibytes(measured[name])[1]:.0f}",
        )
        for name, count in members.items()
    ]
    heads = ("seeds", "env steps a second, all", "of one", "of bare", "sampling ms a seed", "learning ms a seed")
    table((*heads, "MiB of training"), rows)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=["loops"])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--minibatch", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9, help="of `loops`; the other sections have a third of them")
    parser.add_argument("--iterations", type=int, default=5, help="of a contender's turn")
    parser.add_argument("--trial-iterations", type=int, default=60, help="of a trial")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that is not quiet")
    args = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "stable-baselines3", "sb3-contrib"))
    print(f"{hardware()}; Python {platform.python_version()}, {versions}")
    measured = commit("lab", "envs", "experiments", "benchmarks/ppo_speed.py", "benchmarks/ppo_contenders")
    print(f"commit {measured}, python benchmarks/ppo_speed.py {' '.join(sys.argv[1:])}".rstrip())
    few = max(1, args.rounds // 3)
    for section in args.sections:
        for network in args.networks:
            setting = Setting.of(config(network, args.minibatch, args.epochs))
            if section == "loops":
                loops(network, setting, args.clock, args.rounds, args.iterations)
            elif section == "trials":
                trials(network, args.minibatch, args.epochs, few, args.trial_iterations)
            else:
                seeds(network, setting, args.clock, few, 8)
            sys.stdout.flush()


if __name__ == "__main__":
    main()

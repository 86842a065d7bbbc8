"""How even rankings of a known roster get: every search given the same time, and stratified rendezvous.

    python benchmarks/rosters.py > benchmarks/rosters.txt

Also draws benchmarks/rosters.png. Each search has `--seconds` of processor time on one core, from its first step: its
number of iterations is set from the time of the first few. What its rankings are worth in validation is read ten
times on the way, which is not part of that time. Judged on all subsets of up to 12 backends, and of more on 10,000
that no search reads. Intervals are bootstrap intervals over seeds. `flow` is not among them: its solver needs most of a
minute to begin.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from provenance import commit, hardware

from envs.scenarios import stream
from lab.compare.statistics import generator, stratified_interval
from lab.tables.subsets import ALL_UP_TO, all_subsets, draw_subsets, validation_subsets
from lab.tasks.table_roster.config import TableRosterConfig
from lab.tasks.table_roster.loads import spreads
from lab.tasks.table_roster.searches import Search, search, stratified_rankings

HERE = Path(__file__).parent
ROSTERS = {47: (4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 47), 307: (8, 16, 32, 50)}
START = "rendezvous-stratified"
LARGE = {"temperature_start": 10.0, "temperature_end": 1.0, "subsets": 512, "chains": 1}
SOFT = {"temperature_start": 1.0, "temperature_end": 0.1}
SEARCHES: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "anneal": ({"chains": 4}, LARGE),
    "insertion": ({"chains": 4}, LARGE),
    "heat_bath": ({"chains": 4}, {}),
    "gradient": (
        {**SOFT, "subsets": 255},
        {**SOFT, "subsets": 128, "learning_rate": 0.2, "variance_start": 0.03, "variance_end": 1.0, "start_scale": 2.0},
    ),
    "ppo": ({"subsets": 128}, {"subsets": 128, "rollouts": 8, "start_scale": 2.0}),
}
"""Search -> what it is told of rosters of up to 12 backends, and of larger ones."""
_READINGS = 10

COLORS = {
    START: "#6b7280",
    "anneal": "#1f2328",
    "insertion": "#00664b",
    "heat_bath": "#8a6d00",
    "gradient": "#0060a8",
    "ppo": "#b34700",
}


def found(method: str, size: int, n: int, seed: int, seconds: float) -> NDArray[np.int64] | None:
    """The best rankings, by validation, of a search given that time; None where it cannot do this roster."""
    small = n <= ALL_UP_TO
    if method == "heat_bath" and not small:
        return None
    fields = {"method": method, "size": size, "backends": n, "seed": seed, **SEARCHES[method][not small]}
    tried = search(TableRosterConfig(iterations=3, **fields))
    times: list[float] = []
    # A step of a large roster is long, and then one is enough to know that.
    while len(times) < 3 and sum(times) < 0.1 * seconds:
        begun = time.process_time()
        tried.step(len(times) + 1, stream("train", seed, len(times) + 1))
        times.append(time.process_time() - begun)
    config = TableRosterConfig(iterations=max(1, round(seconds / np.median(times))), **fields)
    return _best(search(config), config, seconds)


def _best(running: Search, config: TableRosterConfig, seconds: float) -> NDArray[np.int64]:
    present = validation_subsets(config.backends)
    best, least, spent, read = running.rankings[0], np.inf, 0.0, 0.0
    for iteration in range(1, config.iterations + 1):
        begun = time.process_time()
        running.step(iteration, stream("train", config.seed, iteration))
        spent += time.process_time() - begun
        over = spent > 1.25 * seconds or iteration == config.iterations
        if spent < read and not over:
            continue
        read += seconds / _READINGS
        mean = spreads(running.rankings, present).mean(axis=1)
        if mean.min() < least:
            best, least = running.rankings[mean.argmin()].copy(), float(mean.min())
        perfect = config.backends <= ALL_UP_TO and spreads(best[None], present).max() <= 1
        if perfect or over:
            break
    return best


def scores(rankings: NDArray[np.int64], present: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share of subsets that are not perfectly even, mean and worst spread."""
    size, found = (
        len(rankings),
        np.concatenate([spreads(rankings[None], part)[0] for part in np.array_split(present, 8)]),
    )
    even = found <= (size % present.sum(axis=1) > 0)
    return float(1 - even.mean()), float(found.mean()), float(found.max())


def shown(by_seed: NDArray[np.float64], *names: object) -> list[str]:
    """Interquartile means with their intervals, a text for each column."""
    if len(by_seed) == 1:
        return [f"{value:.3f}" for value in by_seed[0]]
    intervals, _ = stratified_interval(by_seed[:, None], generator(*names))
    return [f"{each.value:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in intervals]


Found = dict[str, dict[int, NDArray[np.float64]]]
"""Search -> backends of the roster -> `scores` by seed."""


def draw(found: Mapping[int, tuple[float, Found]]) -> None:
    """Backends of the roster against mean and worst spread, a line a search; a row of panels for each table size.

    Args:
        found: size -> seconds of a search, and what was found.
    """
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(len(found), 2, figsize=(11, 4.2 * len(found)), layout="constrained", squeeze=False)
    for panels, (size, (seconds, by_search)) in zip(grid, found.items(), strict=True):
        for place, (axes, what) in enumerate(zip(panels, ("mean spread", "worst spread"), strict=True), start=1):
            for method, rosters in by_search.items():
                values = [by_seed[:, place].mean() for by_seed in rosters.values()]
                style = "--" if method in (START, "anneal") else "-"
                axes.plot(list(rosters), values, style, marker="o", ms=3.5, color=COLORS[method], label=method)
            axes.set(xlabel="backends of the roster", ylabel=f"{what}, entries", ylim=(0, None))
        panels[0].set_title(f"{size} entries, {seconds:g} s a search: zero excess, how even?", loc="left")
    grid[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "rosters.png", dpi=120)
    plt.close(figure)


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one search of one roster (default: 1)")
    parser.add_argument("--seeds", type=int, default=5, help="of each search (default: 5)")
    parser.add_argument(
        "--backends", type=int, nargs="+", default=ROSTERS[47], help="of the rosters at 47 entries (default: all)"
    )
    parser.add_argument("--large-seconds", type=float, default=4.0, help="at 307 entries (default: 4)")
    parser.add_argument(
        "--large-backends",
        type=int,
        nargs="+",
        default=ROSTERS[307],
        help="of those at 307 entries (default: all)",
    )
    parser.add_argument("--only", type=int, choices=list(ROSTERS), help="entries, if it is one size alone: no figure")
    options = parser.parse_args()
    mpl.use("Agg")
    torch.set_num_threads(1)

    measured = commit("benchmarks/rosters.py", "lab/tasks/table_roster")
    print(f"hardware: {hardware()}; Python {platform.python_version()}, NumPy {np.__version__}; commit: {measured}")
    print(
        f"command: python benchmarks/rosters.py --seconds {options.seconds:g} --seeds {options.seeds} "
        f"--large-seconds {options.large_seconds:g} --backends {' '.join(map(str, options.backends))} "
        f"--large-backends {' '.join(map(str, options.large_backends))}"
        + ("" if options.only is None else f" --only {options.only}")
    )
    by_size: dict[int, tuple[float, Found]] = {}
    for size, rosters in {47: options.backends, 307: options.large_backends}.items():
        if options.only not in (None, size):
            continue
        seconds = options.seconds if size == 47 else options.large_seconds
        note = "s" if options.seeds > 1 else ": not a result"
        print(f"\nsize {size}, {seconds:g} s a search, {options.seeds} seed{note}")
        print(f"{'backends':>8} {'search':<22}{'share uneven':<24}{'mean spread':<24}worst spread")
        by_size[size] = seconds, measure(size, rosters, seconds, options.seeds)
    if options.only is None:
        draw(by_size)


def measure(size: int, rosters: Sequence[int], seconds: float, seeds: int) -> Found:
    """Every search on every roster, printed as it goes."""
    judged_by: Found = {}
    for n in rosters:
        present = all_subsets(n) if n <= ALL_UP_TO else draw_subsets(n, 10_000, stream("validation", 77, n))
        for method in COLORS:
            runs = [
                stratified_rankings(size, n) if method == START else found(method, size, n, seed, seconds)
                for seed in range(1 if method == START else seeds)
            ]
            judged = [scores(run, present) for run in runs if run is not None]
            if judged:
                by_seed = np.array(judged)
                judged_by.setdefault(method, {})[n] = by_seed
                cells = "".join(f"{cell:<24}" for cell in shown(by_seed, "rosters", size, n, method))
                print(f"{n:>8} {method:<22}{cells}".rstrip(), flush=True)
    return judged_by


if __name__ == "__main__":
    main()

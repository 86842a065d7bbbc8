"""How long each builder takes, by size: a table, a table of a large fleet, and a batch of small ones.

    python benchmarks/build_tables.py > benchmarks/build_tables.txt

Also draws benchmarks/build_tables.png. The builders are measured in turn in one run, several rounds; the figures are
the least CPU time of the process over the rounds, which another program on the machine disturbs least, and the ratio to
Maglev. The ratio carries over to other machines, the figures do not.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from provenance import commit, hardware

from envs.scenarios import ScenarioConfig, sample_batch, stream
from lab.tables import build, build_batch, names

HERE = Path(__file__).parent
SIZES = (47, 257, 1021, 4099, 16381, 65537)
FLEET = 47
LARGE_FLEET = 1000
BATCH = 2000


MODULES = ("balanced", "greedy", "hashing", "maglev", "modulo", "registry", "rendezvous", "ring")


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call of `work`."""
    start = time.process_time()
    work()
    return time.process_time() - start


def fleet(n: int) -> list[str]:
    """n backends."""
    return [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:80" for i in range(n)]


def by_size(rounds: int) -> dict[str, list[float]]:
    """Seconds for a table of each of SIZES over FLEET backends, by builder."""
    best = {name: [np.inf] * len(SIZES) for name in names()}
    ids = fleet(FLEET)
    for _ in range(rounds):
        for place, size in enumerate(SIZES):
            for name in best:
                best[name][place] = min(best[name][place], seconds(lambda: build(name, ids, size)))  # noqa: B023
    return best


def draw(best: dict[str, list[float]], path: Path) -> None:
    """The figure: size against time on log axes, a line a builder."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    colours, styles = mpl.colormaps["tab10"].colors, ("o-", "s--", "^:")  # type: ignore[attr-defined]
    for place, (name, times) in enumerate(sorted(best.items(), key=lambda item: -item[1][-1])):
        axes.loglog(SIZES, times, styles[place // 10], color=colours[place % 10], label=name, markersize=4)
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.set_xlabel("table size (entries)")
    axes.set_ylabel("CPU time to build one table (seconds)")
    axes.set_title(f"Building a table for {FLEET} backends")
    axes.grid(alpha=0.3)
    axes.legend(title="builder", bbox_to_anchor=(1.01, 1), loc="upper left", fontsize=8)
    figure.savefig(path, dpi=120)


def print_times(title: str, columns: Sequence[str], times: dict[str, list[float]]) -> None:
    """A table of seconds, and of the last column over Maglev's."""
    print(f"\n{title}")
    print(f"{'builder':24}" + "".join(f"{column:>12}" for column in columns) + f"{'x maglev':>10}")
    for name, row in times.items():
        cells = "".join(f"{value * 1000:10.2f}ms" for value in row)
        print(f"{name:24}{cells}{row[-1] / times['maglev'][-1]:10.1f}")


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="times each figure is measured (default: 3)")
    rounds = parser.parse_args().rounds

    measured = commit("benchmarks/build_tables.py", *(f"lab/tables/{name}.py" for name in MODULES))
    print(f"hardware: {hardware()}; Python {platform.python_version()}, NumPy {np.__version__}; commit: {measured}")
    print("command: python benchmarks/build_tables.py")
    times = by_size(rounds)
    print_times(f"one table over {FLEET} backends, by size in entries", [f"{size:,}" for size in SIZES], times)
    draw(times, HERE / "build_tables.png")

    ids = fleet(LARGE_FLEET)
    large = {name: [seconds(lambda: build(name, ids, 65537))] for name in names()}  # noqa: B023
    print_times(f"one table of 65,537 entries over {LARGE_FLEET:,} backends (one round)", ["65,537"], large)

    batch = sample_batch(ScenarioConfig(), BATCH, stream("validation", 0))
    for name in names():
        build_batch(name, batch.hashes[:10], batch.before[:10], 47)
    small = {
        name: [min(seconds(lambda: build_batch(name, batch.hashes, batch.before, 47)) for _ in range(rounds)) / BATCH]  # noqa: B023
        for name in names()
    }
    print_times(f"a table of 47 entries in a batch of {BATCH:,}, 3 to 47 backends", ["47"], small)


if __name__ == "__main__":
    main()

"""What the learned prices are worth: needless moves for every number of backends and at other sizes, and build time.

    python benchmarks/priced_tables.py > benchmarks/priced_tables.txt

Also draws benchmarks/excess-by-n.png and benchmarks/prices.png. The fleets are of validation streams; each loses one
random backend. Tables are built in turn in one run; times are the least of some rounds, of one table alone.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
from provenance import commit, hardware

from envs.scenarios import churn_batch, stream
from envs.scoring import transition_scores
from lab.compare.explain_figures import paint_prices
from lab.tables import build_batch
from lab.tables.learned import MODEL
from lab.tables.preset import FOLDER
from lab.tables.priced import UNIT, prices_of

HERE = Path(__file__).parent
SIZE = 47
SIZES = (47, 307, 1021, 4093)
FILLED = (0.06, 0.15, 0.34, 0.57, 0.8, 0.95)
"""Backends for each entry, of the larger sizes."""

BUILDERS = {"maglev": "#1f2328", "balanced-stratified": "#00664b", "balanced-stratified-floors": "#0060a8"}
LEARNED = "learned"
COLORS = {**BUILDERS, LEARNED: "#a1286a"}


def excess(name: str, size: int, n: int, count: int) -> tuple[float, float]:
    """The mean excess over fleets of n backends of which one leaves, and half of its 95 % interval."""
    batch = churn_batch(size, n, count, stream("validation", 31, size, n))
    before, after = (build_batch(name, batch.hashes, there, size) for there in (batch.before, batch.after))
    found = transition_scores(before, after, batch.before, batch.after).excess
    return float(found.mean()), float(1.96 * found.std() / np.sqrt(count))


def seconds(name: str, size: int, n: int, rounds: int) -> float:
    """The least time of one table alone."""
    batch = churn_batch(size, n, 1, stream("validation", 32, size, n))
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        build_batch(name, batch.hashes, batch.before, size)
        times.append(time.perf_counter() - begun)
    return min(times)


def draw_excess(
    found: dict[str, np.ndarray], numbers: np.ndarray, count: int, colors: dict[str, str], name_of_file: str
) -> None:
    """Number of backends against needless moves, a line a builder with its interval; the last one stands out."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for name, values in found.items():
        mean, half = 100 * values.T
        axes.plot(numbers, mean, color=colors[name], lw=2.2 if name == list(found)[-1] else 1.4, label=name)
        axes.fill_between(numbers, mean - half, mean + half, color=colors[name], alpha=0.2, lw=0)
    for n in range(1, SIZE):
        if SIZE // n != SIZE // (n + 1) and n > 7:
            axes.axvline(n + 0.5, color="#9aa0a6", lw=0.8, ls=":", zorder=0)
            axes.annotate(f"floor {SIZE // n}", (n + 0.4, axes.get_ylim()[1]), ha="right", va="top", fontsize=8)
    axes.set_xlabel("backends before one leaves")
    axes.set_ylabel("entries moved needlessly, % of the table")
    axes.set_title(f"Tables of {SIZE} entries, exactly even: the floor changes at the dotted lines")
    axes.set_xlim(numbers[0], numbers[-1])
    axes.set_ylim(bottom=0)
    axes.legend(title=f"mean of {count} fleets, 95 % band", frameon=False)
    figure.savefig(HERE / name_of_file, dpi=120)
    plt.close(figure)


def draw_prices(steps: np.ndarray) -> None:
    """What one more entry costs, by how many a backend has and how far that is from the mean load."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    paint_prices(axes, steps[None] / UNIT)
    axes.set_title("The learned prices: what a backend pays once it has so many entries")
    figure.savefig(HERE / "prices.png", dpi=120)
    plt.close(figure)


def main() -> None:
    """Measures, prints and draws."""
    from safetensors.numpy import load_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=int, default=500, help="of each number of backends (default: 500)")
    parser.add_argument("--rounds", type=int, default=5, help="times a table is built to be timed (default: 5)")
    options = parser.parse_args()
    mpl.use("Agg")

    measured = commit("benchmarks/priced_tables.py", "lab/tables", "envs")
    print(f"hardware: {hardware()}; Python {platform.python_version()}, NumPy {np.__version__}; commit: {measured}")
    print(f"command: python benchmarks/priced_tables.py --fleets {options.fleets} --rounds {options.rounds}")

    numbers = np.arange(2, SIZE + 1)
    found = {name: np.array([excess(name, SIZE, n, options.fleets) for n in numbers]) for name in COLORS}
    print(f"\nneedless moves, share of {SIZE} entries, mean of {options.fleets:,} fleets for each number of backends")
    print(f"{'backends':>9}" + "".join(f"{name:>28}" for name in COLORS))
    for place, n in enumerate(numbers):
        cells = (f"{found[name][place, 0]:.4f} +- {found[name][place, 1]:.4f}" for name in COLORS)
        print(f"{n:>9}" + "".join(f"{cell:>28}" for cell in cells))
    print(f"{'mean':>9}" + "".join(f"{found[name][:, 0].mean():>28.4f}" for name in COLORS))
    draw_excess(found, numbers, options.fleets, COLORS, "excess-by-n.png")
    steps = load_file(FOLDER / MODEL)["steps"]
    draw_prices(steps)

    print(
        "\nthe same prices at other sizes: needless moves, and milliseconds a table; balanced-stratified, then learned"
    )
    heads = (
        ("size", 6),
        ("backends", 10),
        ("excess", 22),
        ("excess", 22),
        ("ratio", 8),
        ("ms", 10),
        ("ms", 10),
        ("top", 9),
    )
    print("".join(f"{head:>{width}}" for head, width in heads))
    for size in SIZES:
        count = max(20, options.fleets * SIZE // size // 2)
        for filled in FILLED:
            n = max(3, round(filled * size))
            if n * size > 1 << 22:
                continue
            pairs = [excess(name, size, n, count) for name in ("balanced-stratified", LEARNED)]
            times = [1000 * seconds(name, size, n, options.rounds) for name in ("balanced-stratified", LEARNED)]
            cells = "".join(f"{f'{mean:.4f} +- {half:.4f}':>22}" for mean, half in pairs)
            top = prices_of(steps, n, size)[-1] / UNIT
            ratio = pairs[1][0] / pairs[0][0]
            print(f"{size:>6}{n:>10}{cells}{ratio:>8.2f}{times[0]:>10.2f}{times[1]:>10.2f}{top:>9.2f}", flush=True)


if __name__ == "__main__":
    main()

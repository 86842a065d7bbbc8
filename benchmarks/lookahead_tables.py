"""What looking ahead is worth: needless moves for every number of backends, and what a table takes to build.

    python benchmarks/lookahead_tables.py > benchmarks/lookahead_tables.txt

Also draws benchmarks/lookahead-by-n.png. The fleets are of validation streams; each loses one random backend. Tables
are built in turn in one run; times are the least of some rounds, of one table alone.
"""

from __future__ import annotations

import argparse
import platform

import matplotlib as mpl
import numpy as np
import scipy
from priced_tables import SIZE, draw_excess, excess, seconds
from provenance import commit, hardware

COLORS = {
    "balanced-stratified": "#00664b",
    "learned": "#0060a8",
    "preset:lookahead-47": "#b34700",
    "preset:lookahead-47-suite": "#a1286a",
}
SIX = (3, 5, 7, 10, 16, 27)
"""The numbers of `churn-47`, for which the last one was trained."""


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=int, default=500, help="of each number of backends (default: 500)")
    parser.add_argument("--rounds", type=int, default=3, help="times a table is built to be timed (default: 3)")
    options = parser.parse_args()
    mpl.use("Agg")

    measured = commit("benchmarks/lookahead_tables.py", "lab/tables", "envs")
    print(f"hardware: {hardware()}; NumPy {np.__version__}, SciPy {scipy.__version__}; commit: {measured}")
    print(
        f"Python {platform.python_version()}; command: python benchmarks/lookahead_tables.py --fleets {options.fleets}"
    )

    numbers = np.arange(2, SIZE + 1)
    found = {name: np.array([excess(name, SIZE, n, options.fleets) for n in numbers]) for name in COLORS}
    times = {name: [1000 * seconds(name, SIZE, n, options.rounds) for n in numbers] for name in COLORS}
    print(
        f"\nneedless moves, share of {SIZE} entries, mean of {options.fleets:,} fleets for each number of backends, "
        "and milliseconds a table"
    )
    print(f"{'backends':>9}" + "".join(f"{name:>28}{'ms':>8}" for name in COLORS))
    for place, n in enumerate(numbers):
        cells = (
            f"{f'{found[name][place, 0]:.4f} +- {found[name][place, 1]:.4f}':>28}{times[name][place]:>8.1f}"
            for name in COLORS
        )
        print(f"{n:>9}" + "".join(cells))
    for said, which in (("mean", numbers), ("six", np.array(SIX))):
        print(f"{said:>9}" + "".join(f"{found[name][which - 2, 0].mean():>28.4f}{'':>8}" for name in COLORS))
    draw_excess(found, numbers, options.fleets, COLORS, "lookahead-by-n.png")


if __name__ == "__main__":
    main()

"""What looking ahead is worth: needless moves for every number of backends, and what a table takes to build.

    python benchmarks/lookahead_tables.py > benchmarks/lookahead_tables.txt

Also draws benchmarks/lookahead-by-n.png. The fleets are of validation streams; each loses one random backend. Tables
are built in turn in one run; times are the least of some rounds, of one table alone.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import scipy
from best_response import NUMBERS
from priced_tables import SIZE, draw_excess, excess, seconds
from provenance import commit, hardware

from lab.tables import learned
from lab.tasks.table_lookahead import TableLookaheadConfig
from lab.tasks.table_lookahead.fit import begin

CLASSICAL, LEARNED, BOTH, SUITE = "balanced-stratified", "learned", "learned, looking", "preset:lookahead-churn-47"
"""`BOTH` has all numbers look one change ahead, to both sides, from the prices of `learned`; `SUITE` was trained
for the numbers of `churn-47`."""
COLORS = {CLASSICAL: "#00664b", LEARNED: "#0060a8", BOTH: "#b34700", SUITE: "#a1286a"}


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=int, default=150, help="of each number of backends (default: 150)")
    parser.add_argument("--rounds", type=int, default=3, help="times a table is built to be timed (default: 3)")
    options = parser.parse_args()
    mpl.use("Agg")

    measured = commit("benchmarks/lookahead_tables.py", "lab/tables", "envs")
    print(f"hardware: {hardware()}; NumPy {np.__version__}, SciPy {scipy.__version__}; commit: {measured}")
    print(
        f"Python {platform.python_version()}; command: python benchmarks/lookahead_tables.py --fleets {options.fleets}"
    )

    numbers = np.arange(2, SIZE + 1)
    with tempfile.TemporaryDirectory() as folder:
        tables = begin(TableLookaheadConfig(size=SIZE))
        learned.save(Path(folder), "lookahead", {"size": SIZE}, tables.state_dict(), {"size": SIZE})
        names = {name: f"learned:{folder}" if name == BOTH else name for name in COLORS}
        found, times = {}, {}
        for label, name in names.items():
            found[label] = np.array([excess(name, SIZE, n, options.fleets) for n in numbers])
            times[label] = [1000 * seconds(name, SIZE, n, options.rounds) for n in numbers]
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
    for said, which in (("mean", numbers), ("six", np.array(NUMBERS))):
        print(f"{said:>9}" + "".join(f"{found[name][which - 2, 0].mean():>28.4f}{'':>8}" for name in COLORS))
    draw_excess(found, numbers, options.fleets, COLORS, "lookahead-by-n.png")


if __name__ == "__main__":
    main()

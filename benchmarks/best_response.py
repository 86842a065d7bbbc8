"""How far is the best exactly even table from the best there can be? One side of an argument, measured.

    python benchmarks/best_response.py > benchmarks/best_response.txt

A stateless builder must fit its table for a set S to its own tables for every S without one backend. Let those be
fixed, as a builder gives them; the table for S that keeps most entries of all of them together is then an assignment
problem: each entry goes to a backend, loads are floor or ceiling, and a pair is worth the number of those tables in
which that backend has that entry. No exactly even table for S moves less, over all backends that may leave. So this is
what a builder could gain if it were free at n, and bound to its own tables at n - 1 (which its tables for n - 1, in
turn, must fit to n - 2 and to other sets S).
"""

from __future__ import annotations

import argparse
import platform

import numpy as np
import scipy
from numpy.typing import NDArray
from provenance import commit, hardware
from scipy.optimize import linear_sum_assignment

from envs.scenarios import churn_batch, stream
from lab.tables import build_batch

SIZE = 47
NUMBERS = (3, 5, 7, 10, 16, 27)
BUILDERS = ("balanced-stratified", "learned")


def without_each(name: str, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The tables of one fleet without each of its n backends in turn, int32 (n, size) of columns."""
    n = len(hashes)
    present = ~np.eye(n, dtype=bool)
    return build_batch(name, np.broadcast_to(hashes, (n, *hashes.shape)).copy(), present, SIZE)


def best_response(tables: NDArray[np.int32]) -> NDArray[np.int64]:
    """The exactly even table of n backends that shares most entries with `tables` (n, size), in sum: int64 (size,)."""
    n = len(tables)
    worth = np.stack([(tables == backend).sum(axis=0) for backend in range(n)], axis=1).astype(float)
    floor, ceilings = divmod(SIZE, n)
    # Floors must be filled: their seats pay more than all entries are worth. Each backend has one for a ceiling, too:
    # as many of those are taken as there are entries left.
    seats = np.repeat(np.arange(n), floor + (ceilings > 0))
    bonus = np.tile(np.append(np.full(floor, 1000.0), [0.0] * (ceilings > 0)), n)
    rows, columns = linear_sum_assignment(worth[:, seats] + bonus, maximize=True)
    chosen = np.empty(SIZE, dtype=np.int64)
    chosen[rows] = seats[columns]
    return chosen


def needless(table: NDArray[np.integer], tables: NDArray[np.int32]) -> float:
    """The share of entries that move needlessly from `table`, mean over the backends that may leave."""
    left = np.arange(len(tables))[:, None]
    return float(((tables != table) & (table != left)).mean())


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=int, default=200, help="of each number of backends (default: 200)")
    options = parser.parse_args()
    measured = commit("benchmarks/best_response.py", "lab/tables", "envs")
    print(f"hardware: {hardware()}; Python {platform.python_version()}, SciPy {scipy.__version__}; commit: {measured}")
    print(f"command: python benchmarks/best_response.py --fleets {options.fleets}")
    print(
        f"\nneedless moves, share of {SIZE} entries, mean over {options.fleets} fleets and whoever may leave:\n"
        "the builder's own table for n, then the best exactly even one, the builder's tables for n - 1 being fixed"
    )
    print(f"{'backends':>9}" + "".join(f"{name:>28}{'best response':>20}" for name in BUILDERS))
    means = []
    for n in NUMBERS:
        batch = churn_batch(SIZE, n, options.fleets, stream("validation", 33, n))
        cells, row = [], []
        for name in BUILDERS:
            own = build_batch(name, batch.hashes, batch.before, SIZE)
            found = []
            for fleet, table in zip(batch.hashes, own, strict=True):
                tables = without_each(name, fleet)
                found.append((needless(table, tables), needless(best_response(tables), tables)))
            mean, half = np.mean(found, axis=0), 1.96 * np.std(found, axis=0) / np.sqrt(len(found))
            row += mean.tolist()
            cells += [f"{mean[0]:.4f} +- {half[0]:.4f}", f"{mean[1]:.4f} +- {half[1]:.4f}"]
        means.append(row)
        print(f"{n:>9}" + "".join(f"{cell:>{28 if i % 2 == 0 else 20}}" for i, cell in enumerate(cells)), flush=True)
    mean = np.mean(means, axis=0)
    print(f"{'mean':>9}" + "".join(f"{value:>{28 if i % 2 == 0 else 20}.4f}" for i, value in enumerate(mean)))


if __name__ == "__main__":
    main()

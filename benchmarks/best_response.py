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

from envs.backends import hash_uuid_bytes, random_uuid_bytes
from envs.scenarios import ScenarioConfig, churn_batch, stream
from envs.scoring import transition_scores
from lab.tables import build_batch
from lab.tables.lookahead import most_votes

SIZE = 47
NUMBERS = (3, 5, 7, 10, 16, 27)
BUILDERS = ("balanced-stratified", "learned")


def without_each(name: str, hashes: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The tables of one fleet without each of its n backends in turn, int32 (n, size) of columns."""
    n = len(hashes)
    present = ~np.eye(n, dtype=bool)
    return build_batch(name, np.broadcast_to(hashes, (n, *hashes.shape)).copy(), present, SIZE)


def best_response(tables: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """The exactly even table of n backends that shares most entries with `tables` (K, size), in sum: int64 (size,)."""
    return most_votes(np.stack([(tables == backend).sum(axis=0) for backend in range(n)], axis=1))


def needless(table: NDArray[np.integer], tables: NDArray[np.int32]) -> float:
    """The share of entries that move needlessly from `table`, mean over the backends that may leave."""
    left = np.arange(len(tables))[:, None]
    return float(((tables != table) & (table != left)).mean())


def partners(
    hashes: NDArray[np.uint64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Sets that a set of n backends may become in `scenarios-47`: uint64 (count, N, 4), and which are present.

    The columns begin with those of the set itself, whoever leaves. Columns are not in the order of identity, by which
    nothing but equal scores goes.
    """
    n, counts = len(hashes), ScenarioConfig(size=SIZE).counts()
    sizes = rng.choice(counts[counts[:, 0] == n, 1], size=count)
    new = hash_uuid_bytes(random_uuid_bytes(rng, (count, max(0, int(sizes.max()) - n))))
    columns = np.concatenate([np.broadcast_to(hashes, (count, n, 4)), new], axis=1)
    own = rng.random((count, n)).argsort(axis=1).argsort(axis=1) < sizes[:, None]
    joined = np.arange(new.shape[1]) < (sizes - n)[:, None]
    return columns, np.concatenate([own, joined], axis=1)


def on_scenarios(name: str, sets: int, count: int) -> NDArray[np.float64]:
    """Churn ratios on partners of drawn sets: of the builder's own tables, and of answers as the module says.

    Args:
        name: a builder.
        sets: how many sets answer.
        count: partners of each, an even number.

    Returns:
        float64 (3,): own, the answer with the partners it knew, with those it did not.
    """
    rng = stream("validation", 34)
    counts = ScenarioConfig(size=SIZE).counts()
    sums = np.zeros((3, 2))
    for n in rng.choice(counts[:, 0], size=sets).tolist():
        hashes = hash_uuid_bytes(random_uuid_bytes(rng, (n,)))
        columns, after = partners(hashes, count, rng)
        before = np.broadcast_to(np.arange(columns.shape[1]) < n, after.shape)
        tables = build_batch(name, columns, after, SIZE)
        own = build_batch(name, hashes[None], np.ones((1, n), dtype=bool), SIZE)[0]
        known, fresh = slice(0, count // 2), slice(count // 2, count)
        answer = best_response(tables[known], n)
        for row, (table, part) in enumerate(((own, fresh), (answer, known), (answer, fresh))):
            moved = transition_scores(
                np.broadcast_to(table, tables[part].shape), tables[part], before[part], after[part]
            )
            sums[row] += moved.changed.sum(), moved.optimum.sum()
    return sums[:, 0] / sums[:, 1]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=300, help="sets that answer on scenarios (default: 300)")
    parser.add_argument("--partners", type=int, default=800, help="scenarios of each of them (default: 800)")
    parser.add_argument("--fleets", type=int, default=200, help="of each number of backends (default: 200)")
    options = parser.parse_args()
    measured = commit("benchmarks/best_response.py", "lab/tables", "envs")
    print(f"hardware: {hardware()}; Python {platform.python_version()}, SciPy {scipy.__version__}; commit: {measured}")
    print(
        f"command: python benchmarks/best_response.py --fleets {options.fleets} "
        f"--sets {options.sets} --partners {options.partners}"
    )
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
                found.append((needless(table, tables), needless(best_response(tables, len(tables)), tables)))
            mean, half = np.mean(found, axis=0), 1.96 * np.std(found, axis=0) / np.sqrt(len(found))
            row += mean.tolist()
            cells += [f"{mean[0]:.4f} +- {half[0]:.4f}", f"{mean[1]:.4f} +- {half[1]:.4f}"]
        means.append(row)
        print(f"{n:>9}" + "".join(f"{cell:>{28 if i % 2 == 0 else 20}}" for i, cell in enumerate(cells)), flush=True)
    mean = np.mean(means, axis=0)
    print(f"{'mean':>9}" + "".join(f"{value:>{28 if i % 2 == 0 else 20}.4f}" for i, value in enumerate(mean)))
    print(
        f"\nchurn ratio on scenarios, {options.sets} sets with {options.partners} partners each, whose tables are "
        "fixed:\nthe builder's own table, the best answer to one half of the partners, and the same with the other half"
    )
    for name in BUILDERS:
        own, known, fresh = on_scenarios(name, options.sets, options.partners)
        print(f"{name:>28}{own:>10.3f}{known:>10.3f}{fresh:>10.3f}", flush=True)


if __name__ == "__main__":
    main()

"""Annealing by swaps: two places of one entry's ranking change, kept as Metropolis et al. (1953) say.

The peer of the other searches: the plainest move there is, at a temperature that falls (Kirkpatrick et al. 1983).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.tasks.table_roster.loads import Loads

__all__ = ["swap", "sweep"]


def sweep(state: Loads, temperature: float, rng: np.random.Generator) -> None:
    """As many swaps as there are places in all rankings; entry and places are the same for all chains."""
    chains, size, n = state.rankings.shape
    moves = size * n
    entries = rng.integers(size, size=moves).tolist()
    first = rng.integers(n, size=moves)
    second = (first + rng.integers(1, n, size=moves)) % n
    allowed = temperature * rng.exponential(size=(moves, chains))
    for entry, low, high, allow in zip(
        entries, np.minimum(first, second).tolist(), np.maximum(first, second).tolist(), allowed, strict=True
    ):
        swap(state, entry, low, high, allow)


def swap(state: Loads, entry: int, low: int, high: int, allowed: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Swaps the places `low` < `high` of an entry's ranking in each chain whose cost then rises by at most what is
    `allowed` (K,); says which did, bool (K,)."""
    chains = len(state.rankings)
    rows = np.arange(chains)
    served = state.served[:, entry]
    place = state.places(entry)[rows[:, None], served]
    # Nothing changes for those who are served before the first of the two places, or after the second.
    chain, subset = np.nonzero((place >= low) & (place <= high))
    window = state.rankings[:, entry, low : high + 1].copy()
    window[:, [0, -1]] = window[:, [-1, 0]]
    first = state.present[subset[:, None], window[chain]].argmax(axis=1)
    new, old = window[chain, first], served[chain, subset]
    changed = new != old
    chain, subset, new, old = chain[changed], subset[changed], new[changed], old[changed]
    before = state.cost(state.distance[chain, subset])
    state.moved(chain, subset, old, -1)
    after = state.cost(state.distance_with(chain, subset, new))
    kept = np.bincount(chain, weights=after - before, minlength=chains) <= allowed
    state.moved(chain, subset, np.where(kept[chain], new, old), 1)
    stays = kept[chain]
    state.served[chain[stays], entry, subset[stays]] = new[stays]
    state.rankings[kept, entry, low : high + 1] = window[kept]
    return kept

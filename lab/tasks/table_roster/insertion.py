"""A heat bath over the places of one backend in one entry's ranking, for rosters of any number of backends.

Take backend b out of an entry's ranking. A subset that holds b is then served at some place q of the rest; put back at
place p, b serves it if p <= q, and else it stays with whom it has. So the costs of all N places come from one sum over
the subsets that hold b, by q, and b's place is drawn from its exact distribution given all else (Geman and Geman 1984).
A sweep looks at every pair of entry and backend once, at M subsets each, where the heat bath over whole rankings looks
at 2**N N steps for each entry.
"""

from __future__ import annotations

import numpy as np

from lab.tasks.table_roster.loads import Loads

__all__ = ["insert", "sweep"]


def sweep(state: Loads, temperature: float, rng: np.random.Generator) -> None:
    """Draws the place of every backend in every entry's ranking anew, in random order, the same for all chains."""
    _, size, n = state.rankings.shape
    holding = [np.flatnonzero(state.present[:, backend]) for backend in range(n)]
    for pair in rng.permutation(size * n).tolist():
        entry, backend = divmod(pair, n)
        if len(holding[backend]):
            insert(state, entry, backend, holding[backend], temperature, rng)


def insert(
    state: Loads,
    entry: int,
    backend: int,
    holding: np.ndarray[tuple[int], np.dtype[np.int64]],
    temperature: float,
    rng: np.random.Generator,
) -> None:
    """Draws the place of a backend in an entry's ranking anew; `holding` are the subsets that hold it, int64 (m,)."""
    chains, _, n = state.rankings.shape
    rows = np.arange(chains)[:, None]
    ranking = state.rankings[:, entry]
    rest = ranking[ranking != backend].reshape(chains, n - 1)
    place = np.empty((chains, n), dtype=np.int64)
    place[rows, rest] = np.arange(n - 1)
    place[:, backend] = n - 1
    served = state.served[:, entry][:, holding]
    own = served == backend
    # Whom a subset has without b; one that holds b alone has nobody, and b serves it at whatever place.
    other = served.astype(np.int64)
    chain, column = np.nonzero(own)
    there = state.present[holding[column][:, None], rest[chain]]
    first = there.argmax(axis=1)
    nobody = ~there[np.arange(len(first)), first]
    other[chain, column] = np.where(nobody, backend, rest[chain, first])
    at = place[rows, other]
    flat_chain, flat_subset = np.repeat(rows[:, 0], len(holding)), np.tile(holding, chains)
    state.moved(flat_chain, flat_subset, served.ravel(), -1)
    with_it = state.cost(state.distance_with(flat_chain, flat_subset, np.full(len(flat_chain), backend)))
    without = state.cost(state.distance_with(flat_chain, flat_subset, other.ravel()))
    by_place = np.bincount(flat_chain * n + at.ravel(), weights=with_it - without, minlength=chains * n)
    costs = by_place.reshape(chains, n)[:, ::-1].cumsum(axis=1)[:, ::-1]
    drawn = (costs - temperature * rng.gumbel(size=(chains, n))).argmin(axis=1)
    new = np.where(drawn[:, None] <= at, backend, other)
    state.moved(flat_chain, flat_subset, new.ravel(), 1)
    state.served[rows, entry, holding] = new
    behind = np.arange(n - 1) >= drawn[:, None]
    ranking[rows, np.arange(n - 1) + behind] = rest
    ranking[rows[:, 0], drawn] = backend

"""A heat bath over whole rankings: an entry's ranking is drawn from its exact distribution given all others'.

The cost of rankings is a sum over subsets of the roster, and an entry adds to the load of one backend a subset: that of
its ranking which is present first. So the cost of a ranking `r_1 r_2 ...` of one entry is a sum over its places: after
the set P of those before it, `r_k` serves the subsets that hold it and none of P. The Boltzmann distribution over all
N! rankings is then that of paths in the lattice of subsets: its weights are summed from the full set down to the empty
one in 2**N N steps, and a ranking is drawn on the way back. The costs that the steps need, sums over all subsets of the
complement of P, come from one zeta transform for each backend.

Geman and Geman (1984) named the heat bath; the transform is Yates's (1937).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.tables.rankings import first_present

__all__ = ["HeatBath"]


class HeatBath:
    """K searches side by side, over rankings of N backends for each of `size` entries.

    Args:
        size: entries.
        backends: N.
        power: a subset costs `(sum of its squared distances from floor and ceiling) ** power`.
        rankings: int64 (K, size, N), where they begin.
    """

    def __init__(self, size: int, backends: int, power: float, rankings: NDArray[np.int64]) -> None:
        n, subsets = backends, 1 << backends
        self.power = power
        self.rankings = rankings.copy()
        self._chains = np.arange(len(rankings))
        self._subset = np.arange(subsets)
        # has[b, S]: whether subset S holds backend b.
        self._has = (self._subset >> np.arange(n)[:, None] & 1).astype(bool)
        self._present = np.ascontiguousarray(self._has.T)
        count = self._has.sum(axis=0)
        at_least_one = np.maximum(count, 1)
        self._floor, self._ceiling = size // at_least_one, -(-size // at_least_one)
        # What a backend with that load adds to the squared distance, and what one entry more adds to that.
        loads = np.arange(size + 2)[:, None]
        self._off = (np.maximum(0, loads - self._ceiling) ** 2 + np.maximum(0, self._floor - loads) ** 2).astype(
            np.float32
        )
        self._more = self._off[1:] - self._off[:-1]
        # Sets by how many they hold, the fullest first, and for each the backends that it lacks.
        self._steps = []
        for held in range(n - 1, -1, -1):
            sets = self._subset[count == held]
            lacks = np.stack([np.flatnonzero(~self._has[:, one]) for one in sets])
            self._steps.append((sets, lacks, sets[:, None] | 1 << lacks))
        self._served = first_present(self.rankings, self._present)
        self.loads = np.stack([((self._served == b) & self._has[b]).sum(axis=1) for b in range(n)], axis=1)

    def sweep(self, temperature: float, rng: np.random.Generator) -> None:
        """Draws every entry's ranking anew, in random order, the same for all chains."""
        for entry in rng.permutation(self.rankings.shape[1]).tolist():
            self._count(entry, -1)
            self.rankings[:, entry] = self._draw(temperature, rng)
            self._served[:, entry] = first_present(self.rankings[:, entry], self._present)
            self._count(entry, 1)

    def _count(self, entry: int, sign: int) -> None:
        served = self._served[:, entry]
        for backend, has in enumerate(self._has):
            self.loads[:, backend] += sign * ((served == backend) & has)

    def _draw(self, temperature: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """A ranking for each chain, (K, N), given the loads of all other entries."""
        chains, n, subsets = self.loads.shape
        distance = (self._off[self.loads, self._subset] * self._has).sum(axis=1, keepdims=True)
        with_one = np.maximum(0, distance + self._more[self.loads, self._subset])
        costs = (with_one**self.power * self._has).astype(np.float32)
        for bit in range(n):
            pairs = costs.reshape(chains, n, subsets >> bit + 1, 2, 1 << bit)
            pairs[:, :, :, 1] += pairs[:, :, :, 0]
        costs = costs[:, :, ::-1]  # from subsets of a set to those of its complement
        # The free energy of all ways to go on from a set, from the full one down.
        energy = np.zeros((chains, subsets), dtype=np.float32)
        each = np.full((chains, subsets, n), np.inf, dtype=np.float32)
        for sets, lacks, fuller in self._steps:
            way = costs[:, lacks, sets[:, None]] + energy[:, fuller]
            each[:, sets[:, None], lacks] = way
            least = way.min(axis=2)
            energy[:, sets] = least - temperature * np.log(np.exp((least[..., None] - way) / temperature).sum(axis=2))
        before = np.zeros(chains, dtype=np.int64)
        rankings = np.empty((chains, n), dtype=np.int64)
        for place in range(n):
            ways = each[self._chains, before] - temperature * rng.gumbel(size=(chains, n))
            rankings[:, place] = ways.argmin(axis=1)
            before |= 1 << rankings[:, place]
        return rankings

"""The loads that rankings make on subsets of a roster, kept while single entries are ranked anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.tables.rankings import first_present

__all__ = ["Loads", "distances", "loads_of", "spreads"]


def distances(size: int, backends: int) -> NDArray[np.float32]:
    """The squared distance of a load from floor and ceiling: float32 (backends + 1, size + 2), by how many are present
    and by load; a row of zeros where none is."""
    count = np.maximum(np.arange(backends + 1)[:, None], 1)
    load = np.arange(size + 2)
    off = np.maximum(0, load - -(-size // count)) ** 2 + np.maximum(0, size // count - load) ** 2
    off[0] = 0
    return off.astype(np.float32)


def loads_of(served: NDArray[np.int16], backends: int) -> NDArray[np.int64]:
    """How many entries each backend serves: (K, size, M) as `first_present` has it -> int64 (K, M, backends)."""
    chains, _, subsets = served.shape
    cell = np.arange(chains * subsets).reshape(chains, 1, subsets) * backends + served
    return np.bincount(cell.ravel(), minlength=chains * subsets * backends).reshape(chains, subsets, backends)


def spreads(rankings: NDArray[np.int64], present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The largest less the smallest load, int64 (K, M), of rankings (K, size, N) on subsets (M, N)."""
    loads = loads_of(first_present(rankings, present), rankings.shape[2])
    smallest = np.where(present, loads, rankings.shape[1]).min(axis=2)
    largest: NDArray[np.int64] = loads.max(axis=2)
    return largest - smallest


class Loads:
    """K searches side by side on the same M subsets: their rankings, loads, and what each subset costs.

    A subset costs `(sum of the squared distances of its loads from floor and ceiling) ** power`.

    Args:
        rankings: int64 (K, size, N).
        present: bool (M, N), none of them empty.
        power: see above.

    Attributes:
        rankings: int64 (K, size, N).
        present: bool (M, N).
        served: int16 (K, size, M), the backend that an entry of a subset belongs to.
        loads: int64 (K, M, N).
        distance: float32 (K, M), a subset's distance before the power is taken.
    """

    def __init__(self, rankings: NDArray[np.int64], present: NDArray[np.bool_], power: float) -> None:
        self.rankings = rankings.copy()
        self.power = power
        self.read(present)

    def read(self, present: NDArray[np.bool_]) -> None:
        """Takes other subsets."""
        _, size, n = self.rankings.shape
        self.present = present
        self._count = present.sum(axis=1)
        self._off = distances(size, n)
        self.served = first_present(self.rankings, present)
        self.loads = loads_of(self.served, n)
        self.distance = (self._off[self._count[:, None], self.loads] * present).sum(axis=2, dtype=np.float32)

    def moved(self, chain: NDArray[np.int64], subset: NDArray[np.int64], backend: NDArray[np.integer], by: int) -> None:
        """Gives each named backend an entry more (`by` 1) or takes one away (-1); no (chain, subset) comes twice."""
        load, count = self.loads[chain, subset, backend], self._count[subset]
        self.distance[chain, subset] += self._off[count, load + by] - self._off[count, load]
        self.loads[chain, subset, backend] = load + by

    def distance_with(
        self, chain: NDArray[np.int64], subset: NDArray[np.int64], backend: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """The distance of each named subset if the named backend had an entry more."""
        load, count = self.loads[chain, subset, backend], self._count[subset]
        more: NDArray[np.float32] = self.distance[chain, subset] + (self._off[count, load + 1] - self._off[count, load])
        return more

    def cost(self, distance: NDArray[np.float32]) -> NDArray[np.float32]:
        """What subsets of these distances cost. Distances are whole numbers, exact below 2**24."""
        return distance if self.power == 1 else (distance**self.power).astype(np.float32)

    def places(self, entry: int) -> NDArray[np.int64]:
        """The place of each backend in the rankings of an entry, int64 (K, N)."""
        return self.rankings[:, entry].argsort(axis=1)

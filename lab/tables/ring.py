"""Ring hashing: consistent hashing with virtual nodes, with bounded loads, and with several probes.

The ring is uint64. Entry `e` of `size` stands at `e * floor(2**64 / size)`, and belongs to the next virtual node at or
after it, around the ring.

- `ring`: Karger et al., "Consistent Hashing and Random Trees", STOC 1997.
- `ring-bounded`: Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018.
- `multi-probe`: Appleton and O'Reilly, "Multi-probe Consistent Hashing", 2015.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.tables.hashing import GOLDEN, UInt64, mix
from lab.tables.registry import Builder, register

__all__ = ["BOUND", "PROBES", "VIRTUAL_NODES"]

VIRTUAL_NODES = 100
"""Points on the ring for a backend of mean weight."""

PROBES = 21
"""Places an entry looks at in multi-probe hashing: the paper's number for a peak of 1.05 times the mean."""

BOUND = 1.25
"""The largest load over the mean load in `ring-bounded`, before it is rounded up: the paper's usual 1 + epsilon."""


def _numbered(first: int, count: int) -> UInt64:
    """`count` mixed numbers, to tell the virtual nodes or probes of one backend or entry apart."""
    return mix(np.arange(first, first + count, dtype=np.uint64) * GOLDEN)


def _virtual_nodes(hashes: UInt64, counts: NDArray[np.int64]) -> tuple[UInt64, NDArray[np.int64]]:
    """The virtual nodes of n backends around the ring.

    Args:
        hashes: uint64 (n, 4).
        counts: int64 (n,), virtual nodes of each backend. A backend with fewer has the first of those it had with more.

    Returns:
        Their places in rising order, uint64 (sum(counts),), and their backends, int64 (sum(counts),).
    """
    points = mix(hashes[:, 2, None] ^ _numbered(1, int(counts.max())))
    rows, numbers = np.nonzero(np.arange(points.shape[1]) < counts[:, None])
    places = points[rows, numbers]
    order = np.argsort(places, kind="stable")
    return places[order], rows[order]


def _entry_places(size: int) -> UInt64:
    # One entry alone stands at 0, as 2**64 wraps to 0.
    return np.arange(size, dtype=np.uint64) * np.uint64(2**64 // size % 2**64)


def _ring(
    hashes: UInt64, present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    """Weights set the number of virtual nodes: `VIRTUAL_NODES` times weight over mean weight, at least 1."""
    entries = _entry_places(size)
    tables = np.empty((len(present), size), dtype=np.int32)
    for row, here in enumerate(present):
        columns = np.flatnonzero(here)
        counts = np.full(len(columns), VIRTUAL_NODES)
        if weights is not None:
            shares = weights[row, columns] / weights[row, columns].max()
            counts = np.maximum(1, np.rint(VIRTUAL_NODES * len(columns) * shares / shares.sum())).astype(np.int64)
        places, owners = _virtual_nodes(hashes[row, columns], counts)
        tables[row] = columns[owners[np.searchsorted(places, entries) % len(places)]]
    return tables


def _ring_bounded(
    hashes: UInt64, present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    """Entries are served in order; each goes on around the ring to the first backend with room."""
    entries = _entry_places(size)
    tables = np.empty((len(present), size), dtype=np.int32)
    for row, here in enumerate(present):
        columns = np.flatnonzero(here)
        places, owners = _virtual_nodes(hashes[row, columns], np.full(len(columns), VIRTUAL_NODES))
        # In integers: ceil(5/4 * size / n).
        rooms = [-(-5 * size // (4 * len(columns)))] * len(columns)
        around = owners.tolist()
        chosen = []
        for place in np.searchsorted(places, entries).tolist():
            node = place % len(around)
            while not rooms[around[node]]:
                node = (node + 1) % len(around)
            rooms[around[node]] -= 1
            chosen.append(around[node])
        tables[row] = columns[chosen]
    return tables


def _multi_probe(
    hashes: UInt64, present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    """One node a backend; an entry goes to the node nearest after any of its probes, ties to the first probe."""
    probes = mix(_numbered(1, size)[:, None] + _numbered(1, PROBES))
    one = np.ones(present.shape[1], dtype=np.int64)
    tables = np.empty((len(present), size), dtype=np.int32)
    for row, here in enumerate(present):
        columns = np.flatnonzero(here)
        places, owners = _virtual_nodes(hashes[row, columns], one[: len(columns)])
        following = np.searchsorted(places, probes) % len(places)
        # Wraps around the ring, as uint64 does.
        nearest = (places[following] - probes).argmin(axis=1)
        tables[row] = columns[owners[following[np.arange(size), nearest]]]
    return tables


register(
    Builder(
        name="ring",
        version=1,
        summary=f"ring hashing with {VIRTUAL_NODES} virtual nodes a backend",
        build_batch=_ring,
        weighted=True,
    )
)
register(
    Builder(
        name="ring-bounded",
        version=1,
        summary=f"ring hashing with bounded loads: at most {BOUND} times the mean, rounded up",
        build_batch=_ring_bounded,
    )
)
register(
    Builder(
        name="multi-probe",
        version=1,
        summary=f"multi-probe consistent hashing: one node a backend, {PROBES} probes an entry",
        build_batch=_multi_probe,
    )
)

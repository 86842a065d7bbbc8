"""The suites `roster-N`: all subsets of a roster of up to 12 backends, of larger ones 10,000 that are held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.backends import hash_uuid_bytes
from envs.scenarios import fixed_roster, stream
from lab.errors import RequestError
from lab.tables.subsets import ALL_UP_TO, all_subsets, draw_subsets

__all__ = ["RosterSuite", "roster_suite"]

_SUBSETS = 10_000


@dataclass(frozen=True)
class RosterSuite:
    """Subsets of the lab's own roster of N, and what is left of each when one backend of it leaves.

    Attributes:
        size: entries of a table.
        hashes: uint64 (N, 4).
        present: bool (M, N).
        after: bool (M, N), the same without one random backend: for excess.
        full: how many subsets the whole suite has.
    """

    size: int
    hashes: NDArray[np.uint64]
    present: NDArray[np.bool_]
    after: NDArray[np.bool_]
    full: int

    @property
    def backends(self) -> int:
        """N."""
        return len(self.hashes)

    @property
    def count(self) -> int:
        """M."""
        return len(self.present)

    @property
    def exhaustive(self) -> bool:
        """Whether these are all subsets there are."""
        return self.count == (1 << self.backends) - 1

    @property
    def label(self) -> str:
        """`roster-8 at 47`, with the number of subsets where it is reduced: `roster-8[:100] at 47`."""
        reduced = "" if self.count == self.full else f"[:{self.count}]"
        return f"roster-{self.backends}{reduced} at {self.size}"

    @property
    def digest(self) -> str:
        """SHA-256 over size, identities and sets: two equal digests are the same questions."""
        digest = hashlib.sha256(f"{self.size}{self.present.shape}".encode())
        for part in (self.hashes, self.present, self.after):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def roster_suite(backends: int, size: int, count: int | None = None) -> RosterSuite:
    """The suite of a roster.

    Args:
        backends: N.
        size: entries of a table.
        count: take the first `count` subsets only, of an order of their own.

    Raises:
        RequestError: fewer than 2 subsets, or more than there are.
    """
    rng = stream("test", 0, backends)
    if backends <= ALL_UP_TO:
        present = rng.permutation(all_subsets(backends), axis=0)
    else:
        present = draw_subsets(backends, _SUBSETS, rng)
    leaves = np.where(present, rng.random(present.shape), -1.0).argmax(axis=1)
    after = present.copy()
    after[np.arange(len(present)), leaves] = False
    full = len(present)
    if count is not None and not 2 <= count <= full:
        raise RequestError(f"expected 2 to {full} subsets of a roster of {backends}, but got {count}")
    kept = slice(count)
    return RosterSuite(size, hash_uuid_bytes(fixed_roster(backends)), present[kept], after[kept], full)

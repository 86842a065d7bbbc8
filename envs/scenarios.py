"""Before/after scenarios: two sets of backends, one within the other, in batches.

A batch is in *union coordinates*: column j of row b is one backend of the union of both sets, columns sorted by
`str(uuid)`. A table entry is a column, so equal columns are equal identities, whichever of the two tables they are in.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.backends import HASHES, hash_uuid_bytes, random_uuid_bytes
from envs.errors import RequestError, unknown_name

Purpose = Literal["train", "validation", "test"]


@dataclasses.dataclass(frozen=True)
class ScenarioConfig:
    """Which scenarios there are: the rule of the notebook.

    The numbers of backends before and after are drawn uniformly from their ranges until `min/max <= max_ratio`,
    `max - min <= max_delta`, `min != max` and `max <= size`; the smaller set is a random subset of the larger.

    Attributes:
        size: entries of a table.
        n_before: least and largest number of backends before (both included).
        n_after: least and largest number of backends after (both included).
        max_ratio: the largest `min/max` of the two numbers, in (0, 1].
        max_delta: the largest difference of the two numbers.

    Raises:
        RequestError: for values out of range, and at once for a rule that no scenario can satisfy.
    """

    size: int = 47
    n_before: tuple[int, int] = (3, 47)
    n_after: tuple[int, int] = (1, 47)
    max_ratio: float = 1.0
    max_delta: int = 10

    def __post_init__(self) -> None:
        _check_count("size", self.size, 1)
        _check_count("max_delta", self.max_delta, 1)
        ratio = self.max_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
            raise RequestError(f"max_ratio must be a number in (0, 1], but got {ratio!r}")
        for name in ("n_before", "n_after"):
            limits = getattr(self, name)
            if not isinstance(limits, tuple | list) or len(limits) != 2:
                raise RequestError(f"{name} must be a pair (least, largest) of backend counts, but got {limits!r}")
            for limit in limits:
                _check_count(name, limit, 1)
            if limits[0] > limits[1]:
                raise RequestError(f"{name} must be a pair (least, largest), but got {limits[0]} > {limits[1]}")
            object.__setattr__(self, name, (int(limits[0]), int(limits[1])))  # a list from JSON becomes a pair
        if not len(self.counts()):
            raise RequestError(
                f"no scenario satisfies n_before {self.n_before}, n_after {self.n_after}, max_ratio {self.max_ratio}, "
                f"max_delta {self.max_delta} and size {self.size}: the two counts must differ, and neither exceed size"
            )

    def counts(self) -> NDArray[np.int64]:
        """All pairs (backends before, backends after) that the rule admits.

        Returns:
            int64 array of shape (pairs, 2). A scenario draws one of them uniformly, which is what drawing the two
            counts until they pass comes to.
        """
        before, after = (np.arange(low, min(high, self.size) + 1) for low, high in (self.n_before, self.n_after))
        pairs = np.stack(np.meshgrid(before, after, indexing="ij"), axis=-1).reshape(-1, 2)
        least, largest = pairs.min(axis=1), pairs.max(axis=1)
        admitted = (least <= self.max_ratio * largest) & (largest - least <= self.max_delta) & (least != largest)
        return pairs[admitted].astype(np.int64)

    @property
    def max_backends(self) -> int:
        """The largest number of backends that a scenario can have."""
        return int(self.counts().max())


@dataclasses.dataclass(frozen=True, eq=False)
class ScenarioBatch:
    """B scenarios in union coordinates of N columns.

    Attributes:
        hashes: uint64 (B, N, 4), zero in padding columns.
        before: bool (B, N), the columns present before; False in padding.
        after: bool (B, N), the columns present after; False in padding.
        ids: uint8 (B, N, 16), the UUIDs' bytes (big-endian), zero in padding.
        size: entries of a table.
    """

    hashes: NDArray[np.uint64]
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    ids: NDArray[np.uint8]
    size: int

    def __post_init__(self) -> None:
        batch, columns = self.before.shape
        expected = {"hashes": (batch, columns, HASHES), "after": (batch, columns), "ids": (batch, columns, 16)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise RequestError(f"{name} must have shape {shape} as before has, but got {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.before)

    def select(self, index: int | np.integer | slice | NDArray[np.integer] | NDArray[np.bool_]) -> ScenarioBatch:
        """The scenarios at an index, a slice or an array of indices, as a batch."""
        rows = slice(index, index + 1 or None) if isinstance(index, int | np.integer) else index
        return ScenarioBatch(self.hashes[rows], self.before[rows], self.after[rows], self.ids[rows], self.size)

    @property
    def n_before(self) -> NDArray[np.int64]:
        """Backends before, int64 (B,)."""
        return self.before.sum(axis=1, dtype=np.int64)

    @property
    def n_after(self) -> NDArray[np.int64]:
        """Backends after, int64 (B,)."""
        return self.after.sum(axis=1, dtype=np.int64)


def stream(purpose: Purpose, seed: int, *extra: int) -> np.random.Generator:
    """A random stream of its own for each purpose, seed and further numbers.

    Args:
        purpose: "train", "validation" or "test".
        seed: any integer >= 0.
        *extra: what else tells streams apart (a worker's index).

    Returns:
        A generator. No two purposes share one, whatever the numbers: all of them go through SHA-256 into the entropy of
        NumPy's SeedSequence, which by itself takes (1,) and (1, 0) for the same.
    """
    if purpose not in get_args(Purpose):
        raise unknown_name("purpose", purpose, get_args(Purpose))
    for number in (seed, *extra):
        _check_count("seed", number, 0)
    text = "/".join([purpose, *(str(int(number)) for number in (seed, *extra))])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest(), "little"))


def sample_batch(config: ScenarioConfig, count: int, rng: np.random.Generator) -> ScenarioBatch:
    """Scenarios over fresh UUIDs (the "any hash" universe) with the notebook's distribution.

    Args:
        config: the rule.
        count: B, how many.
        rng: where they come from.

    Returns:
        A batch with `config.max_backends` columns.
    """
    _check_count("count", count, 0)
    pairs = config.counts()
    n_before, n_after = pairs[rng.integers(len(pairs), size=count)].T
    return _fresh(config.size, int(pairs.max()), n_before, n_after, rng)


def sample_roster_batch(
    config: ScenarioConfig, roster: NDArray[np.uint8], count: int, rng: np.random.Generator
) -> ScenarioBatch:
    """Scenarios over a roster: the columns are the roster, the sets are subsets of it.

    Args:
        config: the rule; counts beyond the roster's are left out.
        roster: uint8 (R, 16), UUIDs' bytes (`uuid_bytes`), each once, in any order.
        count: B, how many.
        rng: where they come from.

    Returns:
        A batch with R columns.

    Raises:
        RequestError: if the roster has a backend twice, or no scenario of the rule fits in it.
    """
    _check_count("count", count, 0)
    roster = roster[_order_by_bytes(roster[None], np.ones((1, len(roster)), dtype=bool))[0]]
    if (roster[1:] == roster[:-1]).all(axis=1).any():
        raise RequestError("each backend of a roster must be given once, but one came twice")
    pairs = config.counts()
    pairs = pairs[pairs.max(axis=1) <= len(roster)]
    if not len(pairs):
        raise RequestError(f"no scenario of {config} fits in a roster of {len(roster)} backends")
    n_before, n_after = pairs[rng.integers(len(pairs), size=count)].T
    place = _random_places(np.ones((count, len(roster)), dtype=bool), rng)
    return ScenarioBatch(
        hashes=np.broadcast_to(hash_uuid_bytes(roster), (count, len(roster), HASHES)),
        before=place < n_before[:, None],
        after=place < n_after[:, None],
        ids=np.broadcast_to(roster, (count, len(roster), 16)),
        size=config.size,
    )


def fixed_roster(n: int) -> NDArray[np.uint8]:
    """The lab's own roster of n backends, the same everywhere and for every purpose: a roster is known beforehand.

    Args:
        n: how many backends.

    Returns:
        uint8 (n, 16), UUIDs' bytes in ascending order.
    """
    _check_count("n", n, 1)
    digest = hashlib.sha256(f"roster/{n}".encode()).digest()
    ids = random_uuid_bytes(np.random.default_rng(int.from_bytes(digest, "little")), (n,))
    return ids[_order_by_bytes(ids[None], np.ones((1, n), dtype=bool))[0]]


def churn_batch(size: int, n: int, count: int, rng: np.random.Generator) -> ScenarioBatch:
    """Scenarios in which one random backend of n leaves (the `churn` suites).

    Args:
        size: entries of a table.
        n: backends before, 2 <= n <= size.
        count: B, how many.
        rng: where they come from.

    Returns:
        A batch with n columns, all of them present before.
    """
    config = ScenarioConfig(size=size, n_before=(n, n), n_after=(n - 1, n - 1))
    return sample_batch(config, count, rng)


def _fresh(
    size: int, columns: int, n_before: NDArray[np.int64], n_after: NDArray[np.int64], rng: np.random.Generator
) -> ScenarioBatch:
    count = len(n_before)
    union = np.arange(columns) < np.maximum(n_before, n_after)[:, None]
    ids = random_uuid_bytes(rng, (count, columns)) * union[..., None].astype(np.uint8)
    ids = ids[np.arange(count)[:, None], _order_by_bytes(ids, union)]
    hashes = np.zeros((count, columns, HASHES), dtype=np.uint64)
    hashes[union] = hash_uuid_bytes(ids[union])
    place = _random_places(union, rng)
    return ScenarioBatch(hashes, place < n_before[:, None], place < n_after[:, None], ids, size)


def _order_by_bytes(ids: NDArray[np.uint8], present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Each row's present columns by their UUIDs' bytes (the order of `str(uuid)` too), the others behind them."""
    words = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    return np.lexsort((words[..., 1], words[..., 0], ~present), axis=-1).astype(np.int64)


def _random_places(present: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random permutation of each row's present columns: the first k of it are a uniform subset of k."""
    keys = np.where(present, rng.random(present.shape), 2.0)
    return keys.argsort(axis=1).argsort(axis=1).astype(np.int64)


def _check_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise RequestError(f"{name} must be an integer >= {least}, but got {value!r}")

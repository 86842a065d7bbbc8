"""Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016).

Each backend prefers the entries in an order of its own, `(offset + j * skip) mod size`; backends take turns, each
taking the next entry on its list that is still free. Loads differ by at most one. Weights follow Envoy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import RequestError
from lab.tables.registry import Builder, register

__all__ = ["fill", "is_prime", "nearest_primes"]


def is_prime(number: int) -> bool:
    """Whether `number` is prime, by trial division: sizes end at 2**24."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def nearest_primes(number: int, at_least: int = 2) -> list[int]:
    """The largest prime below `number` and the smallest one above it, those that are >= `at_least`."""
    below = next((n for n in range(number - 1, max(1, at_least - 1), -1) if is_prime(n)), None)
    above = max(number + 1, at_least)
    while not is_prime(above):
        above += 1
    return [above] if below is None else [below, above]


def check(size: int, n_backends: int) -> None:
    """Refuses sizes at which a backend's list does not reach every entry, or backends go without one.

    Raises:
        RequestError: `size` is not prime or smaller than `n_backends`; the message names the nearest that are right.
    """
    if is_prime(size) and size >= n_backends:
        return
    near = " or ".join(map(str, nearest_primes(size, max(2, n_backends))))
    raise RequestError(
        f"expected a prime table size of at least {max(2, n_backends)} for maglev ({n_backends} backends), "
        f"but got {size}: the nearest is {near}"
    )


def fill(
    offsets: Sequence[int] | NDArray[np.integer[Any]],
    skips: Sequence[int] | NDArray[np.integer[Any]],
    size: int,
    weights: Sequence[float] | NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.int32]:
    """Fills one table from the backends' lists of preference.

    Args:
        offsets: for each backend in the order of turns, the entry it wants first: 0..size-1.
        skips: for each backend, the step from an entry to the next it wants: 1..size-1.
        size: number of entries: prime, and not smaller than the number of backends.
        weights: finite numbers >= 0, not all 0. In iteration t = 1, 2, ... a backend takes its turn if
            `t * weight >= target`, and then its target, at first 0, grows by the largest weight (Envoy,
            `maglev_lb.cc`). Weight 0 never takes a turn (in Envoy such a host is not in the set).

    Returns:
        int32 (size,): for each entry the position of its backend in `offsets`; all -1 without backends.

    Raises:
        RequestError: lists of different lengths, numbers out of range, or a size `check` refuses.
    """
    offset_list, skip_list = [int(x) for x in offsets], [int(x) for x in skips]
    n_backends = len(offset_list)
    check(size, n_backends)
    if len(skip_list) != n_backends or (weights is not None and len(weights) != n_backends):
        raise RequestError(f"expected a skip and a weight for each of {n_backends} offsets, but got other lengths")
    if not all(0 <= offset < size for offset in offset_list) or not all(0 < skip < size for skip in skip_list):
        raise RequestError(f"expected offsets in 0..{size - 1} and skips in 1..{size - 1}, but got others")
    weight_list = [1.0] * n_backends if weights is None else [float(weight) for weight in weights]
    if not all(0 <= weight < float("inf") for weight in weight_list) or (n_backends and max(weight_list) == 0):
        raise RequestError(f"expected finite weights >= 0, not all 0, but got {weight_list}")
    return np.array(_take_turns(offset_list, skip_list, size, weight_list), dtype=np.int32)


def _take_turns(offsets: list[int], skips: list[int], size: int, weights: list[float]) -> list[int]:
    """The paper's loop. Each turn depends on all before it, and about `size * ln(size)` steps are taken in all, so
    this is plain Python on lists: at 65,537 entries it is a tenth of a second, faster than NumPy call by call."""
    table = [-1] * size
    if not offsets:
        return table
    wanted = list(offsets)
    targets = [0.0] * len(offsets)
    # Scaled by a power of two, which is exact: sums of the largest floats would overflow.
    exponent = math.frexp(max(weights))[1]
    weights = [math.ldexp(weight, -exponent) for weight in weights]
    largest = max(weights)
    turns = [(backend, skips[backend], weight) for backend, weight in enumerate(weights) if weight > 0]
    free, iteration = size, 0
    while True:
        iteration += 1
        for backend, skip, weight in turns:
            if iteration * weight < targets[backend]:
                continue
            targets[backend] += largest
            entry = wanted[backend]
            while table[entry] >= 0:
                entry = (entry + skip) % size
            table[entry] = backend
            wanted[backend] = entry
            free -= 1
            if not free:
                return table


def _build_batch(
    hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
) -> NDArray[np.int32]:
    offsets = (hashes[..., 0] % np.uint64(size)).astype(np.int64)
    skips = (hashes[..., 1] % np.uint64(size - 1)).astype(np.int64) + 1
    tables = np.empty((len(present), size), dtype=np.int32)
    for row, here in enumerate(present):
        columns = np.flatnonzero(here)
        row_weights = [1.0] * len(columns) if weights is None else weights[row, columns].tolist()
        turns = _take_turns(offsets[row, columns].tolist(), skips[row, columns].tolist(), size, row_weights)
        tables[row] = columns[turns]
    return tables


register(
    Builder(
        name="maglev",
        version=1,
        summary="Maglev: backends take turns along permutations of the entries (NSDI 2016; weights as Envoy)",
        build_batch=_build_batch,
        weighted=True,
        exact=True,
        check=check,
    )
)

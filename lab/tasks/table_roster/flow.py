"""Rankings as an integer flow, improved by a constraint solver.

A ranking is a path through the lattice of subsets, from the empty one, adding the next backend at each step; `size`
rankings are a flow of that value, and every integer flow is a sum of such paths. A backend b of a subset S serves the
entries whose path adds b while it has met none of S: the load is a sum of flows, over the edges that add b to a subset
of the complement of S. (These flows are the polynomials of Block and Marschak, 1960; that they determine the rankings
is Falmagne's theorem, 1978.) So rankings with the fewest uneven subsets are an integer linear programme without any
symmetry between entries, with N 2**(N-1) variables: OR-tools' CP-SAT improves them by large neighbourhoods.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.errors import RequestError

__all__ = ["flow_of", "improve", "rankings_of", "solver"]

_SLACK = 3
"""How far from floor and ceiling a load of an uneven subset may be."""

_WORKERS = 8
"""Strategies of the solver, which take turns in one thread: the same answer each time."""

_INSTALL = "pip install --no-deps 'ortools>=9.15' immutabledict"
"""Without what it asks for: it works with the lab's protobuf, which is newer than it says."""

Flow = dict[tuple[int, int], int]
"""(backend, set it is added to, as bits) -> how many rankings do that."""


def solver() -> Any:
    """The module of CP-SAT.

    Raises:
        RequestError: OR-tools is not installed.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise RequestError(f"expected ortools for method=flow, but it is not installed: {_INSTALL}") from None
    return cp_model


def improve(rankings: NDArray[np.int64], effort: float, seed: int) -> NDArray[np.int64]:
    """Rankings with no more uneven subsets, int64 (size, N): the same where the solver found none better.

    Args:
        rankings: int64 (size, N), where it begins.
        effort: the solver's deterministic time.
        seed: of the solver.

    Raises:
        RequestError: OR-tools is not installed.
    """
    cp_model = solver()
    size, n = rankings.shape
    full = (1 << n) - 1
    begun = flow_of(rankings)
    model = cp_model.CpModel()
    flow = {}
    for edge in ((backend, met) for met in range(full) for backend in range(n) if not met >> backend & 1):
        flow[edge] = model.new_int_var(0, size, "")
        model.add_hint(flow[edge], begun.get(edge, 0))
    for met in range(full):
        out = sum(flow[b, met] for b in range(n) if not met >> b & 1)
        model.add(out == (sum(flow[b, met ^ 1 << b] for b in range(n) if met >> b & 1) if met else size))
    uneven = []
    for subset in range(1, full + 1):
        members = [b for b in range(n) if subset >> b & 1]
        floor, ceiling = size // len(members), -(-size // len(members))
        without = [met for met in range(full) if not met & subset]
        off = model.new_bool_var("")
        is_off = False
        for backend in members:
            load = sum(flow[backend, met] for met in without)
            model.add(load <= ceiling + _SLACK * off)
            model.add(load >= floor - _SLACK * off)
            is_off |= not floor <= sum(begun.get((backend, met), 0) for met in without) <= ceiling
        model.add_hint(off, int(is_off))
        uneven.append(off)
    model.minimize(sum(uneven))
    search = cp_model.CpSolver()
    search.parameters.num_workers = _WORKERS
    search.parameters.interleave_search = True
    search.parameters.max_deterministic_time = effort
    search.parameters.random_seed = seed
    if search.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return rankings
    return rankings_of({edge: search.value(one) for edge, one in flow.items()}, n)


def flow_of(rankings: NDArray[np.int64]) -> Flow:
    """The flow of rankings (size, N)."""
    flow: Flow = {}
    for ranking in rankings.tolist():
        met = 0
        for backend in ranking:
            flow[backend, met] = flow.get((backend, met), 0) + 1
            met |= 1 << backend
    return flow


def rankings_of(flow: Flow, n: int) -> NDArray[np.int64]:
    """Rankings of n whose flow is this, int64 (size, n): its paths, the least backends first."""
    left = {edge: count for edge, count in flow.items() if count}
    rankings = []
    while any((backend, 0) in left for backend in range(n)):
        ranking, met = [], 0
        for _ in range(n):
            backend = next(b for b in range(n) if (b, met) in left)
            left[backend, met] -= 1
            if not left[backend, met]:
                del left[backend, met]
            ranking.append(backend)
            met |= 1 << backend
        rankings.append(ranking)
    return np.array(rankings, dtype=np.int64)

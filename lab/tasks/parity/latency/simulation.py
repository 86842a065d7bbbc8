"""A discrete-event simulation of a serving cluster, by SimPy."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from lab.tasks.parity.latency.config import Mode, ServingConfig

__all__ = ["Served", "Speed", "arrivals", "serve", "simulate", "speeds", "unit_times"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """What became of the queries of one mode.

    Attributes:
        latency: float64 (queries,), seconds from a query's arrival to its first answer.
        second: bool (queries,), whether that was not its own server's: rebuilt, replicated, or the cheaper model's.
        servers: how many there are, all pools together.
    """

    latency: Floats
    second: NDArray[np.bool_]
    servers: int


class Speed:
    """How fast one server is over time: 1, `1 / slow_factor` in a slow phase, 0 while it hangs.

    Args:
        times: float64 (P,), ascending, when the speed changes; the first is 0.
        values: float64 (P,), the speed from then on; the last is above 0.
    """

    def __init__(self, times: Floats, values: Floats) -> None:
        self._times, self._values = times.tolist(), values.tolist()
        self._done = np.concatenate([[0.0], np.cumsum(np.diff(times) * values[:-1])]).tolist()

    def until(self, start: float, work: float) -> float:
        """When `work`, in seconds at speed 1, is done if it is begun at `start`."""
        phase = bisect_right(self._times, start) - 1
        target = self._done[phase] + (start - self._times[phase]) * self._values[phase] + work
        # The first phase by whose end it is done: those of speed 0 do nothing.
        phase = max(phase, bisect_right(self._done, target) - 1)
        while self._values[phase] == 0:
            phase += 1
        # Not before it begins, by rounding.
        return max(start, float(self._times[phase] + (target - self._done[phase]) / self._values[phase]))


def speeds(config: ServingConfig, pool: int, servers: int, horizon: float) -> list[Speed]:
    """The speeds of a pool's servers up to `horizon` and beyond; those of pool 0 are the same in every mode."""
    found = []
    for server in range(servers):
        rng = np.random.default_rng([config.seed, 1, pool, server])
        slow = _phases(rng, config.slow_every, config.slow_for, horizon)
        hung = _phases(rng, config.hang_every, config.hang_for, horizon)
        times = np.unique(np.concatenate([[0.0], slow.ravel(), hung.ravel()]))
        values = np.where(_within(times, slow), 1 / config.slow_factor, 1.0) * ~_within(times, hung)
        found.append(Speed(times, values))
    return found


def _phases(rng: np.random.Generator, every: float, length: float, horizon: float) -> Floats:
    """Begins and ends of phases that do not overlap, float64 (P, 2)."""
    if not length:
        return np.empty((0, 2))
    count = int(horizon / (every + length) * 1.5) + 20
    gaps, lengths = rng.exponential(every, count), rng.exponential(length, count)
    ends = np.cumsum(gaps + lengths)
    phases = np.column_stack([ends - lengths, ends])
    return phases[phases[:, 0] < horizon]


def _within(times: Floats, phases: Floats) -> NDArray[np.bool_]:
    begun = np.searchsorted(phases[:, 0], times, side="right")
    ended = np.searchsorted(phases[:, 1], times, side="right")
    return np.asarray(begun > ended)


def arrivals(config: ServingConfig) -> Floats:
    """When queries arrive, float64 (queries,)."""
    rng = np.random.default_rng([config.seed, 0])
    return np.cumsum(rng.exponential(1 / config.rate, config.queries))


def serve(times: Floats, work: Floats, servers: list[Speed]) -> Floats:
    """When each job of one pool is done: a free server takes the one that waits longest.

    Args:
        times: float64 (J,), ascending, when jobs come.
        work: float64 (J,), seconds at speed 1.
        servers: of the pool.

    Returns:
        float64 (J,).
    """
    environment = simpy.Environment()
    queue: simpy.Store = simpy.Store(environment)
    done = np.empty(len(times))

    def source() -> Generator[Any, Any, None]:
        for job, time in enumerate(times.tolist()):
            yield environment.timeout(time - environment.now)
            queue.put(job)

    def server(speed: Speed) -> Generator[Any, Any, None]:
        while True:
            job = yield queue.get()
            end = speed.until(environment.now, amounts[job])
            yield environment.timeout(end - environment.now)
            done[job] = environment.now

    amounts = work.tolist()
    environment.process(source())
    for speed in servers:
        environment.process(server(speed))
    environment.run()
    return done


def simulate(config: ServingConfig, mode: Mode, advance: Callable[[int], None] = lambda pools: None) -> Served:
    """One mode. Arrivals, and the phases and service times of the first pool, are the same for all modes.

    A query of a group is rebuilt once any k of the others' answers and the parity answers are there (Kosaian et al.,
    2019). Queries after the last whole group have no parity. A second answer is taken where the own one is late.

    Args:
        config: the cluster.
        mode: how queries are protected.
        advance: told after each pool that one more is done.
    """
    came = arrivals(config)
    horizon = float(came[-1]) * 1.5 + 60.0

    def pool(number: int, servers: int, times: Floats, factor: float = 1.0) -> Floats:
        work = factor * config.service * unit_times(config, number, len(times))
        done = serve(times, work, speeds(config, number, servers, horizon))
        advance(1)
        return done

    own = pool(0, config.servers if mode != "equal" else config.servers_of("equal"), came)
    second = np.full(config.queries, np.inf)
    if mode == "replication":
        second = pool(1, config.servers, came)
    elif mode == "cheap":
        second = pool(1, config.extra, came, config.cheap_service)
    elif mode == "parity":
        groups = config.queries // config.k
        whole = groups * config.k
        sent = came[:whole].reshape(groups, config.k).max(axis=1) + config.coding
        parity = np.stack([pool(1 + index, config.extra, sent) for index in range(config.r)], axis=1)
        second[:whole] = _rebuilt(own[:whole].reshape(groups, config.k), parity).ravel() + config.coding
    # A second answer that comes early is not as good as the own one: it is taken once that is late.
    second = np.maximum(second, came + config.patience * config.service)
    return Served(np.minimum(own, second) - came, second < own, config.servers_of(mode))


def _rebuilt(own: Floats, parity: Floats) -> Floats:
    """When the answer of each query can be decoded without it: own (G, k) and parity (G, r) -> (G, k)."""
    groups, k = own.shape
    others = np.broadcast_to(own[:, None], (groups, k, k))[:, ~np.eye(k, dtype=bool)].reshape(groups, k, k - 1)
    there = np.concatenate([others, np.broadcast_to(parity[:, None], (groups, k, parity.shape[1]))], axis=2)
    return np.asarray(np.partition(there, k - 1, axis=2)[..., k - 1])


def unit_times(config: ServingConfig, pool: int, count: int) -> Floats:
    """Log-normal times of mean 1, float64 (count,), of the jobs of a pool."""
    sigma = np.sqrt(np.log1p(config.variation**2))
    return np.random.default_rng([config.seed, 2, pool]).lognormal(-(sigma**2) / 2, sigma, count)

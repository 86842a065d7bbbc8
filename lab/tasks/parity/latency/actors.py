"""The same cluster in real time: Ray actors hold the models and answer queries as they arrive."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.tasks.parity.latency.answers import Stream
from lab.tasks.parity.latency.config import Mode, ServingConfig
from lab.tasks.parity.latency.simulation import Served, Speed, arrivals, speeds, unit_times
from lab.tasks.parity.scheme_of import output_of

__all__ = ["answer_in_time"]

Floats = NDArray[np.float64]


class _Server:
    """A server: a model, and a machine as slow as `speed` says at each time."""

    def __init__(self, model: nn.Module, speed: Speed) -> None:
        torch.set_num_threads(1)
        self._model, self._speed = model.eval(), speed

    def ready(self) -> bool:
        return True

    def answer(self, query: Tensor, begun: float, work: float) -> Tensor:
        """The model's answer to a query (1, C, H, W), float (1, n), once `work` seconds at full speed have passed."""
        end = self._speed.until(time.time() - begun, work)
        with torch.no_grad():
            found: Tensor = self._model(query)
        time.sleep(max(0.0, begun + end - time.time()))
        return found


@dataclass
class _Pool:
    """Servers and one queue."""

    servers: list[Any]
    waiting: deque[tuple[int, Tensor, float]] = field(default_factory=deque)
    running: dict[Any, tuple[int, Any]] = field(default_factory=dict)

    def dispatch(self, begun: float) -> None:
        """Gives what waits longest to servers that are free."""
        while self.servers and self.waiting:
            job, query, work = self.waiting.popleft()
            server = self.servers.pop()
            self.running[server.answer.remote(query, begun, work)] = (job, server)


def answer_in_time(config: ServingConfig, mode: Mode, stream: Stream) -> tuple[Served, NDArray[np.bool_]]:
    """One mode, with real models on real actors, in real time; Ray is running.

    The cluster is that of `lab.tasks.parity.latency.simulation.simulate`: arrivals, phases and service times are the
    same, and what Ray and the models take comes on top.

    Returns:
        What became of the queries, and whether each one's first answer is right, bool (queries,).
    """
    service = stream.service
    came = arrivals(config)
    horizon = float(came[-1]) * 1.5 + 60.0
    models: list[nn.Module] = [service.base]
    counts = [config.servers_of("equal") if mode == "equal" else config.servers]
    if mode == "replication":
        models, counts = [service.base] * 2, [*counts, config.servers]
    elif mode == "cheap":
        models, counts = [service.base, service.cheap], [*counts, config.extra]
    elif mode == "parity":
        models, counts = [service.base, *service.scheme.parity_models], [*counts, *[config.extra] * config.r]
    actor = ray.remote(num_cpus=0)(_Server)
    pools = []
    for number, (model, count) in enumerate(zip(models, counts, strict=True)):
        reference = ray.put(model)
        pools.append(_Pool([actor.remote(reference, speed) for speed in speeds(config, number, count, horizon)]))
    everyone = [server for pool in pools for server in pool.servers]
    ray.get([server.ready.remote() for server in everyone])
    try:
        own, second, predictions = _run(config, mode, stream, pools, came)
    finally:
        for server in everyone:
            ray.kill(server)
    second = np.maximum(second, came + config.patience * config.service)
    taken = second < own
    right = predictions[np.arange(len(came)), taken.astype(int)] == stream.labels
    return Served(np.minimum(own, second) - came, taken, config.servers_of(mode)), right


def _run(
    config: ServingConfig, mode: Mode, stream: Stream, pools: list[_Pool], came: Floats
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """When own and second answers were there, (queries,) each, and what they say, (queries, 2)."""
    service, k, count = stream.service, config.k, len(came)
    inputs = service.data.scaled(service.data.test.inputs[torch.from_numpy(stream.places)])
    work = [
        _work(config, number, count, config.cheap_service if mode == "cheap" and number else 1.0)
        for number in range(len(pools))
    ]
    own, second = np.full(count, np.inf), np.full(count, np.inf)
    says = np.full((count, 2), -1, dtype=np.int64)
    logits: dict[int, Tensor] = {}
    parities: dict[int, dict[int, Tensor]] = {}
    done = 0
    expected = count + sum(count // k if mode == "parity" else count for _ in pools[1:])
    sent, begun = 0, time.time()

    def rebuild(group: int) -> None:
        """Decodes whoever is late, once any k of the group's answers are there."""
        members = range(group * k, (group + 1) * k)
        found = parities.get(group, {})
        arrived = [q in logits for q in members] + [index in found for index in range(config.r)]
        for late in members:
            others = sum(arrived) - (late in logits)
            if np.isfinite(second[late]) or others < k:
                continue
            blank = torch.zeros(1, service.data.classes)
            answers = torch.cat(
                [
                    *(logits.get(q, blank) for q in members),
                    *(found.get(i, blank).view(-1, service.data.classes) for i in range(config.r)),
                ]
            )
            came_in = [there and place != late - group * k for place, there in enumerate(arrived)]
            estimate = service.scheme.estimate(answers[None], came_in)[0, late - group * k]
            says[late, 1] = int(estimate.argmax())
            second[late] = time.time() - begun

    while done < expected:
        now = time.time() - begun
        while sent < count and came[sent] <= now:
            query = inputs[sent : sent + 1]
            pools[0].waiting.append((sent, query, work[0][sent]))
            if mode in ("replication", "cheap"):
                pools[1].waiting.append((sent, query, work[1][sent]))
            sent += 1
            if mode == "parity" and sent % k == 0:
                group = sent // k - 1
                with torch.no_grad():
                    coded = service.scheme.encoder(inputs[sent - k : sent][None])[0]
                for index, pool in enumerate(pools[1:]):
                    pool.waiting.append((group, coded[index : index + 1], work[1 + index][group]))
        for pool in pools:
            pool.dispatch(begun)
        running = [reference for pool in pools for reference in pool.running]
        patience = max(0.0, came[sent] - (time.time() - begun)) if sent < count else 1.0
        if not running:
            time.sleep(patience)
            continue
        ready, _ = ray.wait(running, num_returns=1, timeout=min(patience, 0.02))
        for reference in ready:
            number = next(index for index, pool in enumerate(pools) if reference in pool.running)
            job, server = pools[number].running.pop(reference)
            pools[number].servers.append(server)
            found, now = ray.get(reference), time.time() - begun
            done += 1
            if number == 0:
                own[job], says[job, 0] = now, int(found.argmax())
                logits[job] = output_of(service.config)(found)
            elif mode != "parity":
                second[job], says[job, 1] = now, int(found.argmax())
            else:
                parities.setdefault(job, {})[number - 1] = found
            if mode == "parity":
                group = job // k if number == 0 else job
                if group < count // k:
                    rebuild(group)
    return own, second, says


def _work(config: ServingConfig, pool: int, count: int, factor: float) -> Floats:
    """The service times of a pool's jobs, as the simulation has them."""
    return factor * config.service * unit_times(config, pool, count)

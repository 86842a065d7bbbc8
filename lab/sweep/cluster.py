"""A Ray to run in: one of its own on this machine, or a cluster that is there."""

from __future__ import annotations

import io
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lab.errors import RequestError

__all__ = ["check_resources", "environment", "fits_here", "live_nodes", "node_sees", "ray_session"]


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Ray, for the length of a block. A Ray that this process has already is used as it is.

    Args:
        address: of a cluster (`auto`, `host:port`); None, where `RAY_ADDRESS` is not set either, starts a Ray with as
            many slots as this machine has cores, without a dashboard. It never joins one that an earlier, killed
            process left behind, and it is locked by a token that only this process and its children have.

    Raises:
        RequestError: there is no cluster at the address.
    """
    # Ray's daemons speak on standard output, which belongs to `--json`.
    with redirect_stdout(_RayLog()), ExitStack() as stack:
        if not ray.is_initialized():
            address = address or os.environ.get("RAY_ADDRESS") or None
            quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
            if address is None:
                _ensure_token()
                # The trials find modules where this process does.
                modules = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
                stack.enter_context(environment({"PYTHONPATH": modules}))
                ray.init(address="local", num_cpus=os.cpu_count(), include_dashboard=False, **quiet)
            else:
                _join(address, quiet)
            stack.callback(ray.shutdown)
        yield


class _RayLog(io.TextIOBase):
    """A stream whose lines go to the logger `lab.ray`."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.getLogger("lab.ray").info(text.rstrip())
        return len(text)


def _join(address: str, options: dict[str, Any]) -> None:
    """Connects to the cluster at `address`, after asking for its port, because Ray would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon and address != "auto":
        raise RequestError(f"expected --address auto or host:port, but got {address!r}")
    try:
        if colon:
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(address=address, **options)
    except (OSError, ray.exceptions.RayError, RuntimeError, ValueError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
        raise RequestError(f"expected a Ray cluster at {address}, but: {why}") from error


def _ensure_token() -> None:
    """Gives a Ray of this machine a token that only this process and its children know, where a person has none.

    Ray would write one into the home folder that everybody can read. It stays set: Ray reads it once in a process.
    """
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE")) and not file.is_file():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables, for the length of a block."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def live_nodes() -> dict[str, str]:
    """Ray's id of each node that is alive -> its address."""
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def node_sees(node: str, path: str) -> bool:
    """Whether the node has a file at `path`; asked by a task that runs there."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    question = ray.remote(_is_file).options(num_cpus=0, scheduling_strategy=there).remote(path)
    try:
        return bool(ray.get(question, timeout=120))
    except ray.exceptions.RayError as error:
        raise RequestError(f"expected an answer from node {live_nodes().get(node, node)}, but: {error}") from error


def _is_file(path: str) -> bool:
    return Path(path).is_file()


def check_resources(wanted: Mapping[str, float]) -> None:
    """Refuses a trial that no node can hold; Tune would wait for ever.

    A cluster that grows by itself has no node yet that a trial fits on; only a Ray of one machine is asked.

    Raises:
        RequestError: it asks for more than there is.
    """
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if len(alive) != 1:
        return
    for key, there, amount in _lacking(wanted, alive[0]):
        raise RequestError(f"expected a trial of at most {there:g} {key} on this machine, but it asks for {amount:g}")


def fits_here(wanted: Mapping[str, float]) -> bool:
    """Whether a trial can run on the node of this process; the head of a cluster that grows often holds none."""
    here = ray.get_runtime_context().get_node_id()
    found = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] == here]
    return any(not _lacking(wanted, resources) for resources in found)


def _lacking(wanted: Mapping[str, float], resources: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """What a node has too little of: name, what is there, what is wanted."""
    there = {key: resources.get(key.upper() if key in ("cpu", "gpu") else key, 0.0) for key in wanted}
    return [(key, there[key], amount) for key, amount in wanted.items() if amount > there[key]]

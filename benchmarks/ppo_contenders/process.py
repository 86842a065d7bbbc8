"""A contender in a process of its own, so that its memory is its own, and the others can take their turns."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lab.allocator import keep_freed_memory
from ppo_contenders.setting import Clock, Setting, Spent, clock_of

__all__ = ["Measured", "Process"]


@dataclass(frozen=True)
class Measured:
    """What a contender's process says of itself at the end.

    Attributes:
        before: resident memory before the first iteration, in bytes.
        peak: the largest it ever was, in bytes.
        episode_return: the mean of the last rollout's episodes.
    """

    before: int
    peak: int
    episode_return: float


class Process:
    """A contender that trains when it is told to, and waits otherwise.

    Raises:
        RuntimeError: its process ended; what it said of that stands on the standard error.
    """

    def __init__(self, place: str, setting: Setting, clock: Clock, **options: Any) -> None:
        """Starts the process.

        Args:
            place: of the contender, as `module:class`.
            setting: what it trains.
            clock: how it measures.
            **options: of the class.
        """
        context = get_context("spawn")
        self._place = place
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, place, setting, clock, options))
        self._process.start()
        theirs.close()

    def __enter__(self) -> Process:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process, whatever it is at."""
        self._connection.close()
        self._process.join(10)
        self._process.terminate()

    def ready(self) -> None:
        """Waits until it is built."""
        self._receive()

    def run(self, iterations: int) -> Spent:
        """Trains for some iterations."""
        self._connection.send(iterations)
        return self._receive()

    def end(self) -> Measured:
        """Ends the process."""
        self._connection.send(None)
        measured = self._receive()
        self._process.join()
        return measured

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            raise RuntimeError(f"expected {self._place} to train, but its process ended") from None


def _serve(connection: Connection, place: str, setting: Setting, clock: Clock, options: dict[str, Any]) -> None:
    import torch

    # Standard output is the benchmark's.
    sys.stdout = sys.stderr
    torch.set_num_threads(1)
    # As the lab's learner does, for all.
    keep_freed_memory()
    module, name = place.split(":")
    training = getattr(import_module(f"ppo_contenders.{module}"), name)(setting, clock_of(clock), **options)
    before = _resident("VmRSS")
    connection.send(None)
    try:
        while (iterations := connection.recv()) is not None:
            connection.send(training.run(iterations))
        connection.send(Measured(before, _resident("VmHWM"), training.episode_return))
    except (EOFError, BrokenPipeError):
        pass  # the benchmark was ended
    finally:
        training.close()


def _resident(field: str) -> int:
    """A field of this process's status, in bytes. Unlike `getrusage`, it knows nothing of who started the process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(line.split()[1])

"""How often to write: often enough to follow a run, and never so often that writing takes the run's time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Pace"]

_SHARE = 0.1
"""The part of the time that may be spent on the work."""


class Pace:
    """Says when a piece of work is due again: after `seconds`, or ten times as long as it took the last time.

    Args:
        seconds: the shortest time from one end of the work to the next beginning.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time; true before the first time."""
        return time.monotonic() >= self._next

    @contextmanager
    def work(self) -> Iterator[None]:
        """Does the work, due or not; the time to the next begins at its end."""
        begun = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(self._seconds, (ended - begun) / _SHARE)

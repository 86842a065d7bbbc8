"""How a sweep ends before its time: Ctrl-C, a termination, or an error of the lab's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from ray import tune

__all__ = ["DriverOnly", "Halt"]


class DriverOnly:
    """A part of the driver that Tune is given and wants to snapshot: an empty shell goes into the snapshot.

    Nothing is ever restored from one; the journal is there for that.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class Halt(DriverOnly, tune.Stopper):
    """Stops all trials at the next step of Tune's loop once it is `raised`; no trial counts as ended by that.

    Attributes:
        raised: whether the sweep is to end.
        error: the first exception that `guard` caught, for the caller to raise when Tune is done.
    """

    def __init__(self) -> None:
        self.raised = False
        self.error: Exception | None = None

    @property
    def broken(self) -> bool:
        """Whether there was an error: nothing more is to be recorded then."""
        return self.error is not None

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.raised

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Keeps an exception from Tune, which would log it and go on, and ends the sweep instead."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            self.raised = True

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Ends the sweep in order on SIGINT and SIGTERM, for the length of a block; a second SIGINT does so at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.raised and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.raised = True

        # Tune takes SIGUSR1 for itself and does not give it back.
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        before = {number: signal.getsignal(number) for number in numbers}
        try:
            for number in numbers[:2]:
                signal.signal(number, stop)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

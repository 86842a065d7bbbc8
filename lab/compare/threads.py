"""How many threads a comparison computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch, for the length of a block or of the function that this decorates.

    What networks of a few thousand weights compute in a step is too small to be shared out: with two threads it takes
    as long on a machine that is idle, and thirty times as long where the second one waits for a core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

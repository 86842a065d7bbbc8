"""How many threads a comparison computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch, for the length of a block or of the function that this decorates.

    What small networks compute in a step is too little to be shared out: where the second thread waits for a core,
    the tables of a policy that gives out entries take thirty times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

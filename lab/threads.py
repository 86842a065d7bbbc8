"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["torch_threads"]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads of torch, for the length of a block or of the function that this decorates.

    What small networks compute in a step is too little to be shared out: where the second thread waits for a core, the
    tables of a policy that gives out entries take thirty times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

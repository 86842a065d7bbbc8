"""What a process asks of the allocator under torch and NumPy."""

from __future__ import annotations

import torch

__all__ = ["keep_freed_memory"]


def keep_freed_memory() -> None:
    """Lets glibc keep what is freed, up to 31 MiB a block, instead of giving it back to the system at once.

    Each gradient step would otherwise fault its temporary tensors in anew, a fifth of a small pointer's time. glibc
    raises its threshold to the largest block that it has seen freed; other allocators have no such threshold.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)

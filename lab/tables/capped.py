"""Capped rendezvous: balanced stratified rendezvous whose largest load was learned for each number of backends.

The best pair of entry and backend goes first, to a backend that has room; nothing holds the smallest load up, save
where tables are exactly even. How much room pays differs by number: a cap of one more spares many moves at some, and
few at others (`lab.tasks.table_slack`). Bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018) have one ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lab.config import Config, parse
from lab.errors import RequestError
from lab.tables.walk import build_priced

__all__ = ["CappedOptions", "CappedTables", "build_capped", "least_caps", "table_of_capped"]


class CappedOptions(Config):
    """The size that caps are for."""

    size: int = Field(ge=1, le=2048, description="entries of a table")


def least_caps(size: int) -> NDArray[np.int64]:
    """The smallest caps that hold all entries: int64 (size,), the ceiling of size / n for n = 1, 2, ..."""
    return -(-size // np.arange(1, size + 1))


def build_capped(
    caps: NDArray[np.int64], hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int
) -> NDArray[np.int32]:
    """Tables under caps.

    Args:
        caps: int64 (size,), the largest load for n = 1, 2, ... backends; 0 for floor and ceiling.
        hashes: uint64 (B, N, 4), columns in the order of identity.
        present: bool (B, N).
        size: entries of a table.

    Returns:
        int32 (B, size) of columns, -1 in rows without a backend.
    """

    def no_prices(n: int) -> NDArray[np.int64]:
        return np.zeros((1, caps[n - 1] or size // n + 1), dtype=np.int64)

    tables = np.full((len(present), size), -1, dtype=np.int32)
    even = np.append(0, caps)[present.sum(axis=1)] == 0
    for rows, exact in ((even, True), (~even, False)):
        if rows.any():
            tables[rows] = build_priced(hashes[rows], present[rows], size, no_prices, exact=exact)[0]
    return tables


class CappedTables:
    """A table function: stratified scores under learned caps (a `lab.tables.learned.TableModel`).

    Attributes:
        caps: int64 (size,), the largest load for n = 1, 2, ... backends; 0 for floor and ceiling, size for no cap.
    """

    def __init__(self, options: CappedOptions) -> None:
        self.caps = least_caps(options.size)

    @property
    def exact(self) -> bool:
        """Whether loads differ by at most one, always."""
        return not self.caps.any()

    def state_dict(self) -> Mapping[str, Tensor]:
        """`caps`, int64 (size,)."""
        return {"caps": torch.from_numpy(self.caps)}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Takes the caps of a training.

        Raises:
            RuntimeError: other tensors, shapes or types than these options have, or caps that cannot hold a table.
        """
        least = least_caps(len(self.caps))
        found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state_dict.items()}
        if found != {"caps": (torch.int64, least.shape)}:
            raise RuntimeError(f"expected caps as int64 of shape {least.shape}, but got {found}")
        caps = state_dict["caps"].numpy().copy()
        wrong = np.flatnonzero((caps != 0) & ((caps < least) | (caps > len(least))))
        if len(wrong):
            n = int(wrong[0]) + 1
            raise RuntimeError(
                f"expected a cap from {least[n - 1]} to {len(least)} for {n} backends, or 0, got {caps[n - 1]}"
            )
        self.caps = caps

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError for another size than that of the caps, or more backends than entries."""
        if size != len(self.caps):
            raise RequestError(f"expected the size of these caps, {len(self.caps)}, but got {size}")
        if n_backends > size:
            raise RequestError(f"expected at most {size} backends, one an entry, but got {n_backends}")

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Builds a table for each row; see `build_capped`."""
        return build_capped(self.caps, hashes, present, size)


def table_of_capped(options: Mapping[str, Any]) -> CappedTables:
    """The table function of `CappedOptions` as a mapping, with the smallest caps.

    Raises:
        RequestError: options that are unknown or out of range.
    """
    return CappedTables(parse(CappedOptions, options))

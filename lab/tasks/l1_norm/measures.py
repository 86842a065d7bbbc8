"""How far a network is from the L1 norm: its error at any length, and what single entries and silence do to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LARGEST", "errors", "exact_sums", "outputs_at", "probe", "responses", "sparsity_error", "summation_floor"]

LARGEST = 1e6
"""What stands for any error beyond it, infinite ones too: finite, so that a network that diverges still has a rank."""

_BEYOND = 1e30
_CHUNK = 20
"""Larger chunks of hundreds of members no longer fit into a cache, and take longer to record than to do."""

_ENTRIES = 100
"""Even: after an odd number of zeros what is left of an impulse has the sign of the gain."""


def outputs_at(
    model: Callable[[Tensor, Any], tuple[Tensor, Any]], x: Tensor, lengths: Sequence[int], *, chunk: int = _CHUNK
) -> Tensor:
    """The read-outs after the first `length` entries, for each of some lengths, in one scan.

    The state is carried from chunk to chunk, so memory does not grow with the sequences.

    Args:
        model: a cell (`lab.tasks.l1_norm.cell.Cell`), a mapped one, or what reads with many cells at once: entries and
            a state, None at first, to read-outs (..., S, entries) and the next state.
        x: (S, T), as long as the longest length at least. Its dtype is the precision of the scan.
        lengths: each in 1..T.
        chunk: entries in a call.

    Returns:
        (..., S, len(lengths)).
    """
    found: dict[int, Tensor] = {}
    state, end = None, max(lengths)
    for start in range(0, end, chunk):
        stop = min(start + chunk, end)
        outputs, state = model(x[:, start:stop], state)
        found |= {length: outputs[..., length - start - 1] for length in lengths if start < length <= stop}
    return torch.stack([found[length] for length in lengths], -1)


def exact_sums(x: NDArray[np.float32], lengths: Sequence[int]) -> NDArray[np.float64]:
    """The sums of the absolute values of the first `length` entries, in float64: (S, len(lengths))."""
    sums = np.cumsum(np.abs(x.astype(np.float64)), axis=1)
    return sums[:, np.asarray(lengths) - 1]


def errors(outputs: NDArray[np.floating], exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """The relative errors `|output - exact| / exact`, absolute ones where the exact sum is 0.

    Args:
        outputs: (..., S, L). What is not finite, and what is beyond, counts as `LARGEST`.
        exact: (S, L), as `exact_sums` gives.

    Returns:
        float64 (..., S, L), finite.
    """
    scale = np.where(exact > 0, exact, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        relative = np.abs(outputs.astype(np.float64) - exact) / scale
    return np.minimum(np.nan_to_num(relative, nan=LARGEST, posinf=LARGEST), LARGEST)


def summation_floor(x: NDArray[np.float32], lengths: Sequence[int]) -> NDArray[np.float64]:
    """The errors that remain if everything is right and only sums are in float32, one entry after the other: (S, L)."""
    sums = np.cumsum(np.abs(x), axis=1, dtype=np.float32)
    return errors(sums[:, np.asarray(lengths) - 1], exact_sums(x, lengths))


def probe(rows: int = 3) -> Tensor:
    """The sequences that `responses` reads: an impulse of 1, none, and one of -1, each before 99 zeros.

    Args:
        rows: more sequences of zeros fill it up to so many, for a shape that a scan has anyway.

    Returns:
        float32 (max(rows, 3), 100).
    """
    x = torch.zeros(max(rows, 3), _ENTRIES)
    x[0, 0], x[2, 0] = 1.0, -1.0
    return x


def responses(outputs: NDArray[np.floating]) -> Mapping[str, NDArray[np.float64]]:
    """What a network makes of `probe`.

    Args:
        outputs: (..., rows, N), the read-outs after the first entry of each of its sequences, any others, and after
            the last.

    Returns:
        `response/+1` and `response/-1`, the read-outs for the sequences (1) and (-1), both 1 in the exact function;
        `gain`, the factor by which what is left of the impulse changes with each of the zeros, 1 in the exact function
        and 0 where nothing of it arrives (below 0.4 nothing does in float32). Its size is a geometric mean over the 99
        zeros; it is negative where what is left after this odd number of them has the other sign than the impulse had
        at first, as with a recurrent weight of -1. float64 (...), finite.
    """
    # Differences of what is clipped are finite.
    values = np.clip(np.nan_to_num(outputs.astype(np.float64), nan=_BEYOND), -_BEYOND, _BEYOND)
    start, end = values[..., 0], values[..., -1]
    begun, left = (there[..., 0] - there[..., 1] for there in (start, end))
    kept = np.where(begun != 0, left / np.where(begun != 0, begun, 1.0), 0.0)
    gain = np.sign(kept) * np.abs(kept) ** (1 / (_ENTRIES - 1))
    return {"response/+1": start[..., 0], "response/-1": start[..., 2], "gain": gain}


def sparsity_error(matrices: Mapping[str, Tensor]) -> float:
    """The largest distance of a weight from -1, 0 and 1: `max min(|W|, |1 - |W||)` (Madsen and Johansen, ICLR 2020).

    Of a cell it is taken over all its weights but biases (`Cell.matrices`), of every cell alike: a Neural Addition
    Unit's clamped W, which its regulariser draws to these numbers, and the ReLU layer before it, which nothing does.
    """
    size = torch.cat([value.detach().reshape(-1) for value in matrices.values()]).abs()
    return float(torch.minimum(size, (1 - size).abs()).max())

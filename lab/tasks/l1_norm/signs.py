"""The initial signs that the notebook tried on its cell, and what it found for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from lab.errors import unknown_name
from lab.tasks.l1_norm.accumulators import NotebookCell

__all__ = ["PATTERNS", "Finding", "Pattern", "Start", "apply", "get"]

Finding = Literal["converges", "slowly", "fast", "not"]

_SMALL = 0.1


@dataclass(frozen=True)
class Start:
    """Where a weight begins: at sign x U(0, largest)."""

    sign: Literal[-1, 1]
    largest: float = 1.0

    def __str__(self) -> str:
        return ("+" if self.sign > 0 else "-") + ("small" if self.largest < 1 else "")


@dataclass(frozen=True)
class Pattern:
    """Initial signs, and the finding of one run of the notebook.

    Attributes:
        h, i: of the recurrent and the input weight.
        bh, bi: of the biases beside them; None for a cell without.
        finding: whether it `converges` (`slowly`, `fast`) or does `not`.
        words: the notebook's line.
    """

    h: Start
    i: Start
    bh: Start | None
    bi: Start | None
    finding: Finding
    words: str

    @property
    def bias(self) -> bool:
        """Whether the cell has biases."""
        return self.bh is not None

    @property
    def name(self) -> str:
        """Such as `h+_i-` or `h-_i+small_bh+_bi-`."""
        starts = {"h": self.h, "i": self.i, "bh": self.bh, "bi": self.bi}
        return "_".join(f"{weight}{start}" for weight, start in starts.items() if start is not None)


_STARTS = {"+": Start(1), "-": Start(-1), "+small": Start(1, _SMALL), "-small": Start(-1, _SMALL)}
_WORDS = {"converges": "converges", "slowly": "converges slowly", "fast": "converges fast", "not": "does not"}


def _pattern(h: str, i: str, bh: str, bi: str, finding: Finding, said: str) -> Pattern:
    words = f"({said}) {_WORDS[finding]}"
    return Pattern(_STARTS[h], _STARTS[i], _STARTS.get(bh), _STARTS.get(bi), finding, words)


PATTERNS: dict[str, Pattern] = {
    pattern.name: pattern
    for pattern in (
        _pattern("+", "+", "", "", "converges", "h+, i+"),
        _pattern("+", "-", "", "", "not", "h+, i-"),
        _pattern("-", "+", "", "", "not", "h-, i+"),
        _pattern("-small", "+", "", "", "converges", "h small negative, i+"),
        _pattern("-", "-", "", "", "not", "h-, i-"),
        _pattern("-", "+", "+", "+", "slowly", "h-, i+, bh+, bi+"),
        _pattern("-", "+", "+", "-", "converges", "h-, i+, bh+, bi-"),
        _pattern("-", "+", "-", "-", "converges", "h-, i+, bh-, bi-"),
        _pattern("+", "+small", "+", "-", "converges", "h+, i small +, bh+, bi-"),
        _pattern("+", "+small", "-", "+", "fast", "h+, i small +, bh-, bi+"),
        _pattern("+", "+small", "-", "-", "converges", "h+, i small +, bh-, bi-"),
        _pattern("+", "-", "+", "-", "converges", "h+, i-, bh+, bi-"),
        _pattern("+", "-", "-", "+", "not", "h+, i-, bh-, bi+"),
        _pattern("+", "-", "+", "+", "converges", "h+, i-, bh+, bi+"),
        _pattern("-", "-small", "-", "-", "not", "h-, i- small, bh-, bi-"),
        _pattern("-", "-small", "+", "-", "converges", "h-, i- small, bh+, bi-"),
        _pattern("-", "-", "+", "+", "converges", "h-, i-, bh+, bi+"),
    )
}
"""Name -> pattern, in the notebook's order: five without biases, twelve with."""


def get(name: str) -> Pattern:
    """The pattern called `name`.

    Raises:
        RequestError: there is none; the nearest name is suggested.
    """
    if name not in PATTERNS:
        raise unknown_name("pattern of signs", name, PATTERNS)
    return PATTERNS[name]


def apply(pattern: Pattern, cell: NotebookCell, generator: torch.Generator) -> None:
    """Draws the weights of a cell anew, with the signs and sizes of a pattern.

    "Small" is up to a tenth of what a weight is otherwise; torch draws from U(-1, 1).
    """
    places = (
        (cell.weight_hh, pattern.h),
        (cell.weight_ih, pattern.i),
        (cell.bias_hh, pattern.bh),
        (cell.bias_ih, pattern.bi),
    )
    with torch.no_grad():
        for parameter, start in places:
            if parameter is not None and start is not None:
                # 1 - U[0, 1) is never 0, which has no sign.
                magnitude = 1 - torch.rand(parameter.shape, generator=generator)
                parameter.copy_(start.sign * start.largest * magnitude)

"""What held-out sequences say of trained networks; those of one shape are asked together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.compare.quantiles import Floats
from lab.errors import RequestError
from lab.sweep.stack import Mapped, Stack
from lab.tasks.l1_norm.artefact import MODEL, load_model
from lab.tasks.l1_norm.cell import Cell
from lab.tasks.l1_norm.data import RANGES, sequences
from lab.tasks.l1_norm.measures import (
    LARGEST,
    errors,
    exact_sums,
    outputs_at,
    probe,
    responses,
    sparsity_error,
    summation_floor,
)
from lab.threads import torch_threads

__all__ = ["RANGE_LENGTH", "SEQUENCES", "Question", "Scores", "load", "score"]

SEQUENCES = 64
"""Held-out sequences that every network reads."""

RANGE_LENGTH = 1000
"""Length at which ranges of entries are compared."""

_FLOATS = 20_000_000
"""Numbers that the read-out of one chunk may hold: bounds the memory, 80 MB."""


@dataclass(frozen=True)
class Scores:
    """What held-out sequences say of one network.

    Attributes:
        errors: length -> relative errors, float64 (sequences,).
        ranges: name of a range of entries -> errors at `RANGE_LENGTH`, likewise; absolute where the sum is 0. Empty
            where they were not asked for.
        function: `gain`, `response+1`, `response-1` -> distance from 1; `sparsity` -> sparsity error.
    """

    errors: Mapping[int, Floats]
    ranges: Mapping[str, Floats]
    function: Mapping[str, float]


@dataclass(frozen=True)
class Question:
    """What networks are asked: the same for all, so that they can be compared.

    Attributes:
        lengths: at which their error is taken, ascending.
        count: sequences of each.
        ranges: whether other ranges of entries are asked about too.

    Raises:
        RequestError: no sequences.
    """

    lengths: tuple[int, ...]
    count: int = SEQUENCES
    ranges: bool = True

    def __post_init__(self) -> None:
        if self.count < 1:
            raise RequestError(f"expected at least one held-out sequence, but got {self.count} sequences")

    @property
    def label(self) -> str:
        """How a reading of the held-out sequences is noted in a run."""
        return "l1-lengths" if self.count == SEQUENCES else f"l1-lengths[:{self.count}]"

    def entries(self) -> NDArray[np.float32]:
        """The held-out sequences, (count, longest); shorter ones are their beginnings."""
        # Drawn at one length always, or another longest length would be another suite.
        return _held_out("normal", self.count, _LONGEST)[:, : self.lengths[-1]]

    def floor(self) -> dict[int, Floats]:
        """Length -> errors that float32 summation of the right numbers makes, (count,)."""
        found = summation_floor(self.entries(), self.lengths)
        return {length: found[:, place] for place, length in enumerate(self.lengths)}


_LONGEST = 100_000


def _held_out(name: str, count: int, length: int) -> NDArray[np.float32]:
    """The first `count` sequences of a range, (count, length): fewer or more of them begin alike."""
    # How many are drawn at once is part of their stream, so it is the same number always, and a block is a seed.
    blocks = range(-(-count // SEQUENCES))
    return np.concatenate([sequences(name, SEQUENCES, length, "test", block) for block in blocks])[:count]


def load(folder: Path, weights: str = MODEL) -> tuple[str, Cell]:
    """A network, and a key that is equal for networks of one shape.

    Raises:
        RequestError: a missing or damaged artefact.
    """
    cell, description = load_model(folder, weights)
    return str(sorted(description["options"].items())), cell


def score(
    networks: Mapping[Any, tuple[str, Cell]], question: Question, advance: Callable[[int, str], None]
) -> dict[Any, Scores]:
    """Asks all networks.

    Args:
        networks: name -> what `load` returned.
        question: what to ask.
        advance: told of entries read since the last call, and by which networks.

    Returns:
        Name -> scores.
    """
    shapes: dict[str, list[Any]] = {}
    for name, (shape, _) in networks.items():
        shapes.setdefault(shape, []).append(name)
    entries = question.entries()
    found: dict[Any, Scores] = {}
    with torch_threads(1):
        for names in shapes.values():
            cells = [networks[name][1] for name in names]
            found |= dict(zip(names, _score(cells, entries, question, advance), strict=True))
    return {name: found[name] for name in networks}


def cost(networks: Mapping[Any, tuple[str, Cell]], question: Question) -> int:
    """How many entries `score` reads, one after the other, as it tells `advance`."""
    each = question.lengths[-1] + (RANGE_LENGTH if question.ranges else 0)
    return each * len({shape for shape, _ in networks.values()})


def _score(
    cells: Sequence[Cell], entries: NDArray[np.float32], question: Question, advance: Callable[[int, str], None]
) -> Iterator[Scores]:
    what = f"{len(cells)} network{'s' if len(cells) > 1 else ''} ({type(cells[0]).__name__})"
    with torch.no_grad():
        members = Mapped(Stack(cells, torch.device("cpu")), (), fused=len(cells) > 1)
    scanned = _scan(members, cells, entries, question.lengths, advance, what)
    found = errors(scanned, exact_sums(entries, question.lengths))
    by_range: dict[str, NDArray[np.float64]] = {}
    if question.ranges:
        drawn = [_held_out(name, question.count, RANGE_LENGTH) for name in RANGES]
        together = np.concatenate(drawn)
        scanned = _scan(members, cells, together, (RANGE_LENGTH,), advance, what)
        flat = errors(scanned, exact_sums(together, (RANGE_LENGTH,)))[..., 0]
        by_range = dict(zip(RANGES, np.split(flat, len(drawn), axis=1), strict=True))
    responded = responses(members.map(lambda model, x: model(x)[0], probe()).numpy())
    for place, cell in enumerate(cells):
        function = {
            name.replace("/", ""): min(abs(float(values[place]) - 1), LARGEST) for name, values in responded.items()
        }
        with torch.no_grad():
            function["sparsity"] = sparsity_error(cell.matrices())
        yield Scores(
            errors={length: found[place, :, k] for k, length in enumerate(question.lengths)},
            ranges={name: values[place] for name, values in by_range.items()},
            function=function,
        )


def _scan(
    members: Mapped,
    cells: Sequence[Cell],
    entries: NDArray[np.float32],
    lengths: Sequence[int],
    advance: Callable[[int, str], None],
    what: str,
) -> NDArray[np.float32]:
    """The read-outs at `lengths`, float32 (members, sequences, lengths)."""
    # As many numbers to a sequence and entry as the widest layer has units.
    units = max(max(value.shape) for value in cells[0].state_dict().values())
    chunk = max(10, min(250, _FLOATS // (len(cells) * len(entries) * units)))

    def read(model: Callable[..., Any], x: Tensor) -> Tensor:
        def counted(part: Tensor, state: Any) -> Any:
            outputs = model(part, state)
            advance(part.shape[1], what)
            return outputs

        return outputs_at(counted, x, lengths, chunk=chunk)

    return np.asarray(members.map(read, torch.from_numpy(entries)).numpy(), dtype=np.float32)

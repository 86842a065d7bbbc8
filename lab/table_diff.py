"""What the step from one table file to another costs: every score, and what each backend lost and gained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.scoring import TableScores, TransitionScores, even_loads, score_table, transition_scores
from lab.errors import RequestError
from lab.table_files import Backends, TableDocument

__all__ = ["BackendChange", "TableDiff", "diff"]


@dataclass(frozen=True)
class BackendChange:
    """What happens to one backend.

    Attributes:
        key: the backend.
        state: whether it serves in both tables, or leaves, or joins; a drained backend (weight 0) does not serve.
        load_before: entries it had.
        load_after: entries it has.
        lost: the entries it had and has no more.
        gained: the entries it has and had not.
    """

    key: str
    state: Literal["stays", "leaves", "joins", "absent"]
    load_before: int
    load_after: int
    lost: list[int]
    gained: list[int]


@dataclass(frozen=True)
class TableDiff:
    """The scores of DESIGN.md for two tables and the step between them.

    Attributes:
        size: entries of each table.
        before: scores of the first table.
        after: scores of the second.
        transition: scores of the step; all are shares of entries.
        backends: what happens to each backend, those with most moves first.
    """

    size: int
    before: TableScores[float]
    after: TableScores[float]
    transition: TransitionScores[float]
    backends: list[BackendChange]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return dataclasses.asdict(self)


def diff(before: TableDocument, after: TableDocument) -> TableDiff:
    """Compares two tables by the identity of their backends.

    With weights, `optimum` is the least change between two tables that have the even loads of their weights.

    Raises:
        RequestError: the tables differ in size.
    """
    size = len(before.entries)
    if len(after.entries) != size:
        raise RequestError(f"expected two tables of one size, but got {size} and {len(after.entries)} entries")
    union = sorted({*before.backends.keys, *after.backends.keys})
    a, b = _in_columns(before, union), _in_columns(after, union)
    serves_a, serves_b = _serving(before.backends, union), _serving(after.backends, union)
    scores = transition_scores(a[None], b[None], serves_a[None], serves_b[None])
    transition: TransitionScores[float] = TransitionScores(
        **{field.name: float(getattr(scores, field.name)[0]) for field in dataclasses.fields(scores)}
    )
    # Backends of equal weight are interchangeable, and the optimum of DESIGN.md holds.
    if _unequal(before.backends) or _unequal(after.backends):
        kept = np.minimum(_quota(before, union), _quota(after, union)).sum()
        optimum = float(1 - kept / size) if serves_a.any() or serves_b.any() else 0.0
        transition = dataclasses.replace(transition, optimum=optimum, regret=transition.changed - optimum)

    moved = a != b
    changes = [
        BackendChange(
            key=key,
            state=_STATES[bool(serves_a[column]), bool(serves_b[column])],
            load_before=int((a == column).sum()),
            load_after=int((b == column).sum()),
            lost=np.flatnonzero(moved & (a == column)).tolist(),
            gained=np.flatnonzero(moved & (b == column)).tolist(),
        )
        for column, key in enumerate(union)
    ]
    changes.sort(key=lambda change: (-len(change.lost) - len(change.gained), change.key))
    return TableDiff(size, _scores(before), _scores(after), transition, changes)


_STATES: dict[tuple[bool, bool], Literal["stays", "leaves", "joins", "absent"]] = {
    (True, True): "stays",
    (True, False): "leaves",
    (False, True): "joins",
    (False, False): "absent",
}


def _in_columns(document: TableDocument, union: list[str]) -> NDArray[np.int64]:
    """The entries as columns of the union, int64 (size,)."""
    column = {key: place for place, key in enumerate(union)}
    return np.array([*(column[key] for key in document.backends.keys), -1], dtype=np.int64)[document.entries]


def _serving(backends: Backends, union: list[str]) -> NDArray[np.bool_]:
    """Which columns serve: those of the set whose weight is above 0."""
    weights = backends.weights or (1.0,) * len(backends.keys)
    serving = {key for key, weight in zip(backends.keys, weights, strict=True) if weight > 0}
    return np.array([key in serving for key in union], dtype=bool)


def _unequal(backends: Backends) -> bool:
    """Whether those that serve differ in weight."""
    return len({weight for weight in backends.weights or () if weight > 0}) > 1


def _quota(document: TableDocument, union: list[str]) -> NDArray[np.int64]:
    """The even loads of a table's weights by column, int64 (N,)."""
    keys, weights = document.backends.keys, document.backends.weights or (1.0,) * len(document.backends.keys)
    by_key = dict(zip(keys, weights, strict=True))
    row = np.array([[by_key.get(key, 0.0) for key in union]])
    return even_loads(row > 0, len(document.entries), row)[0]


def _scores(document: TableDocument) -> TableScores[float]:
    weights = document.backends.weights
    present = None if weights is None else [weight > 0 for weight in weights]
    return score_table(document.entries, document.backends.keys, weights, present)

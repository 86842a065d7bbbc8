"""Which answers can be lost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

__all__ = ["Erasure", "erasures", "losses_of_queries"]


@dataclass(frozen=True)
class Erasure:
    """One way to lose answers.

    Attributes:
        name: what is lost, as `q0`, `q1+p0`: q a query's own answer, p a parity query's, w a worker's of a code without
            own answers.
        arrived: for each answer whether it came.
        rebuilt: for each of the k queries whether its prediction has to be rebuilt.
    """

    name: str
    arrived: tuple[bool, ...]
    rebuilt: tuple[bool, ...]


def erasures(k: int, r: int, *, systematic: bool = True) -> list[Erasure]:
    """Every way to lose `r` of `k + r` answers in which some prediction has to be rebuilt.

    Args:
        k: queries in a group.
        r: parity queries.
        systematic: whether the first k answers are the queries' own; if not, all predictions are rebuilt always.
    """
    found = []
    for lost in combinations(range(k + r), r):
        if not systematic or lost[0] < k:
            names = [f"w{i}" if not systematic else f"q{i}" if i < k else f"p{i - k}" for i in lost]
            rebuilt = tuple(not systematic or i in lost for i in range(k))
            found.append(Erasure("+".join(names), tuple(i not in lost for i in range(k + r)), rebuilt))
    return found


def losses_of_queries(k: int, r: int) -> list[Erasure]:
    """Every way to lose `min(k, r)` of the k own answers, where something that is not coded stands in for each.

    Of the 2k answers the first k are the queries' own, the others stand in.
    """
    found = []
    for lost in combinations(range(k), min(k, r)):
        rebuilt = tuple(i in lost for i in range(k))
        found.append(Erasure("+".join(f"q{i}" for i in lost), (*(not i for i in rebuilt), *[True] * k), rebuilt))
    return found

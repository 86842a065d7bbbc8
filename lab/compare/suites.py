"""The evaluation suites: the same pairs for everyone, held out from training by construction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from envs.scenarios import ScenarioBatch, ScenarioConfig, churn_batch, sample_batch, stream
from lab.errors import RequestError, unknown_name

__all__ = ["PAIRS", "SUITES", "Suite", "suite"]

PAIRS = 2000
"""Before/after pairs of `scenarios-47`, and fleets for each n of a churn suite."""

_CHURN = {47: (3, 5, 7, 10, 16, 27), 307: (3, 5, 7, 10, 16, 27, 50)}

SUITES = MappingProxyType(
    {
        "scenarios-47": "fleets of 1 to 47 backends; up to 10 join or leave at once",
        "churn-47": "one random backend of n leaves",
        "churn-307": "one random backend of n leaves a larger table",
    }
)
"""Name -> what is asked of a table, in words."""


@dataclass(frozen=True)
class Suite:
    """Before/after pairs with fixed seeds.

    Attributes:
        name: `scenarios-47`, `churn-47` or `churn-307`.
        summary: what is asked, in words.
        size: entries of a table.
        universe: `any hash` (fresh backends in every pair) or `roster`.
        groups: the strata: `all`, or the n of a churn suite as text -> pairs.
        full: pairs in each group of the whole suite; a reduced one has fewer.
    """

    name: str
    summary: str
    size: int
    universe: Literal["any hash", "roster"]
    groups: dict[str, ScenarioBatch]
    full: int

    @property
    def by_n(self) -> bool:
        """Whether the groups are fleets of one n each."""
        return "all" not in self.groups

    @property
    def count(self) -> int:
        """Pairs in each group."""
        return len(next(iter(self.groups.values())))

    @property
    def label(self) -> str:
        """The name, with the number of pairs behind it where it is reduced: `churn-47[:200]`."""
        return self.name if self.count == self.full else f"{self.name}[:{self.count}]"

    @property
    def title(self) -> str:
        """The name in words: `churn-47`, or `churn-47, first 200`."""
        return self.name if self.count == self.full else f"{self.name}, first {self.count}"

    @property
    def digest(self) -> str:
        """SHA-256 over size, identities and sets of all groups: two equal digests are the same questions."""
        digest = hashlib.sha256(f"{self.size}".encode())
        for name, batch in self.groups.items():
            digest.update(f"{name}{batch.before.shape}".encode())
            for part in (batch.ids, batch.before, batch.after):
                digest.update(part.tobytes())
        return digest.hexdigest()

    def head(self, count: int) -> Suite:
        """The first `count` pairs of each group."""
        groups = {name: batch.select(slice(count)) for name, batch in self.groups.items()}
        return Suite(self.name, self.summary, self.size, self.universe, groups, self.full)


def suite(name: str, count: int | None = None) -> Suite:
    """The suite called `name`.

    Args:
        name: one of `SUITES`.
        count: take the first `count` pairs of each group only (a quick look; the label says so).

    Raises:
        RequestError: no such suite, or a count outside [2, 2000].
    """
    if name not in SUITES:
        raise unknown_name("evaluation suite", name, SUITES)
    if count is not None and not 2 <= count <= PAIRS:
        raise RequestError(f"expected 2 to {PAIRS} pairs for each group of a suite, but got {count}")
    whole = _whole(name)
    return whole if count is None else whole.head(count)


@cache
def _whole(name: str) -> Suite:
    # A stream for each suite and group: adding a group or a suite leaves the others as they are.
    if name == "scenarios-47":
        groups = {"all": sample_batch(ScenarioConfig(), PAIRS, stream("test", 47))}
        size = 47
    else:
        size = int(name.removeprefix("churn-"))
        groups = {str(n): churn_batch(size, n, PAIRS, stream("test", size, n)) for n in _CHURN[size]}
    return Suite(name, SUITES[name], size, "any hash", groups, PAIRS)

"""Tables of a known roster: a ranking of all backends for each entry, and the first that is present gets it.

Whatever leaves or joins, nothing moves needlessly; what there is to learn is evenness (`lab.tasks.table_roster`). The
rankings are of places in the roster, in the order of identity: rankings for seven backends serve any seven, and any
fewer, who take the first places.

`presets/rankings-<size>-<backends>` hold the best rankings that were found, as artefacts (`lab.tables.learned`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from envs.backends import Identity, canonical_id, hashes_of, sort_order
from envs.scoring import table_scores
from lab.config import Config, parse
from lab.errors import RequestError, unknown_name
from lab.tables import learned
from lab.tables.preset import PRESETS
from lab.tables.registry import Builder
from lab.tables.subsets import ALL_UP_TO, validation_subsets

__all__ = [
    "RankingOptions",
    "RankingTables",
    "evenness",
    "first_present",
    "measure",
    "of_roster",
    "preset_names",
    "rankings_folder",
    "table_of_rankings",
]

_PREFIX = "rankings-"


class RankingOptions(Config):
    """The shape of rankings."""

    size: int = Field(ge=1, le=1 << 16, description="entries of a table")
    backends: int = Field(ge=1, le=256, description="of the roster")


def first_present(rankings: NDArray[np.integer], present: NDArray[np.bool_]) -> NDArray[np.int16]:
    """The first backend of each ranking that is present.

    Args:
        rankings: int (..., N), permutations of 0..N-1.
        present: bool (M, N).

    Returns:
        int16 (..., M), -1 where nobody is present.
    """
    has = np.ascontiguousarray(present.T)
    first = np.full((*rankings.shape[:-1], len(present)), -1, dtype=np.int16)
    # From the last place to the first: whoever stands before takes it over.
    for place in range(rankings.shape[-1] - 1, -1, -1):
        backend = rankings[..., place]
        np.copyto(first, backend[..., None].astype(np.int16), where=has[backend])
    return first


class RankingTables:
    """A table function over one roster (a `lab.tables.learned.TableModel`).

    Attributes:
        rankings: int64 (size, N).
        roster: uint64 (N, 4), the hashes of the roster's backends in the order of identity.
        exact: False: not every subset needs to be even.
    """

    exact = False

    def __init__(self, options: RankingOptions) -> None:
        self.rankings: NDArray[np.int64] = np.tile(np.arange(options.backends), (options.size, 1))
        self.roster = np.zeros((options.backends, 4), dtype=np.uint64)

    def state_dict(self) -> Mapping[str, Tensor]:
        """`rankings` uint8 (size, N), and `roster` int64 (N, 4), the bits of the hashes."""
        return {
            "rankings": torch.from_numpy(self.rankings.astype(np.uint8)),
            "roster": torch.from_numpy(self.roster.view(np.int64)),
        }

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Takes rankings, which were int64 once, and roster.

        Raises:
            RuntimeError: other tensors, shapes or types than these options have, or a row that is no ranking.
        """
        expected = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in self.state_dict().items()}
        found = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state_dict.items()}
        if found not in (expected, {**expected, "rankings": (torch.int64, self.rankings.shape)}):
            raise RuntimeError(f"expected {expected}, but got {found}")
        rankings = state_dict["rankings"].numpy().astype(np.int64)
        if not np.array_equal(np.sort(rankings, axis=1), np.broadcast_to(np.arange(rankings.shape[1]), rankings.shape)):
            raise RuntimeError(f"expected rankings of 0..{rankings.shape[1] - 1}, each once, but a row is none")
        self.rankings, self.roster = rankings, state_dict["roster"].numpy().copy().view(np.uint64)

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError for another size than that of the rankings, or more backends than the roster has."""
        if size != len(self.rankings):
            raise RequestError(f"expected the size of these rankings, {len(self.rankings)}, but got {size}")
        if n_backends > len(self.roster):
            raise RequestError(
                f"expected at most {len(self.roster)} backends, as many as are ranked, but got {n_backends}"
            )

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Builds a table for each row; see `lab.tables.registry.Builder.build_batch`.

        Raises:
            RequestError: a backend that is not in the roster.
        """
        same = (hashes[:, :, None] == self.roster[None, None]).all(axis=3) & present[..., None]
        if (same.any(axis=2) != present).any():
            raise RequestError(f"expected backends of the roster of {len(self.roster)}, but one is not in it")
        chosen = first_present(self.rankings, same.any(axis=1)).T
        # From places in the roster to the columns given.
        column_of = np.append(same.argmax(axis=1), np.full((len(present), 1), -1), axis=1)
        return np.take_along_axis(column_of, chosen, axis=1).astype(np.int32)


def table_of_rankings(options: Mapping[str, Any]) -> RankingTables:
    """The table function of `RankingOptions` as a mapping, without rankings yet.

    Raises:
        RequestError: options that are unknown or out of range.
    """
    return RankingTables(parse(RankingOptions, options))


def measure(rankings: NDArray[np.int64], present: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """How even the tables of rankings (size, N) are.

    Args:
        rankings: int64 (size, N).
        present: bool (M, N), the subsets; `validation_subsets` unless said otherwise.

    Returns:
        `uneven`, how many are not perfectly even, and `uneven_share` of all; `spread`, the mean of the largest less the
        smallest load, and `worst_spread`, the largest of these.
    """
    if present is None:
        present = validation_subsets(rankings.shape[1])
    scores = table_scores(first_present(rankings, present).T.astype(np.int32), present)
    uneven = int((scores.imbalance > 0).sum())
    return {
        "uneven": float(uneven),
        "uneven_share": uneven / len(present),
        "spread": float(scores.spread.mean()),
        "worst_spread": float(scores.spread.max()),
    }


def preset_names() -> list[str]:
    """`<size>-<backends>` of the rankings that come with the lab, the smallest first."""
    names = [path.name.removeprefix(_PREFIX) for path in PRESETS.glob(f"{_PREFIX}*")]
    return sorted(names, key=lambda name: [int(part) for part in name.split("-")])


def rankings_folder(size: int, backends: int, run: str | None = None) -> Path:
    """Where the rankings for a roster are.

    Args:
        size: entries of a table.
        backends: of the roster.
        run: `<run>` or `<run>#<trial>` of `table_roster`, or `<size>-<backends>` of those that come with the lab;
            without it, of these for as many backends or more, the smallest.

    Raises:
        RequestError: there are none.
    """
    kept = preset_names()
    if run is not None:
        name = run.removeprefix("rankings:").removeprefix(_PREFIX)
        if name in kept:
            return PRESETS / f"{_PREFIX}{name}"
        if re.fullmatch(r"\d+-\d+", name):
            raise unknown_name("size and backends of rankings that come with the lab", name, kept)
        return learned.trial_named(run, run)
    for name in kept:
        of_size, of_backends = map(int, name.split("-"))
        if of_size == size and of_backends >= backends:
            return PRESETS / f"{_PREFIX}{name}"
    largest = dict(name.split("-") for name in kept)
    known = ", ".join(f"{entries} with up to {most} backends" for entries, most in largest.items())
    raise RequestError(
        f"expected entries and backends that rankings come with the lab for ({known}), but got {size} with {backends}: "
        "train some (lab train table_roster --preset large size=SIZE backends=N) and name the run (--rankings RUN)"
    )


def evenness(rankings: NDArray[np.int64]) -> str:
    """How even the tables of rankings (size, N) are, in words; see `measure`."""
    backends = rankings.shape[1]
    present = validation_subsets(backends)
    found = measure(rankings, present)
    judged, uneven = len(present), int(found["uneven"])
    subsets = f"{judged:,}" if backends <= ALL_UP_TO else f"{judged:,} drawn"
    if not uneven:
        every = "every subset" if backends <= ALL_UP_TO else f"each of {subsets} subsets"
        return f"perfectly even for {every} of the {backends}"
    return (
        f"not perfectly even for {uneven:,} of {subsets} subsets of the {backends}: loads differ by "
        f"{found['spread']:.1f} on average and by {found['worst_spread']:.0f} at most"
    )


def of_roster(roster: Sequence[Identity], size: int, ids: Sequence[Identity], run: str | None = None) -> Builder:
    """The builder of a roster, by its rankings.

    Args:
        roster: every backend that may ever be present.
        size: entries of a table.
        ids: the backends that are present: looked at here, so that what is not in the roster is named.
        run: as for `rankings_folder`.

    Raises:
        RequestError: there are no such rankings, a backend twice or malformed, or one that is not in the roster.
    """
    folder = rankings_folder(size, len(roster), run)
    order = sort_order(roster)
    known = [canonical_id(identity) for identity in roster]
    for identity in ids:
        if canonical_id(identity) not in known:
            raise unknown_name("backend of the roster", canonical_id(identity), known)
    found = learned.model(folder)
    if not isinstance(found, RankingTables):
        raise RequestError(f"expected a run of table_roster, but {run!r} trained no rankings")
    found.check(size, len(roster))
    tables = RankingTables(RankingOptions(size=size, backends=len(roster)))
    tables.rankings = found.rankings[found.rankings < len(roster)].reshape(size, len(roster))
    tables.roster = hashes_of(roster)[order]

    def build_batch(
        hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, weights: NDArray[np.float64] | None
    ) -> NDArray[np.int32]:
        return tables.build_batch(hashes, present, size)

    return Builder(
        name=f"rankings:{folder.name.removeprefix(_PREFIX) if folder.parent == PRESETS else run}",
        version=1,
        summary=f"nothing moves needlessly; {evenness(tables.rankings)}",
        build_batch=build_batch,
        check=tables.check,
        trained=True,
    )

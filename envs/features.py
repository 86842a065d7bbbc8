"""What a stateless policy reads while it gives out the entries of a table, one after the other or the best pair first.

Everything here is a function of the present set, the size and the entries of this table given so far, and of nothing
else. The environment and the learned builders read the very same code, hence the same bits: integers first, then one
correctly rounded float32 operation, so that every machine agrees.

Per-backend features, by slot; all are 0 for an absent slot. *Its entry* is the one that the slot would be given next:
the same for all where entries go in order, the free one that it scores highest where pairs do.

| Feature          | Group    | Range      | Meaning                                                                 |
|------------------|----------|------------|-------------------------------------------------------------------------|
| present          | (always) | {0, 1}     | a backend of the set is in this slot                                    |
| load             | (always) | [0, size]  | entries it has, over the largest even load `ceil(size / n)`             |
| below_floor      | (always) | {0, 1}     | it has fewer than `size // n` entries                                   |
| takes_ceiling    | (always) | {0, 1}     | it has `size // n` entries, and one of the `size % n` ceilings is left  |
| offset_0 .. 3    | offsets  | [0, 1)     | `(entry - hash_k) mod size / size`, the distance on the ring of entries |
| uniform          | hashes   | (0, 1]     | independent uniform score of (hash_1, its entry)                        |
| stratified       | hashes   | (0, 1]     | stratified score of its entry: over all, a permutation of the quantiles |
| rank             | hashes   | [0, 1)     | place of that score among the present at that entry / n, 0 the highest  |
| demand           | hashes   | [0, size]  | entries yet to give where it scores highest, over the largest even load |
| owned_entry      | stateful | {0, 1}     | it has its entry in the table in force                                  |
| was_present      | stateful | {0, 1}     | it is in the set of the table in force                                  |

Globals:

| Feature          | Group    | Range      | Meaning                                                                 |
|------------------|----------|------------|-------------------------------------------------------------------------|
| given            | (always) | [0, 1]     | entries given so far / size                                             |
| n                | (always) | [0, 1]     | present backends / slots                                                |
| ceilings         | (always) | [0, 1)     | `size % n / n`                                                          |
| ceilings_left    | (always) | [0, 1)     | ceilings not yet taken / n                                              |
| invalid          | (always) | [0, 1]     | entries given to no backend / size                                      |
| in_force         | stateful | {0, 1}     | there is a table in force                                               |
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.backends import HASHES
from envs.errors import RequestError, unknown_name
from envs.hash_scores import BLOCK, folded, scores_of_words, stratified_scores

FeatureGroups = Literal["all", "offsets", "hashes"]
Information = Literal["stateless", "stateful"]
Balance = Literal["mask", "reward"]
Validity = Literal["mask", "penalty"]
Order = Literal["entries", "pairs"]

BASE = ("present", "load", "below_floor", "takes_ceiling")
OFFSETS = ("offset_0", "offset_1", "offset_2", "offset_3")
SCORES = ("uniform", "stratified", "rank", "demand")
MEMORY = ("owned_entry", "was_present")
FEATURES = BASE + OFFSETS + SCORES
"""The per-backend features of `features="all"`, stateless: `observation.reshape(..., slots, len(FEATURES))`."""
GLOBALS = ("given", "n", "ceilings", "ceilings_left", "invalid")


def feature_names(features: FeatureGroups = "all", information: Information = "stateless") -> tuple[str, ...]:
    """The per-backend features, in the order in which each slot has them."""
    if features not in get_args(FeatureGroups):
        raise unknown_name("features", features, get_args(FeatureGroups))
    if information not in get_args(Information):
        raise unknown_name("information", information, get_args(Information))
    names: tuple[str, ...] = BASE
    names += OFFSETS if features in ("all", "offsets") else ()
    names += SCORES if features in ("all", "hashes") else ()
    return names + (MEMORY if information == "stateful" else ())


def global_names(information: Information = "stateless") -> tuple[str, ...]:
    """The global features, in their order."""
    return (*GLOBALS, "in_force") if information == "stateful" else GLOBALS


class PartialTables:
    """B tables on the way, each over its own present set; the entries are given in order, one of each table at a time.

    A slot is a place among the present backends, in the order of `str(id)`, padded to `slots`: a column number of the
    union would tell of the other set. With `roster=True` the slots are the columns themselves.

        tables = PartialTables(hashes, present, size)
        while tables.entry < size:
            tables.give(policy(tables.observe()))
        tables.table

    Args:
        hashes: uint64 (B, N, 4), columns sorted by identity.
        present: bool (B, N).
        size: entries of a table.
        slots: M, how many slots; None for N.
        features: which per-backend features `observe` has.
        balance: "mask" gives quotas (each load ends at floor or ceiling, exactly), "reward" gives none.
        validity: "mask" forbids absent slots, "penalty" lets them be chosen, for no backend.
        roster: slots are columns.
        information: "stateful" adds what the table in force tells.
        in_force: int (B, size), the table in force in columns, or None if there is none.
        in_force_set: bool (B, N), its set.

    Raises:
        RequestError: for more present backends than slots, an empty set (no action would be legal), unknown names.

    Attributes:
        entry: how many entries are given, which is the entry that comes next.
        last: the entries that were given last, one for all tables or int64 (B,).
        table: int32 (B, size), columns; -1 where no backend is, and where the entry is yet to come.
        slot_column: int (B, M), the column of each slot, -1 for an absent one.
        slot_present: bool (B, M).
        legal: bool (B, M), the slots that the next entry may go to; once the table is full, the present ones.
        uneven: int (B,), `sum(max(0, load - even load))`, loads and even loads sorted alike.
        invalid: int (B,), entries given to no backend.
    """

    def __init__(
        self,
        hashes: NDArray[np.uint64],
        present: NDArray[np.bool_],
        size: int,
        *,
        slots: int | None = None,
        features: FeatureGroups = "all",
        balance: Balance = "mask",
        validity: Validity = "mask",
        roster: bool = False,
        information: Information = "stateless",
        in_force: NDArray[np.integer] | None = None,
        in_force_set: NDArray[np.bool_] | None = None,
    ) -> None:
        for name, value, known in (("balance", balance, Balance), ("validity", validity, Validity)):
            if value not in get_args(known):
                raise unknown_name(name, value, get_args(known))
        self.names = feature_names(features, information)
        self.size, self.entry = size, 0
        self.last: NDArray[np.int64] | int = -1
        self._quotas, self._absent_legal = balance == "mask", validity == "penalty"
        self.slot_column = slot_columns(present, present.shape[1] if slots is None else slots, roster)
        self.slot_present = self.slot_column >= 0
        batch, slots = self.slot_present.shape
        n = self.slot_present.sum(axis=1, dtype=np.int64)
        if batch and not n.min():
            raise RequestError("a set must have at least one backend, but one is empty: no action would be legal")
        self.table = np.full((batch, size), -1, dtype=np.int32)
        self.uneven = np.zeros(batch, dtype=np.int64)
        self.invalid = np.zeros(batch, dtype=np.int64)
        self._rows = np.arange(batch)
        columns = np.where(self.slot_present, self.slot_column, 0)
        hashes = hashes[self._rows[:, None], columns]
        floor, self._ceilings_left = (size // n).astype(np.float32), (size % n).astype(np.float32)
        self._ceil = floor + (self._ceilings_left > 0)
        self._n = n.astype(np.float32)
        # By cell, which is a slot of a table, numbered through all tables: one index is read far faster than two.
        cells = batch * slots
        self._columns = columns.ravel().astype(np.int32)
        self._present = self.slot_present.ravel().astype(np.float32)
        self._load = np.zeros(cells, dtype=np.float32)
        self._floor = np.where(self.slot_present, floor[:, None], np.float32(-1)).ravel()  # absent: below any load
        self._below_floor = self._load < self._floor
        # The observation as it stands: what a step changes is written into it, and `observe` copies it.
        self._features = np.zeros((cells, len(self.names)), dtype=np.float32)
        self._feature = dict(zip(self.names, self._features.T, strict=True))
        self._feature["present"][:] = self._present
        self._feature["below_floor"][:] = self._below_floor
        self._globals = np.zeros((batch, len(global_names(information))), dtype=np.float32)
        self._globals[:, 1] = n / slots
        self._globals[:, 2] = self._ceilings_left / self._n
        self._in_force = None
        if information == "stateful" and in_force is not None and in_force_set is not None:
            self._in_force = in_force
            self._feature["was_present"][:] = (in_force_set[self._rows[:, None], columns] & self.slot_present).ravel()
            self._globals[:, 5] = 1
        if "offset_0" in self.names:
            places = (hashes % np.uint64(size)).astype(np.int32)
            self._places = np.ascontiguousarray(places.reshape(cells, HASHES).T)
        self._start(hashes)
        self._update_legal()

    def give(self, slots: NDArray[np.integer]) -> NDArray[np.int32]:
        """Gives the next entry of each table to a slot.

        Args:
            slots: int (B,) in [0, M). A slot that is not legal leaves the entry without a backend.

        Returns:
            int32 (B,): the columns that have the entry now, -1 for none.

        Raises:
            RequestError: for a slot out of range, or too many or too few of them.
        """
        try:
            cells = np.ravel_multi_index((self._rows, slots), self.slot_present.shape)
        except ValueError:
            raise RequestError(
                f"actions must be {len(self._rows)} slots in [0, {self.slot_present.shape[1]}), "
                f"but got {slots.min()} to {slots.max()} of shape {slots.shape}"
            ) from None
        entries = self._entries_of(cells)
        takes_ceiling = self._takes_ceiling[cells]
        even = placed = self._below_floor[cells] | takes_ceiling
        if not self._quotas:
            placed = self.slot_present.ravel()[cells]
            self.uneven += placed & ~even
        nowhere = ~placed
        self.invalid += nowhere
        self._ceilings_left -= takes_ceiling
        load = self._load[cells] + placed
        self._load[cells] = load
        self._feature["load"][cells] = load / self._ceil
        self._below_floor[cells] = self._feature["below_floor"][cells] = load < self._floor[cells]
        owners = self._columns[cells]
        owners[nowhere] = -1
        self.table[self._rows, entries] = owners
        if "stratified" in self.names:
            highest = self._highest[entries, self._rows]
            demand = self._demand[highest] - 1
            self._demand[highest] = demand
            self._feature["demand"][highest] = demand / self._ceil
        self.entry, self.last = self.entry + 1, entries
        self._note_given()
        self._update_legal()
        return owners

    def owned(self, table: NDArray[np.integer]) -> NDArray[np.bool_]:
        """bool (B, M): which slots have their entry in `table`, int (B, size) in columns."""
        return self._owners(table[:, self.entry % self.size][:, None])

    @property
    def given(self) -> NDArray[np.bool_]:
        """bool (B, size): the entries that are given."""
        return np.broadcast_to(np.arange(self.size) < self.entry, self.table.shape)

    def share_ahead(self, entries: NDArray[np.bool_]) -> NDArray[np.float64]:
        """float64 (B,): the share of `entries`, bool (B, size), among those that may be given next."""
        return entries[:, self.entry % self.size].astype(np.float64)

    def observe(self) -> dict[str, NDArray]:
        """What a policy reads before it gives the next entry; arrays of its own each time.

        Returns:
            "backends": float32 (B, M * F), the features of slot 0, then of slot 1, ...; "globals": float32 (B, G);
            "action_mask": int8 (B, M), `legal`. Of a full table the features of entry 0.
        """
        self._write_features()
        self._feature["takes_ceiling"][:] = self._takes_ceiling
        if self._in_force is not None:
            self._feature["owned_entry"][:] = self.owned(self._in_force).ravel()
        self._globals[:, 0] = self.entry / self.size
        np.divide(self._ceilings_left, self._n, out=self._globals[:, 3])
        self._globals[:, 4] = self.invalid / self.size
        return {
            "backends": self._features.copy().reshape(len(self._rows), -1),
            "globals": self._globals.copy(),
            "action_mask": self.legal.astype(np.int8),
        }

    def _owners(self, columns: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which slots are the columns int (B, M) or (B, 1): bool (B, M), all False for -1 and for absent ones."""
        return (self._columns.reshape(self.slot_present.shape) == columns) & self.slot_present

    def _start(self, hashes: NDArray[np.uint64]) -> None:
        """Computes what the hashes uint64 (B, M, 4) of the slots tell before anything is given."""
        if "stratified" in self.names:
            self._start_scores(hashes)
        self._ahead = range(0)

    def _entries_of(self, cells: NDArray[np.int64]) -> NDArray[np.int64] | int:
        return self.entry

    def _note_given(self) -> None:
        """Called once entries are given, `last` are they, and `entry` counts them."""

    def _write_features(self) -> None:
        """Writes the features that are of a slot's entry."""
        entry = self.entry % self.size
        if entry not in self._ahead:
            self._look_ahead(entry)
        for feature, values in self._by_entry:
            feature[:] = values[entry - self._ahead.start]

    def _start_scores(self, hashes: NDArray[np.uint64]) -> None:
        batch, slots = self.slot_present.shape
        self._word = folded(hashes[..., 1]).ravel()
        place, n = np.arange(slots, dtype=np.float32), self._n[:, None]
        self._rank_at = np.where(place < n, place / n, 0).ravel()  # absent slots score lowest
        # By entry first, so that a step reads one block of memory; some tables at a time, so that the cache holds them.
        self._scores = np.empty((self.size, batch, slots), dtype=np.float32)
        self._highest = np.empty((self.size, batch), dtype=np.int64)
        block = max(1, BLOCK // (slots * self.size))
        for start in range(0, batch, block):
            some = slice(start, start + block)
            here = self.slot_present[some]
            scores = np.zeros((*here.shape, self.size), dtype=np.float32)
            scores[here] = stratified_scores(hashes[some][here], self.size)
            self._scores[:, some] = np.moveaxis(scores, -1, 0)
            self._highest[:, some] = self._scores[:, some].argmax(axis=-1)
        self._highest += slots * self._rows
        self._demand = np.bincount(self._highest.ravel(), minlength=batch * slots).astype(np.float32)
        if "demand" in self.names:
            self._feature["demand"][:] = self._demand / np.repeat(self._ceil, slots)

    def _look_ahead(self, start: int) -> None:
        """Computes the features that no action changes, of as many entries from `start` on as the cache holds."""
        stop = min(start + max(1, BLOCK // len(self._load)), self.size)
        if self.entry == self.size:
            stop = 1  # of a full table nothing but entry 0 is seen
        self._ahead = range(start, stop)
        self._by_entry: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        entries = np.arange(start, stop, dtype=np.int32)[:, None]
        if "offset_0" in self.names:
            for word, places in enumerate(self._places):
                offset = entries - places
                offset += (offset >> np.int32(31)) & np.int32(self.size)  # size where negative: modulo with no division
                values = offset.astype(np.float32)
                values *= self._present
                values /= np.float32(self.size)
                self._by_entry.append((self._feature[f"offset_{word}"], values))
        if "stratified" in self.names:
            scores = self._scores[start:stop]
            uniform = scores_of_words(self._word, entries)
            uniform *= self._present
            for name, values in (("uniform", uniform), ("stratified", scores), ("rank", self._ranks(scores))):
                self._by_entry.append((self._feature[name], values.reshape(len(entries), -1)))

    def _ranks(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        # Positive floats are ordered as their bits are, so one integer sort of (score, place) pairs yields the order.
        keys = (~scores.view(np.uint32)).astype(np.uint64)
        keys <<= np.uint64(32)
        keys |= np.arange(keys.size, dtype=np.uint64).reshape(keys.shape)
        keys.sort(axis=-1)
        keys &= np.uint64(0xFFFFFFFF)
        ranks = np.empty(keys.size, dtype=np.float32)
        ranks[keys.view(np.int64).ravel()] = np.tile(self._rank_at, len(keys))
        return ranks

    def _update_legal(self) -> None:
        shape = self.slot_present.shape
        at_floor = (self._load == self._floor).reshape(shape)
        at_floor &= (self._ceilings_left > 0)[:, None]
        self._takes_ceiling = at_floor.ravel()
        legal = self.slot_present
        if self._quotas and self.entry < self.size:  # once nothing is left to give, a policy may still be asked
            legal = (self._below_floor | self._takes_ceiling).reshape(shape)
        self.legal = legal | ~self.slot_present if self._absent_legal else legal


class PairTables(PartialTables):
    """`PartialTables` in which the policy also chooses which entry is next: a slot is given the free entry it scores
    highest (stratified), so an action names a (backend, entry) pair. Absent slots are given the lowest free entry.

    The policy that takes the legal slot with the highest `stratified` builds the tables of `balanced-stratified`.
    `entry` counts the entries given; the arguments and the other attributes are those of `PartialTables`.
    """

    def owned(self, table: NDArray[np.integer]) -> NDArray[np.bool_]:
        return self._owners(np.take_along_axis(table, self._entry.reshape(self.slot_present.shape), axis=1))

    @property
    def given(self) -> NDArray[np.bool_]:
        return ~self._free

    def share_ahead(self, entries: NDArray[np.bool_]) -> NDArray[np.float64]:
        ahead = self._free if self.entry < self.size else ~self._free
        return np.asarray((entries & ahead).sum(axis=1) / ahead.sum(axis=1))

    def _start(self, hashes: NDArray[np.uint64]) -> None:
        self._start_scores(hashes)
        cells = self.slot_present.size
        self._cells = np.arange(cells)
        self._row = np.repeat(self._rows, self.slot_present.shape[1])
        ranks = self._ranks(self._scores).reshape(self.size, cells)
        self._ranks_of, self._scores_of = (
            np.ascontiguousarray(x.reshape(self.size, cells).T) for x in (ranks, self._scores)
        )
        self._by_score = np.argsort(-self._scores_of, axis=1, kind="stable")
        self._next = np.zeros(cells, dtype=np.int64)
        self._entry = self._by_score[:, 0].copy()
        self._free = np.ones((len(self._rows), self.size), dtype=np.bool_)

    def _entries_of(self, cells: NDArray[np.int64]) -> NDArray[np.int64] | int:
        return self._entry[cells]

    def _note_given(self) -> None:
        self._free[self._rows, self.last] = False
        if self.entry == self.size:
            self._entry[:] = 0  # of a full table nothing but entry 0 is seen
            return
        moving = np.flatnonzero(~self._free[self._row, self._entry])
        while len(moving):
            self._next[moving] += 1
            self._entry[moving] = self._by_score[moving, self._next[moving]]
            moving = moving[~self._free[self._row[moving], self._entry[moving]]]

    def _write_features(self) -> None:
        entry = self._entry
        if "offset_0" in self.names:
            for word, places in enumerate(self._places):
                offset = ((entry - places) % self.size).astype(np.float32) * self._present / np.float32(self.size)
                self._feature[f"offset_{word}"][:] = offset
        if "stratified" in self.names:
            self._feature["uniform"][:] = scores_of_words(self._word, entry) * self._present
            self._feature["stratified"][:] = self._scores_of[self._cells, entry]
            self._feature["rank"][:] = self._ranks_of[self._cells, entry]


TABLES: dict[Order, type[PartialTables]] = {"entries": PartialTables, "pairs": PairTables}
"""The order in which entries are given out -> the tables that are given out so."""


def slot_columns(present: NDArray[np.bool_], slots: int, roster: bool = False) -> NDArray[np.int64]:
    """The column of each slot.

    Args:
        present: bool (B, N), columns sorted by identity.
        slots: M.
        roster: whether slots are columns, present or not; otherwise present columns are packed to the front.

    Returns:
        int64 (B, M), -1 for absent slots.

    Raises:
        RequestError: for more backends than slots.
    """
    columns = present.shape[1]
    if roster:
        if columns != slots:
            raise RequestError(f"a roster of {slots} slots needs {slots} columns, but got {columns}")
        return np.where(present, np.arange(columns), -1)
    most = int(present.sum(axis=1).max(initial=0))
    if most > slots:
        raise RequestError(f"a set must have at most {slots} backends (max_backends), but one has {most}")
    packed = np.sort(np.where(present, np.arange(columns), columns), axis=1)[:, :slots]
    packed[packed == columns] = -1
    return np.pad(packed, ((0, 0), (0, slots - packed.shape[1])), constant_values=-1)

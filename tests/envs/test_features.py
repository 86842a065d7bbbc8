"""What a policy reads: a function of the present set, the size and the entries given, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from envs import features, hash_scores
from envs.errors import RequestError
from envs.features import (
    FEATURES,
    GLOBALS,
    PairTables,
    PartialTables,
    feature_names,
    global_names,
    slot_columns,
)
from envs.hash_scores import stratified_scores, uniform_scores
from envs.scenarios import ScenarioConfig, churn_batch, sample_batch, stream
from envs.scoring import churn_ratio, table_scores, transition_scores

SIZE = 47


def follow(tables: PartialTables, feature: str) -> np.ndarray:
    """The tables of a policy that gives each entry to the legal slot with the highest value of one feature."""
    place = tables.names.index(feature)
    while tables.entry < tables.size:
        observation = tables.observe()
        score = observation["backends"].reshape(len(tables.table), -1, len(tables.names))[..., place]
        tables.give(np.where(observation["action_mask"] == 1, score, -1).argmax(axis=1))
    return tables.table


def test_the_best_pair_first_is_balanced_stratified_rendezvous() -> None:
    """What a policy begins from where it chooses the pairs: the table of the best simple builder, entry by entry."""
    batch = sample_batch(ScenarioConfig(size=SIZE), 40, stream("test", 21))
    tables = follow(PairTables(batch.hashes, batch.before, SIZE, features="hashes"), "stratified")
    scores = stratified_scores(batch.hashes, SIZE)
    for row, present in enumerate(batch.before):
        columns = np.flatnonzero(present)
        floor, pool = divmod(SIZE, len(columns))
        expected = np.full(SIZE, -1)
        load = dict.fromkeys(columns.tolist(), 0)
        # The slow way: all pairs, the best first, under floor and ceiling.
        pairs = [(-scores[row, b, e], b, e) for b in columns.tolist() for e in range(SIZE)]
        for _, b, e in sorted(pairs):
            ceilings = pool - sum(x > floor for x in load.values())
            if expected[e] < 0 and (load[b] < floor or (load[b] == floor and ceilings > 0)):
                expected[e] = b
                load[b] += 1
        assert tables[row].tolist() == expected.tolist()


def test_names_follow_the_options() -> None:
    assert feature_names() == FEATURES
    assert len(feature_names("offsets")) == 8
    assert len(feature_names("hashes")) == 8
    assert feature_names("offsets", "stateful")[-2:] == ("owned_entry", "was_present")
    assert global_names() == GLOBALS
    with pytest.raises(RequestError, match="Did you mean 'offsets'"):
        feature_names("offset")  # type: ignore[arg-type]


def test_every_feature_is_what_the_table_of_features_says() -> None:
    """A slow reference in plain Python, backend by backend."""
    size = 11
    batch = sample_batch(ScenarioConfig(size=size, n_before=(2, 11), n_after=(1, 11)), 3, stream("test", 13))
    tables = PartialTables(batch.hashes, batch.before, size)
    rng = np.random.default_rng(0)
    stratified = stratified_scores(batch.hashes, size)
    given: list[list[int]] = [[], [], []]
    for entry in range(size):
        observation = tables.observe()
        for row in range(3):
            present = np.flatnonzero(batch.before[row]).tolist()
            n, (floor, over) = len(present), divmod(size, len(present))
            ceiling = floor + (over > 0)
            best = [max(present, key=lambda b, e=e, row=row: stratified[row, b, e]) for e in range(size)]
            left = over - sum(given[row].count(b) > floor for b in present)
            for slot, b in enumerate(present):
                load = given[row].count(b)
                expected = {
                    "present": 1,
                    "load": load / ceiling,
                    "below_floor": load < floor,
                    "takes_ceiling": load == floor and left > 0,
                    **{f"offset_{k}": (entry - int(batch.hashes[row, b, k])) % size / size for k in range(4)},
                    "uniform": uniform_scores(batch.hashes[row, b], entry),
                    "stratified": stratified[row, b, entry],
                    "rank": sum(stratified[row, c, entry] > stratified[row, b, entry] for c in present) / n,
                    "demand": best[entry:].count(b) / ceiling,
                }
                seen = observation["backends"][row].reshape(-1, len(FEATURES))[slot]
                assert seen.tolist() == [np.float32(expected[name]) for name in FEATURES]
                assert observation["action_mask"][row, slot] == (expected["below_floor"] or expected["takes_ceiling"])
            assert not observation["backends"][row].reshape(-1, len(FEATURES))[n:].any()
            expected_globals = [entry / size, n / batch.before.shape[1], over / n, left / n, 0]
            assert observation["globals"][row].tolist() == [np.float32(value) for value in expected_globals]
        slots = np.array([rng.choice(np.flatnonzero(mask)) for mask in observation["action_mask"]])
        for row, column in enumerate(tables.give(slots).tolist()):
            given[row].append(column)


def test_a_policy_that_follows_the_scores_has_the_known_churn() -> None:
    """FACTS: entries served in fixed order under quotas come to 1.69, and to 1.62 with stratified scores."""
    batch = sample_batch(ScenarioConfig(), 600, stream("test", 14))
    for feature, low, high in (("stratified", 1.57, 1.67), ("uniform", 1.65, 1.78)):
        first, second = (follow(PartialTables(batch.hashes, s, SIZE), feature) for s in (batch.before, batch.after))
        for table, present in ((first, batch.before), (second, batch.after)):
            scores = table_scores(table, present)
            assert scores.spread.max() <= 1
            assert scores.invalid.max() == 0
        moves = transition_scores(first, second, batch.before, batch.after)
        ratio = churn_ratio(moves.changed, moves.optimum)
        assert ratio is not None
        assert low < ratio < high


def test_neither_columns_nor_slots_nor_the_batch_change_a_bit() -> None:
    batch = churn_batch(13, 6, 4, stream("test", 15))
    wide = PartialTables(batch.hashes, batch.after, 13, slots=9)
    for row in range(4):
        here = batch.after[row]
        alone = PartialTables(batch.hashes[row : row + 1, here], np.ones((1, 5), dtype=bool), 13, slots=9)
        wide_row = PartialTables(batch.hashes[row : row + 1], batch.after[row : row + 1], 13, slots=9)
        for _ in range(13):
            slot = int(np.flatnonzero(alone.observe()["action_mask"][0])[-1])
            for name, seen in alone.observe().items():
                np.testing.assert_array_equal(seen, wide_row.observe()[name])
            alone.give(np.array([slot]))
            wide_row.give(np.array([slot]))
        np.testing.assert_array_equal(np.flatnonzero(here)[alone.table[0]], wide_row.table[0])
    assert wide.observe()["backends"].shape == (4, 9 * len(FEATURES))


def test_how_much_is_computed_at_once_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = sample_batch(ScenarioConfig(size=11, n_before=(2, 11), n_after=(1, 11)), 3, stream("test", 17))
    seen = []
    for block in (1, 100, 2**16):  # one entry of one table, three entries of all tables, everything
        for module in (features, hash_scores):
            monkeypatch.setattr(module, "BLOCK", block)
        tables = PartialTables(batch.hashes, batch.before, 11)
        frames = []
        for _ in range(11):
            frames.append(tables.observe())
            tables.give(frames[-1]["action_mask"].argmax(axis=1))
        seen.append([*frames, tables.observe()])
    for first, *others in zip(*seen, strict=True):
        for other in others:
            for name in first:
                np.testing.assert_array_equal(first[name], other[name])


def test_a_slot_out_of_range_is_refused_and_gives_nothing() -> None:
    batch = churn_batch(7, 3, 2, stream("test", 18))
    tables = PartialTables(batch.hashes, batch.before, 7)
    for slots in ([0, 3], [-1, 0], [0, 1, 2]):
        with pytest.raises(RequestError, match=r"2 slots in \[0, 3\)"):
            tables.give(np.array(slots))
    assert tables.entry == 0


def test_a_roster_slot_is_its_column() -> None:
    present = np.array([[False, True, False, True]])
    assert slot_columns(present, 4, roster=True).tolist() == [[-1, 1, -1, 3]]
    assert slot_columns(present, 3).tolist() == [[1, 3, -1]]
    with pytest.raises(RequestError, match="max_backends"):
        slot_columns(present, 1)
    with pytest.raises(RequestError, match="columns"):
        slot_columns(present, 3, roster=True)


def test_an_empty_set_has_no_legal_action_and_is_refused() -> None:
    batch = churn_batch(7, 3, 1, stream("test", 16))
    with pytest.raises(RequestError, match="no action would be legal"):
        PartialTables(batch.hashes, np.zeros((1, 3), dtype=bool), 7)
    with pytest.raises(RequestError, match="unknown balance 'masks'"):
        PartialTables(batch.hashes, batch.before, 7, balance="masks")  # type: ignore[arg-type]

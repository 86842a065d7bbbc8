"""Decoders: what a table from scores always holds, whatever the weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.scenarios import ScenarioConfig, sample_batch
from envs.scoring import table_scores, transition_scores
from lab.tables.networks import EquivariantOptions, EquivariantScorer, NotebookNetwork, NotebookOptions
from lab.tables.scored import ScoredTables, compact, decode, slots_of

SIZE = 13


def tables_of(decoder: str, *, network: str = "equivariant", seed: int = 0, **shape) -> ScoredTables:
    if network == "notebook":
        scorer = NotebookNetwork(NotebookOptions(size=SIZE, decoder=decoder))
    else:
        scorer = EquivariantScorer(EquivariantOptions(decoder=decoder, **shape))
    scorer.initialise(torch.Generator().manual_seed(seed))
    return ScoredTables(scorer, decoder)


def scenarios(seed: int, count: int = 4):
    config = ScenarioConfig(size=SIZE, n_before=(1, SIZE), n_after=(1, SIZE), max_delta=SIZE)
    return sample_batch(config, count, np.random.default_rng(seed))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(["notebook", "equivariant"]), st.booleans())
def test_balanced_tables_are_valid_and_even_to_one_entry(seed, network, sees_set):
    shape = {} if network == "notebook" else {"sees_set": sees_set}
    tables, batch = tables_of("balanced", network=network, seed=seed, **shape), scenarios(seed)
    assert tables.exact
    scores = table_scores(tables.build_batch(batch.hashes, batch.before, SIZE), batch.before)
    assert scores.invalid.max() == 0
    assert scores.imbalance.max() == 0
    assert scores.spread.max() <= 1


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_ranking_moves_no_entry_needlessly(seed):
    tables, batch = tables_of("ranking", seed=seed), scenarios(seed)
    before, after = (tables.build_batch(batch.hashes, there, SIZE) for there in (batch.before, batch.after))
    assert table_scores(before, batch.before).invalid.max() == 0
    assert transition_scores(before, after, batch.before, batch.after).excess.max() == 0
    assert not tables.exact


@pytest.mark.parametrize("network", ["notebook", "equivariant"])
def test_argmax_may_name_an_empty_slot_and_then_the_entry_has_no_backend(network):
    tables, batch = tables_of("argmax", network=network), scenarios(3, count=32)
    table = tables.build_batch(batch.hashes, batch.before, SIZE)
    scores = table_scores(table, batch.before)
    assert scores.invalid.max() > 0
    named = np.take_along_axis(batch.before, np.maximum(table, 0).astype(np.int64), axis=1)
    assert named[table >= 0].all(), "absent columns are never named: the network does not know them"


@pytest.mark.parametrize("decoder", ["argmax", "ranking", "balanced"])
def test_a_table_is_a_function_of_the_present_set_alone(decoder):
    tables, batch = tables_of(decoder), scenarios(5, count=16)
    together = tables.build_batch(batch.hashes, batch.before, SIZE)
    for row in range(len(batch)):
        columns = np.flatnonzero(batch.before[row])
        alone = tables.build_batch(batch.hashes[row : row + 1, columns], np.ones((1, len(columns)), dtype=bool), SIZE)
        np.testing.assert_array_equal(np.append(columns, -1)[alone[0]], together[row])


def test_equal_scores_go_by_identity():
    scores, present = np.zeros((1, 4, 3)), np.array([[True, True, False]])
    np.testing.assert_array_equal(decode(scores, present, "argmax"), [[0, 0, 0, 0]])
    np.testing.assert_array_equal(decode(scores, present, "ranking"), [[0, 0, 0, 0]])
    np.testing.assert_array_equal(decode(scores, present, "balanced"), [[0, 0, 1, 1]])


def test_noise_of_floating_point_decides_no_entry():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (8, SIZE, 6)).astype(float)
    present = np.ones((8, 6), dtype=bool)
    for decoder in ("argmax", "ranking", "balanced"):
        noisy = decode(scores + rng.normal(0, 1e-12, scores.shape), present, decoder)
        np.testing.assert_array_equal(noisy, decode(scores, present, decoder))


def test_slots_hold_the_present_columns_in_order():
    present = np.array([[False, True, False, True], [False, False, False, False]])
    slots = slots_of(present, 3)
    np.testing.assert_array_equal(slots, [[1, 3, -1], [-1, -1, -1]])
    hashes = np.arange(1, 33, dtype=np.uint64).reshape(2, 4, 4)
    keys, there = compact(hashes, slots)
    np.testing.assert_array_equal(keys[0, :2], hashes[0, [1, 3]])
    assert not keys[~there].any()
    np.testing.assert_array_equal(there, [[True, True, False], [False, False, False]])
    np.testing.assert_array_equal(slots_of(present, 6)[0], [1, 3, -1, -1, -1, -1])


@pytest.mark.parametrize("decoder", ["argmax", "ranking", "balanced"])
def test_no_backend_and_no_column_give_entries_without_a_backend(decoder):
    tables = tables_of(decoder)
    assert (tables.build_batch(np.zeros((2, 3, 4), np.uint64), np.zeros((2, 3), bool), SIZE) == -1).all()
    assert (tables.build_batch(np.zeros((2, 0, 4), np.uint64), np.zeros((2, 0), bool), SIZE) == -1).all()

"""The greedy assignment, against the rule written out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.tables.greedy import assign, assign_batch, assign_streaming, quotas
from lab.tables.hashing import independent_scores, stratified_scores


def slow_assign(scores: list[list[float]], rooms: list[int], pool: int) -> list[int]:
    """Walks the pairs from the highest score: free entry, and below the quota or at it while the pool lasts."""
    n, size = len(scores), len(scores[0])
    pairs = sorted((-scores[b][e], b, e) for b in range(n) for e in range(size))
    table, load = [-1] * size, [0] * n
    for _, backend, entry in pairs:
        if table[entry] != -1:
            continue
        if load[backend] < rooms[backend] or (load[backend] == rooms[backend] and pool > 0):
            pool -= load[backend] == rooms[backend]
            table[entry] = backend
            load[backend] += 1
    return table


@given(st.data(), st.integers(1, 6), st.integers(1, 20))
def test_assign_is_the_rule_also_where_scores_are_equal(data: st.DataObject, n: int, size: int):
    # Few values, so that ties are common.
    values = data.draw(st.lists(st.integers(0, 9), min_size=n * size, max_size=n * size))
    scores = np.array(values).reshape(n, size)
    rooms = np.array(data.draw(st.lists(st.integers(0, size), min_size=n, max_size=n)))
    pool = data.draw(st.integers(0, n))
    expected = slow_assign(scores.tolist(), rooms.tolist(), pool)
    assert assign(scores.astype(np.uint64), rooms, pool).tolist() == expected
    assert assign(scores.astype(np.float64), rooms, pool).tolist() == expected


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(1, 700),
    st.sampled_from([independent_scores, stratified_scores]),
)
def test_passes_over_few_pairs_give_the_table_of_one_walk(seed, n, size, pairs_at_once, pair_scores):
    hashes = np.random.default_rng(seed).integers(0, 2**64, (n, 4), dtype=np.uint64)
    rooms, pools = quotas(np.ones((1, n), dtype=bool), size, None)
    whole = assign(pair_scores(hashes, size), rooms[0], int(pools[0]))
    passes = assign_streaming(hashes, pair_scores, size, rooms[0], int(pools[0]), pairs_at_once)
    np.testing.assert_array_equal(passes, whole)
    assert whole.tolist() == slow_assign(pair_scores(hashes, size).tolist(), rooms[0].tolist(), int(pools[0]))


def test_passes_end_where_the_quotas_do_not_reach_for_all_entries():
    hashes = np.random.default_rng(0).integers(0, 2**64, (3, 4), dtype=np.uint64)
    table = assign_streaming(hashes, independent_scores, 50, np.array([1, 2, 3]), 1, 10)
    assert np.bincount(table + 1, minlength=4)[0] == 43


def test_a_batch_is_its_rows_and_absent_columns_do_not_count():
    rng = np.random.default_rng(0)
    present = rng.random((40, 9)) < 0.6
    present[0] = False
    scores = rng.normal(size=(40, 9, 23))
    tables = assign_batch(scores, present)
    assert (tables[0] == -1).all()
    for row in range(1, 40):
        columns = np.flatnonzero(present[row])
        n = len(columns)
        alone = slow_assign(scores[row, columns].tolist(), [23 // n] * n, 23 % n)
        np.testing.assert_array_equal(tables[row], columns[alone])

"""The stateful optimum: no table as even changes less, from any table in force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.scoring import score_table, score_transition, table_scores, transition_scores
from lab.errors import RequestError
from lab.tables import build, least_moves, least_moves_batch, names


@given(st.data(), st.integers(1, 6), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_no_even_table_changes_less(data: st.DataObject, size: int, columns: int):
    table = np.array(data.draw(st.lists(st.integers(-1, columns - 1), min_size=size, max_size=size)))
    after = np.array(data.draw(st.lists(st.booleans(), min_size=columns, max_size=columns).filter(any)))
    chosen = least_moves_batch(table[None], after[None])
    every = np.array(list(product(np.flatnonzero(after), repeat=size)))
    even = every[table_scores(every, np.tile(after, (len(every), 1))).spread <= 1]
    assert (chosen[0] != table).sum() == (even != table).sum(axis=1).min()
    assert table_scores(chosen, after[None]).spread <= 1


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 8))
@settings(deadline=None, max_examples=60)
def test_where_backends_only_join_the_score_optimum_is_attained_at_each_step(seed: int, size: int, columns: int):
    rank = np.random.default_rng(seed).permutation(columns)
    before = (rank < 1)[None]
    table = least_moves_batch(np.full((1, size), -1), before)
    for count in range(2, columns + 1):
        after = (rank < count)[None]
        following = least_moves_batch(table, after)
        assert transition_scores(table, following, before, after).regret == pytest.approx(0, abs=1e-12)
        table, before = following, after


def test_weights_are_met_and_what_need_not_move_stays():
    ids = ["a", "b", "c"]
    before = build("balanced", ids, 40)
    after = least_moves(before, ids, ids, [1, 2, 1])
    assert np.bincount(after).tolist() == [10, 20, 10]
    moved = before != after
    assert (after[moved] == 1).all()


def test_the_order_in_which_backends_are_given_does_not_matter():
    ids, later = ["d", "a", "c", "b"], ["e", "a", "d"]
    one = least_moves(build("maglev", ids, 13), ids, later)
    two = least_moves(build("maglev", ids[::-1], 13), ids[::-1], later[::-1])
    assert [later[i] for i in one] == [later[::-1][i] for i in two]
    assert score_table(one, later).spread == 1
    assert score_transition(build("maglev", ids, 13), ids, one, later).regret == pytest.approx(0)


def test_nobody_left_is_a_table_of_none():
    assert least_moves([0, 1, 0], ["a", "b"], []).tolist() == [-1] * 3


def test_it_is_not_taken_for_a_stateless_builder():
    assert "stateful-optimum" not in names()
    with pytest.raises(RequestError, match="needs the table in force"):
        build("stateful-optimum", ["a"], 7)


@pytest.mark.parametrize(
    ("table", "before", "after", "weights"),
    [
        ([0, 2], ["a", "b"], ["a"], None),
        ([[0]], ["a"], ["a"], None),
        ([0, 1], ["a", "a"], ["a"], None),
        ([0, 1], ["a", "b"], ["a", "a"], None),
        ([0, 1], ["a", "b"], ["a", "b"], [1.0]),
        ([0, 1], ["a", "b"], ["a", "b"], [1.0, float("nan")]),
        ([0, 1], ["a", "b"], ["a", "b"], [0.0, 0.0]),
    ],
)
def test_wrong_requests_are_refused(table, before, after, weights):
    with pytest.raises(RequestError):
        least_moves(table, before, after, weights)

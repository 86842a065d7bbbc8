"""The diff of two tables: by identity, with every score, whatever the order of the backends in the files."""

import json

import numpy as np
import pytest

from envs.scoring import score_table, score_transition
from lab.errors import RequestError
from lab.table_diff import diff
from lab.table_files import Backends, TableDocument, build_table


def table(keys: str, entries: list[int], weights: tuple[float, ...] | None = None) -> TableDocument:
    return TableDocument("modulo", 1, Backends(tuple(keys), weights), np.array(entries, dtype=np.int32))


def test_what_each_backend_lost_and_gained():
    result = diff(table("abc", [0, 1, 2, 0, 1]), table("dab", [1, 0, 2, 2, 2]))
    changes = {change.key: change for change in result.backends}
    assert {key: change.state for key, change in changes.items()} == {
        "a": "stays",
        "b": "stays",
        "c": "leaves",
        "d": "joins",
    }
    assert (changes["a"].lost, changes["a"].gained) == ([3], [])
    assert (changes["b"].lost, changes["b"].gained) == ([1], [2, 3])
    assert (changes["c"].lost, changes["c"].gained) == ([2], [])
    assert (changes["d"].lost, changes["d"].gained) == ([], [1])
    assert [(changes[key].load_before, changes[key].load_after) for key in "abcd"] == [(2, 1), (2, 3), (1, 0), (0, 1)]
    assert result.backends[0].key == "b", "those with most moves come first"
    assert result.transition.changed == pytest.approx(3 / 5)
    assert result.transition.forced == pytest.approx(2 / 5)
    assert result.transition.excess == pytest.approx(1 / 5)


def test_the_scores_are_those_of_the_lab():
    before = build_table("maglev", 47, Backends(tuple("fedcba")))
    after = build_table("balanced", 47, Backends(tuple("abdef")))
    result = diff(before, after)
    assert result.before == score_table(before.entries, before.backends.keys)
    assert result.after == score_table(after.entries, after.backends.keys)
    assert result.transition == score_transition(
        before.entries, before.backends.keys, after.entries, after.backends.keys
    )
    assert json.loads(json.dumps(result.to_json()))["transition"]["changed"] == result.transition.changed


def test_listing_the_backends_in_another_order_changes_nothing():
    one, two = (build_table("balanced", 47, Backends(keys)) for keys in (("a", "b", "c"), ("c", "b", "a")))
    assert diff(one, two).transition.changed == 0


def test_a_drained_backend_leaves_so_that_its_entries_are_forced():
    keys = tuple("abcd")
    before = build_table("rendezvous", 47, Backends(keys))
    after = build_table("rendezvous", 47, Backends(keys, (1.0, 1.0, 0.0, 1.0)))
    result = diff(before, after)
    assert result.transition.excess == 0
    assert result.transition.changed == result.transition.forced > 0
    assert {change.key: change.state for change in result.backends}["c"] == "leaves"
    assert result.after.invalid == 0
    still_served = diff(before, TableDocument("rendezvous", 1, after.backends, before.entries))
    assert still_served.transition.changed == 0
    assert still_served.after.invalid == pytest.approx((before.entries == 2).mean())


def test_with_weights_the_optimum_is_that_of_their_even_loads():
    before = table("ab", [0, 0, 0, 1], (3.0, 1.0))
    after = table("ab", [0, 1, 1, 1], (1.0, 3.0))
    result = diff(before, after)
    assert result.transition.optimum == pytest.approx(0.5)
    assert result.transition.regret == pytest.approx(0.0)
    assert (result.before.imbalance, result.after.imbalance) == (0, 0)


def test_from_nothing_to_something_and_back():
    nothing, something = table("", [-1, -1]), table("a", [0, 0])
    assert diff(nothing, something).transition.forced == 1
    assert diff(something, nothing).transition.changed == 1
    assert diff(nothing, nothing).transition.changed == 0
    assert diff(table("a", [0, -1]), something).before.invalid == 0.5


def test_tables_of_two_sizes_are_refused():
    with pytest.raises(RequestError, match="one size, but got 2 and 3"):
        diff(table("a", [0, 0]), table("a", [0, 0, 0]))

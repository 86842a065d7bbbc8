"""Scores against a slow, obvious reference that speaks of identities; the optimum against brute force."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import RequestError
from envs.scoring import (
    churn_ratio,
    even_loads,
    loads,
    optimal_change,
    score_table,
    score_transition,
    table_scores,
    transition_scores,
)

IDS = ["a", "b", "c", "d", "e"]


def slow_even_loads(names: list[str], size: int, weights: dict[str, float] | None) -> dict[str, int]:
    share = {name: Fraction(weights[name] if weights else 1) for name in sorted(names)}
    exact = {name: size * w / sum(share.values()) for name, w in share.items()}
    result = {name: int(quota) for name, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (result[name] - exact[name], name))
    for name in by_remainder[: size - sum(result.values())]:
        result[name] += 1
    return result


def slow_table(owners: list[str | None], names: list[str]) -> dict[str, float]:
    size = len(owners)
    load = {name: owners.count(name) for name in names}
    invalid = sum(1 for owner in owners if (owner not in names if owner is not None else len(names) > 0))
    if not names:
        return {"invalid": invalid / size, "spread": 0.0, "max_over_mean": 0.0, "imbalance": 0.0}
    even = sorted(slow_even_loads(names, size, None).values())
    return {
        "invalid": invalid / size,
        "spread": max(load.values()) - min(load.values()),
        "max_over_mean": max(load.values()) / (size / len(names)),
        "imbalance": sum(max(0, have - want) for have, want in zip(sorted(load.values()), even, strict=True)) / size,
    }


def slow_transition(was: list[str | None], now: list[str | None], a: list[str], b: list[str]) -> dict[str, float]:
    changed = [(old, new) for old, new in zip(was, now, strict=True) if old != new]
    left, joined = set(a) - set(b), set(b) - set(a)
    forced = [1 for old, new in changed if old in left or new in joined]
    size = len(was)
    return {
        "changed": len(changed) / size,
        "forced": len(forced) / size,
        "excess": (len(changed) - len(forced)) / size,
    }


def owners(size: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(-1, len(IDS) - 1), min_size=size, max_size=size)


subsets = st.lists(st.booleans(), min_size=len(IDS), max_size=len(IDS))


@given(st.integers(1, 9).flatmap(lambda size: st.tuples(owners(size), owners(size))), subsets, subsets)
@settings(max_examples=150, deadline=None)
def test_scores_equal_the_slow_reference(tables: tuple[list[int], list[int]], a: list[bool], b: list[bool]) -> None:
    here, there = np.array([a]), np.array([b])
    first, second = np.array([tables[0]]), np.array([tables[1]])
    names_a, names_b = ([name for name, is_in in zip(IDS, flags, strict=True) if is_in] for flags in (a, b))
    was, now = ([IDS[entry] if entry >= 0 else None for entry in table] for table in tables)

    scores = table_scores(first, here)
    for name, value in slow_table(was, names_a).items():
        assert getattr(scores, name)[0] == pytest.approx(value), name
    moves = transition_scores(first, second, here, there)
    for name, value in slow_transition(was, now, names_a, names_b).items():
        assert getattr(moves, name)[0] == pytest.approx(value), name
    assert moves.regret[0] == pytest.approx(moves.changed[0] - moves.optimum[0])


def hand_outs(names: list[str], size: int, weights: dict[str, int] | None) -> set[tuple[int, ...]]:
    """Every way to give each of `names` its even load: who of its equals gets the larger one is free."""
    if weights is None:
        floor, ceiling = size // len(names), -(-size // len(names))
        return {ways for ways in itertools.product({floor, ceiling}, repeat=len(names)) if sum(ways) == size}
    even = slow_even_loads(names, size, weights)
    classes = {weight: [name for name in names if weights[name] == weight] for weight in set(weights.values())}
    ways = set()
    for orders in itertools.product(*(itertools.permutations(equals) for equals in classes.values())):
        quota = {
            name: even[stand_in]
            for equals, order in zip(classes.values(), orders, strict=True)
            for name, stand_in in zip(equals, order, strict=True)
        }
        ways.add(tuple(quota[name] for name in names))
    return ways


@given(data=st.data(), weighted=st.booleans())
@settings(max_examples=300, deadline=None)
def test_imbalance_is_the_distance_to_the_nearest_even_table(data: st.DataObject, weighted: bool) -> None:
    """Else a table that is perfectly even, but not in the order of the ids, would be told that it is not."""
    n = data.draw(st.integers(1, 5))
    size = data.draw(st.integers(1, 13))
    names = IDS[:n]
    weights = None
    if weighted:
        some = st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any)
        weights = dict(zip(names, data.draw(some), strict=True))
    ways = hand_outs(names, size, weights)
    assert {sum(way) for way in ways} == {size}
    # Half the tables are even ones with some entries given away, so that distances near 0 are met too.
    table = data.draw(st.lists(st.integers(0, n - 1), min_size=size, max_size=size))
    if data.draw(st.booleans()):
        even = np.repeat(np.arange(n), data.draw(st.sampled_from(sorted(ways)))).tolist()
        table = [*table[: data.draw(st.integers(0, 2))], *even][:size]
    load = [table.count(column) for column in range(n)]
    nearest = min(sum(max(0, have - want) for have, want in zip(load, way, strict=True)) for way in ways)

    order = data.draw(st.permutations(range(n)))
    score = score_table(
        np.argsort(order)[table], [names[i] for i in order], weights and [float(weights[names[i]]) for i in order]
    )
    assert score.imbalance == pytest.approx(nearest / size)
    assert score.invalid == 0


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_batched_equals_single_in_every_order(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    rows = data.draw(st.lists(st.tuples(owners(size), owners(size), subsets, subsets), min_size=2, max_size=4))
    first, second, before, after = (np.array(column) for column in zip(*rows, strict=True))
    first = np.where(np.take_along_axis(before, first, axis=1), first, -1)  # a single table cannot name a stranger
    second = np.where(np.take_along_axis(after, second, axis=1), second, -1)
    weights = np.array(data.draw(st.lists(st.sampled_from([1.0, 2.0, 0.5]), min_size=len(IDS), max_size=len(IDS))))
    scores = table_scores(first, before, np.broadcast_to(weights, before.shape))
    moves = transition_scores(first, second, before, after)
    for row in range(len(rows)):
        order = data.draw(st.permutations(range(len(IDS))))
        place = np.append(np.argsort(order), -1)
        single = score_table(
            place[first[row]], [IDS[i] for i in order], [weights[i] for i in order], [before[row][i] for i in order]
        )
        for name in ("invalid", "spread", "max_over_mean", "imbalance"):
            assert getattr(single, name) == getattr(scores, name)[row], name
        ids_a, ids_b = ([IDS[i] for i in order if flags[row][i]] for flags in (before, after))
        table_a, table_b = (
            [names.index(IDS[entry]) if entry >= 0 else -1 for entry in table[row]]
            for names, table in ((ids_a, first), (ids_b, second))
        )
        pair = score_transition(table_a, ids_a, table_b, ids_b)
        for name in ("changed", "forced", "excess", "optimum", "regret"):
            assert getattr(pair, name) == getattr(moves, name)[row], name


def even_tables(names: tuple[str, ...], size: int) -> set[tuple[str | None, ...]]:
    if not names:
        return {(None,) * size}
    tables = set()
    for table in itertools.product(names, repeat=size):
        load = [table.count(name) for name in names]
        if max(load) - min(load) <= 1:
            tables.add(table)
    return tables


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_the_optimum_is_what_brute_force_finds(size: int) -> None:
    names = IDS[:4]
    sets = [s for n in range(4) for s in itertools.combinations(names, n)]
    tables = {
        s: np.array([[names.index(o) if o else -1 for o in t] for t in sorted(even_tables(s, size), key=str)])
        for s in sets
    }
    for a, b in itertools.product(sets, sets):
        changes = (tables[a][:, None] != tables[b][None]).sum(axis=2)
        before, after = (np.array([[name in s for name in names]]) for s in (a, b))
        assert optimal_change(before, after, size)[0] == pytest.approx(changes.min() / size), (a, b)


@given(st.integers(1, 60), st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 1000))
def test_weighted_loads_are_the_largest_remainders(size: int, whole: list[int], scale: int) -> None:
    if not sum(whole):
        return
    names = [f"{i}" for i in range(len(whole))]
    weights = np.array(whole, dtype=np.float64)[None] / scale
    even = even_loads(np.ones((1, len(whole)), dtype=bool), size, weights)
    expected = slow_even_loads(names, size, dict(zip(names, whole, strict=True)))
    assert even[0].tolist() == [expected[name] for name in names]
    columns = (np.arange(20) < len(whole))[None]
    padded = even_loads(columns, size, np.pad(weights, ((0, 0), (0, 20 - len(whole)))))
    assert padded[0, : len(whole)].tolist() == even[0].tolist()


def test_weight_zero_drains_a_backend() -> None:
    assert even_loads(np.ones((1, 3), dtype=bool), 7, np.array([[1.0, 0.0, 1.0]])).tolist() == [[4, 0, 3]]
    drained = score_table([0, 2, 0, 2, 0, 2, 0], ["a", "b", "c"], weights=[1, 0, 1])
    assert drained.imbalance == 0
    assert score_table([0, 2, 0, 2, 0, 2, 1], ["a", "b", "c"], weights=[1, 0, 1]).imbalance == pytest.approx(1 / 7)


def test_huge_weights_do_not_overflow() -> None:
    assert even_loads(np.ones((1, 3), dtype=bool), 4, np.full((1, 3), 1e308)).tolist() == [[2, 1, 1]]


def test_equal_weights_are_no_weights() -> None:
    """Which of two equal backends has the larger load is free, with weights as without."""
    for table in ([0, 0, 1], [1, 1, 0]):
        assert score_table(table, ["a", "b"], weights=[3, 3]).imbalance == score_table(table, ["a", "b"]).imbalance == 0


def test_a_heavy_backend_with_a_light_ones_load_is_uneven() -> None:
    assert score_table([1, 1, 0], ["a", "b"], weights=[2, 1]).imbalance == pytest.approx(1 / 3)
    assert score_table([0, 1, 0], ["a", "b"], weights=[2, 1]).imbalance == 0


def test_minus_one_neither_joins_nor_leaves() -> None:
    moves = score_transition([0, -1, -1, 1], ["a", "b"], [-1, 0, -1, 1], ["a", "c"])
    assert moves.changed == pytest.approx(3 / 4)
    assert moves.forced == pytest.approx(1 / 4)  # b left and c joined; a -> none and none -> a are excess
    assert moves.excess == pytest.approx(2 / 4)
    joined = score_transition([-1, -1], [], [0, 0], ["a"])
    assert (joined.changed, joined.forced, joined.optimum) == (1, 1, 1)


def test_no_backends_and_no_entries_is_valid_and_optimal() -> None:
    assert score_table([-1, -1], []).invalid == 0
    assert score_table([-1, -1], ["a"], present=[False]).invalid == 0
    assert score_table([0, -1], ["a"], present=[False]).invalid == pytest.approx(1 / 2)
    assert score_transition([-1], [], [-1], []).regret == 0


def test_identities_are_compared_not_indices() -> None:
    """The notebook compared indices: here every entry keeps its backend although every index shifts."""
    assert score_transition([1, 2, 1], ["a", "b", "c"], [0, 1, 0], ["b", "c"]).changed == 0


def test_the_churn_ratio_is_a_ratio_of_sums() -> None:
    assert churn_ratio(np.array([0.5, 0.1]), np.array([0.2, 0.1])) == pytest.approx(2.0)
    assert churn_ratio(np.array([0.5]), np.array([0.0])) is None
    assert churn_ratio(np.array([]), np.array([])) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: score_table([0, 2], ["a", "b"]),
        lambda: score_table([0, -2], ["a", "b"]),
        lambda: score_table([], ["a"]),
        lambda: score_table([0.5], ["a"]),
        lambda: score_table([0], ["a", "a"]),
        lambda: score_table([0], ["a"], weights=[1, 2]),
        lambda: score_table([0], ["a"], weights=[float("nan")]),
        lambda: score_table([0], ["a"], weights=[-1]),
        lambda: score_table([0], ["a"], weights=[0]),
        lambda: score_table([0], ["a"], present=[True, False]),
        lambda: score_transition([0], ["a"], [0, 0], ["a"]),
        lambda: table_scores(np.zeros((2, 3), dtype=int), np.ones((1, 2), dtype=bool)),
        lambda: loads(np.zeros((2, 3)), 1),
    ],
)
def test_wrong_requests_are_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(RequestError) as caught:
        wrong()  # type: ignore[operator]
    assert "\n" not in str(caught.value)

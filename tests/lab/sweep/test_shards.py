"""Which trials train as one: groups, cuts, rungs and plans, without Ray."""

from __future__ import annotations

import json
import math

import pytest
from fused_toy import LineConfig, LineTask, lines
from hypothesis import given
from hypothesis import strategies as st
from toy import toy

from lab.errors import RequestError
from lab.runs import Plan
from lab.sweep import make_plan
from lab.sweep.asha import JournalASHA, rungs
from lab.sweep.progress import decode_progress, encode_progress
from lab.sweep.shards import LEAST, Group, cut, group


def groups_of(configs: list[LineConfig], memory: int = 10**9, size: int = 1) -> list[Group]:
    return group(LineTask(), dict(enumerate(configs)), memory, lambda config: size)


def test_what_differs_in_shape_or_schedule_does_not_train_as_one() -> None:
    changes = [{}, {"width": 2}, {"iterations": 7}, {"steps": 3}, {"threads": 2}, {"checkpoint_every": 2}]
    configs = [LineConfig(**change) for change in changes for _ in range(2)]
    assert [one.members for one in groups_of(configs)] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)]
    seeds_and_rates = [LineConfig(seed=seed, rate=0.1 * seed) for seed in range(5)]
    assert [one.members for one in groups_of(seeds_and_rates)] == [(0, 1, 2, 3, 4)]


def test_trials_that_cannot_share_train_alone() -> None:
    configs = [LineConfig(alone=True), LineConfig(alone=True), LineConfig(), LineConfig(width=5)]
    assert groups_of(configs) == [], "two that the task keeps apart, and two that have no other like them"
    assert groups_of([LineConfig(), LineConfig()], memory=10, size=6) == [], "no two fit into the memory"


def test_memory_bounds_a_shard() -> None:
    (one,) = groups_of([LineConfig()] * 10, memory=35, size=10)
    assert one.capacity == 3
    assert max(map(len, cut([one], 1))) <= 3


@given(
    st.lists(st.tuples(st.integers(2, 60), st.integers(2, 70)), max_size=4),
    st.integers(0, 20),
)
def test_a_cut_holds_each_member_once_within_memory_and_keeps_processes_busy(
    sizes: list[tuple[int, int]], processes: int
) -> None:
    groups, first = [], 0
    for size, capacity in sizes:
        groups.append(Group(tuple(range(first, first + size)), capacity))
        first += size
    shards = cut(groups, processes)
    assert shards == cut(groups, processes)
    members = [index for shard in shards for index in shard]
    assert len(set(members)) == len(members)
    spare = set(range(first)) - set(members)
    needed = sum(math.ceil(len(one.members) / one.capacity) for one in groups)
    assert len(spare) <= len(groups), "at most the odd one out of a group trains alone"
    for one in groups:
        pieces = [shard for shard in shards if set(shard) <= set(one.members)]
        assert all(2 <= len(shard) <= one.capacity for shard in pieces)
        assert max(map(len, pieces)) - min(map(len, pieces)) <= 1, "shards of a group are of one size"
    if len(shards) > needed:
        assert len(shards) <= processes
        assert min(map(len, shards)) >= min(LEAST, *(min(one.capacity, len(one.members)) // 2 for one in groups))
    assert [len(shard) for shard in shards] == sorted(map(len, shards), reverse=True)


def test_a_small_group_is_not_cut_to_keep_processes_busy() -> None:
    fifteen = Group(tuple(range(15)), 100)
    assert len(cut([fifteen], 8)) == 1
    sixteen = Group(tuple(range(16)), 100)
    assert cut([sixteen], 8) == [list(range(0, 16, 2)), list(range(1, 16, 2))], "dealt out in turn"


@pytest.mark.parametrize("iterations", [1, 2, 3, 8, 9, 10, 27, 50, 100, 1000])
def test_shards_are_halved_at_the_rungs_of_asha(iterations: int) -> None:
    asha = JournalASHA(metric="loss", mode="min", iterations=iterations)
    (bracket,) = asha._brackets
    assert rungs(iterations) == sorted(rung for rung, _ in bracket._rungs if rung < iterations)


def test_progress_travels_bit_for_bit() -> None:
    rows = {3: {"a": 0.1 + 0.2, "b": 5e-324}, 7: {"a": -0.0, "b": 1.7976931348623157e308}}
    ends = {7: ("finished", None), 9: ("failed", "a is nan")}
    told = decode_progress(encode_progress(4, rows, ends))
    assert (told.iteration, told.rows, told.ends) == (4, rows, ends)
    assert math.copysign(1, told.rows[7]["a"]) == -1
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_progress(1, {0: {"a": math.nan}}, {})


@pytest.mark.parametrize(
    ("options", "fused"),
    [
        ({}, True),
        ({"search": "grid", "grid_points": 2}, True),
        ({"scheduler": "asha"}, True),
        ({"fuse": "off"}, False),
        ({"search": "optuna"}, False),
        ({"scheduler": "pbt"}, False),
    ],
)
def test_a_plan_says_whether_trials_train_as_one(options: dict, fused: bool) -> None:
    assert make_plan(lines(), **options).fuse is fused
    assert make_plan(toy()).fuse is False, "it has no population"


def test_a_plan_of_before_is_read_as_one_that_trains_each_alone() -> None:
    plan = json.loads(make_plan(toy()).model_dump_json())
    del plan["fuse"], plan["shard_memory"]
    assert Plan.model_validate(plan).fuse is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fuse": "atuo"}, "Did you mean 'auto'"),
        ({"shard_memory": 0.0}, "--shard-memory of more than 0 GiB, but got 0.0"),
        ({"shard_memory": math.nan}, "--shard-memory of more than 0 GiB, but got nan"),
    ],
)
def test_a_wrong_way_to_fuse_is_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        make_plan(lines(), **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

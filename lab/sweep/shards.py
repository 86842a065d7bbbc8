"""Which trials of a sweep train as one: pure functions of their configurations.

Trials with the same networks and batches make a group (`PopulationTask.key`); a group is cut into shards of as many
members as the memory holds, and into more where processes would stand idle otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.population_task import SCHEDULE, PopulationTask

__all__ = ["LEAST", "LEAST_ON_CLUSTER", "Group", "cut", "group"]

LEAST, LEAST_ON_CLUSTER = 8, 64
"""Members that a shard has at least, if it is cut off only to keep one more process busy: what fusing saves goes with
the number of members. A cluster may have, or get, any number of processes: more than these are not split for it."""


@dataclass(frozen=True)
class Group:
    """Trials that could all train as one.

    Attributes:
        members: their indices, ascending.
        capacity: how many of them the memory of one shard holds.
    """

    members: tuple[int, ...]
    capacity: int


def group(
    task: PopulationTask, configs: Mapping[int, Any], memory: int, member_bytes: Callable[[Any], int]
) -> list[Group]:
    """The groups among some trials; those that are in none train alone.

    Args:
        task: of the trials.
        configs: trial -> configuration.
        memory: of one shard, in bytes.
        member_bytes: configuration -> what one member takes in training; asked once for each group.

    Returns:
        Groups of two members at least, by their first members. A trial is left out if its task says so, if there is no
        other like it, or if no two of its kind fit into the memory.
    """
    found: dict[Hashable, list[int]] = {}
    for index, config in sorted(configs.items()):
        key = task.key(config)
        if key is not None:
            found.setdefault((key, *(getattr(config, name) for name in SCHEDULE)), []).append(index)
    groups = []
    for members in found.values():
        if len(members) > 1:
            capacity = memory // max(1, member_bytes(configs[members[0]]))
            if capacity > 1:
                groups.append(Group(tuple(members), capacity))
    return groups


def cut(groups: Sequence[Group], processes: int, least: int = LEAST) -> list[list[int]]:
    """The shards of some groups.

    Members are dealt out to the shards of a group in turn, so that each has some of every corner of a grid: halving
    within a shard is to find what halving in the whole group would.

    Args:
        groups: what there is to train as one.
        processes: how many shards can train at once; as many there are, as long as each has `least` members.
        least: see there.

    Returns:
        Each shard's members, ascending; the largest shards first, because they train longest. A single member that is
        left over is in none.
    """
    pieces = [math.ceil(len(one.members) / one.capacity) for one in groups]
    while sum(pieces) < processes:
        sizes = [len(one.members) // (count + 1) for one, count in zip(groups, pieces, strict=True)]
        largest = max(range(len(groups)), key=sizes.__getitem__, default=None)
        if largest is None or sizes[largest] < least:
            break
        pieces[largest] += 1
    shards = [
        list(one.members[first::count]) for one, count in zip(groups, pieces, strict=True) for first in range(count)
    ]
    return sorted((shard for shard in shards if len(shard) > 1), key=lambda shard: (-len(shard), shard[0]))

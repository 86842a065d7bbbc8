"""What a shard says of an iteration, on its way from its process to the driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from lab.journal import End

__all__ = ["Progress", "decode_progress", "encode_progress"]


@dataclass(frozen=True)
class Progress:
    """One iteration of a shard.

    Attributes:
        iteration: counted from 1.
        rows: member -> metrics.
        ends: member -> how it ended with this iteration.
    """

    iteration: int
    rows: dict[int, dict[str, float]]
    ends: dict[int, End]


def encode_progress(iteration: int, rows: Mapping[int, Mapping[str, float]], ends: Mapping[int, End]) -> str:
    """An iteration as one text: Tune flattens, copies and averages every number that it can see, for each member.

    Raises:
        ValueError: a metric is not finite.
    """
    plain = {index: {key: float(value) for key, value in row.items()} for index, row in rows.items()}
    return json.dumps({"iteration": iteration, "rows": plain, "ends": dict(ends)}, allow_nan=False)


def decode_progress(text: str) -> Progress:
    """The inverse of `encode_progress`, bit for bit."""
    raw = json.loads(text)
    return Progress(
        raw["iteration"],
        {int(index): row for index, row in raw["rows"].items()},
        {int(index): (status, reason) for index, (status, reason) in raw["ends"].items()},
    )

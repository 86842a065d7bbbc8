"""What a comparison of rankings says in words."""

from __future__ import annotations

from collections.abc import Sequence

from lab.compare.methods import seeds_note
from lab.compare.roster.evaluate import PEER, Row
from lab.compare.roster.suite import RosterSuite
from lab.compare.statistics import Interval

__all__ = ["SHOWN", "interval", "lead", "subsets", "uneven"]

SHOWN = {
    "uneven": lambda value: f"{100 * value:.1f} %",
    "spread": lambda value: f"{value:.2f}",
    "worst_spread": lambda value: f"{value:.1f}".removesuffix(".0"),
    "max_over_mean": lambda value: f"{value:.3f}",
    "imbalance": lambda value: f"{100 * value:.2f}",
    "excess": lambda value: f"{100 * value:.2f}",
}
"""Score -> how it is written."""


def interval(key: str, found: Interval) -> str:
    """`0.94 [0.93, 0.95]`."""
    form = SHOWN[key]
    bounds = "" if found.low is None or found.high is None else f" [{form(found.low)}, {form(found.high)}]"
    return form(found.value) + bounds


def uneven(row: Row) -> str:
    """How many subsets are not even, by seed: `0`, `1 to 4`."""
    least, most = min(row.uneven), max(row.uneven)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def subsets(suite: RosterSuite) -> str:
    """`all 255 subsets`, `10,000 held-out subsets`."""
    return f"all {suite.count:,} subsets" if suite.exhaustive else f"{suite.count:,} held-out subsets"


def lead(suite: RosterSuite, rows: Sequence[Row]) -> list[str]:
    """What came out on a suite, a sentence for each trained method."""
    said = []
    for row in rows:
        if not row.method.trained or row.method.training is None:
            continue
        text = (
            f"{row.method.label}, {seeds_note(row.method.seeds)}: of {subsets(suite)} of {suite.backends} backends at "
            f"{suite.size} entries, {uneven(row)} are not perfectly even; the spread is "
            f"{interval('spread', row.scores['spread'])} on average and {max(s for _, s in row.by_count.values()):.0f} "
            "at worst"
        )
        if row.verdict is not None:
            text += {
                "better": f", less than that of {PEER}",
                "worse": f", more than that of {PEER}",
                "no difference shown": f", which is not shown to differ from {PEER}",
            }[row.verdict]
        said.append(text + ".")
    return said

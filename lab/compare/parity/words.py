"""Numbers and names as a report on codes writes them."""

from __future__ import annotations

from collections.abc import Sequence

from lab.compare.methods import ENOUGH_SEEDS
from lab.compare.parity.analysis import Analysis, Difference, Row
from lab.compare.parity.methods import Method
from lab.compare.statistics import Interval

__all__ = [
    "below",
    "certainty",
    "exactly",
    "few",
    "group",
    "percent",
    "percent_interval",
    "points",
    "points_interval",
    "samples",
    "seeds_are",
    "servers",
    "short_seeds",
    "than",
    "title",
]


def percent(share: float) -> str:
    """`96.6`, without its sign."""
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    """A difference of shares in percentage points: `+0.4`, `−1.2`, `0.0`; `+0.02` for what is not 0 but nearly."""
    text = _plain(share)
    return f"+{text}" if share > 0 and text != "0.0" else text


def _bounded(interval: Interval, value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return _plain(value)
    return f"{_plain(value)} [{_plain(low)}, {_plain(high)}]"


def _plain(value: float) -> str:
    """Percentage points with the sign of what is below 0; a second digit where the first would make it 0."""
    for digits in (1, 2):
        text = f"{100 * value:.{digits}f}"
        if float(text) != 0:
            return text.replace("-", "\N{MINUS SIGN}")
    return "0.0"


def percent_interval(interval: Interval) -> str:
    """`96.6 % [95.9, 97.2]`."""
    if interval.value is None:
        return "not defined"
    if interval.low is None or interval.high is None:
        return f"{percent(interval.value)} %"
    return f"{percent(interval.value)} % [{percent(interval.low)}, {percent(interval.high)}]"


def points_interval(interval: Interval) -> str:
    """`+0.4 [−0.1, +0.9]`."""
    if interval.value is None:
        return "not defined"
    if interval.low is None or interval.high is None:
        return points(interval.value)
    return f"{points(interval.value)} [{points(interval.low)}, {points(interval.high)}]"


def _distance(interval: Interval, above: str, under: str, equal: str) -> str:
    """`0.8 points [0.3, 1.2] below`: without signs, but for a bound on the other side of 0."""
    value = interval.value
    assert value is not None
    if exactly(interval):
        return equal
    if value < 0:
        low, high = (None if bound is None else -bound for bound in (interval.high, interval.low))
        return f"{_points(_bounded(interval, -value, low, high))} {under}"
    return f"{_points(_bounded(interval, value, interval.low, interval.high))} {above}"


def _points(text: str) -> str:
    """`0.8 points [0.3, 1.2]` of `0.8 [0.3, 1.2]`."""
    value, space, bounds = text.partition(" ")
    return f"{value} {'point' if value == '1.0' else 'points'}{space}{bounds}"


def below(gap: Interval) -> str:
    """How far a code is from its base model: `0.8 points [0.3, 1.2] below the base model`."""
    return _distance(gap, "above the base model", "below the base model", "exactly as the base model")


def than(difference: Interval, name: str) -> str:
    """`0.4 points [−0.1, 0.9] above berrut`."""
    return _distance(difference, f"above {name}", f"below {name}", f"exactly as {name}")


def exactly(interval: Interval) -> bool:
    """Whether a difference is 0 in every resample."""
    return interval.value == interval.low == interval.high == 0


def certainty(difference: Difference) -> str:
    """What an interval of a difference and the seeds behind it allow to say."""
    if difference.verdict == "no difference shown":
        return "no difference is shown"
    if difference.least_seeds < ENOUGH_SEEDS:
        return f"the interval leaves out 0, but {seeds_are(difference.least_seeds)} too few to be certain"
    return "a difference that is shown"


def seeds_are(count: int) -> str:
    """`one seed is`, `3 seeds are`."""
    return "one seed is" if count == 1 else f"{count} seeds are"


def few(counts: Sequence[int]) -> str:
    """What is to be said where some methods have few seeds, as a sentence; nothing where all have enough."""
    least, most = min(counts), max(counts)
    if least >= ENOUGH_SEEDS:
        return ""
    if most == 1:
        return "One seed is not a result: its intervals are over test samples alone."
    if most < ENOUGH_SEEDS:
        return f"{least if least == most else f'{least} to {most}'} seeds are too few for a result."
    return f"Some of that has {least} seed{'' if least == 1 else 's'} only: too few for a result."


def short_seeds(method: Method) -> str:
    """For a table: `6`, `3, too few`, `one, no result`, and from how many trials it was picked."""
    count = len(method.seeds)
    text = "one, no result" if count == 1 else f"{count}, too few" if count < ENOUGH_SEEDS else str(count)
    return text + (f"; best of {method.searched} trials" if method.searched else "")


def servers(share: float) -> str:
    """Extra servers for each server of a query: `0.5`, `0.33`, `1`."""
    return f"{share:.2f}".rstrip("0").rstrip(".") or "0"


def group(r: int, k: int) -> str:
    """`k = 2`, `k = 2, r = 2`."""
    return f"k = {k}" + (f", r = {r}" if r > 1 else "")


def title(row: Row) -> str:
    """`addition/subtraction at k = 2`."""
    return f"{row.method.label} at {group(row.method.r, row.method.k)}"


def samples(analysis: Analysis) -> str:
    """`359 test samples`, `100 of 359 test samples`."""
    asked, whole = analysis.samples
    return f"{asked:,} test samples" if asked == whole else f"{asked:,} of {whole:,} test samples"

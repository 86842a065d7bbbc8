"""What a report says in words: every sentence follows from an interval."""

from __future__ import annotations

from lab.compare.analysis import Analysis, Difference, Row
from lab.compare.methods import ENOUGH_SEEDS
from lab.compare.statistics import Interval, Verdict, verdict

__all__ = [
    "AXES",
    "KINDS",
    "WINS",
    "against_best",
    "at_groups",
    "beats",
    "best_first",
    "by_how_much",
    "count",
    "duration",
    "evenness",
    "find",
    "headline",
    "learned",
    "names",
    "percent",
    "percent_interval",
    "ratio_interval",
    "says",
    "says_by",
    "seeds",
    "sides",
    "summary",
    "times_as_long",
    "unit",
]

WINS: tuple[Verdict, ...] = ("better", "worse")
KINDS = {
    "classical": "classical",
    "supervised": "supervised",
    "ppo": "reinforcement learning (PPO)",
    "es": "policy search (CMA-ES)",
    "rl": "reinforcement learning",
    "learned": "learned in another way",
}
AXES = {"seconds": "training time", "env_steps": "environment steps", "pairs": "training pairs"}
"""What training takes, by the name of its metric."""


def percent(share: float | None) -> str:
    """`4.1 %`."""
    return "not defined" if share is None else f"{100 * share:.1f} %"


def percent_interval(interval: Interval) -> str:
    """`4.1 % [3.9, 4.3]`."""
    if interval.low is None or interval.high is None:
        return percent(interval.value)
    return f"{percent(interval.value)} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def ratio_interval(interval: Interval) -> str:
    """`1.48 [1.46, 1.50]`."""
    if interval.value is None:
        return "not defined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def duration(seconds: float) -> str:
    """A time for people: `37 µs`, `2.1 ms`, `14 s`, `4.6 min`, `2.3 h`."""
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (90.0, 1.0, "s"), (5400.0, 1 / 60, "min")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 3600:.3g} h"


def count(number: float) -> str:
    """A large count for people: `12,000`, `1.2 million`."""
    return f"{number / 1e6:.3g} million" if number >= 1e6 else f"{number:,.0f}"


def unit(analysis: Analysis) -> str:
    """What the suite's headline score is called."""
    return "churn ratio" if analysis.headline == "churn_ratio" else "excess"


def headline(analysis: Analysis, interval: Interval) -> str:
    """The suite's headline score with its interval, in its unit."""
    return ratio_interval(interval) if analysis.headline == "churn_ratio" else percent_interval(interval)


def seeds(row: Row) -> str:
    """What stands behind a row: `no seeds`, `one seed: not a result`, `5 seeds`."""
    return row.method.seeds_note


def says(difference: Difference, found: Verdict | None = None) -> str:
    """The verdict in words: `better` or `worse`, but with too few seeds only `lower` or `higher`.

    Args:
        difference: the difference.
        found: a verdict on a part of it; that of the whole by default.
    """
    word = found or difference.verdict
    return {"better": "lower", "worse": "higher"}.get(word, word) if difference.too_few_seeds else word


def by_how_much(difference: Difference) -> str:
    """`better by 0.9 points [0.8, 1.0]`, `worse by ...`, `no difference shown (-0.1 to 0.2 points)`."""
    interval, factor, unit, digits = difference.interval, 100, " points", 1
    if difference.headline == "churn_ratio":
        factor, unit, digits = 1, " in the churn ratio", 2
    if interval.value is None or interval.low is None or interval.high is None:
        return "not defined"
    low, high = sorted((factor * interval.low, factor * interval.high), key=abs)
    if difference.verdict == "no difference shown":
        return (
            f"no difference shown ({factor * interval.low:+.{digits}f} to {factor * interval.high:+.{digits}f}{unit})"
        )
    text = f"{says(difference)} by {abs(factor * interval.value):.{digits}f}{unit}"
    return f"{text} [{abs(low):.{digits}f}, {abs(high):.{digits}f}]"


def says_by(difference: Difference) -> str:
    """`worse by 0.9 [0.8, 1.0]`, in the unit of the suite's headline; where nothing is shown, only that."""
    if difference.verdict == "no difference shown":
        return difference.verdict
    return by_how_much(difference).replace(" points", "").replace(" in the churn ratio", "")


def names(items: list[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def evenness(row: Row) -> str:
    """`exactly even`, or how uneven."""
    if row.exact:
        return "exactly even"
    busiest = row.scores["max_over_mean"].value or 0.0
    return f"not even: the busiest backend carries {busiest:.2f} times the mean"


def summary(analyses: list[Analysis]) -> list[tuple[str, list[str]]]:
    """The result in sentences, under a heading each: who wins, by how much, at what cost, and where learning loses."""
    sections = [("The classical tables", [_winner(analysis) for analysis in analyses])]
    for row in best_first(analyses[0]):
        label = row.method.label
        found = [(a, r) for a in analyses for r in learned(a) if r.method.label == label]
        sentences = [_learned(analysis, again) for analysis, again in found]
        sentences += [text for analysis, _ in found if (text := _fleets(analysis, label))]
        if cost := _cost(analyses[0], row):
            sentences.append(cost)
        sections.append((f"{label} ({seeds(row)})", sentences))
    return sections


def learned(analysis: Analysis) -> list[Row]:
    """The trained rows of a suite."""
    return [row for row in analysis.rows if row.method.kind != "classical" and row.method.trained]


def best_first(analysis: Analysis) -> list[Row]:
    """The trained rows: those with seeds enough first, of them the ranked, of them the exactly even, of them the best.

    What is uneven is never better for that: it is ordered by its needless moves behind all that is even.
    """

    def key(row: Row) -> tuple[bool, bool, bool, float]:
        score = row.scores[analysis.headline if row.exact else "excess"].value
        return row.method.seeds < ENOUGH_SEEDS, not row.ranked, not row.exact, score or 0.0

    return sorted(learned(analysis), key=key)


def find(analysis: Analysis, method: str, against: str) -> Difference | None:
    """The difference between a method and the baseline that plays the part `against`."""
    return next((d for d in analysis.differences if (d.method, d.against) == (method, against)), None)


def against_best(analysis: Analysis, label: str) -> Difference | None:
    """Against the best exactly even classical table, which may be Maglev."""
    return find(analysis, label, "best exactly even classical") or find(analysis, label, "Maglev")


def _winner(analysis: Analysis) -> str:
    label = analysis.suite.title
    if analysis.best_exact is None:
        return f"On {label} no classical table in this comparison is exactly even."
    best = analysis.row(analysis.best_exact)
    text = f"On {label}, {analysis.best_exact} is the best classical table that is exactly even: {unit(analysis)} "
    text += headline(analysis, best.scores[analysis.headline])
    if analysis.best_exact != "maglev":
        text += f", where Maglev has {headline(analysis, analysis.row('maglev').scores[analysis.headline])}"
    text += "."
    other = analysis.best_classical
    if other and other != analysis.best_exact:
        row = analysis.row(other)
        text += f" {other} goes down to {headline(analysis, row.scores[analysis.headline])}, but is {evenness(row)}."
    return text


def _learned(analysis: Analysis, row: Row) -> str:
    label = row.method.label
    text = f"On {analysis.suite.title}: {unit(analysis)} "
    text += f"{headline(analysis, row.scores[analysis.headline])}, {evenness(row)}"
    if row.scores["invalid"].value:
        text += f", with {percent(row.scores['invalid'].value)} of its entries on no present backend"
    parts = []
    for against in ("Maglev", "best exactly even classical", "its untrained network"):
        difference = find(analysis, label, against)
        if difference:
            name = {"Maglev": "Maglev", "its untrained network": "itself before training"}.get(
                against, difference.baseline
            )
            uneven = "" if difference.equally_even or "untrained" in against else ", at unequal evenness"
            parts.append(f"against {name}, {by_how_much(difference)}{uneven}")
    return text + (". " + _capital("; ".join(parts)) if parts else "") + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fleets(analysis: Analysis, label: str) -> str | None:
    """Where a trained table wins and loses, by n."""
    difference = against_best(analysis, label)
    if difference is None or not analysis.suite.by_n:
        return None
    look = ", at first look" if difference.too_few_seeds else ""
    return f"By fleet size on {analysis.suite.title}, against {difference.baseline}{look}: {_sides(difference)}."


def _sides(difference: Difference) -> str:
    by_word = sides(difference)
    parts = [
        f"{says(difference, word)} at {at_groups(groups, difference)}" for word, groups in by_word.items() if groups
    ]
    missing = [says(difference, word) for word in WINS if not by_word[word]]
    return "; ".join(parts) + (f" ({' and '.join(missing)} nowhere)" if missing else "")


def at_groups(groups: list[str], difference: Difference) -> str:
    """`n = 3 and 5`, or `every n`."""
    return "every n" if len(groups) == len(difference.by_group) else f"n = {names(groups)}"


def sides(difference: Difference) -> dict[Verdict, list[str]]:
    """Verdict -> the groups it holds in."""
    found: dict[Verdict, list[str]] = {"better": [], "worse": [], "no difference shown": []}
    for group, interval in difference.by_group.items():
        found[verdict(interval)].append(group)
    return found


def _cost(analysis: Analysis, row: Row) -> str | None:
    training = row.method.training
    if training is None:
        return None
    mean = sum(training.seconds) / len(training.seconds)
    text = f"Training took {duration(mean)}" + (" for each seed" if len(training.seconds) > 1 else "")
    if training.shared:
        text += ", its share of the time of the trials that trained as one with it"
    if training.steps and training.steps_name:
        steps = count(sum(training.steps) / len(training.steps))
        text += f" ({steps} {AXES.get(training.steps_name, training.steps_name)})"
    if training.searched:
        text += f", and {duration(training.searched_seconds)} over all trials of the search ({training.searched})"
    times = row.single_seconds / analysis.row("maglev").single_seconds
    return (
        text
        + f". Building one table takes {duration(row.single_seconds)}: {times_as_long(times)} times as long as Maglev."
    )


def times_as_long(ratio: float) -> str:
    """A ratio to two digits, without an exponent: `1.4`, `27`, `31,000`."""
    return f"{float(f'{ratio:.2g}'):,.10g}"


def beats(analysis: Analysis, row: Row) -> bool:
    """Whether a row is shown better than the best exactly even classical table, over seeds enough to say so."""
    difference = against_best(analysis, row.method.label)
    return difference is not None and difference.verdict == "better" and not difference.too_few_seeds

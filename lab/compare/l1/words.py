"""Numbers and names as a report on the L1 norm writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.compare.l1.success import Proportion
from lab.compare.statistics import Interval
from lab.compare.words import duration
from lab.tasks.l1_norm.measures import LARGEST

if TYPE_CHECKING:
    from lab.compare.l1.analysis import Row

__all__ = [
    "CELLS",
    "activation",
    "capital",
    "cell",
    "count",
    "error",
    "error_interval",
    "field",
    "not_kept",
    "of_seeds",
    "one_of_many",
    "picked",
    "seconds",
    "share",
    "short_seeds",
    "shown_label",
    "shown_share",
    "solved",
    "solved_time",
    "step",
    "success",
]

CELLS = {
    "notebook": "the notebook's: the absolute value by a comparison, then one recurrent unit",
    "relu": "a dense layer of ReLU units that can learn the absolute value, and a linear state that adds up",
    "leaky": "a dense layer of leaky ReLU units that can learn the absolute value, and a state with a leaky ReLU on it",
    "irnn": "a ReLU network whose recurrent weights start as the identity (Le, Jaitly and Hinton 2015)",
    "tanh": "Elman's recurrent network with tanh units",
    "gru": "a gated recurrent unit (GRU)",
    "lstm": "a long short-term memory (LSTM)",
    "nau": "a Neural Addition Unit behind a layer of ReLU units (Madsen and Johansen 2020)",
}
"""Name of a cell -> what it is, for a reader who has not seen the code."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def error(value: float | None) -> str:
    """A relative error: `0`, `3.1×10⁻⁶`, `10⁻⁴`, `0.0042`, `0.63`, `12`; `over 10⁶` for what has no end (`LARGEST`)."""
    if value is None or value >= LARGEST:
        return f"over {_power(LARGEST)}"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    return _power(value)


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}×{power}"


def error_interval(interval: Interval) -> str:
    """`3.1×10⁻⁶ [2.9×10⁻⁶, 3.4×10⁻⁶]`."""
    if interval.low is None or interval.high is None:
        return error(interval.value)
    return f"{error(interval.value)} [{error(interval.low)}, {error(interval.high)}]"


def step(value: float | None) -> str:
    """A number of gradient steps; `never` where more than half of the seeds did not get there."""
    return "never" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    return "never" if value is None else duration(value)


def solved(row: Row) -> str:
    """When a method came to stay at success, for a table: the median seed's steps, or that more than half never did."""
    if not row.solved.of:
        return "not validated at this length"
    return step(row.steps.value) if row.steps.value is not None else f"never ({count(row.solved)} did)"


def solved_time(row: Row) -> str:
    """The training time until then, for a table."""
    if not row.solved.of or row.seconds.value is None:
        return ""
    return seconds(row.seconds.value) + (" (a share)" if row.shared else "")


def success(row: Row) -> str:
    """How many seeds succeed, for a table: of one that a search picked, whether it does and of how many it was picked.

    `61 of 64, 95 % [87, 98] (48 at the last validation)`, `yes, one picked of 64`.
    """
    if row.method.one_of_many:
        return f"{'yes' if row.success.count else 'no'}, {picked(row)}"
    return f"{count(row.success)}, {share(row.success)}" + (f" ({not_kept(row)})" if not_kept(row) else "")


def picked(row: Row) -> str:
    """What a single seed of a search is: `one picked of 64`, `the only trial`."""
    return f"one picked of {row.method.searched}" if row.method.searched > 1 else "the only trial"


def not_kept(row: Row) -> str:
    """`48 at the last validation` where that is not all that succeed, else nothing."""
    if not row.kept.of or row.kept.count == row.success.count:
        return ""
    return f"{row.kept.count or 'none'} at the last validation"


def share(proportion: Proportion) -> str:
    """`98 % [92, 100]`."""
    if proportion.value is None or proportion.low is None or proportion.high is None:
        return "none tried"
    return f"{100 * proportion.value:.0f} % [{100 * proportion.low:.0f}, {100 * proportion.high:.0f}]"


def count(proportion: Proportion) -> str:
    """`63 of 64`."""
    return f"{proportion.count} of {proportion.of}"


def of_seeds(proportion: Proportion) -> str:
    """`63 of 64 seeds`."""
    return f"{count(proportion)} seed{'' if proportion.of == 1 else 's'}"


def cell(name: str) -> str:
    """What a cell is."""
    return CELLS.get(name, f"called {name}")


def field(name: str) -> str:
    """A field of a configuration in words."""
    return name.replace("_", " ")


def activation(name: str) -> str:
    return {"relu": "ReLU", "leaky": "leaky ReLU"}.get(name, name)


def short_seeds(row: Row) -> str:
    """For a legend: `64 seeds`, `one seed`."""
    return "one seed" if row.method.seeds == 1 else f"{row.method.seeds} seeds"


def one_of_many(row: Row) -> bool:
    """Whether a single seed stands for a search: then all trials of its cell say more than that one."""
    return row.of_cell is not None and row.method.one_of_many


def shown_share(row: Row) -> Proportion:
    """Success over seeds, or over all trials of the cell where a single seed stands for a search."""
    return row.of_cell if row.of_cell is not None and row.method.one_of_many else row.success


def shown_label(row: Row) -> str:
    """What `shown_share` is a share of."""
    return f"{row.method.cell}, all trials" if one_of_many(row) else row.method.label


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]

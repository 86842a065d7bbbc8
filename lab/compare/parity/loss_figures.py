"""The figures on losses: all answers together against the loss rate, and accuracy by what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from lab.compare.drawing import INK, Figure, Format, make_panels
from lab.compare.parity import words
from lab.compare.parity.analysis import RATES, Analysis, Row
from lab.compare.parity.panels import BASE_LABEL, Style, grid, heights, labels_of, legend, series, stretch, title
from lab.compare.parity.sentences import RATE

__all__ = ["draw_overall", "draw_patterns"]


def draw_overall(analysis: Analysis, looks: Mapping[str, Style], number: int) -> Figure:
    """(1 - f) A_a + f A_d against f, a panel for each k and r."""
    places = analysis.places()
    names = list(dict.fromkeys(series(row) for row in analysis.rows))
    at = RATES.index(RATE)
    ends = "; ".join(f"{words.title(row)} {words.percent_interval(row.overall[at])}" for row in analysis.rows)
    return make_panels(
        f"overall-{number}",
        f"{analysis.setting.label}: all answers together, by the share of predictions that is lost",
        "Accuracy of what is handed out, (1 − f) A_a + f A_d: predictions that arrived and rebuilt ones. A line that "
        "begins below the base model (dashed across) belongs to a code that hands out rebuilt predictions always. "
        "A method with other seeds than the others begins at the accuracy of its own base models. The band is the 95 % "
        "interval of the best code by validation. The axis is stretched towards 100 %, as the logarithm of errors is.",
        f"Accuracy of all answers at a loss rate of {RATE:.0%}: base model {words.percent_interval(analysis.base)}; "
        + ends,
        lambda canvas, form: _paint_overall(canvas, analysis, places, names, looks, form),
        heights=heights(len(places), [*names, BASE_LABEL]),
    )


def _paint_overall(
    canvas: Canvas,
    analysis: Analysis,
    places: Sequence[tuple[int, int]],
    names: Sequence[str],
    looks: Mapping[str, Style],
    form: Format,
) -> None:
    handles = [
        Line2D([], [], color=looks[name].color, ls=looks[name].line, marker=looks[name].marker, ms=4.5, label=name)
        for name in names
    ]
    handles.append(Line2D([], [], color=INK, lw=1.1, ls=(0, (4, 3)), label=BASE_LABEL))
    panels = grid(canvas, len(places), labels_of(handles), form, share_y=True)
    for number, (axes, (r, k)) in enumerate(zip(panels, places, strict=True)):
        _panel_overall(axes, analysis, analysis.at(r, k), analysis.best(r, k), looks)
        title(axes, words.group(r, k), form)
        axes.set_xlabel("f, predictions that are lost (%)")
        if number == 0 or form.narrow:
            axes.set_ylabel("answers that are right (%)")
    ends = [interval for row in analysis.rows for interval in (row.overall[0], row.overall[-1])]
    bands = [interval for place in places if (best := analysis.best(*place)) for interval in best.overall]
    values = [each.value for each in ends] + [bound for each in bands for bound in (each.low, each.high)]
    shown = [100 * value for value in values if value is not None]
    for axes in panels:
        stretch(axes, shown)
    legend(canvas, handles, form)


def _panel_overall(
    axes: Axes, analysis: Analysis, rows: Sequence[Row], best: Row | None, looks: Mapping[str, Style]
) -> None:
    rates = [100 * rate for rate in RATES]
    axes.axhline(100 * (analysis.base.value or 0.0), color=INK, lw=1.1, ls=(0, (4, 3)), zorder=2)
    for number, row in enumerate(rows):
        style = looks[series(row)]
        if row is best:
            axes.fill_between(
                rates,
                [100 * (interval.low or 0.0) for interval in row.overall],
                [100 * (interval.high or 0.0) for interval in row.overall],
                color=style.color,
                alpha=0.13,
                lw=0,
            )
        axes.plot(
            rates,
            [100 * (interval.value or 0.0) for interval in row.overall],
            ls=style.line,
            color=style.color,
            marker=style.marker,
            ms=4.5,
            # Each at rates of its own: markers that lie on one another cannot be told apart.
            markevery=(number * 2 % 10, 10),
            lw=1.5,
        )
    axes.set_xlim(0, rates[-1])
    axes.set_xticks([rate for rate in rates[:-1] if rate % 5 == 0])


def draw_patterns(analysis: Analysis, looks: Mapping[str, Style], number: int) -> list[Figure]:
    """A_d by what is lost, for the codes of which it is shown to differ; nothing where there are none."""
    rows = [row for row in analysis.rows if row.uneven and row.method.coded]
    if not rows:
        return []
    ends = "; ".join(
        f"{words.title(row)}: "
        + ", ".join(f"{name} {words.percent_interval(interval)}" for name, interval in row.patterns.items())
        for row in rows
    )
    return [
        make_panels(
            f"patterns-{number}",
            f"{analysis.setting.label}: accuracy of rebuilt predictions by what is lost",
            "A panel for each code whose accuracy is shown to depend on what is lost (95 % over all ways together); "
            "q1 is the answer to the first query, p1 to the first parity query, w1 that of the first worker of a code "
            "without own answers. The line across is the code's A_d over all ways. Bars are 95 % intervals.",
            f"Accuracy by what is lost. {ends}",
            lambda canvas, form: _paint_patterns(canvas, rows, looks, form),
            heights=heights(len(rows), [], each=2.9),
        )
    ]


def _paint_patterns(canvas: Canvas, rows: Sequence[Row], looks: Mapping[str, Style], form: Format) -> None:
    for axes, row in zip(grid(canvas, len(rows), [], form), rows, strict=True):
        color = looks[series(row)].color
        for x, interval in enumerate(row.patterns.values()):
            if interval.low is not None and interval.high is not None:
                axes.vlines(x, 100 * interval.low, 100 * interval.high, color=color, lw=1.6)
            if interval.value is not None:
                axes.plot(x, 100 * interval.value, "o", color=color, ms=5)
        axes.axhline(100 * (row.degraded.value or 0.0), color=color, lw=0.9, ls=":")
        many = len(row.patterns) > 6
        axes.set_xticks(range(len(row.patterns)), [short(name) for name in row.patterns], rotation=90 if many else 0)
        axes.set_xlim(-0.6, len(row.patterns) - 0.4)
        axes.set_ylabel("A_d (%)")
        title(axes, words.title(row), form)


def short(pattern: str) -> str:
    """`q1+p1` of `q0+p0`: people count from 1."""
    return "+".join(f"{part[0]}{int(part[1:]) + 1}" for part in pattern.split("+"))

"""The figures on accuracy: against k for each code, against extra servers, and all others in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from lab.compare.drawing import GREY, INK, Figure, Format, make_panels
from lab.compare.labels import Label, place
from lab.compare.parity import words
from lab.compare.parity.analysis import Analysis, Row
from lab.compare.parity.confusion_figure import draw_confusions
from lab.compare.parity.loss_figures import draw_overall, draw_patterns
from lab.compare.parity.panels import (
    AIM_LABEL,
    BASE_LABEL,
    Style,
    grid,
    heights,
    labels_of,
    legend,
    series,
    stretch,
    styles,
    title,
)
from lab.compare.parity.sentences import aim
from lab.compare.statistics import Interval

__all__ = ["draw"]


def draw(analyses: Sequence[Analysis]) -> list[Figure]:
    """All figures, the main one first."""
    looks = styles(analyses)
    figures = [_by_k(analyses, looks), _by_cost(analyses, looks)]
    for number, analysis in enumerate(analyses, start=1):
        figures.append(draw_overall(analysis, looks, number))
        figures += draw_confusions(analysis, number)
        figures += draw_patterns(analysis, looks, number)
    return figures


def _names(analyses: Sequence[Analysis]) -> list[str]:
    return list(dict.fromkeys(series(row) for analysis in analyses for row in analysis.rows))


def _ends(analyses: Sequence[Analysis]) -> str:
    return ". ".join(
        f"{analysis.setting.label}: base model {words.percent_interval(analysis.base)}; "
        + "; ".join(f"{words.title(row)} {words.percent_interval(row.degraded)}" for row in analysis.rows)
        for analysis in analyses
    )


def _one_seed(analyses: Sequence[Analysis]) -> str:
    rows = [row for analysis in analyses for row in analysis.rows]
    if all(len(row.method.seeds) > 1 for row in rows):
        return "Bars and bands are 95 % intervals over seeds and test samples."
    return "Bars and bands are 95 % intervals over seeds and test samples; of one seed over test samples alone."


# ---- against k


def _by_k(analyses: Sequence[Analysis], looks: Mapping[str, Style]) -> Figure:
    names = _names(analyses)
    aimed = any(aim(analysis, r, k) is not None for analysis in analyses for r, k in analysis.places())
    caption = (
        "Accuracy of rebuilt predictions against true labels (A_d), by the number of queries that share their parity "
        "queries; up is better. The axis is stretched towards 100 %, as the logarithm of errors is. Solid lines are "
        "trained, dashed ones are codes without training, dotted ones code nothing. The dashed line across is the base "
        f"model's own accuracy. {_one_seed(analyses)}"
    )
    if aimed:
        caption += " Short thick lines are the lab's aims: the least A_d that was asked for at that k."
    return make_panels(
        "accuracy-by-k",
        _by_k_title(analyses),
        caption,
        f"Accuracy of rebuilt predictions: {_ends(analyses)}",
        lambda canvas, form: _paint_by_k(canvas, analyses, looks, names, form, aimed),
        heights=heights(len(analyses), [*names, BASE_LABEL, *[AIM_LABEL] * aimed]),
    )


def _by_k_title(analyses: Sequence[Analysis]) -> str:
    """The best code of each setting at its smallest k."""
    parts = []
    for analysis in analyses:
        coded = [row for where in analysis.places() if (row := analysis.best(*where)) is not None]
        if coded:
            row = coded[0]
            parts.append(f"{analysis.setting.label}, {words.title(row)}: {words.below(row.gap)}")
    # "k = 2" stays on one line.
    return ("How right rebuilt predictions are" + (f". {'; '.join(parts)}" if parts else "")).replace(
        " = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"
    )


def _paint_by_k(
    canvas: Canvas,
    analyses: Sequence[Analysis],
    looks: Mapping[str, Style],
    names: Sequence[str],
    form: Format,
    aimed: bool,
) -> None:
    handles = [_handle(name, looks[name]) for name in names]
    handles.append(_BASE)
    if aimed:
        handles.append(Line2D([], [], color=GREY, lw=3.2, alpha=0.7, label=AIM_LABEL))
    panels = grid(canvas, len(analyses), labels_of(handles), form)
    for axes, analysis in zip(panels, analyses, strict=True):
        _panel_by_k(axes, analysis, looks, names, form)
    legend(canvas, handles, form)


def _panel_by_k(axes: Axes, analysis: Analysis, looks: Mapping[str, Style], names: Sequence[str], form: Format) -> None:
    rows = analysis.rows
    ks = sorted({row.method.k for row in analysis.rows})
    _base(axes, analysis.base)
    present = [name for name in names if any(series(row) == name for row in rows)]
    for number, name in enumerate(present):
        mine = sorted((row for row in rows if series(row) == name), key=lambda row: row.method.k)
        # Side by side, so that no interval hides another.
        offset = (number - (len(present) - 1) / 2) * min(0.09, 0.7 / len(present))
        _marks(axes, [row.method.k + offset for row in mine], [row.degraded for row in mine], looks[name])
    base = analysis.base.value or 0.0
    for r, k in analysis.places():
        wanted = aim(analysis, r, k)
        if wanted is not None:
            axes.hlines(100 * (base - wanted), k - 0.42, k + 0.42, color=GREY, lw=3.2, alpha=0.7, zorder=1)
    axes.set_xticks(ks)
    axes.set_xlim(ks[0] - 0.55, ks[-1] + 0.55)
    axes.set_xlabel("k, queries in a group")
    axes.set_ylabel("A_d: rebuilt and right (%)")
    stretch(axes, _inside(analysis))
    title(axes, analysis.setting.label, form)


def _across(axes: Axes, analysis: Analysis) -> np.ndarray:
    """The corners of the base model's line."""
    base = 100 * (analysis.base.value or 0.0)
    return np.array([[x, base] for x in axes.get_xlim()])


def _inside(analysis: Analysis) -> list[float]:
    """All accuracies with their bounds, in per cent."""
    intervals = [analysis.base, *(row.degraded for row in analysis.rows)]
    return [100 * value for each in intervals for value in (each.value, each.low, each.high) if value is not None]


def _base(axes: Axes, base: Interval) -> None:
    assert base.value is not None
    if base.low is not None and base.high is not None:
        axes.axhspan(100 * base.low, 100 * base.high, color=INK, alpha=0.07, lw=0, zorder=0)
    axes.axhline(100 * base.value, color=INK, lw=1.1, ls=(0, (4, 3)), zorder=2)


def _marks(axes: Axes, places: Sequence[float], intervals: Sequence[Interval], style: Style) -> None:
    values = [100 * (interval.value or 0.0) for interval in intervals]
    for x, interval in zip(places, intervals, strict=True):
        if interval.low is not None and interval.high is not None:
            axes.vlines(x, 100 * interval.low, 100 * interval.high, color=style.color, lw=1.3, alpha=0.8, zorder=3)
    axes.plot(
        places, values, ls=style.line, color=style.color, lw=1.2, marker=style.marker, mfc=style.face, ms=5.5, zorder=4
    )


def _handle(name: str, style: Style, line: str | None = None) -> Line2D:
    ls = style.line if line is None else line
    return Line2D([], [], color=style.color, ls=ls, marker=style.marker, mfc=style.face, ms=5.5, lw=1.2, label=name)


_BASE = Line2D([], [], color=INK, lw=1.1, ls=(0, (4, 3)), label=BASE_LABEL)


# ---- against cost


def _by_cost(analyses: Sequence[Analysis], looks: Mapping[str, Style]) -> Figure:
    names = _names(analyses)
    caption = (
        "Accuracy of rebuilt predictions against what it costs: servers beside those of the queries, for each of them. "
        "A parity model takes one for k queries, replication one for each query and loss. Up and to the left is "
        f"better. {_one_seed(analyses)} A cheaper model's servers are counted as whole ones, though each does less "
        "work (hollow). The axis is stretched towards 100 %."
    )
    ends = "; ".join(
        f"{analysis.setting.label}, {words.title(row)}: {words.servers(row.servers)} extra servers, "
        f"{words.percent_interval(row.degraded)}"
        for analysis in analyses
        for row in analysis.rows
    )
    return make_panels(
        "accuracy-by-cost",
        "What accuracy costs: extra servers for each server of a query",
        caption,
        f"Extra servers and accuracy of rebuilt predictions: {ends}",
        lambda canvas, form: _paint_by_cost(canvas, analyses, looks, names, form),
        heights=heights(len(analyses), [*names, BASE_LABEL]),
    )


def _paint_by_cost(
    canvas: Canvas, analyses: Sequence[Analysis], looks: Mapping[str, Style], names: Sequence[str], form: Format
) -> None:
    handles = [*(_handle(name, looks[name], line="") for name in names), _BASE]
    for axes, analysis in zip(grid(canvas, len(analyses), labels_of(handles), form), analyses, strict=True):
        _panel_by_cost(axes, analysis, looks, form)
    legend(canvas, handles, form)


def _panel_by_cost(axes: Axes, analysis: Analysis, looks: Mapping[str, Style], form: Format) -> None:
    rows = analysis.rows
    _base(axes, analysis.base)
    points: dict[tuple[str, float, float], list[Row]] = {}
    for row in rows:
        points.setdefault((series(row), row.servers, 100 * (row.degraded.value or 0.0)), []).append(row)
    most = max([1.0, *(row.servers for row in rows)])
    names = list(dict.fromkeys(name for name, _, _ in points))
    labels, marks = [], []
    for (name, x, value), group in points.items():
        style, interval = looks[name], group[0].degraded
        # Side by side, as those of one k cost the same.
        x += (names.index(name) - (len(names) - 1) / 2) * 0.014 * most
        if interval.low is not None and interval.high is not None:
            axes.vlines(x, 100 * interval.low, 100 * interval.high, color=style.color, lw=1.1, alpha=0.5)
        axes.plot(x, value, style.marker, ms=6, mfc=style.face, mec=style.color, color=style.color, zorder=4)
        ks = ", ".join(str(row.method.k) for row in group)
        labels.append(Label(f"k = {ks}", x, value, style.color))
        marks.append((x, value))
    axes.set_xlim(-0.08 * most, most * 1.25)
    axes.set_xlabel("extra servers for each server of a query")
    axes.set_ylabel("A_d: rebuilt and right (%)")
    stretch(axes, _inside(analysis))
    title(axes, analysis.setting.label, form)
    place(axes, labels, np.array(marks).reshape(-1, 2), form.text - 2.0, line=_across(axes, analysis))

"""What was learned, in figures and words."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from lab.compare.drawing import COLORS, GREEN, GREY, INK, Figure, Format, make, make_panels
from lab.compare.explain import FLEET, SHARES, Dispersion, Explanation, Importance
from lab.compare.words import names

__all__ = ["draw_explanation", "paint_prices", "sentences"]

_FEW, _MANY = 0.25, 0.75
"""Up to here between stratified (0) and independent scores (1), scores are called stratified; from here on, not."""

_STRONG = 0.5
"""What counts at least half as much as the most important feature is named with it."""

_TICK = 14
"""Points that a tick, its distance from its label and a margin take."""

_LEVELS = (("#1f2328", "-"), ("#0060a8", "--"), ("#a1286a", "-."), ("#b34700", ":"))


def sentences(explanation: Explanation) -> list[str]:
    """What one method has learned, in a sentence or two."""
    found = []
    if explanation.importance:
        most = explanation.importance[0].rise.value or 0.0
        strong = [each for each in explanation.importance if (each.rise.value or 0.0) >= _STRONG * most]
        listed = names([f"{each.feature} (+{each.rise.value or 0.0:.1f})" for each in strong])
        found.append(
            f"Its tables rest most on {listed}: by so much the churn ratio, {explanation.churn_ratio:.2f}, rises when "
            "that alone is drawn anew for the second table."
        )
    if explanation.dispersion:
        found.append(_stratified(explanation.dispersion))
    if explanation.prices is not None:
        found.append(
            "Its scores are stratified draws, as they stand. Learned is what a backend pays for one more entry, by how "
            "many it has and how near it is to the mean load."
        )
    return found


def _stratified(dispersion: Dispersion) -> str:
    learned, independent, stratified = dispersion.at_best
    place = (learned - stratified) / (independent - stratified)
    word = "are stratified" if place < _FEW else "are not stratified" if place > _MANY else "are partly stratified"
    return (
        f"Its scores {word}: of the best {FLEET}th of all pairs, with {FLEET} backends, a backend's number has a "
        f"variance of {learned:.2f} times its mean; of independent scores {independent:.2f}, of stratified ones "
        f"{stratified:.2f}."
    )


def draw_explanation(explanation: Explanation) -> Figure:
    """The figure of one method: importance beside dispersion, importance alone, or prices."""
    name = f"learned-{explanation.kind}"
    if explanation.prices is not None:
        prices = explanation.prices
        return make(
            name,
            f"What {explanation.method} learned to charge a backend for one more entry",
            "Prices of table entries are held against stratified scores. The thick line is the mean over "
            f"{explanation.seeds} seeds, thin lines are seeds.",
            "Learned prices by entries and share of the mean load: "
            + "; ".join(f"entry {i + 1}: {_list(row)}" for i, row in enumerate(prices.clip(0, 1).mean(axis=0))),
            lambda axes, form: paint_prices(axes, prices),
        )
    title = f"What the tables of {explanation.method} rest on"
    caption = (
        "Rise of the churn ratio in validation when one feature is drawn anew for the second of two tables, and so "
        f"says nothing of who is who; bars are 95 % intervals over {explanation.seeds} seeds."
    )
    alt = "Rise of the churn ratio by feature: " + ", ".join(
        f"{each.feature} {each.rise.value or 0.0:.2f}" for each in explanation.importance
    )
    dispersion = explanation.dispersion
    if dispersion is None:
        height = 1.6 + 0.3 * len(explanation.importance)
        return make(
            name,
            title,
            caption,
            alt,
            lambda axes, form: _paint_importance(axes, explanation.importance, COLORS[explanation.kind], form),
            heights=(height, height + 0.4),
        )
    caption += (
        f" Beside it: of fleets of {FLEET}, the best share of all pairs of entry and backend; how the number of a "
        "backend's pairs among them varies over backends. Independent scores are a lottery (1 less the share); of "
        "stratified ones everyone has alike. A table has as many entries as lie left of the dotted line."
    )
    alt += ". Index of dispersion of its scores by share: " + ", ".join(
        f"{share:.2f} {each.value or 0.0:.2f}" for share, each in zip(SHARES, dispersion.learned, strict=True)
    )

    def paint(canvas: Canvas, form: Format) -> None:
        space = {"wspace": 0.25, "hspace": 0.28}
        rows, columns = (2, 1) if form.narrow else (1, 2)
        left, right = canvas.subplots(rows, columns, squeeze=False, gridspec_kw=space).flat
        _paint_importance(left, explanation.importance, COLORS[explanation.kind], form)
        _paint_dispersion(right, explanation.method, dispersion, COLORS[explanation.kind])

    return make_panels(name, f"{title}, and how its scores are spread", caption, alt, paint, heights=(4.4, 6.6))


def _list(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _paint_importance(axes: Axes, importance: tuple[Importance, ...], color: str, form: Format) -> None:
    places = np.arange(len(importance))
    axes.barh(places, [each.rise.value or 0.0 for each in importance], color=color, alpha=0.75, height=0.65)
    for place, each in zip(places, importance, strict=True):
        if each.rise.low is not None and each.rise.high is not None:
            axes.plot([each.rise.low, each.rise.high], [place, place], color=INK, lw=1.4)
    axes.set_yticks(places, [each.feature for each in importance])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.set_xlabel("rise of the churn ratio" if form.narrow else "rise of the churn ratio when drawn anew")
    _make_room(axes)


def _make_room(axes: Axes) -> None:
    """Moves the left edge so that the longest tick label fits between the edge of its panel and the axes."""
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    widest = max(label.get_window_extent().width for label in axes.get_yticklabels())
    box = axes.get_position()
    left = (widest + canvas.dpi / 72 * _TICK) / canvas.bbox.width
    axes.set_position((left, box.y0, box.x1 - left, box.height))


def _paint_dispersion(axes: Axes, method: str, dispersion: Dispersion, color: str) -> None:
    axes.plot(SHARES, dispersion.independent, "--", color=GREY, lw=1.5, label="independent scores")
    axes.plot(SHARES, dispersion.stratified, "-.", color=GREEN, lw=1.5, label="stratified scores")
    axes.plot(SHARES, [each.value or 0.0 for each in dispersion.learned], "o-", color=color, ms=3.5, lw=2, label=method)
    if all(each.low is not None for each in dispersion.learned):
        low, high = ([getattr(each, end) for each in dispersion.learned] for end in ("low", "high"))
        axes.fill_between(SHARES, low, high, color=color, alpha=0.2, lw=0)
    axes.axvline(1 / FLEET, color=INK, lw=0.9, ls=":", zorder=1)
    axes.set_xlim(0, 0.92)
    axes.set_ylim(0, 1.1)
    axes.set_xlabel("best share of all pairs")
    axes.set_ylabel("variance over mean, of backends")
    axes.legend(loc="upper right", borderaxespad=0.1)


def paint_prices(axes: Axes, prices: NDArray[np.float64]) -> None:
    """What one more entry costs, by how many a backend has and how far that is from the mean load.

    Args:
        axes: what is painted on.
        prices: float64 (seeds, levels, knots), as in `lab.compare.explain.Explanation`.
    """
    levels, knots = prices.shape[1:]
    share, knots_at = np.linspace(0, 1, 401), np.linspace(0, 1, knots)
    for level in range(levels):
        color, style = _LEVELS[level % len(_LEVELS)]
        label = f"{level + 1}" + (" or more" if level == levels - 1 else "")
        seeds = np.stack([np.interp(share, knots_at, steps).clip(0, 1) for steps in prices[:, level]])
        axes.plot(share, seeds.mean(axis=0), style, color=color, lw=2.2, label=label)
        if len(seeds) > 1:
            axes.plot(share, seeds.T, style, color=color, lw=0.6, alpha=0.45)
    axes.set_xlabel("that many entries, as a share of the mean load (size / backends)")
    axes.set_ylabel("rise of its price, in score ranges (1: no score outweighs it)")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.05)
    axes.legend(title="entries that it has", loc="upper left")

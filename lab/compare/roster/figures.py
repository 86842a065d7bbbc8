"""Mean and worst spread by how many backends of the roster are present."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Canvas

from lab.compare.drawing import COLORS, INK, LINES, Figure, Format, make_panels
from lab.compare.roster import words
from lab.compare.roster.evaluate import Row
from lab.compare.roster.suite import RosterSuite

__all__ = ["draw"]

_LEARNED = (COLORS["learned"], COLORS["supervised"], COLORS["ppo"], COLORS["es"])


def draw(suite: RosterSuite, rows: Sequence[Row], number: int) -> Figure:
    """The figure of one suite; networks before training are left out."""
    shown = [row for row in rows if row.method.trained]
    ends = "; ".join(f"{row.method.label} {words.interval('spread', row.scores['spread'])}" for row in shown)
    return make_panels(
        f"spread-{number}",
        f"{suite.label}: the spread of loads, by how many backends are present",
        "The largest less the smallest load, in entries, down is better; above the mean over subsets and seeds, below "
        "the worst of any subset and seed. At most 1 is perfectly even. Black and grey lines are classical.",
        f"Mean spread over {words.subsets(suite)}: {ends}",
        lambda canvas, form: _paint(canvas, shown, form),
        heights=(5.6, 5.6),
    )


def _paint(canvas: Canvas, rows: Sequence[Row], form: Format) -> None:
    panels = canvas.subplots(2, 1, sharex=True)
    learned = [row for row in rows if row.method.kind != "classical"]
    for place, (axes, what) in enumerate(zip(panels, ("mean spread", "worst spread"), strict=True)):
        for index, row in enumerate(rows):
            classical = row.method.kind == "classical"
            color = COLORS["classical"] if classical else _LEARNED[learned.index(row) % len(_LEARNED)]
            axes.plot(
                list(row.by_count),
                [values[place] for values in row.by_count.values()],
                LINES[index % len(LINES)],
                color=INK if row.method.label == "maglev" else color,
                lw=1.2 if classical else 2,
                label=row.method.label,
            )
        axes.set_ylabel(what)
        axes.set_ylim(bottom=0)
    panels[1].set_xlabel("backends present")
    panels[0].legend(fontsize=form.text - 1.5)

"""The animation of a report: one fleet under Maglev and under the best table that was learned."""

from __future__ import annotations

from lab.compare.analysis import Analysis
from lab.compare.answer import best_learned
from lab.compare.drawing import Figure
from lab.table_animation import Fleet, animate, follow, keys_of, summary

__all__ = ["animation"]

_BACKENDS, _STEPS = 7, 12


def animation(analysis: Analysis) -> list[Figure]:
    """A fleet of seven whose backends leave and come back; nothing where no ranked table was learned."""
    row = best_learned(analysis)
    if row is None:
        return []
    fleet = Fleet.of(keys_of(None, _BACKENDS), _STEPS)
    moves = follow(fleet, {"maglev": "maglev", row.method.label: row.method.builders[0]}, analysis.suite.size)
    counts = summary(moves)
    which = f" (the first of its {row.method.seeds} seeds)" if row.method.seeds > 1 else ""
    return [
        Figure(
            name="fleet",
            title="A fleet over time",
            caption=f"One fleet, as an example: {counts}. Shown is {row.method.label}{which}, beside Maglev.",
            alt=f"Two tables, entries coloured by backend, while backends leave and come back; {counts}",
            wide=animate(fleet, moves, "WEBP"),
            narrow=animate(fleet, moves, "WEBP", narrow=True),
            ending="webp",
        )
    ]

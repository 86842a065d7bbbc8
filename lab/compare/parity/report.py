"""`report.html`, rendered from the content of `report.json` and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.compare.drawing import Figure
from lab.compare.page import render_page
from lab.compare.parity import words

__all__ = ["FORMATS", "render"]

FORMATS: dict[str, Callable[[Any], str]] = {
    "percent": words.percent,
    "points": words.points,
    "share": lambda value: f"{100 * value:g}",
    "servers": words.servers,
    "whole": lambda value: f"{value:,.0f}",
    "text": str,
}
"""How a value of report.json stands in the page: a `data-format` names its entry, a `data-path` the value."""


def render(content: dict[str, Any], figures: Sequence[Figure]) -> str:
    """The page: self-contained, every number in it read from `content`."""
    return render_page("parity.html.j2", [Path(__file__).parent], content, figures, FORMATS)

"""How a page is made of a report's JSON and of nothing else: each number carries the path it was read from."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import jinja2

from lab.compare.drawing import Figure

__all__ = ["lookup", "render_page"]


def lookup(content: Any, path: str) -> Any:
    """The value at a JSON pointer (RFC 6901, without escapes): `/suites/0/parts/0/rows/3/scores/excess/value`."""
    parts = path.lstrip("/").split("/")
    return reduce(lambda value, part: value[int(part)] if isinstance(value, list) else value[part], parts, content)


def render_page(
    template: str,
    folders: Sequence[Path],
    content: Mapping[str, Any],
    figures: Sequence[Figure],
    formats: Mapping[str, Callable[[Any], str]],
    **more: Any,
) -> str:
    """Renders a template with `report` (the content), `images` (figure -> data URIs), `at(path)` and `shown(value,
    format)`.

    Args:
        template: its file name.
        folders: where templates are looked for; the folder of this file, with what pages share, is always among them.
        content: what stands in `report.json`.
        figures: as drawn.
        formats: name of a format -> how it writes a value.
        **more: further names for the template; no number of the page comes from them.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["at"] = lambda path: lookup(content, path)
    environment.globals["shown"] = lambda value, form: formats[form](value)
    images = {f.name: {"wide": _data_uri(f.wide, f.ending), "narrow": _data_uri(f.narrow, f.ending)} for f in figures}
    page = environment.get_template(template).render(report=content, images=images, **more)
    # A number and its sign belong on one line.
    return page.replace(" %", "\N{NO-BREAK SPACE}%")


def _data_uri(image: bytes, ending: str) -> str:
    return f"data:image/{ending};base64," + base64.b64encode(image).decode()

"""The error of a wrong request, and how it names the nearest right answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """Raised when what was asked for is wrong: its message is one line with what was expected and what came.

    The command line prints the line and exits with status 2.
    """


def unknown_name(kind: str, got: object, known: Iterable[str]) -> RequestError:
    """The error for a name outside a registry.

    Args:
        kind: what the name stands for ("table builder", "preset").
        got: the name that came.
        known: the names that would have been right.

    Returns:
        A `RequestError` that lists the known names and suggests the nearest.
    """
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(str(got), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return RequestError(f"unknown {kind} {str(got)!r}: expected one of {', '.join(names) or '(none)'}.{hint}")

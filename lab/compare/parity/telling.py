"""What tells configurations apart, in as few words as will do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["told_apart"]

_MOST = 2
"""So many fields in a label, and no more."""


def told_apart(
    configs: Sequence[Mapping[str, Any]],
    ids: Sequence[str],
    presets: Sequence[str] | None = None,
    places: Sequence[object] | None = None,
) -> list[str]:
    """What to write behind a name that all share.

    Args:
        configs: one for each.
        ids: what tells them apart where words do not.
        presets: from which each was made; used where more than two fields differ, if that is enough.
        places: two in different places may have the same words; one place if they are not given.

    Returns:
        For each a suffix: nothing where all configurations are the same, up to two fields with their values, a preset,
        or its id.
    """
    texts = [json.dumps(config, sort_keys=True, default=str) for config in configs]
    if len(set(texts)) < 2 and _unique(texts, [""] * len(texts), places):
        return ["" for _ in configs]
    names = list(dict.fromkeys(name for config in configs for name in config))
    differ = [name for name in names if len({json.dumps(config.get(name), default=str) for config in configs}) > 1]
    if len(differ) <= _MOST:
        fields = [", " + ", ".join(f"{name} {config.get(name)}" for name in differ) for config in configs]
        if differ and _unique(texts, fields, places):
            return fields
    if presets is not None:
        marked = ["" if preset == "default" else f" ({preset})" for preset in presets]
        if _unique(texts, marked, places):
            return marked
    return [f" {name}" for name in ids]


def _unique(texts: Sequence[str], words: Sequence[str], places: Sequence[object] | None) -> bool:
    """Whether equal words stand for equal configurations, and no place has the same words twice."""
    meant: dict[str, str] = {}
    seen: set[tuple[object, str]] = set()
    for number, (text, word) in enumerate(zip(texts, words, strict=True)):
        place = None if places is None else places[number]
        if meant.setdefault(word, text) != text or (place, word) in seen:
            return False
        seen.add((place, word))
    return True

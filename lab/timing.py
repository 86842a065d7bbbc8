"""Where the time of a training went: wall time by nested names, as data that is kept and as lines that are read.

After the timing tree that Sample Factory prints at the end of a run (`sample_factory/utils/timing.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from lab.errors import RequestError

__all__ = ["Timing", "check_tree", "render", "total"]

_ROOT = "training"


class _Node:
    """What was measured under one name; `calls` is 0 where only parts of it were."""

    __slots__ = ("calls", "children", "seconds")

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0
        self.children: dict[str, _Node] = {}

    def child(self, name: str) -> _Node:
        node = self.children.get(name)
        if node is None:
            node = self.children[name] = _Node()
        return node

    def add(self, seconds: float, calls: int) -> None:
        if not (0 <= seconds < math.inf and calls >= 0):
            raise RequestError(f"expected finite seconds and calls of at least 0, but got {seconds} and {calls}")
        self.seconds += seconds
        self.calls += calls

    def join(self, tree: Mapping[str, Any]) -> None:
        """Adds a tree to what is here, name by name."""
        try:
            seconds, calls = float(tree["seconds"]), int(tree["calls"])
            parts = [(str(part["name"]), part) for part in tree["children"]]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise RequestError(
                f"expected a timing tree with name, seconds, calls and children, but got {str(tree)[:60]!r}"
            ) from None
        self.add(seconds, calls)
        for name, part in parts:
            self.child(name).join(part)

    def tree(self, name: str, running: Mapping[int, float]) -> dict[str, Any]:
        """This node as data, with the seconds of blocks that are open now, by the `id` of their node."""
        children = [node.tree(part, running) for part, node in self.children.items()]
        seconds, calls = self.seconds, self.calls
        if id(self) in running:
            seconds, calls = seconds + running[id(self)], calls + 1
        if not calls:
            seconds = sum((part["seconds"] for part in children), 0.0)
        return {"name": name, "seconds": seconds, "calls": calls, "children": children}


class _Block:
    """`with timing(name)`; the clock is read once at each end."""

    __slots__ = ("_name", "_open")

    def __init__(self, opened: list[tuple[_Node, float]], name: str) -> None:
        self._open, self._name = opened, name

    def __enter__(self) -> None:
        self._open.append((self._open[-1][0].child(self._name), perf_counter()))

    def __exit__(self, *error: object) -> None:
        node, started = self._open.pop()
        node.seconds += perf_counter() - started
        node.calls += 1


class Timing:
    """Sums of wall time by nested names, from when it is made.

        timing = Timing()
        with timing("sampling"):
            with timing("environment"):
                ...
        timing.add(("sampling", "forward"), seconds=1.5, calls=94)
        Result(metrics, timing=timing.tree())

    A block costs about a microsecond, and counts also when an exception ends it. For one thread; what is measured in
    others, or in other processes, is added.

    Args:
        tree: of an earlier `Timing`, which this one continues: a training that is resumed adds to what was spent
            before. The calls of its root are the processes that took part.

    Raises:
        RequestError: `tree` is no such tree.
    """

    def __init__(self, tree: Mapping[str, Any] | None = None) -> None:
        self._root = _Node()
        if tree is not None:
            self._root.join(tree)
        self._open = [(self._root, perf_counter())]

    def __call__(self, name: str) -> AbstractContextManager[None]:
        """A block whose time belongs to `name`, inside the block that is open around it."""
        return _Block(self._open, name)

    def add(self, path: Sequence[str], seconds: float, calls: int = 1) -> None:
        """Adds what was measured elsewhere.

        Args:
            path: names from the root down. Those on the way that are never measured themselves have the sum of their
                parts.
            seconds: finite, at least 0. Several processes that work at once may add more than the time of the block
                around them; `render` says so.
            calls: how many took that long together, at least 1.

        Raises:
            RequestError: one of them is not so.
        """
        if isinstance(path, str) or not path or calls < 1:
            raise RequestError(f"expected a tuple of names and at least 1 call, but got {path!r} and {calls}")
        node = self._root
        for name in path:
            node = node.child(name)
        node.add(float(seconds), int(calls))

    def tree(self) -> dict[str, Any]:
        """Everything up to now, blocks that are open included.

        Returns:
            JSON data: `name`, `seconds`, `calls` and `children`, which are such trees, in the order in which they
            first came. The seconds of the root are the whole time since this was made, and before, if it continues
            another.
        """
        now = perf_counter()
        return self._root.tree(_ROOT, {id(node): now - started for node, started in self._open})


def total(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of some trees, name by name: seconds and calls.

    Raises:
        RequestError: one is no tree of a `Timing`.
    """
    root = _Node()
    for tree in trees:
        root.join(tree)
    return root.tree(_ROOT, {})


def check_tree(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree as plain JSON data, its root called as that of `Timing.tree`.

    Raises:
        RequestError: it is no tree of a `Timing`.
    """
    return total([tree])


_WIDTH = 80
_GUIDE = 4
"""Columns that rich's lines take for each level of a tree."""

_COLUMNS = {"seconds": 11, "share": 9, "calls": 12, "ms a call": 11}
_NAMES = _WIDTH - sum(_COLUMNS.values())

_OVERLAP = 0.005
"""Parts that are longer than their whole by less than this share of it are so by rounding and by clocks that differ."""

_LEAST = 0.0005
"""Share of the whole from which on a rest is shown: less would read 0.0 %."""


def render(tree: Mapping[str, Any], title: str = "where the time went") -> RenderableType:
    """A tree for people, at most 80 columns wide: seconds, share of the whole, calls, milliseconds a call.

    The largest part comes first. Time that no part explains is shown as `other`, where there is any. Parts that
    together took longer than the block around them ran at once, in several processes: a line says so.

    Args:
        tree: of `Timing.tree` or `total`.
        title: stands over the names.

    Returns:
        What a rich `Console` prints; plain text where that is no terminal.
    """
    widest = max(len(title), *(_GUIDE * depth + len(name) for depth, name in _names(tree)))
    names, whole = min(widest, _NAMES), float(tree["seconds"])

    def line(depth: int, name: str, cells: Iterable[str], style: str = "") -> Text:
        text = Text(name, style, no_wrap=True, overflow="ignore")
        text.truncate(max(names - _GUIDE * depth, _GUIDE), overflow="ellipsis", pad=True)
        for cell, width in zip(cells, _COLUMNS.values(), strict=False):
            text.append(f" {cell}".rjust(width))
        return text

    def figures(seconds: float, calls: int) -> Iterator[str]:
        yield f"{seconds:,.2f}"
        yield f"{seconds / whole:.1%}".replace("%", " %") if whole else "–"
        if calls:
            each = 1000 * seconds / calls
            yield f"{calls:,}"
            yield f"{each:,.3f}" if each < 10_000 else f"{each:,.0f}"

    def grow(branch: Tree, part: Mapping[str, Any], depth: int) -> None:
        children = sorted(part["children"], key=lambda child: -child["seconds"])
        for child in children:
            label = line(depth, child["name"], figures(child["seconds"], child["calls"]))
            grow(branch.add(label), child, depth + 1)
        if children:
            rest = part["seconds"] - sum(child["seconds"] for child in children)
            if rest < -_OVERLAP * part["seconds"]:
                times = 1 - rest / part["seconds"] if part["seconds"] else math.inf
                note = f"these ran at once: together {times:.2f} times the time above them"
                branch.add(Text(note, "italic", no_wrap=True, overflow="ignore"))
            elif rest >= _LEAST * whole > 0:
                branch.add(line(depth, "other", figures(rest, 0), "dim"))

    root = Tree(line(0, tree["name"], figures(whole, tree["calls"])))
    grow(root, tree, 1)
    return Group(line(0, title, _COLUMNS, "bold"), root)


def _names(tree: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[int, str]]:
    yield depth, tree["name"]
    for part in tree["children"]:
        yield from _names(part, depth + 1)

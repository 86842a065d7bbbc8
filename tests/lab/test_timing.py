"""Where the time went: sums that add up, and lines that a stranger can read."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lab import timing as module
from lab.errors import RequestError
from lab.timing import Timing, check_tree, render, total


class Clock:
    """Stands still until it is told to go on; counts how often it is read."""

    def __init__(self) -> None:
        self.now, self.read = 1000.0, 0

    def __call__(self) -> float:
        self.read += 1
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "perf_counter", found)
    return found


def part(name: str, seconds: float, calls: int, *children: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "seconds": seconds, "calls": calls, "children": list(children)}


def shown(tree: dict[str, Any], **options: Any) -> list[str]:
    """The lines that a tree is printed as where there is no terminal."""
    file = io.StringIO()
    Console(file=file, width=80).print(render(tree, **options))
    return file.getvalue().splitlines()


def test_blocks_add_up_by_their_nested_names(clock: Clock) -> None:
    timing = Timing()
    for _ in range(3):
        with timing("sampling"):
            with timing("environment"):
                clock.forward(2.0)
            with timing("forward"):
                clock.forward(1.0)
            clock.forward(0.5)
    with timing("learning"), timing("forward"):
        clock.forward(4.0)
    clock.forward(0.25)
    sampling = part("sampling", 10.5, 3, part("environment", 6.0, 3), part("forward", 3.0, 3))
    learning = part("learning", 4.0, 1, part("forward", 4.0, 1))
    assert timing.tree() == part("training", 14.75, 1, sampling, learning)


def test_a_block_reads_the_clock_once_at_each_end(clock: Clock) -> None:
    timing = Timing()
    before = clock.read
    with timing("sampling"):
        pass
    assert clock.read - before == 2


def test_blocks_that_are_open_count_so_far(clock: Clock) -> None:
    timing = Timing()
    with timing("sampling"):
        clock.forward(1.0)
        with timing("environment"):
            clock.forward(2.0)
            within = timing.tree()
    assert within == part("training", 3.0, 1, part("sampling", 3.0, 1, part("environment", 2.0, 1)))
    assert timing.tree() == within, "nothing is counted twice"


def test_an_error_ends_its_blocks(clock: Clock) -> None:
    timing = Timing()
    with pytest.raises(ZeroDivisionError), timing("sampling"), timing("environment"):
        _ = 1 / 0
    with timing("learning"):
        clock.forward(1.0)
    names = [child["name"] for child in timing.tree()["children"]]
    assert names == ["sampling", "learning"]


def test_what_was_measured_elsewhere_is_added(clock: Clock) -> None:
    timing = Timing()
    with timing("sampling"):
        clock.forward(5.0)
    timing.add(("sampling", "forward"), 3.0, 94)
    timing.add(("sampling", "forward"), 1.0, 6)
    timing.add(("learner", "loss"), 0.5)
    timing.add(("learner", "step"), 0.25)
    sampling = part("sampling", 5.0, 1, part("forward", 4.0, 100))
    learner = part("learner", 0.75, 0, part("loss", 0.5, 1), part("step", 0.25, 1))
    assert timing.tree() == part("training", 5.0, 1, sampling, learner)


@pytest.mark.parametrize(
    ("path", "seconds", "calls"),
    [
        (("a",), -1.0, 1),
        (("a",), float("nan"), 1),
        (("a",), float("inf"), 1),
        (("a",), 1.0, 0),
        ((), 1.0, 1),
        ("sampling", 1.0, 1),
    ],
)
def test_what_is_no_measurement_is_refused(path: Any, seconds: float, calls: int) -> None:
    timing = Timing()
    with pytest.raises(RequestError, match="but got"):
        timing.add(path, seconds, calls)
    assert all(child["seconds"] == 0 for child in timing.tree()["children"])


def test_a_resumed_training_continues_the_tree_of_before(clock: Clock) -> None:
    first = Timing()
    with first("sampling"):
        clock.forward(2.0)
    first.add(("learner", "loss"), 1.0)
    kept = json.loads(json.dumps(first.tree()))
    clock.forward(1000.0)
    second = Timing(kept)
    with second("sampling"):
        clock.forward(3.0)
    second.add(("learner", "loss"), 1.0)
    with second("validation"):
        clock.forward(0.5)
    learner = part("learner", 2.0, 0, part("loss", 2.0, 2))
    expected = part("training", 5.5, 2, part("sampling", 5.0, 2), learner, part("validation", 0.5, 1))
    assert second.tree() == expected, "the time between the two is nobody's"


@pytest.mark.parametrize(
    "tree",
    [
        {},
        [],
        5,
        {"name": "training", "seconds": 1.0, "calls": 1},
        part("training", 1.0, 1, {"name": "sampling"}),
        part("training", "long", 1),  # type: ignore[arg-type]
        part("training", 1.0, float("inf")),  # type: ignore[arg-type]
        part("training", 1.0, 1, part("sampling", float("nan"), 1)),
        part("training", 1.0, 1, part("sampling", -1.0, 1)),
    ],
)
def test_a_damaged_tree_is_refused_in_one_line(tree: Any) -> None:
    for read in (Timing, check_tree, lambda one: total([part("training", 1.0, 1), one])):
        with pytest.raises(RequestError) as caught:
            read(tree)
        assert "\n" not in str(caught.value)


# Whole seconds, so that sums are exact in any order; no name is both a whole and a part.
MEASUREMENTS = st.lists(
    st.tuples(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), st.integers(0, 1000), st.integers(1, 9))
)


def measured(*adds: Any) -> dict[str, Any]:
    timing = Timing()
    for path, seconds, calls in adds:
        timing.add(path, seconds, calls)
    return timing.tree()


def figures(tree: dict[str, Any], *path: str) -> dict[tuple[str, ...], tuple[float, int]]:
    """Path -> seconds and calls, below the root."""
    found = {}
    for child in tree["children"]:
        here = (*path, child["name"])
        found |= {here: (child["seconds"], child["calls"]), **figures(child, *here)}
    return found


@given(MEASUREMENTS, MEASUREMENTS, MEASUREMENTS)
def test_a_sum_of_trees_is_the_tree_of_everything_in_any_order(one: list, two: list, three: list) -> None:
    trees = [measured(*adds) for adds in (one, two, three)]
    whole = figures(measured(*one, *two, *three))
    assert figures(total(trees)) == figures(total(reversed(trees))) == whole
    assert figures(total([total(trees[:2]), trees[2]])) == whole
    assert total(trees)["calls"] == 3
    assert total(trees)["seconds"] == pytest.approx(sum(tree["seconds"] for tree in trees))
    assert check_tree(trees[0]) == trees[0]


def test_a_stranger_sees_seconds_shares_calls_and_what_nothing_explains() -> None:
    learning = part("learning", 30.0, 250, part("loss", 20.0, 4500), part("step", 10.0, 4500))
    tree = part("training", 100.0, 1, learning, part("sampling", 60.0, 250, part("environment", 36.66, 23500)))
    lines = shown(tree)
    assert lines[0].split() == ["where", "the", "time", "went", "seconds", "share", "calls", "ms", "a", "call"]
    found = [[word for word in line.split() if word.strip("├└│─")] for line in lines[1:]]
    assert found == [
        ["training", "100.00", "100.0", "%", "1", "100,000"],
        ["sampling", "60.00", "60.0", "%", "250", "240.000"],
        ["environment", "36.66", "36.7", "%", "23,500", "1.560"],
        ["other", "23.34", "23.3", "%"],
        ["learning", "30.00", "30.0", "%", "250", "120.000"],
        ["loss", "20.00", "20.0", "%", "4,500", "4.444"],
        ["step", "10.00", "10.0", "%", "4,500", "2.222"],
        ["other", "10.00", "10.0", "%"],
    ], "the largest first, and no rest where the parts are the whole"


def test_columns_stand_under_their_names_within_80_columns() -> None:
    deep = part("a name that is longer than anybody would read in a tree", 1e5, 10**8, part("below", 5e4, 10**7))
    tree = part("training", 123456.0, 1, part("sampling", 123000.0, 250, deep))
    lines = shown(tree, title="where the time went, 10 of 10 trials")
    assert max(map(len, lines)) <= 80
    ends = {line.rindex("%") for line in lines[1:]}
    assert ends == {lines[0].rindex("share") + len("share") - 1}
    assert len({len(line) for line in lines[:5]}) == 1, "the last column ends where its name does"
    assert all(
        name in text for name, text in zip(("training", "sampling", "a name that", "below"), lines[1:5], strict=True)
    )


def test_parts_that_ran_at_once_are_said_to_and_leave_no_negative_rest() -> None:
    tree = part(
        "training", 100.0, 1, part("sampling", 50.0, 10, part("runner", 40.0, 5), part("other runner", 80.0, 5))
    )
    lines = shown(tree)
    (note,) = [line for line in lines if "at once" in line]
    assert "together 2.40 times the time above them" in note
    assert "-" not in "".join(lines)
    assert [line for line in lines if "80.0 %" in line]
    assert sum("other " in line for line in lines) == 2, "the runner of that name, and the rest of the root alone"


def test_parts_that_are_longer_by_rounding_are_not_said_to_overlap() -> None:
    lines = shown(part("training", 1.0, 1, part("sampling", 0.7, 1), part("learning", 0.3 + 1e-9, 1)))
    assert len(lines) == 4


@pytest.mark.parametrize("children", [(), (part("sampling", 0.0, 1),)])
def test_a_training_that_took_no_time_is_shown(children: tuple) -> None:
    assert "training" in shown(part("training", 0.0, 1, *children))[1]


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    assert any("[red]env" in line for line in shown(part("training", 2.0, 1, part("[red]env", 1.0, 1))))

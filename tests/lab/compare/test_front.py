"""Fronts: an area that is counted wrong would say that learning wins where it does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.compare.evaluate import SCORES, Evaluation
from lab.compare.front import LARGEST, dominated_area, fronts, level
from lab.compare.front_figure import draw_fronts
from lab.compare.methods import Method
from lab.compare.suites import suite


def test_the_area_of_stairs():
    corner = (1.5, 0.05)
    assert dominated_area(np.array([[1.0, 0.03]]), corner) == pytest.approx(0.5 * 0.02)
    stairs = np.array([[1.2, 0.01], [1.0, 0.03], [1.4, 0.02], [1.6, 0.0]])
    assert dominated_area(stairs, corner) == pytest.approx(0.2 * 0.02 + 0.3 * 0.04)
    assert dominated_area(np.array([[1.6, 0.0], [1.0, 0.06]]), corner) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 2), st.floats(0, 0.1)), min_size=1, max_size=8))
def test_the_area_is_what_a_fine_sum_of_the_levels_says_and_grows_with_every_point(points):
    corner = (1.5, 0.05)
    points = np.array(points)
    x = np.linspace(1, 1.5, 20_001)[:-1] + 0.5 / 40_000
    expected = np.clip(0.05 - level(points, x), 0, None).mean() * 0.5
    assert dominated_area(points, corner) == pytest.approx(expected, abs=1e-5)
    assert dominated_area(points[:-1], corner) <= dominated_area(points, corner) + 1e-15


def evaluation(*by_seed):
    """One group, whose pairs all have the scores of their seed."""
    scores = {score: np.zeros((len(by_seed), 3)) for score in SCORES}
    for seed, (largest, excess) in enumerate(by_seed):
        scores["max_over_mean"][seed], scores["excess"][seed] = largest, excess
    return Evaluation({"3": scores}, 0.0, 0.0)


def methods(learned):
    found = {
        Method("even", "classical", ("a",)): evaluation((1.1, 0.04)),
        Method("loose", "classical", ("b",)): evaluation((1.3, 0.01)),
        Method("beaten", "classical", ("c",)): evaluation((1.35, 0.02)),
        Method("stateful", "classical", ("d",), stateless=False): evaluation((1.0, 0.0)),
    }
    for name, seeds in learned.items():
        found[Method(name, "learned", tuple(map(str, range(len(seeds)))))] = evaluation(*seeds)
    return found


def test_the_lead_is_counted_where_both_reach_and_intervals_are_over_seeds():
    learned = {"x": [(1.1, 0.03), (1.1, 0.032)], "y": [(1.2, 0.01), (1.2, 0.01)], "worse": [(1.25, 0.02)] * 2}
    both = fronts(suite("churn-47").head(3), methods(learned))
    assert both.classical.labels == ("even", "loose")
    assert both.learned.labels == ("x", "y")
    assert both.corner == (LARGEST, 0.04)
    expected = (0.1 * (0.04 - 0.031) + 0.1 * (0.04 - 0.01) + 0.2 * 0) / 0.4
    assert both.lead == pytest.approx(expected, rel=1e-2)
    assert both.behind == pytest.approx(0)
    areas = [0.1 * (0.04 - y) + 0.3 * 0.03 for y in (0.03, 0.032)]
    assert both.learned.area.low == pytest.approx(min(areas))
    assert both.learned.area.high == pytest.approx(max(areas))
    assert both.classical.area.low is None
    assert "times the area" in draw_fronts(suite("churn-47").head(3), both).title


def test_where_it_is_above_the_front_says_by_how_much():
    learned = {"x": [(1.1, 0.03)], "y": [(1.4, 0.008)]}
    both = fronts(suite("churn-47").head(3), methods(learned))
    assert both.behind == pytest.approx(0.02)


def test_one_learned_table_is_no_front():
    assert fronts(suite("churn-47").head(3), methods({"x": [(1.1, 0.03)]})) is None

"""Shares, and when a training solved its task: what every figure about success is made of."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.compare.l1.success import finding, first_step, settled_step, wilson

GOAL, STEPS = 1e-4, 50
errors = st.one_of(
    st.floats(min_value=0, max_value=2e-4), st.floats(min_value=0, max_value=1e30), st.just(math.nan), st.just(math.inf)
)


def journal(values):
    return {
        k: {"seconds": float(k)} | ({} if v is None else {"validation/error": v}) for k, v in enumerate(values, start=1)
    }


@given(st.integers(0, 200), st.integers(1, 200))
def test_a_wilson_interval_is_the_formula_of_the_paper(count, of):
    count = min(count, of)
    z, p = 1.959963984540054, count / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    found = wilson(count, of)
    assert found.low == pytest.approx(max(0.0, middle - half), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, middle + half), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_aim_of_64_seeds_is_what_61_of_them_reach():
    assert wilson(61, 64).value >= 0.95
    assert wilson(61, 64).low == pytest.approx(0.871, abs=1e-3)
    assert wilson(60, 64).low < 0.87


def test_nothing_tried_is_no_share():
    assert (wilson(0, 0).value, wilson(0, 0).low) == (None, None)


@pytest.mark.parametrize(("count", "of"), [(3, 2), (-1, 2)])
def test_more_successes_than_tries_are_refused(count, of):
    with pytest.raises(ValueError, match=r"expected 0 to 2"):
        wilson(count, of)


@given(st.lists(st.one_of(st.none(), errors), max_size=12))
def test_from_the_settled_step_on_every_evaluation_is_at_the_goal_and_the_one_before_is_not(values):
    moment = settled_step(journal(values), "validation/error", GOAL, STEPS)
    evaluated = [(k, v) for k, v in enumerate(values, start=1) if v is not None]
    if moment is None:
        assert not evaluated or not evaluated[-1][1] <= GOAL
        return
    iteration = moment.step // STEPS
    assert moment.seconds == iteration
    assert all(v <= GOAL for k, v in evaluated if k >= iteration)
    before = [v for k, v in evaluated if k < iteration]
    assert not before or not before[-1] <= GOAL


@given(st.lists(errors, max_size=12))
def test_the_first_step_is_never_after_the_settled_one(values):
    first, settled = (f(journal(values), "validation/error", GOAL, STEPS) for f in (first_step, settled_step))
    assert (first is None) == (not any(v <= GOAL for v in values))
    if settled is not None:
        assert first is not None
        assert first.step <= settled.step


def test_a_training_that_leaves_the_goal_again_has_not_settled():
    results = journal([1.0, 1e-5, 1e-5, 2e-4])
    assert settled_step(results, "validation/error", GOAL, STEPS) is None
    assert first_step(results, "validation/error", GOAL, STEPS).step == 2 * STEPS


@given(st.integers(0, 64), st.integers(1, 64), st.booleans())
def test_a_finding_and_its_opposite_are_never_both_true(count, of, converges):
    share = wilson(min(count, of), of)
    one, other = finding(converges, share), finding(not converges, share)
    assert {one, other} in ({"holds", "contradicted"}, {"undecided"})


@pytest.mark.parametrize(
    ("count", "says"), [(32, "holds"), (23, "holds"), (21, "undecided"), (16, "undecided"), (9, "contradicted")]
)
def test_a_finding_is_about_most_seeds(count, says):
    assert finding(True, wilson(count, 32)) == says

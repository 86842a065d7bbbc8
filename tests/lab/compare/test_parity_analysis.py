"""Intervals and words on codes: each of these wrong would call noise a better code, or a loss none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from lab.compare.parity import panels, sentences, words
from lab.compare.parity.analysis import RATES, analyse
from lab.compare.parity.evaluate import Answers
from lab.compare.parity.methods import Member, Method, Setting
from lab.compare.parity.telling import told_apart
from lab.compare.statistics import Interval, generator, interquartile_mean, over_seeds
from lab.tasks.parity import ParityConfig

SAMPLES, CLASSES = 200, 4
SETTING = Setting("digits, mlp", "digits", "mlp", "", {})


def method(label="addition/subtraction", seeds=range(3), k=2, **fields):
    config = ParityConfig(code=label.partition(",")[0], k=k, **fields)
    members = tuple(Member(None, seed, config.model_copy(update={"seed": seed})) for seed in seeds)
    return Method(label, SETTING, {}, members)


def answers(seed, base=0.95, degraded=0.9, patterns=("q0", "q1"), extra=1):
    """Networks that are right on shares of samples; a base model is that of its seed, whatever the code."""
    own = (np.random.default_rng([seed, 0]).random(SAMPLES) < base).astype(float)
    rng = np.random.default_rng([seed, 1, round(1000 * degraded)])
    asked = np.full((len(patterns), SAMPLES), 4.0)
    right = rng.binomial(4, degraded, asked.shape).astype(float)
    matrix = np.eye(CLASSES, dtype=np.int64) * 40 + 2
    return Answers(
        base=own,
        accuracy=own,
        degraded=right.sum(0) / asked.sum(0),
        agreement=right.sum(0) / asked.sum(0),
        right=right,
        asked=asked,
        patterns=patterns,
        confusion=matrix,
        base_confusion=matrix,
        extra=extra,
        first=0.0,
    )


def analysed(*methods, **fields):
    """Each of (method, A_d)."""
    found = {
        each: ([answers(seed, degraded=degraded, **fields) for seed in each.seeds], [degraded] * len(each.seeds))
        for each, degraded in methods
    }
    return analyse(found, SAMPLES, CLASSES)


def bounds(interval):
    return interval.low, interval.value, interval.high


def test_a_code_is_exactly_as_good_as_itself():
    twin = method("addition/subtraction, mix 0.1")
    (difference,) = analysed((method(), 0.9), (twin, 0.9)).differences
    assert bounds(difference.degraded) == (0, 0, 0)
    assert difference.verdict == "no difference shown"
    assert words.than(difference.degraded, "x") == "exactly as x"


@pytest.mark.parametrize("seeds", [1, 3, 6])
def test_intervals_hold_their_values_and_say_over_what(seeds):
    (row,) = analysed((method(seeds=range(seeds)), 0.9)).rows
    every = (row.base, row.accuracy, row.degraded, row.agreement, row.gap, *row.overall, *row.patterns.values())
    for interval in every:
        assert interval.low < interval.value < interval.high
        assert interval.over == ("samples" if seeds == 1 else "seeds and samples")


def test_of_one_seed_the_interval_is_that_of_a_share_of_samples():
    (row,) = analysed((method(seeds=[0]), 0.9)).rows
    share = row.base.value
    half = 1.96 * np.sqrt(share * (1 - share) / SAMPLES)
    assert (row.base.high - row.base.low) / 2 == pytest.approx(half, rel=0.15)


def test_all_answers_go_from_nothing_lost_to_all_lost_in_a_line():
    (row,) = analysed((method(), 0.8)).rows
    assert bounds(row.overall[0]) == bounds(row.accuracy)
    values = [interval.value for interval in row.overall]
    assert np.diff(values, 2) == pytest.approx(np.zeros(len(RATES) - 2), abs=2e-3)
    assert values[-1] < values[0]


def test_pairs_of_seeds_are_told_more_certainly_than_strangers():
    def noisy(seed, degraded):
        # Seeds differ by far more than codes do.
        return answers(seed, degraded=degraded - 0.06 * seed)

    def difference(others):
        pairs = ((method(seeds=range(5)), 0.95), (method("berrut", seeds=others), 0.93))
        found = {each: ([noisy(seed % 5, degraded) for seed in each.seeds], [degraded] * 5) for each, degraded in pairs}
        return analyse(found, SAMPLES, CLASSES).differences[0]

    paired, strangers = difference(range(5)), difference(range(5, 10))
    assert (paired.seeds, strangers.seeds) == (5, 0)
    width = [each.degraded.high - each.degraded.low for each in (paired, strangers)]
    assert width[0] < width[1] / 2


def test_of_seeds_that_are_partly_the_same_those_are_paired():
    (difference,) = analysed((method(seeds=range(4)), 0.95), (method("berrut", seeds=[1, 3]), 0.8)).differences
    assert (difference.seeds, difference.least_seeds) == (2, 2)


def test_the_best_is_never_what_codes_nothing():
    found = analysed((method("replication"), 0.99), (method("berrut"), 0.8), (method(), 0.9))
    assert found.best(1, 2).method.label == "addition/subtraction"
    assert [row.method.label for row in found.rows] == ["replication", "addition/subtraction", "berrut"]
    assert {each.other.method.label for each in found.differences} == {"replication", "berrut"}


@pytest.mark.parametrize(
    ("seeds", "other", "said"),
    [
        (6, 0.5, "a difference that is shown"),
        (3, 0.5, "the interval leaves out 0, but 3 seeds are too few to be certain"),
        (1, 0.5, "the interval leaves out 0, but one seed is too few to be certain"),
        (6, 0.899, "no difference is shown"),
    ],
)
def test_a_difference_is_said_as_certain_as_it_is(seeds, other, said):
    found = analysed((method(seeds=range(seeds)), 0.9), (method("berrut", seeds=range(seeds)), other))
    assert words.certainty(found.differences[0]) == said
    assert said in " ".join(dict(sentences.summary(found))["Which code is best?"])
    assert ("too few" in sentences.lead([found])[0]) == (seeds in (3,))
    assert ("not a result" in sentences.lead([found])[0]) == (seeds == 1)


def test_what_is_lost_matters_only_where_it_is_shown():
    even, uneven = method(seeds=range(5)), method("berrut", seeds=range(5))
    worse = []
    for seed in uneven.seeds:
        found = answers(seed)
        right = found.right.copy()
        right[1] = np.minimum(right[1], 2)
        worse.append(replace(found, right=right, degraded=right.sum(0) / found.asked.sum(0)))
    found = analyse({even: ([answers(s) for s in even.seeds], [0.9]), uneven: (worse, [0.8])}, SAMPLES, CLASSES)
    assert {row.method.label: row.uneven for row in found.rows} == {"addition/subtraction": False, "berrut": True}
    said = " ".join(dict(sentences.summary(found))["Does it matter what is lost?"])
    assert "with query 2 lost" in said
    assert "For one other it is not shown" in said


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        ((-0.005, -0.008, -0.001), "the whole interval is within it"),
        ((-0.005, -0.02, 0.0), "the estimate is within it, not all of the interval"),
        ((-0.0104, -0.02, -0.001), "the estimate, 1.04, misses it, the interval reaches it"),
        ((-0.03, -0.05, -0.02), "the estimate, 3.00, misses it."),
    ],
)
def test_an_aim_is_reached_or_missed_as_the_interval_has_it(gap, said):
    found = analysed((method(), 0.9))
    value, low, high = gap
    row = replace(found.rows[0], gap=Interval(value, low, high, "seeds and samples"))
    text = " ".join(
        dict(sentences.summary(replace(found, rows=[row])))["Is a rebuilt prediction as good as the base model's?"]
    )
    assert said in text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((-0.008, -0.012, -0.003), "0.8 points [0.3, 1.2] below the base model"),
        ((-0.0101, -0.02, 0.001), "1.0 point [−0.1, 2.0] below the base model"),
        ((0.002, -0.001, 0.004), "0.2 points [−0.1, 0.4] above the base model"),
        ((0.0, 0.0, 0.0), "exactly as the base model"),
        ((-0.02, None, None), "2.0 points below the base model"),
    ],
)
def test_distances_are_written_without_signs(interval, text):
    assert words.below(Interval(*interval, "samples")) == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([5, 9], ""),
        ([3, 3], "3 seeds are too few for a result."),
        ([2, 3], "2 to 3 seeds are too few for a result."),
        ([1, 6], "Some of that has 1 seed only: too few for a result."),
        ([1], "One seed is not a result: its intervals are over test samples alone."),
    ],
)
def test_few_seeds_are_said_to_be_few(counts, text):
    assert words.few(counts) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.004, "+0.4"), (-0.012, "−1.2"), (0.0, "0.0"), (-0.0001, "−0.01"), (1e-6, "0.0"), (1.0, "+100.0")],
)
def test_points_have_their_sign(value, text):
    assert words.points(value) == text


def test_mistakes_that_coding_adds_are_the_largest_of_them():
    row = analysed((method(), 0.9)).rows[0]
    confusion = row.base_confusion.copy()
    confusion[2, 2] -= 0.1
    confusion[2, 0] += 0.07
    confusion[2, 1] += 0.03
    found = sentences.added_errors(replace(row, confusion=confusion))
    assert [(true, said) for true, said, _, _ in found] == [(2, 0), (2, 1)]
    assert sentences.added_errors(row) == []


# ---- statistics, labels and axes


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_over_seeds_stays_between_the_seeds(seeds, seed):
    values = np.random.default_rng(seed).random((40, seeds))
    found = over_seeds(values, generator("a"))
    assert (found >= values.min(axis=1) - 1e-12).all()
    assert (found <= values.max(axis=1) + 1e-12).all()
    np.testing.assert_allclose(over_seeds(np.repeat(values[:, :1], seeds, axis=1), generator("a")), values[:, 0])
    assert interquartile_mean(found).shape == ()


fields = st.fixed_dictionaries({"a": st.integers(0, 2), "b": st.sampled_from(["x", "y"]), "c": st.booleans()})


@given(st.lists(fields, min_size=1, max_size=6, unique_by=lambda config: tuple(config.values())))
def test_what_differs_is_told_apart(configs):
    found = told_apart(configs, [f"id{n}" for n in range(len(configs))], ["default"] * len(configs))
    assert len(set(found)) == len(configs)
    assert found == [""] if len(configs) == 1 else "" not in found


def test_a_line_over_k_has_one_name_and_a_preset_is_shorter_than_five_fields():
    same = [{"a": 1}, {"a": 1}]
    assert told_apart(same, ["x", "y"], places=[2, 3]) == ["", ""]
    assert told_apart(same, ["x", "y"], places=[2, 2]) == [" x", " y"]
    many = [dict.fromkeys("abcde", n) for n in range(2)]
    assert told_apart(many, ["x", "y"], ["default", "reference"]) == ["", " (reference)"]


@given(st.lists(st.floats(0, 100), min_size=2, max_size=8))
@settings(max_examples=30, deadline=None)
def test_a_stretched_axis_shows_all_it_has_to(values):
    axes = Figure().add_subplot()
    panels.stretch(axes, values)
    low, high = axes.get_ylim()
    assert low <= min(values)
    assert high >= max(values)
    assert 1 <= len(axes.get_yticks()) <= 20
    places = np.linspace(0, 100, 50)
    np.testing.assert_allclose(panels._back(panels._forth(places)), places, atol=1e-9)
    assert (np.diff(panels._forth(places)) > 0).all()

"""Scenarios: the notebook's distribution, in batches, on streams that never meet."""

from __future__ import annotations

import itertools
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.backends import hashes_of, random_uuid_bytes
from envs.errors import RequestError
from envs.scenarios import ScenarioBatch, ScenarioConfig, churn_batch, sample_batch, sample_roster_batch, stream


def notebook_counts(config: ScenarioConfig, rng: np.random.Generator) -> tuple[int, int]:
    """The notebook's loop: draw until the rule holds."""
    while True:
        before = int(rng.integers(config.n_before[0], config.n_before[1] + 1))
        after = int(rng.integers(config.n_after[0], config.n_after[1] + 1))
        least, largest = sorted((before, after))
        if (
            least / largest <= config.max_ratio
            and largest - least <= config.max_delta
            and least != largest
            and largest <= config.size
        ):
            return before, after


def texts(batch: ScenarioBatch, row: int) -> list[str]:
    union = batch.before[row] | batch.after[row]
    return [str(uuid.UUID(bytes=raw.tobytes())) for raw in batch.ids[row][union]]


configs = st.builds(
    dict,
    size=st.integers(1, 12),
    n_before=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    n_after=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    max_ratio=st.sampled_from([0.1, 0.5, 1.0]),
    max_delta=st.integers(1, 10),
)


@given(configs)
@settings(max_examples=60, deadline=None)
def test_a_config_is_refused_exactly_when_no_scenario_satisfies_it(fields: dict) -> None:
    possible = [
        (b, a)
        for b in range(fields["n_before"][0], fields["n_before"][1] + 1)
        for a in range(fields["n_after"][0], fields["n_after"][1] + 1)
        if min(b, a) / max(b, a) <= fields["max_ratio"]
        and 0 < abs(b - a) <= fields["max_delta"]
        and max(b, a) <= fields["size"]
    ]
    if not possible:
        with pytest.raises(RequestError):
            ScenarioConfig(**fields)
        return
    assert [tuple(pair) for pair in ScenarioConfig(**fields).counts().tolist()] == possible


@given(configs, st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_every_row_is_a_scenario_of_the_rule(fields: dict, seed: int) -> None:
    try:
        config = ScenarioConfig(**fields)
    except RequestError:
        return
    batch = sample_batch(config, 5, stream("train", seed))
    admitted = {tuple(pair) for pair in config.counts().tolist()}
    assert len(batch) == 5
    for row in range(5):
        before, after = batch.before[row], batch.after[row]
        assert (int(batch.n_before[row]), int(batch.n_after[row])) in admitted
        assert not (before & ~after).any() or not (after & ~before).any()
        assert texts(batch, row) == sorted(texts(batch, row))
        union = before | after
        np.testing.assert_array_equal(batch.hashes[row][union], hashes_of(texts(batch, row)))
        assert not batch.hashes[row][~union].any()
        assert not batch.ids[row][~union].any()


def test_the_counts_have_the_notebooks_distribution() -> None:
    config = ScenarioConfig(size=7, n_before=(3, 7), n_after=(1, 7), max_delta=3)
    rng = np.random.default_rng(0)
    draws = 4000
    slow = [notebook_counts(config, rng) for _ in range(draws)]
    batch = sample_batch(config, draws, stream("test", 0))
    fast = list(zip(batch.n_before.tolist(), batch.n_after.tolist(), strict=True))
    pairs = [tuple(pair) for pair in config.counts().tolist()]
    for pair in pairs:
        expected = draws / len(pairs)
        for counts in (slow.count(pair), fast.count(pair)):
            assert abs(counts - expected) < 5 * expected**0.5


def test_the_smaller_set_is_a_uniform_subset_of_the_larger() -> None:
    config = ScenarioConfig(size=5, n_before=(4, 4), n_after=(2, 2), max_delta=2)
    batch = sample_batch(config, 6000, stream("test", 1))
    subsets = [tuple(np.flatnonzero(row)) for row in batch.after]
    for subset in itertools.combinations(range(4), 2):
        assert abs(subsets.count(subset) - 1000) < 160  # 5 standard deviations


def test_which_uuids_are_drawn_does_not_depend_on_their_order() -> None:
    """Sorting before cutting would leave small sets with small UUIDs."""
    config = ScenarioConfig(size=47, n_before=(2, 2), n_after=(1, 40), max_delta=40)
    batch = sample_batch(config, 1500, stream("test", 2))
    small = batch.n_after == 1
    assert small.sum() > 10
    assert abs(batch.ids[small, :2, 0].mean() - 127.5) < 5 * 74 / np.sqrt(2 * small.sum())


def test_streams_repeat_and_never_meet() -> None:
    keys = [
        (purpose, *numbers)
        for purpose in ("train", "validation", "test")
        for numbers in [(0,), (1,), (0, 0), (0, 1), (1, 0), (2**32,), (0, 0, 1), (10,), (1, 0, 0)]
    ]
    first = {key: tuple(stream(*key).integers(0, 2**63, size=4).tolist()) for key in keys}
    assert len(set(first.values())) == len(keys)
    assert first == {key: tuple(stream(*key).integers(0, 2**63, size=4).tolist()) for key in keys}


def test_an_unknown_purpose_names_the_nearest() -> None:
    with pytest.raises(RequestError, match="Did you mean 'validation'"):
        stream("validaton", 0)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="seed"):
        stream("train", -1)


def test_churn_is_one_random_backend_leaving() -> None:
    batch = churn_batch(47, 5, 400, stream("test", 3))
    assert batch.before.all()
    assert batch.before.shape == (400, 5)
    gone = np.flatnonzero((batch.before & ~batch.after).ravel()) % 5
    assert len(gone) == 400
    assert np.bincount(gone, minlength=5).min() > 40
    for n in (1, 48):
        with pytest.raises(RequestError):
            churn_batch(47, n, 1, stream("test", 0))


def test_a_rosters_columns_are_the_roster() -> None:
    roster = random_uuid_bytes(np.random.default_rng(5), (6,))
    config = ScenarioConfig(size=11, n_before=(1, 11), n_after=(1, 11))
    batch = sample_roster_batch(config, roster, 300, stream("train", 0))
    names = sorted(str(uuid.UUID(bytes=raw.tobytes())) for raw in roster)
    for row in (0, 299):
        assert [str(uuid.UUID(bytes=raw.tobytes())) for raw in batch.ids[row]] == names
        np.testing.assert_array_equal(batch.hashes[row], hashes_of(names))
    assert batch.n_before.max() == 6
    least, largest = np.minimum(batch.before, batch.after), np.maximum(batch.before, batch.after)
    assert ((least == batch.before).all(axis=1) | (least == batch.after).all(axis=1)).all()
    assert (largest.sum(axis=1) > least.sum(axis=1)).all()
    assert (largest.mean(axis=0) > 0.5).all()
    with pytest.raises(RequestError, match="fits in a roster"):
        sample_roster_batch(ScenarioConfig(size=11, n_before=(7, 9), n_after=(7, 9)), roster, 1, stream("train", 0))
    with pytest.raises(RequestError, match="came twice"):
        sample_roster_batch(config, roster[[0, 0, 1]], 1, stream("train", 0))


def test_selecting_rows_keeps_a_batch() -> None:
    batch = churn_batch(7, 3, 4, stream("test", 4))
    assert len(batch.select(-1)) == 1
    np.testing.assert_array_equal(batch.select(-1).ids[0], batch.ids[3])
    assert len(batch.select(slice(1, 3))) == 2
    np.testing.assert_array_equal(batch.select(np.array([2, 0])).after, batch.after[[2, 0]])
    with pytest.raises(RequestError, match="shape"):
        ScenarioBatch(batch.hashes, batch.before, batch.after[:, :2], batch.ids, 7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0),
        ("size", 4.0),
        ("n_before", (5, 3)),
        ("n_before", 3),
        ("n_after", (0, 4)),
        ("n_after", ("1", 4)),
        ("max_ratio", 0.0),
        ("max_ratio", float("nan")),
        ("max_delta", 0),
        ("max_delta", True),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(RequestError, match=field):
        ScenarioConfig(**{field: value})  # type: ignore[arg-type]

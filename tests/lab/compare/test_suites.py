"""A suite that changes silently makes every published figure incomparable with the next."""

from __future__ import annotations

import numpy as np
import pytest

from envs.scenarios import ScenarioConfig, sample_batch, stream
from lab.compare.suites import PAIRS, SUITES, suite
from lab.errors import RequestError

DIGESTS = {
    "scenarios-47": "9dfcbc8773e01f1d9421912c96466a3c4e988caca59c3d26c0d2c49ccfd9427c",
    "churn-47": "9965a814f70190e2df3af3aad8e223d875f52e159619435e718638e1518e53a3",
    "churn-307": "ccf08a4f142d1c8f3b7919178eb2be193f8ad70f1dd4bca4cd472fb513a20287",
}


@pytest.mark.parametrize("name", SUITES)
def test_the_questions_are_those_of_record(name):
    assert suite(name).digest == DIGESTS[name]


def test_every_suite_is_of_record():
    assert set(DIGESTS) == set(SUITES)


@pytest.mark.parametrize(
    ("name", "groups"), [("churn-47", [3, 5, 7, 10, 16, 27]), ("churn-307", [3, 5, 7, 10, 16, 27, 50])]
)
def test_one_backend_leaves_each_fleet_of_a_churn_suite(name, groups):
    found = suite(name)
    assert list(found.groups) == [str(n) for n in groups]
    for n, batch in found.groups.items():
        assert len(batch) == PAIRS
        assert batch.size == found.size
        assert (batch.n_before == int(n)).all()
        assert (batch.n_after == int(n) - 1).all()
        assert not (batch.after & ~batch.before).any()


def test_no_pair_of_the_suite_is_in_the_streams_of_training():
    held_out = {ids.tobytes() for ids in suite("scenarios-47").groups["all"].ids[:, 0]}
    for purpose in ("train", "validation"):
        for seed in (0, 47):
            batch = sample_batch(ScenarioConfig(), 500, stream(purpose, seed))
            assert held_out.isdisjoint(ids.tobytes() for ids in batch.ids[:, 0])


def test_a_reduced_suite_asks_the_first_questions_and_says_so():
    whole, head = suite("churn-47"), suite("churn-47", 20)
    assert (head.count, head.label, head.title) == (20, "churn-47[:20]", "churn-47, first 20")
    assert whole.label == whole.title == "churn-47"
    assert head.digest != whole.digest
    for group, batch in head.groups.items():
        np.testing.assert_array_equal(batch.ids, whole.groups[group].ids[:20])


def test_the_whole_count_is_no_reduction():
    assert suite("churn-47", PAIRS).label == "churn-47"


def test_an_unknown_suite_is_answered_with_the_nearest():
    with pytest.raises(RequestError, match="Did you mean 'churn-47'"):
        suite("churn47")


@pytest.mark.parametrize("count", [-1, 0, 1, PAIRS + 1])
def test_a_count_out_of_range_is_refused(count):
    with pytest.raises(RequestError, match="expected 2 to 2000 pairs"):
        suite("churn-47", count)

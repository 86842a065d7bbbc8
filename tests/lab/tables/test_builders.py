"""What holds for every table function, whatever its algorithm."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envs.backends import random_uuid_bytes
from envs.scenarios import ScenarioConfig, sample_batch, stream
from envs.scoring import even_loads, table_scores
from lab.errors import RequestError
from lab.tables import build, build_batch, describe, names, spectrum
from lab.tables.balanced import RATIOS

HERE = Path(__file__).parent
BUILDERS = [builder for builder in spectrum() if builder.stateless]
WEIGHTED = [builder.name for builder in BUILDERS if builder.weighted]
EXACT = [builder.name for builder in BUILDERS if builder.exact]
IDS = [f"10.0.0.{i}:80" for i in range(10)]

every_builder = pytest.mark.parametrize("name", names())


def test_the_list_of_the_issue_is_there():
    listed = {"maglev", "ring", "rendezvous", "rendezvous-stratified", "balanced", "balanced-stratified", "modulo"}
    listed |= {"balanced+0", "balanced-stratified+1", "ring-bounded", "multi-probe"}
    assert listed <= set(names())
    assert {"maglev", "modulo", "balanced", "balanced-stratified", "balanced-stratified-floors", "learned"} == set(
        EXACT
    )
    assert "stateful-optimum" in [builder.name for builder in spectrum()]


@pytest.mark.parametrize(("hash_seed", "shuffle_seed"), [("0", "1"), ("4711", "2")])
def test_tables_are_those_of_record_in_any_process_and_for_any_order_of_the_backends(hash_seed, shuffle_seed):
    printed = subprocess.run(
        [sys.executable, HERE / "golden.py", shuffle_seed],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )
    golden = json.loads((HERE / "golden.json").read_text())
    assert json.loads(printed.stdout) == golden, "a table changed: give its builder a new version (see golden.py)"


@every_builder
def test_every_entry_has_a_backend_that_is_present(name: str):
    batch = sample_batch(ScenarioConfig(), 60, stream("validation", 1))
    scores = table_scores(build_batch(name, batch.hashes, batch.before, 47), batch.before)
    assert (scores.invalid == 0).all()
    if name in EXACT:
        assert scores.spread.max() <= 1
        assert (scores.imbalance == 0).all()


@every_builder
def test_a_row_of_a_batch_is_the_table_built_alone(name: str):
    """Whatever else is in the batch, wherever the absent columns stand and whatever their hashes are."""
    batch = sample_batch(ScenarioConfig(n_before=(3, 12), n_after=(1, 12)), 30, stream("validation", 2))
    tables = build_batch(name, batch.hashes, batch.before, 47)
    for row in range(len(batch)):
        columns = np.flatnonzero(batch.before[row])
        alone = build(name, [uuid.UUID(bytes=batch.ids[row, column].tobytes()) for column in columns], 47)
        np.testing.assert_array_equal(tables[row], columns[alone])
    noise = np.where(batch.before[..., None], batch.hashes, np.uint64(0x123456789))
    np.testing.assert_array_equal(build_batch(name, noise, batch.before, 47), tables)


@every_builder
def test_no_backend_is_a_table_of_none_and_one_backend_serves_all(name: str):
    assert build(name, [], 47).tolist() == [-1] * 47
    assert build(name, ["10.0.0.1:80"], 47).tolist() == [0] * 47
    table = build(name, ["b", "a"], 2)
    assert table.dtype == np.int32
    assert table.shape == (2,)
    empty = build_batch(name, np.zeros((3, 0, 4), dtype=np.uint64), np.zeros((3, 0), dtype=bool), 5)
    assert empty.tolist() == [[-1] * 5] * 3
    assert build_batch(name, np.zeros((0, 4, 4), dtype=np.uint64), np.zeros((0, 4), dtype=bool), 5).shape == (0, 5)


@every_builder
@given(ids=st.lists(st.text(min_size=1, max_size=8).filter(lambda t: t.isascii()), min_size=1, max_size=8, unique=True))
@example(ids=["{}", "{a}"])
@settings(max_examples=10, deadline=None)
def test_the_order_in_which_backends_are_given_does_not_matter(name: str, ids: list[str]):
    one, two = build(name, ids, 13), build(name, ids[::-1], 13)
    assert [ids[i] for i in one] == [ids[::-1][i] for i in two]


@every_builder
def test_a_uuid_is_the_same_backend_in_any_spelling(name: str):
    ids = [uuid.UUID(bytes=raw.tobytes()) for raw in random_uuid_bytes(np.random.default_rng(0), (5,))]
    spelled = [ids[0].hex.upper(), f"{{{ids[1]}}}", ids[2].urn, str(ids[3]).upper(), ids[4]]
    np.testing.assert_array_equal(build(name, ids, 47), build(name, spelled, 47))


@pytest.mark.parametrize("name", [name for name in names() if name != "maglev"])
def test_more_backends_than_entries_leave_some_without_an_entry(name: str):
    table = build(name, [f"backend-{i}" for i in range(100)], 7)
    assert table.min() >= 0
    if name in EXACT:
        assert len(set(table)) == 7
    assert build(name, ["a", "b"], 1).shape == (1,)


@pytest.mark.parametrize("name", WEIGHTED)
def test_weight_zero_is_the_same_as_not_being_there(name: str):
    weights = [2.0, 1, 0, 1, 3, 0, 1, 1, 1, 1]
    keep = [i for i, weight in enumerate(weights) if weight]
    table = build(name, IDS, 47, weights)
    rest = build(name, [IDS[i] for i in keep], 47, [weights[i] for i in keep])
    assert table.tolist() == [keep[i] for i in rest]


@pytest.mark.parametrize("name", WEIGHTED)
def test_equal_weights_are_no_weights_and_only_ratios_count(name: str):
    np.testing.assert_array_equal(build(name, IDS, 47, [3.0] * 10), build(name, IDS, 47))
    np.testing.assert_array_equal(build(name, IDS, 47, [3.0] * 9 + [0]), build(name, IDS[:9], 47))
    weights = np.arange(1, 11) / 8
    np.testing.assert_array_equal(build(name, IDS, 47, weights), build(name, IDS, 47, weights * 16))


@pytest.mark.parametrize("name", WEIGHTED)
def test_loads_follow_weights(name: str):
    weights = np.arange(1.0, 11.0)
    loads = np.bincount(build(name, IDS, 4099, weights), minlength=10)
    # A ring's arcs are as uneven as 100 random points make them; the others have the error of a fair draw at most.
    tolerance = 0.5 if name == "ring" else 0.3
    np.testing.assert_allclose(loads, 4099 * weights / 55, rtol=tolerance)


@pytest.mark.parametrize("name", ["balanced", "balanced-stratified"])
def test_balanced_tables_have_the_largest_remainders_of_their_weights(name: str):
    weights = np.array([[1.5, 2, 0, 7, 1, 1, 1, 0.25, 3, 1]])
    table = build(name, IDS, 47, weights[0])
    np.testing.assert_array_equal(np.bincount(table, minlength=10), even_loads(weights > 0, 47, weights)[0])


@pytest.mark.parametrize("slack", [0, 1, 2, 4])
@pytest.mark.parametrize("kind", ["balanced", "balanced-stratified"])
def test_slack_bounds_the_largest_load(kind: str, slack: int):
    name = f"{kind}+{slack}"
    batch = sample_batch(ScenarioConfig(), 60, stream("validation", 3))
    scores = table_scores(build_batch(name, batch.hashes, batch.before, 47), batch.before)
    n = batch.n_before
    assert (scores.max_over_mean * 47 / n <= -(-47 // n) + slack + 1e-9).all()


@pytest.mark.parametrize(("ratio", "up"), RATIOS)
def test_a_ratio_bounds_the_largest_load(ratio: float, up: bool):
    name = f"balanced-stratified-{'bounded' if up else 'max'}-{ratio}"
    batch = sample_batch(ScenarioConfig(), 60, stream("validation", 3))
    largest = table_scores(build_batch(name, batch.hashes, batch.before, 47), batch.before).max_over_mean
    mean = 47 / batch.n_before
    cap = np.ceil(ratio * mean) if up else np.maximum(np.ceil(mean), np.floor(ratio * mean))
    assert (largest * mean <= cap + 1e-9).all()
    assert (largest * mean > cap - 1 - 1e-9)[cap == np.ceil(mean)].any()


@pytest.mark.parametrize("name", [name for name in names() if name not in WEIGHTED])
def test_a_builder_without_weights_refuses_them(name: str):
    with pytest.raises(RequestError, match=f"no weights for {name}"):
        build(name, ["a", "b"], 47, [1, 1])


@pytest.mark.parametrize("weights", [[1, float("nan")], [1, -1], [1, float("inf")], [0, 0], [1], [[1, 1]], ["x", 1], 3])
@pytest.mark.parametrize("name", ["maglev", "balanced", "rendezvous"])
def test_weights_that_mean_nothing_are_refused(name: str, weights):
    with pytest.raises(RequestError, match="weight"):
        build(name, ["a", "b"], 47, weights)


def test_rows_with_and_without_equal_weights_may_share_a_batch():
    batch = sample_batch(ScenarioConfig(n_before=(3, 12), n_after=(1, 12)), 20, stream("validation", 5))
    weights = np.where(np.arange(20)[:, None] % 2 == 0, 1.0, np.arange(1.0, batch.before.shape[1] + 1))
    for name in WEIGHTED:
        together = build_batch(name, batch.hashes, batch.before, 47, weights)
        for row in (0, 1):
            one = slice(row, row + 1)
            alone = build_batch(name, batch.hashes[one], batch.before[one], 47, weights[one])
            np.testing.assert_array_equal(together[one], alone)


@pytest.mark.parametrize("size", [0, -1, 2**24 + 1, 47.0, "47", True, None])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(RequestError, match="expected a table size from 1 to"):
        build("balanced", ["a"], size)


@pytest.mark.parametrize("ids", [["a", "a"], ["a", ""], ["a", 3], ["a", None]])
def test_backends_that_are_none_or_come_twice_are_refused(ids):
    with pytest.raises(RequestError):
        build("balanced", ids, 47)


def test_a_name_may_pin_a_version():
    np.testing.assert_array_equal(build("maglev@1", IDS, 47), build("maglev", IDS, 47))
    assert describe("maglev@1").version == 1
    for wrong in ("maglev@2", "maglev@x", "maglev@"):
        with pytest.raises(RequestError, match="expected maglev@1"):
            build(wrong, IDS, 47)


@pytest.mark.parametrize(("wrong", "right"), [("maglv", "maglev"), ("balanced-startified", "balanced-stratified")])
def test_an_unknown_name_is_answered_with_the_nearest(wrong: str, right: str):
    with pytest.raises(RequestError, match=f"Did you mean '{right}'"):
        build(wrong, IDS, 47)


@pytest.mark.parametrize(
    ("hashes", "present"),
    [
        (np.zeros((2, 3, 4)), np.ones((2, 3), dtype=bool)),
        (np.zeros((2, 3), dtype=np.uint64), np.ones((2, 3), dtype=bool)),
        (np.zeros((2, 3, 4), dtype=np.uint64), np.ones((2, 4), dtype=bool)),
        (np.zeros((2, 3, 4), dtype=np.uint64), np.ones((2, 3))),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(hashes, present):
    with pytest.raises(RequestError, match="expected"):
        build_batch("maglev", hashes, present, 47)

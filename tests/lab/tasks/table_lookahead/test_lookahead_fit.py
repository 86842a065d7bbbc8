"""The search for roles: it moves less than it began with, and goes on where it was."""

import numpy as np
import pytest
from recording import recorded

from envs.scenarios import churn_batch, stream
from envs.scoring import transition_scores
from lab.config import parse
from lab.errors import RequestError
from lab.tables import learned
from lab.tables.registry import get
from lab.tasks.table_lookahead import OBJECTIVE, TableLookaheadConfig, fit

TINY = {
    "size": 11,
    "leaves": (4, 7),
    "joiners": 2,
    "furthest": 2,
    "fleets": 6,
    "iterations": 4,
    "validate_every": 2,
    "validation_pairs": 20,
    "checkpoint_every": 1,
    "start": "none",
    "look": "none",
}


def run(folder=None, resume=None, **fields):
    return recorded(fit, TableLookaheadConfig(**{**TINY, **fields}), folder, resume)[0]


def test_steps_are_visited_in_turn():
    rows = run(iterations=3)
    assert [row["number"] for row in rows] == [4, 7, 4]
    assert rows[-1]["pairs"] > rows[0]["pairs"] > 0


def test_what_it_leaves_moves_less_than_what_it_began_with(tmp_path):
    run(tmp_path, size=23, leaves=(8,), iterations=2, fleets=64, joiners=8)
    batch = churn_batch(23, 8, 400, stream("validation", 5))
    excess = {}
    for weights in (learned.MODEL, learned.UNTRAINED):
        builder = learned.load(tmp_path / "2", weights)
        assert builder.exact
        tables = [builder.build_batch(batch.hashes, side, 23, None) for side in (batch.before, batch.after)]
        excess[weights] = transition_scores(*tables, batch.before, batch.after).excess.mean()
    assert excess[learned.MODEL] < 0.85 * excess[learned.UNTRAINED]


def test_a_search_goes_on_where_it_was_bit_for_bit(tmp_path):
    whole = run(tmp_path)
    assert [row["iteration"] for row in whole] == [1, 2, 3, 4]
    rest = run(tmp_path / "again", resume=tmp_path / "2")
    assert rest == whole[2:]
    for name in ("current.safetensors", learned.MODEL):
        assert (tmp_path / "4" / name).read_bytes() == (tmp_path / "again" / "4" / name).read_bytes()


def test_it_keeps_the_best_by_validation(tmp_path):
    rows = run(tmp_path, iterations=6, validate_every=1)
    description = learned._description(tmp_path / "6")
    assert description["validation"]["excess"] == min(row[OBJECTIVE] for row in rows)


def test_it_begins_with_all_looking_to_both_sides_if_told_so(tmp_path):
    run(tmp_path, iterations=1, look="both")
    before = learned._model(tmp_path / "1", learned.UNTRAINED, learned._description(tmp_path / "1"))
    assert before.roles[2:].tolist() == [[1, 10, 10]] * 10
    assert not before.roles[:2].any()


def test_it_begins_with_the_prices_that_come_with_the_lab(tmp_path):
    run(tmp_path, iterations=1, start="learned", size=47, leaves=(5,), fleets=2, validation_pairs=2)
    builder = learned.load(tmp_path / "1", learned.UNTRAINED)
    batch = churn_batch(47, 9, 20, stream("validation", 6))
    own, peer = (each.build_batch(batch.hashes, batch.before, 47, None) for each in (builder, get("learned")))
    np.testing.assert_array_equal(own, peer)


@pytest.mark.parametrize("fields", [{"leaves": (1,)}, {"furthest": 3}, {"joiners": 65}, {"fleets": 1}, {"start": "x"}])
def test_settings_out_of_range_are_refused(fields):
    with pytest.raises(RequestError):
        parse(TableLookaheadConfig, fields)

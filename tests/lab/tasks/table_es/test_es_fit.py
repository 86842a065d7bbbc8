"""The search for prices: it finds better ones, goes on where it was, and refuses what it did not write."""

import json
import shutil

import numpy as np
import pytest
from recording import recorded

from lab.errors import RequestError
from lab.tables import learned
from lab.tables.priced import UNIT
from lab.tasks.table_es import OBJECTIVE, TableEsConfig, fit
from lab.tasks.table_es.checkpoint import load
from lab.tasks.table_es.fit import steps_of
from lab.tasks.table_es.objective import draw, relative

TINY = {
    "size": 13,
    "iterations": 6,
    "leaves": (3, 9),
    "fleets": 4,
    "scenarios": 8,
    "population": 4,
    "validate_every": 3,
    "validation_pairs": 16,
    "checkpoint_every": 2,
}


def train(config, folder=None, resume=None):
    return recorded(fit, config, folder, resume)


def test_a_search_reports_each_generation_and_says_where_its_time_went():
    rows, result = train(TableEsConfig(**TINY))
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["pairs"] == 6 * 4 * (2 * 4 + 8)
    assert all(np.isfinite(row[OBJECTIVE]) for row in rows)
    assert [part["name"] for part in result.timing["children"]] == ["replay", "generation", "validation"]


@pytest.mark.parametrize("at", [2, 4])
def test_a_search_that_goes_on_is_the_search_that_was_not_stopped(tmp_path, at):
    config = TableEsConfig(**TINY, seed=5)
    whole, _ = train(config, tmp_path / "whole")
    rest, _ = train(config, tmp_path / "rest", resume=tmp_path / "whole" / str(at))
    assert rest == whole[at:]
    for name in (learned.MODEL, learned.UNTRAINED):
        assert (tmp_path / "rest" / "6" / name).read_bytes() == (tmp_path / "whole" / "6" / name).read_bytes()


@pytest.mark.slow
def test_a_search_finds_prices_that_move_less_than_the_best_classical_table(tmp_path):
    """On fleets that it has not seen."""
    sizes = {"fleets": 6, "scenarios": 96, "validation_pairs": 256, "iterations": 20}
    config = TableEsConfig(**sizes, seed=1)
    train(config, tmp_path)
    best, begun = load(tmp_path / "20")[1:]
    found = relative(
        config,
        np.stack([best, begun]),
        draw(config.model_copy(update={"seed": 9, "fleets": 80, "scenarios": 512}), "train"),
    )
    assert found["relative"][0] < min(1, found["relative"][1])
    assert learned.load(tmp_path / "20").exact


def test_no_prices_are_balanced_stratified_rendezvous():
    config = TableEsConfig(**TINY, start="none")
    first = steps_of(config, config.first.ravel())
    found = relative(config, first[None], draw(config, "validation"))
    assert found["relative"].tolist() == [1.0]


def test_fleets_of_training_differ_by_seed_and_generation_and_those_of_validation_do_not():
    def ids(purpose, seed=0, generation=0):
        return draw(TableEsConfig(**TINY, seed=seed), purpose, generation=generation).pairs.ids.tobytes()

    assert len({ids("train"), ids("train", seed=1), ids("train", generation=1), ids("validation")}) == 4
    assert ids("validation", seed=1) == ids("validation")


def test_prices_out_of_range_are_cut_off():
    config = TableEsConfig(**TINY, levels=1, knots=2)
    assert steps_of(config, np.array([0.5, 1e9])).tolist() == [[UNIT // 2, 1024 * UNIT]]


@pytest.mark.parametrize("harm", ["missing", "truncated", "another format", "not JSON", "other tensors", "short"])
def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path, harm):
    config = TableEsConfig(**TINY)
    train(config, tmp_path)
    folder = tmp_path / "2"
    search = folder / "search.json"
    content = json.loads(search.read_text())
    if harm == "missing":
        (folder / learned.MODEL).unlink()
    elif harm == "truncated":
        (folder / learned.UNTRAINED).write_bytes(b"abc")
    elif harm == "another format":
        search.write_text(json.dumps({**content, "format": 2}))
    elif harm == "not JSON":
        search.write_text(search.read_text()[:40])
    elif harm == "other tensors":
        shutil.copy(tmp_path / "6" / learned.MODEL, folder / learned.MODEL)
        (folder / learned.MODEL).write_bytes((folder / learned.MODEL).read_bytes() + b" ")
    else:
        search.write_text(json.dumps({**content, "told": content["told"][:1]}))
    with pytest.raises(RequestError, match="expected a"):
        train(config, resume=folder)


def test_a_checkpoint_of_another_population_is_refused(tmp_path):
    train(TableEsConfig(**TINY), tmp_path)
    with pytest.raises(RequestError, match="generations of 5"):
        train(TableEsConfig(**{**TINY, "population": 5}), resume=tmp_path / "2")


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"leaves": (3, 60)}, "from 2 to size = 13"), ({"leaves": (3, 3)}, "differ"), ({"population": 3}, "greater")],
    ids=["too many", "twice", "population"],
)
def test_configurations_that_make_no_sense_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        TableEsConfig(**{**TINY, **fields})

"""The learned table that comes with the lab."""

import hashlib
import json

import numpy as np
import pytest

import experiments  # noqa: F401  # registers them
from envs.scenarios import churn_batch, stream
from envs.scoring import transition_scores
from lab.errors import RequestError
from lab.experiment import get
from lab.keep_preset import keep_preset
from lab.tables import build, build_batch, learned
from lab.tables.preset import FOLDER, PRESETS
from lab.training import run_training

NUMBERS = range(2, 48)


def excess(name: str, n: int, fleets: int) -> np.ndarray:
    batch = churn_batch(47, n, fleets, stream("validation", 77, n))
    tables = [build_batch(name, batch.hashes, present, 47) for present in (batch.before, batch.after)]
    return transition_scores(*tables, batch.before, batch.after).excess


@pytest.mark.parametrize("peer", ["balanced-stratified", "balanced-stratified-floors", "maglev"])
def test_it_moves_less_than_any_classical_table_that_is_exactly_even(peer):
    """Over all numbers of backends, on validation fleets, pair by pair: the 95 % interval of the difference is below
    0."""
    differences = np.stack([excess("learned", n, 60) - excess(peer, n, 60) for n in NUMBERS])
    mean = differences.mean()
    error = np.sqrt((differences.var(axis=1) / differences.shape[1]).sum()) / len(NUMBERS)
    assert mean + 1.96 * error < 0


@pytest.mark.parametrize(
    ("folder", "experiment"), [(FOLDER.name, "table_es"), ("lookahead-churn-47", "table_lookahead")]
)
def test_each_says_what_made_it(folder, experiment):
    made = json.loads((PRESETS / folder / "model.json").read_text())["made"]
    assert made["command"].startswith(f"lab train {experiment}")
    assert len(made["commit"]) == 40


def test_all_of_them_are_small():
    assert sum(path.stat().st_size for path in FOLDER.parent.rglob("*") if path.is_file()) < 300_000


def test_what_comes_with_the_lab_is_a_builder_by_its_folders_name():
    ids = [f"10.0.0.{i}:80" for i in range(9)]
    np.testing.assert_array_equal(build("preset:learned-1", ids, 47), build("learned", ids, 47))
    with pytest.raises(RequestError, match=r"'learned-2': expected one of .* Did you mean 'learned-1'"):
        build("preset:learned-2", ids, 47)
    with pytest.raises(RequestError, match="unknown table that comes with the lab"):
        build("preset:../presets/learned-1", ids, 47)


def test_the_one_that_looks_ahead_builds_the_same_tables_everywhere_and_for_its_size_alone():
    digest = hashlib.sha256()
    for n in (3, 6, 16, 27, 40):
        batch = churn_batch(47, n, 3, stream("validation", 78, n))
        digest.update(build_batch("preset:lookahead-churn-47", batch.hashes, batch.before, 47).tobytes())
    assert digest.hexdigest() == "b4c2b174fc88036980daf4cd7b8a72c20b593a9fce00cd1436a6ad2d6f1552c5"
    with pytest.raises(RequestError, match="expected the size of these roles, 47, but got 61"):
        build("preset:lookahead-churn-47", ["a", "b"], 61)


def test_it_takes_sizes_and_fleets_that_it_was_not_trained_on():
    ids = [f"10.0.0.{i}:80" for i in range(40)]
    loads = np.bincount(build("learned", ids, 1021))
    assert loads.max() - loads.min() == 1
    with pytest.raises(RequestError, match="at most 4194304 pairs"):
        build("learned", [f"backend-{i}" for i in range(80)], 65537)


def test_a_trained_trial_is_kept_with_where_it_came_from(tmp_path, runs):
    tiny = {"iterations": 1, "fleets": 2, "scenarios": 2, "population": 4, "validation_pairs": 4}
    run = run_training(get("table_es"), overrides=tiny)
    keep_preset(f"{run.name}#0", tmp_path / "kept")
    assert learned.load(tmp_path / "kept").exact
    description = json.loads((tmp_path / "kept" / "model.json").read_text())
    assert description["made"]["config"]["population"] == 4
    assert list(description["sha256"]) == ["model.safetensors"]
    for name, target, said in (
        (f"{run.name}#0", "kept", "is there"),
        (run.name, "other", "expected <run>#<trial>"),
    ):
        with pytest.raises(RequestError, match=said):
            keep_preset(name, tmp_path / target)

"""Comparing rankings of a roster: what is counted, what stands beside it, and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import experiments  # noqa: F401  # registers table_roster
from envs.scenarios import fixed_roster
from lab.compare import compare_runs
from lab.compare.page import lookup
from lab.compare.roster.comparison import FORMATS
from lab.compare.roster.suite import roster_suite
from lab.errors import RequestError
from lab.experiment import get
from lab.runs import Plan, Run
from lab.tables import learned
from lab.tables.rankings import measure
from lab.tasks.table_roster import TableRosterConfig, fit

from .standin import make_run as make_tables


def make_run(seeds=5, **fields) -> Run:
    """A run of `table_roster` with a real, small search for each seed."""
    run = Run.create(get("table_roster"), kind="train", preset="default", config={}, plan=Plan(samples=seeds))
    for seed in range(seeds):
        config = TableRosterConfig(**{"size": 11, "backends": 4, "iterations": 3, "chains": 1, **fields, "seed": seed})
        run.add_trial(seed, config.model_dump())

        def report(metrics, checkpoint, seed=seed):
            run.add_result(seed, metrics)
            if checkpoint is not None:
                for name in (learned.MODEL, learned.UNTRAINED, learned.DESCRIPTION):
                    shutil.copy(checkpoint / name, run.trial_folder(seed) / name)

        fit(config, report)
        run.end_trial(seed, "finished")
    run.finish("finished")
    return run


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rosters")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_RUNS", str(folder / "runs"))
        run = make_run()
        found = compare_runs([str(run.folder)], out=folder / "out")
        return run, found, Run(run.folder).manifest.readings


def rows_of(found, suite=0):
    return {row["method"]: row for row in found.content["suites"][suite]["rows"]}


def test_what_is_counted_is_what_the_search_itself_counts_on_all_subsets(compared):
    run, found, _ = compared
    rows = rows_of(found)
    said = [measure(learned.model(run.trial_folder(seed)).rankings) for seed in range(5)]
    row = rows["table_roster"]
    assert row["uneven"] == [each["uneven"] for each in said]
    low, high = min(each["spread"] for each in said), max(each["spread"] for each in said)
    assert low <= row["scores"]["spread"]["value"] <= high
    assert row["scores"]["spread"]["over"] == "seeds"
    assert row["seeds_note"] == "5 seeds"


def test_rankings_move_nothing_needlessly_and_exactly_even_tables_do(compared):
    rows = rows_of(compared[1])
    for name in ("table_roster", "table_roster, untrained", "rendezvous-stratified"):
        assert rows[name]["scores"]["excess"]["value"] == 0
    for name in ("maglev", "balanced-stratified"):
        assert rows[name]["uneven"] == [0]
        assert rows[name]["scores"]["excess"]["value"] > 0
    assert list(rows)[-2:] == ["balanced-stratified", "maglev"] or list(rows)[-2:] == ["maglev", "balanced-stratified"]


def test_a_difference_from_the_peer_is_said_of_enough_seeds_alone(compared, tmp_path):
    assert rows_of(compared[1])["table_roster"]["verdict"] is not None
    one = compare_runs([str(make_run(seeds=1).folder)], out=tmp_path / "out")
    row = rows_of(one)["table_roster"]
    assert row["verdict"] is None
    assert row["seeds_note"] == "one seed: not a result"
    assert row["scores"]["spread"]["low"] is None


def test_every_number_of_the_page_is_the_one_in_the_json(compared):
    _, found, _ = compared
    page = found.html.read_text()
    values = re.findall(r'data-path="([^"]+)" data-format="([^"]+)">([^<]*)<', page)
    assert len(values) > 40
    for path, form, text in values:
        shown = FORMATS[form](lookup(found.content, path)).replace(" %", "\N{NO-BREAK SPACE}%")
        assert text == shown.replace("'", "&#39;")
    assert "http://" not in page
    assert "https://" not in page


def test_the_reading_is_noted_in_the_run(compared):
    _, found, readings = compared
    assert {reading.trial for reading in readings} == set(range(5))
    assert {reading.suite for reading in readings} == {"roster-4 at 11"}
    assert found.content["runs"][0]["read_before"] == 0


def test_runs_of_two_rosters_are_asked_about_one_suite_each(tmp_path):
    runs = [make_run(seeds=2), make_run(seeds=2, backends=3)]
    found = compare_runs([str(run.folder) for run in runs], out=tmp_path / "out", count=5)
    assert [suite["label"] for suite in found.content["suites"]] == ["roster-4[:5] at 11", "roster-3[:5] at 11"]
    assert len(found.tables()) == 2


def test_suites_are_all_subsets_or_ten_thousand_that_no_search_reads():
    small, large = roster_suite(5, 47), roster_suite(16, 47)
    assert len(np.unique(small.present, axis=0)) == 31
    assert (small.exhaustive, large.exhaustive) == (True, False)
    assert large.count == 10_000
    assert (large.present.sum(axis=1) - large.after.sum(axis=1) == 1).all()
    assert large.digest == roster_suite(16, 47).digest
    assert len(small.hashes) == len(fixed_roster(5))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"suites": ["churn-47"]}, "expected no --suite with rankings of a roster"),
        ({"data_dir": Path("data")}, "expected no --data-dir with rankings of a roster, but got --data-dir data"),
        ({"count": 16}, "expected 2 to 15 subsets of a roster of 4, but got 16"),
        ({"builders": ["maglv"]}, "Did you mean 'maglev'"),
    ],
    ids=["suite", "data sets", "count", "builder"],
)
def test_what_cannot_be_asked_is_refused(tmp_path, options, said):
    run = make_run(seeds=1)
    with pytest.raises(RequestError, match=said):
        compare_runs([str(run.folder)], out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_rankings_and_other_tables_are_compared_each_by_itself(tmp_path):
    runs = [make_run(seeds=1), make_tables()]
    with pytest.raises(RequestError, match="runs of one kind"):
        compare_runs([str(run.folder) for run in runs], out=tmp_path / "out")

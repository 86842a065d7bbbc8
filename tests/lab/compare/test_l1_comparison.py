"""From names to files: runs go to the comparison of their kind, bad requests write nothing, readings leave a trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import experiment as experiments
from lab.compare import compare_runs, l1
from lab.compare.l1 import comparison
from lab.errors import RequestError
from lab.files import read_json
from lab.runs import Run

from . import standin
from .l1_standin import NORM, SIGNS, described, make_run, register, seeds
from .test_comparison import everything


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Sequences of 10,000 numbers at most: the longest would only take longer."""
    register(monkeypatch)
    monkeypatch.setattr(comparison, "LENGTHS", (10, 1000, 10_000))


def small(**fields):
    return make_run(NORM, seeds(3, [1.0, 0.999, None], cell="relu", **fields))


def signs():
    trials = [({"cell": "notebook", "signs": "h+_i+", "seed": seed}, 1.0) for seed in range(2)]
    return make_run(SIGNS, trials)


def test_a_comparison_writes_its_report_and_notes_its_readings(tmp_path):
    runs, steps = [small(), signs()], []
    found = compare_runs(
        [run.folder.name for run in runs],
        out=tmp_path / "out",
        count=20,
        progress=lambda done, total, what: steps.append((done, total)),
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "error-by-length.png",
        "paths-relu-no-bias.png",
        "report.html",
        "report.json",
        "success-by-method.png",
        "success-by-pattern.png",
    ]
    assert found.content == read_json(found.json, "report")
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    # The failed seed has no network that could read anything.
    assert [(r.suite, r.trial) for r in Run(runs[0].folder).manifest.readings] == [
        ("l1-lengths[:20]", t) for t in (0, 1)
    ]
    assert [(r.suite, r.trial) for r in Run(runs[1].folder).manifest.readings] == [
        ("l1-lengths[:20]", t) for t in (0, 1)
    ]
    for _, columns, rows in found.tables():
        assert rows
        assert {len(row) for row in rows} == {len(columns)}

    again = compare_runs([runs[0].folder.name], out=tmp_path / "out", count=20, force=True)
    assert again.content["methods"] == found.content["methods"]
    assert again.content["runs"][0]["read_before"] == 1


def test_without_names_it_is_tables_unless_there_are_only_l1_runs(tmp_path, capsys):
    small()
    signs()
    alone = compare_runs(out=tmp_path / "a", count=20)
    assert {run["run"].partition("/")[0] for run in alone.content["runs"]} == {NORM, SIGNS}
    assert capsys.readouterr().err == ""
    tables = standin.make_run(noises=(0.1,))
    both = compare_runs(suites=["churn-47"], out=tmp_path / "b", builders=["maglev"], count=20)
    assert list(both.content["runs"]) == ["table_supervised"]
    assert both.content["runs"]["table_supervised"]["run"] == tables.name
    assert both.tables()[0][0] == "churn-47, first 20"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"lab compare {NORM} {SIGNS}")


def test_runs_of_two_kinds_are_not_compared(tmp_path, runs):
    names = [small().name, standin.make_run().name]
    before = everything(runs)
    with pytest.raises(RequestError, match="expected runs of one kind") as caught:
        compare_runs(names, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises(RequestError, match="expected runs of one kind"):
        compare_runs([names[0], "maglev"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert everything(runs) == before


def tear(name):
    def damage(run):
        path = run.trial_folder(1) / name
        path.write_bytes(path.read_bytes()[:-5])

    return damage


def remove(run):
    (run.trial_folder(1) / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "asked", "words"),
    [
        pytest.param(tear("model.safetensors"), {}, "SHA-256 differs", id="truncated network"),
        pytest.param(tear("model.json"), {}, "truncated or edited", id="truncated description"),
        pytest.param(remove, {}, "no such file", id="missing network"),
        pytest.param(None, {"count": 0}, "sequences", id="no sequences"),
        pytest.param(None, {"suites": ["churn-47"]}, "--suite churn-47", id="a suite of tables"),
        pytest.param(None, {"builders": ["maglev"]}, "--builder maglev", id="a builder of tables"),
        pytest.param(None, {"data_dir": Path("data")}, "--data-dir data", id="data sets"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(tmp_path, runs, damage, asked, words):
    run = small()
    if damage:
        damage(run)
    before = everything(runs)
    with pytest.raises(RequestError, match=words) as caught:
        compare_runs([run.name], out=tmp_path / "out", **{"count": 20, **asked})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert everything(runs) == before


def test_one_trial_an_unknown_run_and_a_run_without_an_end_are_refused(tmp_path):
    run = small()
    with pytest.raises(RequestError, match="one seed is not a result"):
        compare_runs([f"{run.name}#0"], out=tmp_path / "out")
    with pytest.raises(RequestError, match="stand_in_nrm"):
        compare_runs([run.name, "stand_in_nrm"], out=tmp_path / "out")
    with pytest.raises(RequestError, match="Did you mean 'stand_in_norm'"):
        compare_runs(["stand_in_nrm"], out=tmp_path / "out")
    with pytest.raises(RequestError, match=f"no run of {SIGNS} yet: lab train {SIGNS}"):
        compare_runs([SIGNS], out=tmp_path / "out")
    with pytest.raises(RequestError, match="expected a run with a trial that ended"):
        compare_runs([make_run(NORM, seeds(2, cell="relu"), end=False).name], out=tmp_path / "out")
    run.folder.rename(tmp_path / "away")
    with pytest.raises(RequestError, match="expected a finished run of l1_norm"):
        l1.compare(out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_kind_that_nothing_compares_is_one_clear_line(tmp_path, monkeypatch):
    run = small()
    monkeypatch.setitem(experiments._REGISTRY, NORM, replace(described(NORM), comparison="echoes"))
    with pytest.raises(
        RequestError, match="unknown kind of comparison 'echoes': expected one of l1_norm, parity, roster, tables"
    ):
        compare_runs([run.name], out=tmp_path / "out")


def test_a_run_in_use_is_refused(tmp_path):
    run = small()
    holder = Run(run.folder)
    holder.claim()
    try:
        with pytest.raises(RequestError, match="in use"):
            compare_runs([run.name], out=tmp_path / "out")
    finally:
        holder.release()
    assert not (tmp_path / "out").exists()


def test_trials_that_have_not_ended_are_left_out_and_the_page_says_so(tmp_path):
    run = small()
    run.add_trial(3, run.trials[0].config)
    found = compare_runs([run.name], out=tmp_path / "out", count=20)
    assert found.content["unended"] == 1
    assert found.content["methods"][0]["success"]["of"] == 3
    assert "Trials that have not ended are left out" in found.html.read_text()


def test_rows_for_a_quick_look_are_printed_without_a_report(tmp_path):
    run = make_run(NORM, [({"cell": "relu"}, 1.0), ({"cell": "tanh"}, 0.9)], kind="sweep", space=("cell",))
    columns, rows = l1.rows(run)
    assert [row[0] for row in rows] == ["relu, best of 1 trials", "tanh, best of 1 trials"]
    assert all(len(row) == len(columns) for row in rows)
    assert len(Run(run.folder).manifest.readings) == 2

"""From names to files: bad requests write nothing, and every reading of a held-out suite leaves a trace."""

from __future__ import annotations

import hashlib

import pytest
import torch

from lab.compare import compare
from lab.errors import RequestError
from lab.files import read_json
from lab.runs import Run

from .standin import make_run

BUILDERS = ["maglev", "balanced-stratified"]


def everything(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_comparison_writes_its_report_and_notes_its_readings(tmp_path):
    run = make_run(noises=(0.0, 0.01))
    steps = []
    found = compare(
        [run.folder.name],
        ["churn-47"],
        tmp_path / "out",
        builders=BUILDERS,
        count=20,
        progress=lambda done, total, what: steps.append((done, total, what)),
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "excess-by-n-churn-47.png",
        "fleet.webp",
        "learning-curves.png",
        "pareto-churn-47.png",
        "report.html",
        "report.json",
    ]
    assert found.html.parent == tmp_path / "out"
    starts = {".png": b"\x89PNG", ".webp": b"RIFF"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in found.figures)
    assert steps[-1][0] == steps[-1][1] == (2 + 2 * 2) * 20 * 6
    assert [done for done, _, _ in steps] == sorted(done for done, _, _ in steps)
    readings = Run(run.folder).manifest.readings
    assert [(reading.suite, reading.trial) for reading in readings] == [("churn-47[:20]", 0), ("churn-47[:20]", 1)]
    assert {d.verdict for d in found.against_untrained} == {"better"}
    columns, rows = found.table(found.analyses[0])
    assert {len(row) for row in rows} == {len(columns)}
    assert rows[-1][0] == "table_supervised, untrained (not ranked)"

    again = compare([run.folder.name], ["churn-47"], tmp_path / "out", builders=BUILDERS, count=20, force=True)
    assert again.content["runs"]["table_supervised"]["read_before"] == 1
    for old, new in zip(found.content["suites"], again.content["suites"], strict=True):
        for part, other in zip(old["parts"], new["parts"], strict=True):
            for a, b in zip(part["rows"], other["rows"], strict=True):
                assert a["scores"] == b["scores"]
        assert old["differences"] == new["differences"]


def test_a_comparison_computes_in_one_thread_and_leaves_the_callers(tmp_path, monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    compare([], ["churn-47"], tmp_path / "out", builders=["maglev"], count=5)
    assert set_to == [1, 3]


def test_an_earlier_report_is_not_overwritten(tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(RequestError, match="--force"):
        compare([], ["churn-47"], tmp_path, count=2)
    assert everything(tmp_path) == {"report.html": hashlib.sha256(b"mine").hexdigest()}


def test_a_file_in_the_way_is_not_overwritten(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RequestError, match="is a file"):
        compare([], ["churn-47"], tmp_path / "out", count=2, force=True)


@pytest.mark.parametrize("out", ["file/out", "file/deep/out", "x" * 300])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, runs, out):
    run = make_run(noises=(0.1,))
    (tmp_path / "file").write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(RequestError, match="expected a folder that can be written") as caught:
        compare([str(run.folder)], ["churn-47"], tmp_path / out, builders=BUILDERS, count=5)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == before
    assert Run(run.folder).manifest.readings == []


def test_two_trials_of_a_run_and_the_run_itself_are_compared_and_noted_once(tmp_path):
    run = make_run("my_task", (0.0, 0.01, 0.02), family="learned")
    names = [str(run.folder), f"{run.folder}#0", f"{run.folder}#2"]
    found = compare(names, ["churn-47"], tmp_path / "a" / "out", builders=BUILDERS, count=5)
    assert {"my_task", "my_task#0", "my_task#2"} <= {row.method.label for row in found.analyses[0].rows}
    assert [(r.suite, r.trial) for r in Run(run.folder).manifest.readings] == [("churn-47[:5]", t) for t in (0, 1, 2)]


def test_a_network_for_another_size_is_left_out_and_the_report_says_so(tmp_path):
    run = make_run(noises=(0.1,), size=307)
    found = compare([run.folder.name], ["churn-47"], tmp_path / "out", builders=BUILDERS, count=5)
    assert {item["method"] for item in found.content["skipped"]} == {"table_supervised", "table_supervised, untrained"}
    assert "expected 307 entries" in found.html.read_text()
    assert Run(run.folder).manifest.readings == []


def test_without_any_run_the_classical_tables_are_compared(tmp_path):
    found = compare([], ["scenarios-47"], tmp_path / "out", builders=BUILDERS, count=20)
    assert [row.method.label for row in found.analyses[0].rows] == BUILDERS
    assert found.against_untrained == []
    assert "Learning curves" not in found.html.read_text()


def broken(name):
    def damage(run):
        path = run.trial_folder(1) / name
        path.write_bytes(path.read_bytes()[:-5])

    return damage


def tear_manifest(run):
    path = run.folder / "run.json"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("damage", "suites", "builders", "count"),
    [
        pytest.param(None, ["churn-48"], BUILDERS, 5, id="unknown suite"),
        pytest.param(None, ["churn-47"], ["maglv"], 5, id="unknown builder"),
        pytest.param(None, ["churn-47"], BUILDERS, 0, id="no pairs"),
        pytest.param(broken("model.safetensors"), ["churn-47"], BUILDERS, 5, id="truncated network of a later seed"),
        pytest.param(broken("untrained.safetensors"), ["churn-47"], BUILDERS, 5, id="truncated untrained network"),
        pytest.param(broken("model.json"), ["churn-47"], BUILDERS, 5, id="truncated description"),
        pytest.param(tear_manifest, ["churn-47"], BUILDERS, 5, id="truncated manifest"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(tmp_path, runs, damage, suites, builders, count):
    run = make_run(noises=(0.1, 0.2))
    if damage:
        damage(run)
    before = everything(runs)
    with pytest.raises(RequestError) as caught:
        compare([str(run.folder)], suites, tmp_path / "out", builders=builders, count=count)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert everything(runs) == before


def test_a_run_in_use_is_refused(tmp_path):
    run = make_run()
    holder = Run(run.folder)
    holder.claim()
    try:
        with pytest.raises(RequestError, match="in use"):
            compare([str(run.folder)], ["churn-47"], tmp_path / "out", builders=BUILDERS, count=5)
    finally:
        holder.release()
    assert not (tmp_path / "out").exists()


def test_figures_of_a_report_stand_in_its_json_as_numbers(tmp_path):
    found = compare([], ["churn-47"], tmp_path / "out", builders=BUILDERS, count=20)
    stored = read_json(found.json, "report")
    row = next(row for part in stored["suites"][0]["parts"] for row in part["rows"] if row["method"] == "maglev")
    interval = found.analyses[0].row("maglev").by_group["16"]["excess"]
    assert row["by_group"]["16"]["excess"] == {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "over": "fleets",
    }

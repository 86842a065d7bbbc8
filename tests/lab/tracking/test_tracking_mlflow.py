"""MLflow's database: one parent, one child a trial, each step once; a damaged file is refused and left alone."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.config import Config
from lab.errors import RequestError
from lab.experiment import Experiment, Result
from lab.runs import Plan, Run
from lab.tracking import BEHIND, DATABASE, MLflowTracker, Tracking, check_database
from lab.tracking.mlflow_rows import RunRows
from lab.tracking.pace import Pace


class Few(Config):
    seed: int = 0


EXPERIMENT = Experiment(
    name="few",
    summary="",
    config=Few,
    fit=lambda config, report, *, resume=None: Result({}),
    space={},
    metric="loss",
    mode="min",
    presets={"default": {}},
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all tests: making its tables takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / DATABASE


@pytest.fixture
def run() -> Run:
    return Run.create(EXPERIMENT, kind="sweep", preset="default", config={}, plan=Plan(samples=3))


def found(tracker: MLflowTracker, run: Run) -> tuple[list, dict]:
    entries = tracker._client.search_runs([tracker._experiment], f"tags.`lab.run` = '{run.name}'")
    parents = [entry for entry in entries if "lab.trial" not in entry.data.tags]
    children = {int(entry.data.tags["lab.trial"]): entry for entry in entries if "lab.trial" in entry.data.tags}
    assert len(parents) + len(children) == len(entries), "no child twice"
    return parents, children


def steps(tracker: MLflowTracker, child) -> list[int]:
    return sorted(metric.step for metric in tracker._client.get_metric_history(child.info.run_id, "loss"))


def test_a_run_is_a_parent_with_a_child_for_each_trial(run: Run, database: Path) -> None:
    tracker = MLflowTracker(database)
    tracker.start(run)
    for index, status in enumerate(("finished", "stopped", "failed")):
        trial = run.add_trial(index, {"seed": index, "rate": 0.1})
        tracker.trial_starts([trial])
        for iteration in (1, 2, 3):
            run.add_result(index, {"iteration": iteration, "loss": index + 1 / iteration})
            tracker.results([(trial, iteration)])
        run.end_trial(index, status, None if status == "finished" else "because")
        tracker.trial_ends([trial])
    tracker.end("finished")
    parents, children = found(tracker, run)
    assert [parent.info.status for parent in parents] == ["FINISHED"]
    assert parents[0].data.tags["lab.best_trial"] == "0"
    assert {index: child.info.status for index, child in children.items()} == {
        0: "FINISHED",
        1: "FINISHED",
        2: "FAILED",
    }
    assert children[1].data.tags["lab.status"] == "stopped"
    assert children[1].data.tags["lab.reason"] == "because"
    assert children[0].data.tags["mlflow.parentRunId"] == parents[0].info.run_id
    assert children[0].data.params == {"seed": "0", "rate": "0.1"}
    assert children[2].data.metrics["best"] == pytest.approx(2 + 1 / 3)
    assert all(steps(tracker, child) == [1, 2, 3] for child in children.values())


def test_a_resume_finds_its_runs_and_writes_what_is_missing_once(run: Run, database: Path) -> None:
    first = MLflowTracker(database)
    first.start(run)
    trial = run.add_trial(0, {"seed": 0})
    first.trial_starts([trial])
    for iteration in (1, 2):
        run.add_result(0, {"iteration": iteration, "loss": 1.0})
        first.results([(trial, iteration)])
    first._flush()
    run.add_result(0, {"iteration": 3, "loss": 1.0})
    ended = run.add_trial(1, {"seed": 1})
    run.end_trial(1, "failed", "in the middle")
    # The kill: iteration 3 and trial 1 are in the journal only.
    again = Run(run.folder)
    second = MLflowTracker(database)
    second.start(again)
    assert steps(second, found(second, run)[1][0]) == [1, 2, 3]
    again.add_result(0, {"iteration": 4, "loss": 0.5})
    second.results([(again.trials[0], 4)])
    again.end_trial(0, "finished")
    second.trial_ends([again.trials[0]])
    second.end("interrupted")
    third = MLflowTracker(database)
    third.start(again)
    third.end("finished")
    parents, children = found(third, run)
    assert [parent.info.status for parent in parents] == ["FINISHED"]
    assert sorted(children) == [0, 1]
    assert steps(third, children[0]) == [1, 2, 3, 4]
    assert (children[0].info.status, children[1].info.status) == ("FINISHED", "FAILED")
    assert ended.status == "failed"


def test_a_step_that_comes_again_at_another_time_leaves_no_mark(run: Run, database: Path) -> None:
    trial = run.add_trial(0, {"seed": 0})
    run.add_result(0, {"iteration": 1, "loss": 1.0})
    for _ in range(2):
        tracker = MLflowTracker(database)
        tracker.start(run)
        trial.times[1] += 5
        tracker.results([(trial, 1)])
        tracker._flush()
    (child,) = found(tracker, run)[1].values()
    assert steps(tracker, child) == [1]


def test_a_new_database_is_made_without_a_word(
    run: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    new_database: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lab.tracking.mlflow._open", new_database)
    MLflowTracker(tmp_path / "new" / DATABASE).start(run)
    out, err = capfd.readouterr()
    assert out == ""
    assert "INFO" not in err


def test_an_interrupted_trial_says_so_until_it_goes_on(run: Run, database: Path) -> None:
    tracker = MLflowTracker(database)
    tracker.start(run)
    tracker.trial_starts([run.add_trial(0, {"seed": 0})])
    tracker.end("interrupted")
    parents, children = found(tracker, run)
    assert (parents[0].info.status, children[0].info.status) == ("KILLED", "KILLED")
    tracker.start(run)
    parents, children = found(tracker, run)
    assert (parents[0].info.status, children[0].info.status) == ("RUNNING", "RUNNING")


@pytest.mark.parametrize("content", [b"this is no database at all", b"SQLite format 3\x00" + b"\x07" * 4096])
def test_a_damaged_database_is_refused_in_one_line_and_left_alone(content: bytes, runs: Path) -> None:
    runs.mkdir()
    (runs / DATABASE).write_bytes(content)
    with pytest.raises(RequestError, match="expected an SQLite database at") as caught:
        MLflowTracker()
    assert "\n" not in str(caught.value)
    assert (runs / DATABASE).read_bytes() == content
    assert [path.name for path in runs.iterdir()] == [DATABASE]


def test_a_database_with_a_torn_page_is_refused(runs: Path) -> None:
    runs.mkdir()
    with sqlite3.connect(runs / DATABASE) as connection:
        connection.execute("create table t (x text)")
        connection.executemany("insert into t values (?)", [("y" * 500,)] * 100)
    connection.close()
    data = bytearray((runs / DATABASE).read_bytes())
    data[8192:12288] = b"\xff" * 4096
    (runs / DATABASE).write_bytes(data)
    with pytest.raises(RequestError, match="expected an SQLite database"):
        MLflowTracker()


SHARD = range(24)


def configured(index: int) -> dict:
    return {"seed": index, "rate": 0.1 * index, "shape": [4, index], "name": "x" * 7000}


def report(run: Run, iteration: int) -> list:
    for index in SHARD:
        run.add_result(index, {"iteration": iteration, "loss": index + 1 / iteration, "train/loss": 1.0})
    return [(run.trials[index], iteration) for index in SHARD]


def end(run: Run, ends: range) -> list:
    for index in ends:
        run.end_trial(index, "failed" if index % 5 == 0 else "finished", "loss is nan" if index % 5 == 0 else None)
    return [run.trials[index] for index in ends]


def check(tracker: MLflowTracker, run: Run, other: str) -> None:
    """Compares the database with the journal; trials that did not end have the status `other`."""
    parents, children = found(tracker, run)
    assert len(parents) == 1
    assert sorted(children) == sorted(run.trials)
    for index, child in children.items():
        trial = run.trials[index]
        assert child.data.params == {key: str(value)[:6000] for key, value in trial.config.items()}
        for key in ("loss", "train/loss"):
            history = tracker._client.get_metric_history(child.info.run_id, key)
            assert sorted((m.step, m.value, m.timestamp) for m in history) == [
                (step, row[key], int(1000 * trial.times[step])) for step, row in sorted(trial.results.items())
            ]
        last = trial.results.get(trial.iteration, {})
        assert {key: value for key, value in child.data.metrics.items() if key != "best"} == {
            key: value for key, value in last.items() if key != "iteration"
        }
        assert ("best" in child.data.metrics) == (trial.ended and bool(trial.results))
        assert child.info.status == {"finished": "FINISHED", "failed": "FAILED", "running": other}[trial.status]
        assert (child.info.end_time is None) == (child.info.status == "RUNNING")
        assert child.data.tags.get("lab.status") == (trial.status if trial.ended else None)
        assert child.data.tags.get("lab.reason") == trial.reason


def test_a_shard_of_trials_is_in_the_database_as_in_the_journal(run: Run, database: Path) -> None:
    tracker = MLflowTracker(database)
    tracker.start(run)
    tracker.trial_starts([run.add_trial(index, configured(index)) for index in SHARD])
    for iteration in (1, 2, 3):
        tracker.results(report(run, iteration))
    tracker.trial_ends(end(run, SHARD[:-3]))
    tracker.end("interrupted")
    check(tracker, run, "KILLED")


@pytest.mark.parametrize("seconds", [0.0, 1e6])
@pytest.mark.parametrize("killed_after", range(5))
def test_a_shard_that_was_killed_anywhere_is_made_up_for(
    run: Run, database: Path, killed_after: int, seconds: float
) -> None:
    first = MLflowTracker(database)
    first.start(run)
    # All of it was written, or only what came first.
    first._pace = Pace(seconds)
    calls = [
        lambda: first.trial_starts([run.add_trial(index, configured(index)) for index in SHARD]),
        lambda: first.results(report(run, 1)),
        lambda: first.results(report(run, 2)),
        lambda: first.trial_ends(end(run, SHARD[:9])),
    ]
    for call in calls[:killed_after]:
        call()
    if killed_after in (1, 2):
        # What the journal has and the tracker was not told any more.
        report(run, killed_after)
    if killed_after == 3:
        end(run, SHARD[:9])
    again = Run(run.folder)
    second = MLflowTracker(database)
    second.start(again)
    check(second, again, "RUNNING")
    if again.trials:
        second.results(report(again, 3))
        second.trial_ends(end(again, SHARD[9:]))
    second.end("finished")
    check(second, again, "FINISHED")
    third = MLflowTracker(database)
    third.start(again)
    third.end("finished")
    check(third, again, "FINISHED")


def test_a_write_that_fails_leaves_nothing_half_done_and_is_made_up_for(run: Run, database: Path) -> None:
    lines: list[str] = []
    tracker = MLflowTracker(database)
    tracking = Tracking([tracker], lines.append)
    tracking.start(run)
    # The beginnings of the trials wait for their first results.
    tracker._pace = Pace(1e6)
    with tracker._pace.work():
        pass
    full(database, True)
    try:
        tracking.trial_starts([run.add_trial(index, configured(index)) for index in SHARD])
        tracker._pace = Pace(0)
        tracking.results(report(run, 1))
        assert len(lines) == 1
        assert lines[0].startswith("warning: MLflow fails, the training goes on without it: IntegrityError:")
        assert "the disk is full" in lines[0]
        assert found(tracker, run)[1] == {}, "not one child without its parameters"
        tracking.results(report(run, 2))
        tracking.end("interrupted")
    finally:
        full(database, False)
    assert len(lines) == 2
    assert list(json.loads((run.folder / BEHIND).read_text())) == ["MLflow"]
    again = MLflowTracker(database)
    run.manifest.status = "interrupted"
    Tracking([again], lines.append).catch_up(run)
    assert not (run.folder / BEHIND).exists()
    check(again, run, "KILLED")


def full(database: Path, on: bool) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(
            "create trigger no before insert on metrics begin select raise(abort, 'the disk is full'); end"
            if on
            else "drop trigger no"
        )
    connection.close()


def test_rows_are_what_the_client_itself_would_have_written(run: Run, database: Path) -> None:
    """Both read back by the client; when a later version writes more, this says so."""
    from mlflow.entities import Metric, Param, RunTag

    tracker = MLflowTracker(database)
    tracker.start(run)
    client, now = tracker._client, int(1000 * time.time())
    tags = {"mlflow.parentRunId": tracker._parent, "lab.trial": "0"}
    params, values = {"rate": 0.1, "name": None, "long": "y" * 6500}, {"a/b": 1e300, "c": -0.0}
    theirs = client.create_run(tracker._experiment, start_time=now, tags=tags, run_name="child").info.run_id
    client.log_batch(theirs, params=[Param(key, str(value)) for key, value in params.items()])
    for step in (3, 1, 2):
        client.log_batch(theirs, metrics=[Metric(key, value * step, now + step, step) for key, value in values.items()])
    client.log_batch(theirs, tags=[RunTag("lab.status", "failed"), RunTag("lab.reason", "z" * 9000)])
    client.set_terminated(theirs, "FAILED", now + 9)

    rows = RunRows(database, client.get_experiment(tracker._experiment))
    ours = rows.add_run("child", now, tags, params)
    for step in (3, 1, 2):
        rows.add_metrics(ours, step, now + step, {key: value * step for key, value in values.items()})
        rows.write()
    rows.add_tags(ours, {"lab.status": "failed", "lab.reason": "z" * 9000})
    rows.set_status(ours, "FAILED", now + 9)
    rows.write()

    def read(run: str) -> list:
        entry = client.get_run(run).to_dictionary()
        history = [m.to_dictionary() for key in values for m in client.get_metric_history(run, key)]
        for row in history:
            row.pop("run_id", None)
        with sqlite3.connect(database) as connection:
            row = connection.execute("select * from runs where run_uuid = ?", [run]).fetchone()
        connection.close()
        info = {key: str(value).replace(run, "ID") for key, value in entry.pop("info").items()}
        return [info, entry, sorted(history, key=str), str(row).replace(run, "ID")]

    assert read(ours) == read(theirs)


def test_a_transaction_that_a_kill_cut_short_is_taken_back(tmp_path: Path) -> None:
    """A driver that dies while it writes must not leave a database that `lab resume` refuses."""
    path = tmp_path / "torn.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t(a)")
        connection.executemany("insert into t values(?)", [(1,)] * 10_000)
    connection.close()
    # A cache of two pages makes SQLite write to the file before the transaction ends.
    script = (
        "import os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute('pragma cache_size=2')\n"
        "connection.execute('update t set a = a + 1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)]).returncode == -signal.SIGKILL
    assert path.with_name("torn.db-journal").stat().st_size > 0
    check_database(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*), sum(a) from t").fetchone() == (10_000, 10_000)
    connection.close()

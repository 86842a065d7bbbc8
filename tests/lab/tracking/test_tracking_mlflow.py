"""MLflow's database: one parent, one child a trial, each step once; a damaged file is refused and left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lab.config import Config
from lab.errors import RequestError
from lab.experiment import Experiment, Result
from lab.runs import Plan, Run
from lab.tracking import DATABASE, MLflowTracker


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
        tracker.trial_start(trial)
        for iteration in (1, 2, 3):
            run.add_result(index, {"iteration": iteration, "loss": index + 1 / iteration})
            tracker.result(trial, iteration)
        run.end_trial(index, status, None if status == "finished" else "because")
        tracker.trial_end(trial)
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
    first.trial_start(trial)
    for iteration in (1, 2):
        run.add_result(0, {"iteration": iteration, "loss": 1.0})
        first.result(trial, iteration)
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
    second.result(again.trials[0], 4)
    again.end_trial(0, "finished")
    second.trial_end(again.trials[0])
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


def test_a_kill_before_the_parameters_and_a_step_that_comes_again_leave_no_mark(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = MLflowTracker(database)
    first.start(run)
    trial = run.add_trial(0, {"seed": 0})
    with monkeypatch.context() as patch:
        patch.setattr(first, "_log_params", lambda trial: None)
        first.trial_start(trial)
    second = MLflowTracker(database)
    second.start(run)
    run.add_result(0, {"iteration": 1, "loss": 1.0})
    second.result(trial, 1)
    second._flush()
    trial.times[1] += 5
    second.result(trial, 1)
    second._flush()
    (child,) = found(second, run)[1].values()
    assert child.data.params == {"seed": "0"}
    assert steps(second, child) == [1]


def test_a_new_database_is_made_without_a_word(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    MLflowTracker(tmp_path / "new" / DATABASE).start(run)
    out, err = capfd.readouterr()
    assert out == ""
    assert "INFO" not in err


def test_an_interrupted_trial_says_so_until_it_goes_on(run: Run, database: Path) -> None:
    tracker = MLflowTracker(database)
    tracker.start(run)
    tracker.trial_start(run.add_trial(0, {"seed": 0}))
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

"""Run folders: whole after any kill, refused when they are not, one writer at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from lab.config import Config
from lab.errors import RequestError, WorkError
from lab.experiment import Experiment, Result
from lab.files import sha256, write_files
from lab.paths import find_run
from lab.runs import Plan, Run, command_line, describe_domain


class Empty(Config):
    seed: int = 0


EXPERIMENT = Experiment(
    name="empty",
    summary="does nothing",
    config=Empty,
    fit=lambda config, report, *, resume=None: Result({}),
    space={},
    metric="loss",
    mode="max",
    presets={"default": {}},
)


@pytest.fixture
def run() -> Run:
    return Run.create(EXPERIMENT, kind="train", preset="default", config={"seed": 0}, plan=Plan(samples=2))


def test_a_run_reads_back_as_it_was_written(run: Run) -> None:
    run.add_trial(0, {"seed": 0})
    assert run.add_result(0, {"iteration": 1, "loss": 0.5})
    assert not run.add_result(0, {"iteration": 1, "loss": 0.7}), "the first record stays"
    run.add_result(0, {"iteration": 2, "loss": 0.25})
    run.end_trial(0, "finished")
    run.add_trial(1, {"seed": 1})
    run.end_trial(1, "failed", "why not")
    run.finish("finished")
    again = Run(run.folder)
    assert again.trials == run.trials
    assert again.history == [(0, 1), (0, 2)]
    assert again.manifest == run.manifest
    assert again.manifest.best_trial == 0
    assert again.metrics().to_dict("list") == {"trial": [0, 0], "iteration": [1, 2], "loss": [0.5, 0.25]}
    for path, digest in again.manifest.artefacts.items():
        assert sha256(run.folder / path) == digest
    assert find_run(run.folder.name[-6:]) == run.folder


def test_training_time_does_not_fall_where_a_kill_had_an_iteration_done_again(run: Run) -> None:
    """The third iteration was recorded, its checkpoint was not: done again, from the second on, it takes less time."""
    run.add_trial(0, {"seed": 0})
    for iteration, seconds in ((1, 0.5), (2, 1.0), (3, 2.0)):
        run.add_result(0, {"iteration": iteration, "seconds": seconds})
    again = Run(run.folder)
    again.claim()
    assert not again.add_result(0, {"iteration": 3, "seconds": 1.2})
    for iteration, seconds in ((3, 1.2), (4, 1.4), (5, 2.5)):
        again.add_results(iteration, {0: {"iteration": iteration, "seconds": seconds}})
    assert [row["seconds"] for row in again.trials[0].results.values()] == [0.5, 1.0, 2.0, 2.0, 2.5]


def test_a_torn_last_line_is_dropped_and_mended_by_the_next_writer(run: Run) -> None:
    run.add_trial(0, {"seed": 0})
    path = run.folder / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "result", "tri')
    again = Run(run.folder)
    assert list(again.trials) == [0]
    assert path.read_bytes() != whole, "a reader changes nothing"
    again.claim()
    assert path.read_bytes() == whole
    again.add_result(0, {"iteration": 1, "loss": 1.0})
    assert Run(run.folder).trials[0].iteration == 1


@pytest.mark.parametrize(
    "line", ["garbage", "{}", "[]", '{"event": "result", "trial": 9}', '{"event": "dance", "trial": 0}', '{"event": 3}']
)
def test_a_journal_that_was_edited_is_refused_in_one_line(run: Run, line: str) -> None:
    run.add_trial(0, {"seed": 0})
    with (run.folder / "journal.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RequestError, match="line 2, but got"):
        Run(run.folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 2}', "\x00\xff"])
def test_a_manifest_that_is_no_manifest_is_refused_in_one_line(run: Run, content: str) -> None:
    (run.folder / "run.json").write_text(content)
    with pytest.raises(RequestError) as caught:
        Run(run.folder)
    assert "\n" not in str(caught.value)
    assert "run.json" in str(caught.value)


def test_one_writer_at_a_time_and_the_next_one_sees_what_it_wrote(run: Run) -> None:
    other = Run(run.folder)
    run.claim()
    with pytest.raises(RequestError, match="in use by another process"):
        other.claim()
    run.add_trial(0, {"seed": 0})
    run.manifest.status = "interrupted"
    run.save_manifest()
    run.release()
    other.claim()
    assert list(other.trials) == [0]
    assert other.manifest.status == "interrupted"


def test_a_generation_holds_for_all_its_trials(run: Run) -> None:
    for index in range(2):
        run.add_trial(index, {"seed": index})
    change = {"config": {"seed": 9}, "donor": 0, "checkpoint": "there", "checkpoint_iteration": 4}
    run.add_arrival(1, 4)
    run.add_generation(4, {1: change})
    again = Run(run.folder)
    assert again.generation == 4
    assert (again.trials[1].config, again.trials[1].checkpoint, again.trials[1].arrived) == ({"seed": 9}, "there", 4)
    assert again.trials == run.trials


def test_a_clone_has_the_results_of_its_donor_and_then_its_own(run: Run) -> None:
    for index, losses in enumerate([(5.0, 6.0, 7.0), (0.1, 9.0, 0.2)]):
        run.add_trial(index, {"seed": index})
        for step, loss in enumerate(losses, start=1):
            run.add_result(index, {"iteration": step, "loss": loss})
    change = {"config": {"seed": 1}, "donor": 0, "checkpoint": "there", "checkpoint_iteration": 2}
    run.add_generation(3, {1: change})
    assert run.add_result(1, {"iteration": 3, "loss": 6.5}), "it was given the second iteration, the third is new"
    for index in range(2):
        run.end_trial(index, "finished")
    again = Run(run.folder)
    assert [row["loss"] for row in again.trials[1].results.values()] == [5.0, 6.0, 6.5]
    assert again.trials == run.trials
    assert again.trials[1].best("loss", "max") == 6.5, "what it had reached before went with its weights"
    assert again.best_trial() == 0


def test_the_best_trial_is_one_that_kept_a_network_if_any_did(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    for index, loss in enumerate((0.9, 0.5)):
        run.add_trial(index, {"seed": index})
        run.add_result(index, {"iteration": 1, "loss": loss})
    run.end_trial(0, "stopped", "by asha at iteration 1")
    assert run.best_trial() == 0
    run.end_trial(1, "finished", checkpoint=tmp_path)
    assert run.best_trial() == 1


def test_a_run_of_the_module_has_a_command_that_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/lab/__main__.py", "train", "empty"])
    assert command_line() == ["python", "-m", "lab", "train", "empty"]
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/lab", "train", "empty"])
    assert command_line() == ["lab", "train", "empty"]


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        (tune.uniform(0, 1), "Float(0, 1), uniform"),
        (tune.loguniform(0.1, 1), "Float(0.1, 1), loguniform"),
        (tune.quniform(0, 1, 0.25), "Float(0, 1), uniform, step 0.25"),
        (tune.lograndint(1, 9), "Integer(1, 9), loguniform"),
        (tune.choice([1, 2]), "Categorical[1, 2]"),
    ],
)
def test_a_domain_says_how_it_is_drawn(domain: Any, words: str) -> None:
    assert describe_domain(domain) == words


def test_numbers_that_json_has_not_never_reach_the_journal(run: Run) -> None:
    run.add_trial(0, {"seed": 0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.add_result(0, {"iteration": 1, "loss": float("nan")})
    assert Run(run.folder).trials[0].results == {}


def test_a_full_disk_is_said_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WorkError, match="No space left on device"):
        run.add_trial(0, {"seed": 0})


def test_a_journal_goes_on_after_the_disk_was_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.add_trial(0, {"seed": 0})
    opened = Path.open

    class Half:
        """A file on a disk with room for half a line."""

        def __init__(self, *args: object, **options: object) -> None:
            self.file = opened(*args, **options)

        def __enter__(self) -> Half:
            return self

        def __exit__(self, *reason: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write(self, data: bytes) -> int:
            return self.file.write(data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *args, **options: Half(*args, **options))
        with pytest.raises(WorkError, match="the disk is full"):
            run.add_result(0, {"iteration": 1, "loss": 1.0})
    run.add_result(0, {"iteration": 2, "loss": 0.5})
    assert sorted(Run(run.folder).trials[0].results) == [2]


def test_a_run_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("LAB_RUNS", str(blocker))
    with pytest.raises(RequestError, match="a folder to write runs into"):
        Run.create(EXPERIMENT, kind="train", preset="default", config={}, plan=Plan(samples=1))
    assert json.dumps(blocker.read_text()) == '""'


def test_a_run_whose_process_was_killed_says_so(run: Run) -> None:
    assert Run(run.folder).status == "killed"
    run.claim()
    assert run.status == "running"
    assert Run(run.folder).status == "running"
    run.finish("finished")
    run.release()
    assert Run(run.folder).status == "finished"


def test_what_happens_to_many_trials_at_once_reads_back_as_it_was_written(run: Run, tmp_path: Path) -> None:
    assert [trial.index for trial in run.add_trials({index: {"seed": index} for index in range(4)})] == [0, 1, 2, 3]
    assert json.loads((run.trial_folder(3) / "config.json").read_text()) == {"seed": 3}
    run.add_shards([[0, 2, 3]])
    row = {"iteration": 1.0, "loss": 0.5}
    assert run.add_results(1, {0: row, 2: row, 3: row}) == [0, 2, 3]
    assert run.add_results(1, {0: {"iteration": 1.0, "loss": 9.0}}) == [], "the first record stays"
    run.add_checkpoints(1, "there", [0, 2, 3], {})
    assert run.trials[2].checkpoint == "there"
    run.add_ends({3: ("failed", "why not")})
    run.add_results(2, {0: row, 2: row, 3: row})
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    run.save_artefacts({2: tmp_path})
    run.add_checkpoints(2, "later", [0], {2: ("finished", None)})
    again = Run(run.folder)
    assert (again.trials, again.history, again.shards) == (run.trials, run.history, [[0, 2, 3]])
    assert [trial.status for trial in again.trials.values()] == ["running", "running", "finished", "failed"]
    assert sorted(again.trials[3].results) == [1], "what comes after the end of a trial is none of its"
    assert again.trials[3].reason == "why not"
    assert [(t.checkpoint, t.checkpoint_iteration) for t in again.trials.values()] == [
        ("later", 2),
        (None, 0),
        (None, 0),
        (None, 0),
    ]
    assert (run.trial_folder(2) / "model.safetensors").read_bytes() == b"weights"
    assert again.best_trial() == 2


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "results", "iteration": 1, "time": 0, "rows": {"9": {}}}',
        '{"event": "results", "iteration": 1, "time": 0, "rows": []}',
        '{"event": "checkpoints", "iteration": 1, "path": "p", "trials": [9], "ends": {}}',
        '{"event": "ends", "ends": {"0": "finished"}}',
        '{"event": "shards", "shards": [[9]]}',
        '{"event": "shards", "shards": 3}',
    ],
)
def test_edited_events_of_many_trials_are_refused_in_one_line(run: Run, line: str) -> None:
    run.add_trial(0, {"seed": 0})
    with (run.folder / "journal.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RequestError, match="line 2, but got"):
        Run(run.folder)


def test_many_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {tmp_path / str(i) / "file": bytes([i]) for i in range(40)}
    write_files(files)
    assert {path: path.read_bytes() for path in files} == files
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if "39" in self.parts:
            raise OSError(28, "No space left on device")
        return write_bytes(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(WorkError, match=r"39/file: No space left on device"):
            write_files(dict.fromkeys(files, b"new"))
    assert {path: path.read_bytes() for path in files} == files, "none is replaced"
    assert len(list(tmp_path.glob("*/*"))) + len(list(tmp_path.glob("*/.*"))) == 40, "no part is left"

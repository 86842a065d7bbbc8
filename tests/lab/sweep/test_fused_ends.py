"""How shards end: what fails is failed with its reason, and what is no failure of a training halts the sweep."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fused_simulation import Worker, drive_fused
from fused_toy import lines
from ray import tune
from simulation import Killed, killed_after

from lab.errors import RequestError, WorkError
from lab.experiment import Experiment
from lab.runs import Run
from lab.sweep.halt import Halt
from lab.sweep.plan import make_plan
from lab.sweep.recorder import Recorder
from lab.sweep.storage import Storage
from lab.tracking import Tracking

SPACE = {"seed": tune.randint(0, 1000)}


def new_run(experiment: Experiment, *, samples: int = 4, **overrides: object) -> Path:
    base = experiment.resolve(overrides=overrides).model_dump(mode="json")
    plan = make_plan(experiment, samples=samples, max_concurrent=2)
    return Run.create(experiment, kind="sweep", preset="default", config=base, plan=plan).folder


def drive(experiment: Experiment, folder: Path) -> Run:
    return drive_fused(experiment, folder, np.random.default_rng(0))


def test_a_shard_whose_training_raises_fails_all_its_members_and_no_other() -> None:
    space = SPACE | {"width": tune.choice([2, 3])}
    broken = lines(space=space)
    blocks = broken.population.blocks

    def some(config, iteration):
        if config.width == 2 and iteration == 2:
            raise ValueError("the loss went\nthrough the roof")
        return blocks(config, iteration)

    broken.population.blocks = some
    run = drive(broken, new_run(broken, samples=10))
    assert len(run.shards) == 2
    for trial in run.trials.values():
        if trial.config["width"] == 3:
            assert (trial.status, trial.iteration) == ("finished", 6)
        else:
            assert (trial.status, trial.reason) == ("failed", "ValueError: the loss went through the roof")
            assert trial.iteration == 2
            assert "Traceback" in (run.trial_folder(trial.index) / "error.txt").read_text()


def test_a_shard_whose_process_keeps_dying_fails_all_its_members() -> None:
    experiment = lines(space=SPACE)
    folder = new_run(experiment)
    with pytest.raises(Killed), killed_after(7, torn=False):
        drive(experiment, folder)
    run = Run(folder)
    recorder = Recorder(run, Tracking([]), Storage(str(folder)), Halt(), scheduler="none", overdue={})
    recorder.on_trial_error(0, [], SimpleNamespace(trial_id="a", config={"index": 0, "shard": 0}))
    ends = {(trial.status, trial.reason, trial.checkpoint) for trial in Run(folder).trials.values()}
    assert ends == {("failed", "its process died 3 times", None)}


def test_a_damaged_checkpoint_halts_the_sweep_and_no_member_fails() -> None:
    experiment = lines(space=SPACE)
    folder = new_run(experiment)
    with pytest.raises(Killed), killed_after(10, torn=False):
        drive(experiment, folder)
    before = (folder / "journal.jsonl").read_bytes()
    state = Path(Run(folder).trials[0].checkpoint) / "population.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[:-1])
    with pytest.raises(RequestError, match="truncated"):
        drive(experiment, folder)
    assert (folder / "journal.jsonl").read_bytes() == before
    state.write_bytes(whole)
    assert {trial.status for trial in drive(experiment, folder).trials.values()} == {"finished"}


def test_a_full_storage_halts_the_sweep_and_no_member_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = lines(space=SPACE)
    folder = new_run(experiment)
    report = Worker.report

    def full(self, row, checkpoint):
        if "shard" in row and json.loads(row["shard"])["iteration"] == 3:
            raise OSError(28, "No space left on device")
        report(self, row, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "report", full)
        with pytest.raises(WorkError, match="No space left on device"):
            drive(experiment, folder)
    assert {trial.status for trial in Run(folder).trials.values()} == {"running"}
    assert {trial.status for trial in drive(experiment, folder).trials.values()} == {"finished"}


def test_artefacts_that_cannot_be_written_halt_the_sweep_before_a_member_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = lines(space=SPACE)
    folder = new_run(experiment)

    def full(self: Run, checkpoints: dict) -> None:
        raise WorkError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_artefacts", full)
        with pytest.raises(WorkError, match="the disk is full"):
            drive(experiment, folder)
    assert {(trial.status, trial.iteration) for trial in Run(folder).trials.values()} == {("running", 6)}
    assert {trial.status for trial in drive(experiment, folder).trials.values()} == {"finished"}


def test_a_run_whose_experiment_trains_each_alone_now_is_refused() -> None:
    folder = new_run(lines(space=SPACE))
    run = Run(folder)
    with pytest.raises(RequestError, match="lines has no population any more"):
        drive(lines(space=SPACE, population=None), folder)
    assert (run.folder / "run.json").exists()
    assert not (folder / "journal.jsonl").exists()


def test_members_that_cannot_be_measured_train_alone_and_say_what_is_wrong() -> None:
    experiment = lines(space=SPACE)

    def init(config):
        raise ValueError("no such network")

    experiment.population.init = init
    run = drive(experiment, new_run(experiment))
    assert run.shards == []
    assert {trial.reason for trial in run.trials.values()} == {"ValueError: no such network"}


def test_the_shards_of_an_edited_journal_are_refused_in_one_line() -> None:
    folder = new_run(lines(space=SPACE))
    (folder / "journal.jsonl").write_text('{"event": "shards", "shards": [[0, 1]]}\n')
    with pytest.raises(RequestError, match="line 1, but got"):
        Run(folder)


def test_a_finished_shard_leaves_nothing_to_go_on_from() -> None:
    experiment = lines(space=SPACE)
    folder = new_run(experiment)
    run = drive(experiment, folder)
    assert {(trial.checkpoint, trial.checkpoint_iteration) for trial in run.trials.values()} == {(None, 0)}
    shutil.rmtree(folder / "tune")
    assert {trial.status for trial in drive(experiment, folder).trials.values()} == {"finished"}

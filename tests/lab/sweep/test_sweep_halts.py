"""What ends a sweep without ending its trials: damaged checkpoints, and places that cannot be written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import tune
from toy import toy

from lab.errors import RequestError, WorkError
from lab.experiment import Experiment
from lab.journal import Journal
from lab.runs import Run
from lab.sweep import sweep
from lab.sweep.halt import Halt
from lab.sweep.plan import make_plan
from lab.sweep.recorder import Recorder
from lab.sweep.searcher import JournalSearcher
from lab.sweep.storage import Storage
from lab.sweep.trainable import make_trainable
from lab.tracking import Tracking


@pytest.fixture
def run() -> Run:
    base = toy().resolve().model_dump(mode="json")
    made = Run.create(toy(), kind="sweep", preset="default", config=base, plan=make_plan(toy()))
    made.add_trial(0, base)
    return made


def parts(run: Run) -> tuple[Recorder, JournalSearcher, Halt]:
    storage, halt, tracking = Storage(str(run.folder)), Halt(), Tracking([])
    recorder = Recorder(run, tracking, storage, halt, scheduler="none", overdue={})
    return recorder, JournalSearcher(toy(), toy().resolve(), run, tracking, storage, halt, overdue={}), halt


def closing(experiment: Experiment, resume: Path | None, root: Path, monkeypatch: pytest.MonkeyPatch, full=()) -> dict:
    """What a trial says at its end, without Tune."""
    told: list[dict] = []

    def report(metrics: dict, checkpoint: object = None) -> None:
        if "lab" in metrics and metrics["lab"]["iteration"] in full:
            raise OSError(28, "No space left on device")
        told.append(metrics)

    monkeypatch.setattr(tune, "with_resources", lambda trial, request: trial)
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    monkeypatch.setattr(tune, "report", report)
    payload = {"config": experiment.resolve().model_dump(mode="json"), "until": None}
    make_trainable(experiment, Storage(str(root)))(payload | {"resume": None if resume is None else str(resume)})
    return told[-1]


def test_a_full_storage_is_no_failure_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = closing(toy(), None, tmp_path, monkeypatch, full=[2])
    assert end["closing"] == "unwritable"
    assert "No space left on device" in end["reason"]


def test_a_damaged_checkpoint_is_no_failure_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(config, report, *, resume=None):
        raise RequestError("expected a whole checkpoint")

    (tmp_path / "checkpoint").mkdir()
    experiment = toy(fit=fit)
    assert closing(experiment, tmp_path / "checkpoint", tmp_path, monkeypatch)["closing"] == "refused"
    assert closing(experiment, None, tmp_path, monkeypatch)["closing"] == "failed", "there was no checkpoint"


def test_a_space_that_has_changed_is_refused_by_its_field(run: Run) -> None:
    assert run.manifest.space["rate"].startswith("Float(0.001, 1.0), loguniform")
    other = toy(space=toy().space | {"rate": tune.uniform(1e-3, 1.0)})
    with pytest.raises(RequestError, match=r"expected 'rate' in the space to be Float\(0.001, 1.0\), loguniform"):
        sweep(other, run)
    assert Run(run.folder).manifest == run.manifest


@pytest.mark.parametrize(("how", "kind"), [("refused", RequestError), ("unwritable", WorkError)])
def test_such_an_end_halts_the_sweep_and_nothing_more_is_recorded(run: Run, how: str, kind: type) -> None:
    recorder, searcher, halt = parts(run)
    before = (run.folder / "journal.jsonl").read_bytes()
    trial = SimpleNamespace(trial_id="a", config={"index": 0, "until": None})
    recorder.on_trial_result(0, [], trial, {"closing": how, "reason": "why"})
    recorder.on_trial_complete(0, [], trial)
    assert halt.stop_all()
    assert isinstance(halt.error, kind)
    assert str(halt.error) == "why"
    recorder.on_trial_result(0, [], trial, {"lab": {"iteration": 1.0, "validation/loss": 1.0}})
    recorder.on_trial_error(0, [], trial)
    assert searcher.suggest("b") == "FINISHED"
    assert (run.folder / "journal.jsonl").read_bytes() == before
    assert not run.trials[0].ended


def test_after_a_full_disk_nothing_more_is_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, _, halt = parts(run)
    trial = SimpleNamespace(trial_id="a", config={"index": 0, "until": None})

    def full(self: Journal, event: dict) -> None:
        raise WorkError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_record", full)
        recorder.on_trial_result(0, [], trial, {"lab": {"iteration": 1.0, "validation/loss": 1.0}})
    recorder.on_trial_result(0, [], trial, {"lab": {"iteration": 2.0, "validation/loss": 1.0}})
    assert run.trials[0].results == {}
    assert str(halt.error) == "the disk is full"

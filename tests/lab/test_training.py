"""Training in one process: what a trial leaves, what a failure leaves, what a kill leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.config import Config
from lab.errors import RequestError, WorkError
from lab.experiment import Experiment, Report, Result
from lab.paths import list_runs
from lab.runs import Run
from lab.training import run_training, train


class CountConfig(Config):
    seed: int = 0
    iterations: int = 4
    device: str = "cpu"
    threads: int = 1
    trouble: str = ""


def count_fit(config: CountConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Counts; its checkpoint is the count."""
    number = 0 if resume is None else int((resume / "count").read_text())
    folder = Path(TROUBLE["folder"])
    while number < config.iterations:
        number += 1
        if TROUBLE.get("at") == (config.seed, number):
            error = TROUBLE.pop("error")
            del TROUBLE["at"]
            raise error
        loss = (
            float("inf") if config.trouble == "inf" and config.seed == 1 and number == 2 else 1 / (number + config.seed)
        )
        (folder / "count").write_text(str(number))
        (folder / "model.json").write_text("{}")
        (folder / "model.safetensors").write_text("")
        report({"iteration": number, "seconds": number, "loss": loss}, folder)
    return Result({})


TROUBLE: dict = {}


@pytest.fixture(autouse=True)
def no_trouble(tmp_path: Path) -> None:
    TROUBLE.clear()
    TROUBLE["folder"] = tmp_path / "work"
    TROUBLE["folder"].mkdir()


EXPERIMENT = Experiment(
    name="count",
    summary="counts",
    config=CountConfig,
    fit=count_fit,
    space={},
    metric="loss",
    mode="min",
    presets={"default": {}},
)


class Log:
    """A tracker that writes down what it is told."""

    name = "log"

    def __init__(self) -> None:
        self.told: list = []

    def start(self, run: Run) -> None:
        self.told.append("start")

    def trial_starts(self, trials) -> None:
        self.told += [("begin", trial.index) for trial in trials]

    def results(self, pairs) -> None:
        self.told += [(trial.index, iteration) for trial, iteration in pairs]

    def trial_ends(self, trials) -> None:
        self.told += [(trial.index, trial.status) for trial in trials]

    def end(self, status: str) -> None:
        self.told.append(status)


def test_a_run_has_a_trial_for_each_seed_with_its_artefact() -> None:
    log = Log()
    run = run_training(EXPERIMENT, seed=3, seeds=2, trackers=[log])
    assert run.manifest.status == "finished"
    assert [trial.config["seed"] for trial in run.trials.values()] == [3, 4]
    assert run.best_trial() == 1
    assert (run.trial_folder(1) / "model.safetensors").exists()
    assert (run.trial_folder(1) / "checkpoint" / "count").read_text() == "4"
    trial = [(0, 1), (0, 2), (0, 3), (0, 4), (0, "finished")]
    assert log.told[:7] == ["start", ("begin", 0), *trial]
    assert log.told[-1] == "finished"
    assert len(run.metrics()) == 8
    TROUBLE["at"] = (3, 1)
    assert train(EXPERIMENT, Run(run.folder)) == "finished", "a second resume trains nothing"


def test_a_failed_trial_says_why_and_the_others_go_on() -> None:
    run = run_training(EXPERIMENT, seeds=3, overrides={"trouble": "inf"})
    assert [trial.status for trial in run.trials.values()] == ["finished", "failed", "finished"]
    assert run.trials[1].reason == "loss is inf at iteration 2"
    assert sorted(run.trials[1].results) == [1]
    TROUBLE["at"], TROUBLE["error"] = (0, 2), ZeroDivisionError("by\nzero")
    with pytest.raises(WorkError, match=r"all 1 trials of count/.* failed; the first: ZeroDivisionError: by zero"):
        run_training(EXPERIMENT)
    (failed,) = [other for path in list_runs() if (other := Run(path)).manifest.status == "failed"]
    assert "Traceback" in (failed.trial_folder(0) / "error.txt").read_text()
    with pytest.raises(WorkError, match=r"all 1 trials of .* failed; the first: ZeroDivisionError"):
        train(EXPERIMENT, failed)


def test_ctrl_c_leaves_a_run_that_resumes_from_its_last_checkpoint() -> None:
    TROUBLE["at"], TROUBLE["error"] = (1, 3), KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_training(EXPERIMENT, seeds=3)
    run = Run(list_runs()[0])
    assert run.manifest.status == "interrupted"
    assert [(t.status, t.iteration) for t in run.trials.values()] == [("finished", 4), ("running", 2)]
    log = Log()
    assert train(EXPERIMENT, run, [log]) == "finished"
    assert log.told[:4] == ["start", (1, 3), (1, 4), (1, "finished")], "iterations 1 and 2 are not trained again"
    assert [(t.status, t.iteration) for t in Run(run.folder).trials.values()] == [("finished", 4)] * 3


def test_a_kill_between_result_and_checkpoint_repeats_the_iteration_but_not_its_record() -> None:
    TROUBLE["at"], TROUBLE["error"] = (0, 3), KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_training(EXPERIMENT)
    run = Run(list_runs()[0])
    with (run.folder / "journal.jsonl").open("a") as file:
        row = {"event": "result", "trial": 0, "iteration": 3, "metrics": {"iteration": 3.0, "loss": 0.25}}
        file.write(json.dumps(row) + "\n" + '{"event": "res')
    log = Log()
    train(EXPERIMENT, Run(run.folder), [log])
    assert log.told == ["start", (0, 4), (0, "finished"), "finished"]
    assert Run(run.folder).trials[0].results[3] == {"iteration": 3.0, "loss": 0.25}


@pytest.mark.parametrize("status", ["interrupted", "running"])
def test_a_damaged_checkpoint_is_refused_and_the_run_stays_as_it_was(status: str) -> None:
    TROUBLE["at"], TROUBLE["error"] = (0, 3), KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_training(EXPERIMENT, seeds=2)
    run = Run(list_runs()[0])
    run.manifest.status = status
    run.save_manifest()
    files = [run.folder / "run.json", run.folder / "journal.jsonl"]
    before = [path.read_bytes() for path in files]
    TROUBLE["at"], TROUBLE["error"] = (0, 3), RequestError("expected a whole checkpoint")
    with pytest.raises(RequestError, match="expected a whole checkpoint"):
        train(EXPERIMENT, Run(run.folder))
    assert [path.read_bytes() for path in files] == before
    assert train(EXPERIMENT, Run(run.folder)) == "finished"


def test_a_report_without_the_objective_fails_the_trial() -> None:
    def fit(config: CountConfig, report: Report, *, resume: Path | None = None) -> Result:
        report({"iteration": 1}, None)
        return Result({})

    wrong = Experiment(**{**EXPERIMENT.__dict__, "fit": fit})
    with pytest.raises(WorkError, match="expected 'loss' in every report, but got iteration"):
        run_training(wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "at least 1 seed, but got 0"),
        ({"preset": "qick"}, "preset of count"),
        ({"overrides": {"iteration": 3}}, "iterations"),
    ],
)
def test_a_wrong_request_writes_nothing(options: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        run_training(EXPERIMENT, **options)
    assert list_runs() == []

"""Training in one process: what a trial leaves, what a failure leaves, what a kill leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import experiment as registry
from lab.cli import cli
from lab.config import Config
from lab.console import run_cli
from lab.errors import RequestError, WorkError
from lab.experiment import Experiment, Report, Result
from lab.paths import list_runs
from lab.runs import Run
from lab.timing import Timing
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
    timing = Timing(None if resume is None else json.loads((resume / "timing").read_text()))
    folder = Path(TROUBLE["folder"])
    while number < config.iterations:
        with timing("counting"):
            number += 1
        if TROUBLE.get("at") == (config.seed, number):
            error = TROUBLE.pop("error")
            del TROUBLE["at"]
            raise error
        loss = (
            float("inf")
            if config.trouble == "diverges" and config.seed == 1 and number == 2
            else 1 / (number + config.seed)
        )
        (folder / "count").write_text(str(number))
        (folder / "timing").write_text(json.dumps(timing.tree()))
        (folder / "model.json").write_text("{}")
        (folder / "model.safetensors").write_text("")
        report({"iteration": number, "seconds": number, "loss": loss}, folder)
    return Result({}, timing=timing.tree())


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
    run = run_training(EXPERIMENT, seeds=3, overrides={"trouble": "diverges"})
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


def calls(run: Run, index: int) -> dict[str, int]:
    """How often each thing was done, by the file that the trial left."""
    tree = json.loads((run.trial_folder(index) / "timing.json").read_text())
    return {part["name"]: part["calls"] for part in (tree, *tree["children"])}


def left(run: Run) -> list[str]:
    """The files of all trials that hold a timing, or a part of one."""
    return sorted(str(path.relative_to(run.folder)) for path in run.folder.glob("trials/*/*timing*"))


def test_each_trial_that_finishes_leaves_where_its_time_went() -> None:
    run = run_training(EXPERIMENT, seeds=3, overrides={"trouble": "diverges"})
    assert left(run) == ["trials/00000/timing.json", "trials/00002/timing.json"], "the second failed"
    assert calls(run, 0) == {"training": 1, "counting": 4}
    assert "trials/00000/timing.json" in Run(run.folder).manifest.artefacts
    assert sorted(run.timings()) == [0, 2]


def test_a_resumed_training_adds_to_what_was_spent_before() -> None:
    TROUBLE["at"], TROUBLE["error"] = (0, 3), KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_training(EXPERIMENT)
    run = Run(list_runs()[0])
    assert left(run) == []
    assert train(EXPERIMENT, run) == "finished"
    assert calls(run, 0) == {"training": 2, "counting": 4}, "two processes, and no iteration lost or twice"


@pytest.mark.parametrize("place", ["before the file is in place", "before the trial has ended"])
def test_a_kill_at_the_end_leaves_a_whole_timing_or_none(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def die_in_file(self: Path, target: Path) -> Path:
        if target.name == "timing.json":
            raise KeyboardInterrupt
        return replace(self, target)

    def die_after_it(self: Run, *arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if place == "before the file is in place":
            patch.setattr(Path, "replace", die_in_file)
        else:
            patch.setattr(Run, "add_end", die_after_it)
        with pytest.raises(KeyboardInterrupt):
            run_training(EXPERIMENT)
    run = Run(list_runs()[0])
    assert run.trials[0].status == "running"
    assert left(run) == ([] if place == "before the file is in place" else ["trials/00000/timing.json"])
    assert run.timings() == {}, "a trial that has not ended has none yet"
    assert train(EXPERIMENT, run) == "finished"
    assert calls(run, 0) == {"training": 2, "counting": 4}


def test_a_fit_without_a_timing_leaves_none_and_one_with_nonsense_fails_in_one_line() -> None:
    told: dict = {}

    def fit(config: CountConfig, report: Report, *, resume: Path | None = None) -> Result:
        report({"iteration": 1, "loss": 1.0}, None)
        return Result({}, **told)

    experiment = Experiment(**{**EXPERIMENT.__dict__, "fit": fit})
    run = run_training(experiment)
    assert (run.manifest.status, left(run), run.timings()) == ("finished", [], {})
    told["timing"] = {"name": "training", "seconds": float("nan"), "calls": 1, "children": []}
    with pytest.raises(WorkError, match=r"failed; the first: expected finite seconds .* but got nan"):
        run_training(experiment)
    assert left(Run(list_runs()[-1])) == []


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line knows the experiment; trackers, which have tests of their own, are off."""
    monkeypatch.setitem(registry._REGISTRY, "count", EXPERIMENT)
    monkeypatch.setattr("lab.work.standard_trackers", list)


def lab(*arguments: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, arguments)
    assert caught.value.code == status


@pytest.mark.usefixtures("verbs")
def test_lab_train_says_where_the_time_went(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lab("train", "count")
    out, err = capsys.readouterr()
    header, root, *parts = err.splitlines()
    assert header.split() == ["where", "the", "time", "went", "seconds", "share", "calls", "ms", "a", "call"]
    assert root.split()[0] == "training"
    assert "100.0 %" in root
    assert any(part.startswith(("├── counting", "└── counting")) for part in parts)
    assert "\x1b" not in err, "no colours where nobody sees them"
    assert "counting" not in out
    assert "finished" in out


@pytest.mark.usefixtures("verbs")
def test_lab_train_adds_up_its_seeds_also_as_json_and_lab_resume_says_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lab("train", "count", "trouble=diverges", "--seeds", "3", "--json")
    out, err = capsys.readouterr()
    assert err.startswith("where the time went, 2 of 3 trials ")
    tree = json.loads(out)["timing"]
    assert (tree["name"], tree["calls"]) == ("training", 2)
    assert [(part["name"], part["calls"]) for part in tree["children"]] == [("counting", 8)]
    lab("resume", "count", "--json")
    assert json.loads(capsys.readouterr().out)["timing"] == tree
    first, last = (Run(list_runs()[0]).trial_folder(index) / "timing.json" for index in (0, 2))
    first.write_text('{"name": "training"}')
    lab("resume", "count", status=2)
    assert "timing.json: expected a timing tree" in capsys.readouterr().err
    first.unlink()
    last.unlink()
    lab("resume", "count", "--json")
    out, err = capsys.readouterr()
    assert (json.loads(out)["timing"], err) == (None, "")


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

"""Sweeps on a Ray of this machine: what each search, scheduler and failure leaves in the run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import fs
from ray import tune
from toy import toy

from lab.errors import RequestError, WorkError
from lab.paths import list_runs
from lab.runs import Run
from lab.sweep import run_sweep, sweep

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def totals_are_whole(run: Run) -> None:
    """No iteration of a trial was lost or trained twice in a row."""
    for trial in run.trials.values():
        step = trial.config["rate"] * trial.config["width"] + trial.config["seed"]
        for iteration, row in trial.results.items():
            assert row["total"] == pytest.approx(iteration * step), (trial.index, iteration)


def timed(run: Run) -> dict[int, dict[str, int]]:
    """Trial -> how often each thing was done, for the trials that say where their time went."""
    found = {}
    for path in run.folder.glob("trials/*/*timing*"):
        assert path.name == "timing.json"
        tree = json.loads(path.read_text())
        found[int(path.parent.name)] = {part["name"]: part["calls"] for part in (tree, *tree["children"])}
    return found


def test_a_sweep_ends_with_every_planned_trial_and_its_artefact(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_sweep(toy(), samples=5, seed=3)
    assert run.manifest.status == "finished"
    assert sorted(run.trials) == [0, 1, 2, 3, 4]
    for trial in run.trials.values():
        assert (trial.status, sorted(trial.results)) == ("finished", [1, 2, 3, 4, 5, 6])
    totals_are_whole(run)
    again = Run(run.folder)
    assert again.manifest.best_trial == run.best_trial()
    assert json.loads((run.trial_folder(2) / "model.json").read_text()) == {"iteration": 6}
    assert timed(run) == {key: {"training": 1, "adding": 6} for key in range(5)}
    assert {"trials/00002/model.safetensors", "trials/00002/timing.json"} <= set(again.manifest.artefacts)
    assert len(again.metrics()) == 30
    assert sweep(toy(), again) == "finished", "a second resume has nothing to do"
    assert capsys.readouterr().out == "", "standard output belongs to --json"


def test_what_fails_is_failed_once_with_its_reason_and_the_others_go_on() -> None:
    experiment = toy(space={"trouble": tune.choice(["", "nan", "raise", "timing"])}, searcher="grid")
    run = run_sweep(experiment, max_concurrent=1)
    assert [trial.status for trial in run.trials.values()] == ["finished", "failed", "failed", "failed"]
    assert run.trials[1].reason == "validation/loss is nan at iteration 3"
    assert run.trials[2].reason == "ValueError: the loss went through the roof"
    assert run.trials[3].reason.startswith("expected a timing tree with name, seconds, calls and children, but got")
    assert sorted(run.trials[1].results) == sorted(run.trials[2].results) == [1, 2]
    assert run.manifest.best_trial == 0
    assert "Traceback" in (run.trial_folder(2) / "error.txt").read_text()
    assert not (run.trial_folder(1) / "model.json").exists()
    assert sorted(timed(run)) == [0]


def test_a_trial_whose_process_is_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    overrides = {"trouble": f"die:{tmp_path / 'died'}", "every": 2}
    run = run_sweep(toy(), samples=1, overrides=overrides)
    assert (tmp_path / "died").exists()
    assert run.trials[0].status == "finished"
    assert run.trials[0].checkpoint_iteration == 6
    totals_are_whole(run)
    assert timed(run) == {0: {"training": 2, "adding": 6}}, "what the first process did by its checkpoint counts once"
    (tmp_path / "died").unlink()
    with pytest.raises(WorkError, match=r"all 1 trials of .* failed; the first: its process died"):
        run_sweep(toy(), samples=1, overrides=overrides, max_failures=0)
    failed = Run(list_runs()[-1])
    assert failed.manifest.status == "failed"
    with pytest.raises(WorkError, match=r"all 1 trials of .* failed; the first: its process died"):
        sweep(toy(), failed)


def test_asha_stops_bad_trials_early_and_says_so() -> None:
    run = run_sweep(toy(), samples=9, scheduler="asha", overrides={"iterations": 9}, max_concurrent=1)
    stopped = [trial for trial in run.trials.values() if trial.status == "stopped"]
    assert stopped
    for trial in stopped:
        assert trial.iteration < 9
        assert trial.reason == f"by asha at iteration {trial.iteration}"
    assert all(trial.iteration == 9 for trial in run.trials.values() if trial.status == "finished")
    assert run.trials[run.best_trial()].status == "finished"
    assert set(timed(run)) == set(run.trials) - {trial.index for trial in stopped}
    assert (run.trial_folder(stopped[0].index) / "model.json").exists()


def test_a_population_clones_its_best_at_each_boundary() -> None:
    run = run_sweep(toy(), samples=4, scheduler="pbt", overrides={"iterations": 10})
    for trial in run.trials.values():
        assert (trial.status, sorted(trial.results)) == ("finished", list(range(1, 11)))
    assert timed(run) == {key: {"training": 5, "adding": 10} for key in range(4)}, "a clone goes on with its donor's"
    events = [json.loads(line) for line in (run.folder / "journal.jsonl").read_text().splitlines()]
    generations = [event for event in events if event["event"] == "generation"]
    assert [event["iteration"] for event in generations] == [2, 4, 6, 8]
    ((clone, change),) = generations[0]["changes"].items()
    told = {(event["trial"], event["iteration"]): event["metrics"] for event in events if event["event"] == "result"}
    at_boundary = {index: told[index, 2]["validation/loss"] for index in run.trials}
    assert int(clone) == max(at_boundary, key=at_boundary.__getitem__)
    assert change["donor"] == min(at_boundary, key=at_boundary.__getitem__)
    config = json.loads((run.trial_folder(int(clone)) / "config.json").read_text())
    assert config == run.trials[int(clone)].config, "the configuration that the artefact ended with"
    step = change["config"]["rate"] * change["config"]["width"]
    before = told[change["donor"], 2]["total"]
    assert told[int(clone), 3]["total"] == pytest.approx(before + step)


def test_optuna_proposes_and_checkpoints_go_to_a_bucket_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same interface as S3's, over a folder.
    bucket = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr("lab.sweep.storage.resolve_bucket", lambda uri: (bucket, uri.removeprefix("s3://")))
    overrides = {"iterations": 4, "trouble": f"die:{tmp_path / 'died'}"}
    run = run_sweep(toy(), samples=3, search="optuna", max_concurrent=1, overrides=overrides, storage="s3://bucket/lab")
    assert len({trial.config["rate"] for trial in run.trials.values()}) == 3
    assert all(trial.checkpoint.startswith("s3://bucket/lab/toy/") for trial in run.trials.values())
    assert (tmp_path / "bucket/lab" / run.name).is_dir()
    assert (tmp_path / "died").exists()
    totals_are_whole(run)
    assert not (run.folder / "tune").exists()
    assert (run.trial_folder(0) / "model.json").exists()


@pytest.mark.parametrize("storage", ["s4://bucket/x", "/proc/nowhere", "nothing://"])
def test_a_wrong_storage_is_refused_before_anything_is_written(storage: str) -> None:
    with pytest.raises(RequestError, match=r"that can be written as storage, but"):
        run_sweep(toy(), storage=storage)
    assert list_runs() == []


def test_a_trial_that_no_machine_can_hold_is_refused() -> None:
    with pytest.raises(RequestError, match="at most 0 gpu on this machine, but it asks for 64"):
        run_sweep(toy(resources=lambda config: {"cpu": 1, "gpu": 64}))
    assert list_runs() == []


def test_two_processes_cannot_work_on_one_run() -> None:
    run = run_sweep(toy(), samples=1, overrides={"iterations": 1})
    other = Run(run.folder)
    other.claim()
    with pytest.raises(RequestError, match="in use by another process"):
        sweep(toy(), run)
    other.release()

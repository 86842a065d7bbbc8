"""Sweeps on a Ray of this machine: what each search, scheduler and failure leaves in the run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy import ToyConfig, toy

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


def test_a_random_sweep_ends_with_every_planned_trial_and_its_artefact() -> None:
    run = run_sweep(toy(), samples=5, seed=3)
    assert run.manifest.status == "finished"
    assert sorted(run.trials) == [0, 1, 2, 3, 4]
    assert all(
        trial.status == "finished" and sorted(trial.results) == [1, 2, 3, 4, 5, 6] for trial in run.trials.values()
    )
    totals_are_whole(run)
    again = Run(run.folder)
    assert again.manifest.best_trial == run.best_trial()
    assert json.loads((run.trial_folder(2) / "model.json").read_text()) == {"iteration": 6}
    assert "trials/00002/model.safetensors" in again.manifest.artefacts
    assert len(again.metrics()) == 30
    assert sweep(toy(), again) == "finished", "a second resume has nothing to do"


def test_the_same_seed_gives_the_same_trials() -> None:
    first, second = (run_sweep(toy(), samples=3, seed=7, overrides={"iterations": 1}) for _ in range(2))
    assert [t.config for t in first.trials.values()] == [t.config for t in second.trials.values()]


def test_a_grid_has_each_combination_once_and_an_override_is_not_searched() -> None:
    run = run_sweep(toy(), search="grid", grid_points=2, overrides={"iterations": 1, "shape": [4]})
    points = [(t.config["rate"], t.config["width"]) for t in run.trials.values()]
    assert points == [(r, w) for r in (pytest.approx(1e-3), pytest.approx(1.0)) for w in (1, 2, 4)]
    assert {tuple(t.config["shape"]) for t in run.trials.values()} == {(4,)}
    assert list(run.manifest.space) == ["rate", "width"]


def test_metrics_that_are_not_numbers_and_exceptions_fail_a_trial_once_and_say_why() -> None:
    with pytest.raises(WorkError, match="all 2 trials .* validation/loss is nan at iteration 3"):
        run_sweep(toy(), samples=2, overrides={"trouble": "nan"})
    run = Run(list_runs()[-1])
    assert run.manifest.status == "failed"
    assert all(sorted(trial.results) == [1, 2] for trial in run.trials.values())
    assert run.manifest.best_trial is None
    with pytest.raises(WorkError, match="ValueError: the loss went through the roof$"):
        run_sweep(toy(), samples=1, overrides={"trouble": "raise"})
    assert "Traceback" in (list_runs()[-1] / "trials/00000/error.txt").read_text()


def test_a_trial_whose_process_is_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    overrides = {"trouble": f"die:{tmp_path / 'died'}", "every": 2}
    run = run_sweep(toy(), samples=1, overrides=overrides)
    assert (tmp_path / "died").exists()
    assert run.trials[0].status == "finished"
    assert run.trials[0].checkpoint_iteration == 6
    totals_are_whole(run)
    (tmp_path / "died").unlink()
    with pytest.raises(WorkError, match="its process died 1 times"):
        run_sweep(toy(), samples=1, overrides=overrides, max_failures=0)


def test_asha_stops_bad_trials_early_and_says_so() -> None:
    run = run_sweep(toy(), samples=9, scheduler="asha", overrides={"iterations": 9}, max_concurrent=1)
    stopped = [trial for trial in run.trials.values() if trial.status == "stopped"]
    assert stopped
    assert all(trial.iteration < 9 and trial.reason.startswith("by asha at iteration") for trial in stopped)
    assert all(trial.iteration == 9 for trial in run.trials.values() if trial.status == "finished")
    assert run.trials[run.best_trial()].status == "finished"
    assert (run.trial_folder(stopped[0].index) / "model.json").exists()


def test_a_population_clones_its_best_at_each_boundary() -> None:
    run = run_sweep(toy(), samples=4, scheduler="pbt", overrides={"iterations": 10})
    assert all(
        trial.status == "finished" and sorted(trial.results) == list(range(1, 11)) for trial in run.trials.values()
    )
    events = [json.loads(line) for line in (run.folder / "journal.jsonl").read_text().splitlines()]
    generations = [event for event in events if event["event"] == "generation"]
    assert [event["iteration"] for event in generations] == [2, 4, 6, 8]
    changes = generations[0]["changes"]
    assert len(changes) == 1
    ((clone, change),) = changes.items()
    at_boundary = {i: t.results[2]["validation/loss"] for i, t in run.trials.items()}
    assert int(clone) == max(at_boundary, key=at_boundary.get)
    assert change["donor"] == min(at_boundary, key=at_boundary.get)
    donor = run.trials[change["donor"]]
    step = change["config"]["rate"] * change["config"]["width"]
    assert run.trials[int(clone)].results[3]["total"] == pytest.approx(donor.results[2]["total"] + step)


def test_optuna_proposes_from_what_it_has_seen_and_one_at_a_time_is_reproducible() -> None:
    options = {"samples": 14, "search": "optuna", "max_concurrent": 1, "overrides": {"iterations": 1}}
    first, second = run_sweep(toy(), **options), run_sweep(toy(), **options)
    assert [t.config for t in first.trials.values()] == [t.config for t in second.trials.values()]
    assert len({t.config["rate"] for t in first.trials.values()}) == 14


def test_checkpoints_go_to_the_storage_that_is_asked_for(tmp_path: Path) -> None:
    run = run_sweep(toy(), samples=1, storage=f"file://{tmp_path}/bucket")
    assert run.trials[0].checkpoint.startswith(str(tmp_path / "bucket"))
    assert not (run.folder / "tune").exists()
    assert (run.trial_folder(0) / "model.json").exists()


def test_a_configuration_that_cannot_be_is_a_failed_trial() -> None:
    def only_small(values: dict) -> dict:
        if values["width"] > 1:
            raise ValueError("width above 1 is not built")
        return values

    class Narrow(ToyConfig):
        pass

    experiment = toy()
    run = run_sweep(experiment, samples=6, overrides={"iterations": 1})
    assert len(run.trials) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"storage": "s4://bucket/x"}, "as storage"),
        ({"storage": "/proc/nowhere"}, "as storage, but /proc/nowhere"),
    ],
)
def test_a_wrong_storage_is_refused_before_anything_is_written(options: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        run_sweep(toy(), **options)
    assert list_runs() == []

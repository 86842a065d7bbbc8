"""The verbs as a person uses them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import click
import pytest

from lab import experiment as registry
from lab.cli import cli
from lab.config import Config
from lab.console import run_cli
from lab.experiment import Experiment, Report, Result
from lab.paths import find_run, list_runs
from lab.runs import Run
from lab.training import run_training

TINY = ["--preset", "quick", "iterations=2", "steps=2", "batch_size=4", "validation_scenarios=16"]


def verbs(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found += verbs(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Standard output of a command line that ends with `status`."""
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == status, err
    return out


@pytest.mark.parametrize("verb", verbs(cli), ids=" ".join)
def test_every_verb_has_help_with_an_example_and_speaks_json(verb, capsys):
    text = run(capsys, *verb, "--help")
    assert f"Example: lab {' '.join(verb)}" in text
    assert "--json" in text


def test_a_wrong_way_to_fuse_is_answered_with_the_nearest(runs, capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, ["sweep", "table_supervised", "--fuse", "of"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "lab: unknown fuse 'of': expected one of auto, off. Did you mean 'off'?\n"
    assert not runs.exists()
    text = " ".join(run(capsys, "sweep", "--help").split())
    assert "optuna and pbt train each alone" in text
    assert "[default: auto]" in text


class ChoosingConfig(Config):
    runner: Literal["stock", "fast"] = "fast"
    seed: int = 0
    iterations: int = 1
    device: str = "cpu"
    threads: int = 1


def choosing_fit(config: ChoosingConfig, report: Report, *, resume: Path | None = None) -> Result:
    report({"iteration": 1, "loss": 1.0}, None)
    return Result({})


@pytest.fixture
def choosing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment that has a runner to choose; no trackers, and a sweep is one training."""
    experiment = Experiment(
        name="choosing",
        summary="chooses",
        config=ChoosingConfig,
        fit=choosing_fit,
        space={},
        metric="loss",
        mode="min",
        presets={"default": {}},
    )

    def sweep(experiment, *, preset, overrides, trackers, **options):
        assert "runner" not in options
        return run_training(experiment, preset=preset, overrides=overrides)

    monkeypatch.setitem(registry._REGISTRY, "choosing", experiment)
    monkeypatch.setattr("lab.work.standard_trackers", list)
    monkeypatch.setattr("lab.work.run_sweep", sweep)


@pytest.mark.usefixtures("choosing")
@pytest.mark.parametrize("verb", ["train", "sweep"])
@pytest.mark.parametrize(
    ("words", "runner"),
    [
        ([], "fast"),
        (["--runner", "stock"], "stock"),
        (["runner=stock"], "stock"),
        (["runner=stock", "--runner", "stock"], "stock"),
    ],
)
def test_the_runner_is_chosen_by_an_option_or_by_its_field(verb, words, runner, capsys):
    ended = json.loads(run(capsys, verb, "choosing", *words, "--json"))
    assert [trial["config"]["runner"] for trial in ended["trials"]] == [runner]


@pytest.mark.usefixtures("choosing")
@pytest.mark.parametrize("verb", ["train", "sweep"])
def test_two_different_runners_are_refused(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, [verb, "choosing", "runner=stock", "--runner", "fast"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "lab: expected one runner, but got --runner fast and runner=stock\n"
    assert list_runs() == []


def test_the_version_is_that_of_the_distribution(capsys):
    assert run(capsys, "--version").startswith("lab, version 0.")


@pytest.mark.parametrize("what", ["experiments", "tables", "suites", "runs", "all"])
def test_lists_are_for_people_and_for_programs(what, capsys):
    assert run(capsys, "list", what)
    listed = json.loads(run(capsys, "list", what, "--json"))
    assert set(listed) == ({"experiments", "tables", "suites", "runs"} if what == "all" else {what})


def test_the_list_of_experiments_says_what_can_be_set(capsys):
    (supervised,) = [
        one
        for one in json.loads(run(capsys, "list", "experiments", "--json"))["experiments"]
        if one["name"] == "table_supervised"
    ]
    assert {"quick", "default", "full"} <= set(supervised["presets"])
    assert all(supervised["fields"].values()), "a field without a description cannot be set by a stranger"


@pytest.mark.parametrize("name", ["table_supervised", "table_ppo"])
def test_every_field_of_every_experiment_is_described(name):
    import experiments  # noqa: F401
    from lab.experiment import get

    assert [key for key, field in get(name).config.model_fields.items() if not field.description] == []


def test_a_damaged_run_does_not_hide_the_others(runs, capsys):
    run(capsys, "train", "table_supervised", *TINY)
    broken = runs / "table_supervised" / "20260101T000000Z-broken"
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{")
    listed = json.loads(run(capsys, "list", "runs", "--json"))["runs"]
    assert len(listed) == 2
    assert "finished" in {one["status"] for one in listed}


def test_an_engineer_builds_two_tables_and_tells_them_apart(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = [f"10.0.0.{i}:80" for i in range(5)]
    Path("five").write_text("\n".join(keys))
    Path("four").write_text("\n".join(key for key in keys if key != keys[2]))
    for source in ("five", "four"):
        run(
            capsys,
            "table",
            "build",
            "--algorithm",
            "maglev",
            "--size",
            "47",
            "--backends",
            source,
            "--out",
            f"{source}.json",
        )
    difference = json.loads(run(capsys, "table", "diff", "five.json", "four.json", "--json"))
    leaver = next(change for change in difference["backends"] if change["key"] == keys[2])
    assert leaver["state"] == "leaves"
    assert len(leaver["lost"]) == leaver["load_before"]
    assert difference["transition"]["forced"] == pytest.approx(leaver["load_before"] / 47)
    assert keys[2] in run(capsys, "table", "diff", "five.json", "four.json")
    document = json.loads(Path("five.json").read_text())
    assert {key: document[key] for key in ("algorithm", "version", "size", "backends")} == {
        "algorithm": "maglev",
        "version": 1,
        "size": 47,
        "backends": keys,
    }


def test_backends_that_look_like_markup_are_shown_as_they_are(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("backends").write_text("[fe80::1]:80\n[/red]:80\n")
    run(capsys, "table", "build", "--algorithm", "maglev", "--size", "7", "--backends", "backends", "--out", "t.json")
    shown = run(capsys, "table", "diff", "t.json", "t.json")
    assert "[fe80::1]:80" in shown
    assert "[/red]:80" in shown


def test_no_verb_at_all_shows_the_help(capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, [])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) > 10


def test_the_doctor_says_what_to_do_about_each_thing(capsys):
    findings = json.loads(run(capsys, "doctor", "--json"))
    subjects = {finding["subject"] for finding in findings}
    assert {"Python", "packages", "cores", "GPU", "runs folder", "temporary folder", "Ray"} <= subjects
    assert all(finding["advice"] for finding in findings)


def test_the_doctor_finds_what_will_fail(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "file" / "runs"))
    findings = json.loads(run(capsys, "doctor", "--json", status=1))
    (bad,) = [finding for finding in findings if finding["state"] == "bad"]
    assert bad["subject"] == "runs folder"
    assert "LAB_RUNS" in bad["advice"]


def test_train_then_build_then_compare(tmp_path, runs, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = json.loads(run(capsys, "train", "table_supervised", *TINY, "--seeds", "2", "--json"))
    assert trained["status"] == "finished"
    assert [trial["config"]["seed"] for trial in trained["trials"]] == [0, 1]
    Path("backends").write_text("a\nb\nc\n")
    out = ["--size", "47", "--backends", "backends", "--out", "table.json"]
    run(capsys, "table", "build", "--algorithm", f"supervised:{trained['run']}", *out)
    assert sorted(set(json.loads(Path("table.json").read_text())["entries"])) == [0, 1, 2]

    command = [
        "compare",
        "table_supervised",
        "--builder",
        "maglev",
        "--suite",
        "churn-47",
        "--count",
        "20",
        "--out",
        "report",
    ]
    content = json.loads(run(capsys, *command, "--json"))
    assert content
    assert (tmp_path / "report" / "report.html").is_file()
    run(capsys, *command, status=2)
    assert "maglev" in run(capsys, *command, "--force")
    readings = Run(find_run(trained["run"])).manifest.readings
    assert {reading.suite for reading in readings} == {"churn-47[:20]"}


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_finish_it_and_finishes(runs, capsys):
    command = [sys.executable, "-m", "lab", "train", "table_supervised", *TINY, "--seeds", "2"]
    command[command.index("iterations=2")] = "iterations=60"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    end = time.monotonic() + 120
    while time.monotonic() < end and not any(b'"checkpoint"' in p.read_bytes() for p in runs.glob("*/*/journal.jsonl")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    last = err.splitlines()[-1]
    assert "interrupted; to finish it: lab resume table_supervised/" in last
    assert "Traceback" not in err
    name = last.split()[-1]
    assert Run(find_run(name)).manifest.status == "interrupted"
    finished = json.loads(run(capsys, "resume", name, "--json"))
    assert finished["status"] == "finished"
    assert [trial["iteration"] for trial in finished["trials"]] == [60, 60]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1200)
def test_the_demo_beats_its_untrained_networks(tmp_path, runs, capsys):
    content = json.loads(run(capsys, "demo", "--out", str(tmp_path / "report"), "--json"))
    assert content
    assert (tmp_path / "report" / "report.html").is_file()
    plans = {path.parent.parent.name: Run(path.parent).manifest.plan.samples for path in runs.glob("*/*/run.json")}
    assert plans == {"table_ppo": 4, "table_supervised": 4, "l1_norm": 48}
    solved = {row["method"].partition(",")[0]: row["success"] for row in content["l1_norm"]}
    assert {"relu", "notebook"} <= set(solved)

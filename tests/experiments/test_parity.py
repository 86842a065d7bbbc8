"""The parity experiment, as a person asks for it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import experiments  # noqa: F401  # registers them
from lab.cli import cli
from lab.console import run_cli
from lab.experiment import get
from lab.paths import list_runs, runs_root
from lab.runs import Run
from lab.sweep.space import draw, grid
from lab.tasks.parity.data import load

TINY = ["iterations=2", "epochs=1", "base_epochs=1"]


def lab(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, list(words))
    assert caught.value.code == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, list(words))
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def write_mnist(folder, count=40):
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, count * 784, dtype=np.uint8).tobytes()
    for part in ("train", "t10k"):
        for name, shape, data in (
            ("images-idx3", (count, 28, 28), pixels),
            ("labels-idx1", (count,), bytes(place % 10 for place in range(count))),
        ):
            header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(header + data)


@pytest.mark.parametrize("name", ["parity", "parity_search"])
def test_every_preset_is_a_configuration(name):
    for preset in get(name).presets:
        get(name).resolve(preset)


def test_the_default_sweep_is_every_code_on_both_data_sets_with_five_seeds():
    points = grid(get("parity").space, None)
    assert len(points) == 2 * 3 * 15 * 5
    for point in points:
        if point["seed"] == 0:
            get("parity").resolve("default", point)


def test_the_search_never_reads_test_data_and_every_draw_of_it_is_a_configuration():
    experiment = get("parity_search")
    assert experiment.metric.startswith("validation/")
    assert (experiment.searcher, experiment.scheduler) == ("optuna", "asha")
    for index in range(50):
        config = experiment.resolve("digits-k4-addition", draw(experiment.space, 0, index))
        assert config.distil, "blends need answers"


@pytest.mark.parametrize("seed", range(4))
def test_every_draw_of_the_search_space_is_a_configuration(seed):
    rng = np.random.RandomState(seed)  # what Tune's domains draw from
    experiment = get("parity")
    experiment.resolve("quick", {key: domain.sample(random_state=rng) for key, domain in experiment.space.items()})


def test_every_field_is_described():
    assert [key for key, field in get("parity").config.model_fields.items() if not field.description] == []


def test_a_training_leaves_the_references_files_beside_its_metrics(capsys, monkeypatch):
    monkeypatch.setattr("lab.work.standard_trackers", list)
    ended = json.loads(lab(capsys, "train", "parity", *TINY, "--json"))
    run = Run(list_runs()[0])
    metrics = pd.read_parquet(run.folder / "metrics.parquet")
    names = {
        f"{part}_{name}_top{n}.txt"
        for part in ("train", "val", "test")
        for name in ("overall", "reconstruction")
        for n in (1, 2, 5, 10)
    }
    folder = run.trial_folder(0)
    assert {path.name for path in folder.glob("*.txt")} == names
    lines = (folder / "val_overall_top1.txt").read_text().split()
    assert [float(line) for line in lines] == metrics["validation/degraded_accuracy"].tolist()
    assert {f"trials/00000/{name}" for name in names} <= set(run.manifest.artefacts)
    assert (folder / "model.safetensors").is_file()
    tested = json.loads(lab(capsys, "train", "parity", *TINY, "--continue-from", ended["run"], "--only-test", "--json"))
    assert tested["trials"][0]["best"] == ended["trials"][0]["best"]


def test_a_training_is_compared_by_its_name(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("lab.work.standard_trackers", list)
    lab(capsys, "train", "parity", "iterations=1", *TINY[1:])
    assert "addition/subtraction" in lab(capsys, "compare", "parity", "--out", str(tmp_path / "report"))
    assert (tmp_path / "report" / "report.html").is_file()


def test_a_run_is_read_where_its_data_sets_are_now(capsys, monkeypatch, tmp_path):
    """A run that was trained elsewhere names a folder of that machine."""
    monkeypatch.setattr("lab.work.standard_trackers", list)
    monkeypatch.setattr("lab.compare.parity.comparison.draw", lambda analyses: [])
    trained, here = tmp_path / "there" / "data", tmp_path / "here"
    write_mnist(trained / "mnist")
    small = ["iterations=1", *TINY[1:], "dataset=mnist", "parity_width=0.1"]
    run = json.loads(lab(capsys, "train", "parity", *small, "--data-dir", str(trained), "--json"))["run"]
    trained.rename(here)
    load.cache_clear()
    compare = ["compare", run, "--out", str(tmp_path / "report")]
    serve = ["parity", "simulate", run, "queries=50", "--out", str(tmp_path / "latency")]
    for words in (compare, serve):
        assert f"expected a folder as --data-dir, but there is none at {trained}" in refused(capsys, *words)
        missing = refused(capsys, *words, "--data-dir", str(tmp_path))
        assert f"expected train-images-idx3-ubyte or train-images-idx3-ubyte.gz in {tmp_path / 'mnist'}" in missing
        assert not Path(words[-1]).exists(), "nothing is written before it is known where the data is"
        lab(capsys, *words, "--data-dir", str(here))
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [each["run"] for each in report["runs"]] == [run]
    assert (tmp_path / "latency" / "latency.json").is_file()


@pytest.mark.parametrize("code", ["addition/subtraction", "cheap-model"])
def test_a_run_of_another_machine_needs_no_folder_of_that_machine(capsys, monkeypatch, tmp_path, code):
    """Base models that no checkpoint has were looked for, and trained again, where that machine kept them."""
    monkeypatch.setattr("lab.work.standard_trackers", list)
    monkeypatch.setattr("lab.compare.parity.comparison.draw", lambda analyses: [])
    there = tmp_path / "there"
    small = ["iterations=1", *TINY[1:], "parity_width=0.1", f"code={code}", f"cache_dir={there / 'models'}"]
    run = json.loads(lab(capsys, "train", "parity", *small, "--json"))["run"]
    shutil.rmtree(there)
    there.write_text("no folder can be made here")
    lab(capsys, "compare", run, "--out", str(tmp_path / "report"))
    if code == "addition/subtraction":
        lab(capsys, "parity", "simulate", run, "queries=50", "--out", str(tmp_path / "latency"))
    assert (runs_root() / ".parity-base-models").is_dir()


def test_without_names_a_folder_of_data_sets_means_runs_of_parity(capsys, tmp_path):
    assert "expected a finished run of parity" in refused(capsys, "compare", "--data-dir", str(tmp_path))
    both = ["compare", "--data-dir", str(tmp_path), "--suite", "churn-47"]
    assert "expected no --data-dir with lookup tables, but got --data-dir" in refused(capsys, *both)


def test_a_grid_of_a_file_is_the_space_of_its_run_for_good(tmp_path):
    from lab.runs import Plan
    from lab.sweep.plan import check_unchanged, make_plan, narrow, with_axes

    experiment, axes = get("parity"), {"k": [2, 3], "code": ["add/sub"]}
    plan = make_plan(with_axes(experiment, axes), axes=axes)
    assert (plan.search, plan.samples) == ("grid", 2)
    run = Run.create(with_axes(experiment, axes), kind="sweep", preset="default", config={}, plan=plan)
    again = Run(run.folder).manifest
    assert again.plan == plan
    check_unchanged(narrow(with_axes(experiment, again.plan.axes), again.space), again.space)
    assert Plan.model_validate({"samples": 1}).axes is None, "runs of before have no axes"


@pytest.mark.ray
@pytest.mark.slow
def test_a_file_of_the_reference_is_swept_as_one_grid(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("lab.work.standard_trackers", list)
    path = tmp_path / "config.json"
    content = {
        "num_epoch": 2,
        "k_vals": [2],
        "enc_dec_types": [["add", "sub"], ["coders.image.ConcatenationEncoder", "sub"]],
        "datasets": ["digits"],
        "models": ["base-mlp"],
        "losses": ["mse"],
        "train_encoder": False,
        "train_parity_model": True,
        "train_decoder": False,
    }
    path.write_text(json.dumps(content))
    ended = json.loads(lab(capsys, "sweep", "parity", "base_epochs=1", "--config", str(path), "--json"))
    found = [(trial["config"]["k"], trial["config"]["code"], trial["iteration"]) for trial in ended["trials"]]
    assert found == [(2, f"{encoder}/subtraction", 2) for encoder in ("addition", "concatenation")]
    run = Run(list_runs()[0])
    assert run.manifest.plan.search == "grid"
    for index in run.trials:
        assert len((run.trial_folder(index) / "test_overall_top1.txt").read_text().split()) == 2

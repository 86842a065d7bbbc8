"""Learned builders: found by name, equal everywhere, and refused when their files are not whole."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lab.errors import RequestError
from lab.tables import build, get, learned
from lab.tables.networks import EquivariantOptions, EquivariantScorer, NotebookNetwork, NotebookOptions

SIZE = 13
IDS = [uuid.UUID(int=17 * k + 5, version=4) for k in range(6)]
EQUIVARIANT = EquivariantOptions(width=8, depth=1)


def weights(seed: int) -> dict[str, torch.Tensor]:
    scorer = EquivariantScorer(EQUIVARIANT)
    scorer.initialise(torch.Generator().manual_seed(seed))
    return dict(scorer.state_dict())


def write(folder: Path, *, seed: int = 1) -> Path:
    meta = {"experiment": "table_supervised", "size": SIZE}
    learned.save(folder, "equivariant", EQUIVARIANT.model_dump(), weights(seed), meta, untrained=weights(0))
    return folder


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write(tmp_path / "artefact")


@pytest.fixture
def run(runs: Path) -> str:
    """A finished run of two trials, the second of which is the best."""
    folder = runs / "table_supervised" / "20260101T000000Z-abc123"
    for trial in (0, 1):
        write(folder / "trials" / f"{trial:05d}", seed=trial + 1)
    (folder / "run.json").write_text(json.dumps({"best_trial": 1}))
    return "table_supervised/20260101T000000Z-abc123"


def edit(artefact: Path, **fields) -> None:
    path = artefact / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_an_artefact_builds_the_tables_of_its_network(artefact):
    table = build(f"learned:{artefact}", IDS, SIZE)
    assert table.dtype == np.int32
    loads = np.bincount(table, minlength=len(IDS))
    assert loads.max() - loads.min() <= 1
    assert get(f"learned:{artefact}").exact
    assert not np.array_equal(table, build(f"learned:{artefact}@untrained", IDS, SIZE))


def test_the_order_in_which_backends_are_given_never_matters(artefact):
    table = build(f"learned:{artefact}", IDS, SIZE)
    order = [4, 1, 5, 0, 3, 2]
    shuffled = build(f"learned:{artefact}", [IDS[k] for k in order], SIZE)
    assert [IDS[k] for k in table] == [IDS[order[k]] for k in shuffled]


def test_another_process_builds_the_same_table(artefact):
    script = (
        "import sys, uuid; from lab.tables import build\n"
        f"ids = [uuid.UUID(int=17 * k + 5, version=4) for k in range({len(IDS)})]\n"
        f"print(build(sys.argv[1], ids, {SIZE}).tolist())"
    )
    name = f"learned:{artefact}"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script, name], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == build(name, IDS, SIZE).tolist()


def test_a_run_stands_for_its_best_trial(run):
    best, first, second = (build(f"supervised:{run}{trial}", IDS, SIZE) for trial in ("", "#0", "#1"))
    np.testing.assert_array_equal(best, second)
    assert not np.array_equal(first, second)
    untrained = build(f"supervised:{run}#0@untrained", IDS, SIZE)
    np.testing.assert_array_equal(untrained, build(f"supervised:{run}@untrained", IDS, SIZE))
    assert "untrained" in get(f"supervised:{run}@untrained").summary


def test_an_artefact_that_is_written_anew_is_read_anew(artefact):
    name = f"learned:{artefact}"
    old = build(name, IDS, SIZE)
    shutil.rmtree(artefact)
    write(artefact, seed=5)
    os.utime(artefact / "model.json", ns=(1, 1))  # whatever the resolution of the file system's clock
    assert not np.array_equal(old, build(name, IDS, SIZE))


def test_the_notebooks_network_builds_tables_of_its_size_alone(tmp_path):
    options = NotebookOptions(size=SIZE)
    network = NotebookNetwork(options)
    network.initialise(torch.Generator().manual_seed(0))
    learned.save(tmp_path, "notebook", options.model_dump(), network.state_dict(), {})
    table = build(f"learned:{tmp_path}", IDS, SIZE)
    assert set(table.tolist()) <= set(range(-1, len(IDS)))
    with pytest.raises(RequestError, match="expected size 13"):
        build(f"learned:{tmp_path}", IDS, 17)
    with pytest.raises(RequestError, match="at most 13 backends"):
        build(f"learned:{tmp_path}", [f"10.0.0.{k}:80" for k in range(14)], SIZE)
    with pytest.raises(RequestError, match="no such file"):
        build(f"learned:{tmp_path}@untrained", IDS, SIZE)


def test_weights_of_backends_are_refused(artefact):
    with pytest.raises(RequestError, match="no weight"):
        build(f"learned:{artefact}", IDS, SIZE, weights=[1, 2, 3, 4, 5, 6])


def truncate(artefact: Path) -> None:
    path = artefact / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def replace_tensors(artefact: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, artefact / "model.safetensors")
    edit(artefact, sha256={"model.safetensors": learned.sha256(artefact / "model.safetensors")})


DAMAGE = {
    "tensors cut short": (truncate, "SHA-256 differs"),
    "tensors gone": (lambda a: (a / "model.safetensors").unlink(), "no such file"),
    "tensors of another network": (
        lambda a: shutil.copy(a / "untrained.safetensors", a / "model.safetensors"),
        "SHA-256",
    ),
    "no description": (lambda a: (a / "model.json").unlink(), "no such file"),
    "description cut short": (lambda a: (a / "model.json").write_text('{"format": 1, "arch'), "truncated or edited"),
    "description of something else": (lambda a: (a / "model.json").write_text("[1, 2]"), "format None"),
    "a format to come": (lambda a: edit(a, format=2), "format 1"),
    "an unknown architecture": (lambda a: edit(a, architecture="equivarant"), "Did you mean 'equivariant'"),
    "code for an architecture": (lambda a: edit(a, architecture="os:system"), "unknown architecture"),
    "no options": (lambda a: edit(a, options=None), "'options'"),
    "options of another network": (lambda a: edit(a, options={"heads": 2}), "unknown config field 'heads'"),
    "options out of range": (lambda a: edit(a, options={"width": -1}), "width"),
    "options that fit no tensor": (
        lambda a: edit(a, options={"width": 9, "depth": 1}),
        "tensors of this equivariant network",
    ),
    "no safetensors": (
        lambda a: (
            (a / "model.safetensors").write_bytes(b"x" * 64),
            edit(a, sha256={"model.safetensors": learned.sha256(a / "model.safetensors")}),
        ),
        "expected safetensors",
    ),
    "tensors missing": (lambda a: replace_tensors(a, {"head.weight": torch.zeros(1, 8)}), "Missing key"),
    "weights that are NaN": (
        lambda a: replace_tensors(a, {k: v * float("nan") for k, v in weights(1).items()}),
        "finite tensors",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_files_that_are_not_whole_or_do_not_fit_are_refused_in_one_line(artefact, damage):
    spoil, says = DAMAGE[damage]
    spoil(artefact)
    with pytest.raises(RequestError, match=says) as refused:
        build(f"learned:{artefact}", IDS, SIZE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("supervized:x", "Did you mean 'supervised'"),
        ("supervised:", "expected a run, as <run>"),
        ("supervised:nowhere", "unknown run"),
        ("supervised:{run}#9", "expected a trial"),
        ("supervised:{run}#best", "number of a trial"),
        ("supervised:{run}@untraned", "Did you mean 'untrained'"),
        ("ppo:{run}", "try supervised:"),
        ("learned:/nowhere/at/all", "no such file"),
    ],
)
def test_names_that_lead_nowhere_are_refused_in_one_line(run, name, says):
    with pytest.raises(RequestError, match=says) as refused:
        build(name.format(run=run), IDS, SIZE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("folder", ["me@home", "a#3", "a#b", "x@untrained", "c#4@trained/deep"])
def test_a_path_may_hold_what_separates_the_parts_of_a_name(run, runs, tmp_path, folder):
    moved = shutil.copytree(runs / run, tmp_path / folder / "run@x")
    plain = build(f"supervised:{run}#1", IDS, SIZE)
    before = build(f"supervised:{run}#1@untrained", IDS, SIZE)
    for name in (f"supervised:{moved}#1", f"learned:{moved}/trials/00001", f"learned:{moved}/trials/00001@trained"):
        np.testing.assert_array_equal(build(name, IDS, SIZE), plain)
    for name in (f"supervised:{moved}#1@untrained", f"learned:{moved}/trials/00001@untrained"):
        np.testing.assert_array_equal(build(name, IDS, SIZE), before)


def test_a_run_without_a_best_trial_asks_for_one(run, runs):
    (runs / run / "run.json").write_text(json.dumps({"best_trial": None}))
    with pytest.raises(RequestError, match="#0"):
        build(f"supervised:{run}", IDS, SIZE)
    assert build(f"supervised:{run}#1", IDS, SIZE).shape == (SIZE,)


def test_an_unknown_architecture_is_never_written(tmp_path):
    with pytest.raises(RequestError, match="equivariant"):
        learned.save(tmp_path, "equivarient", {}, {}, {})
    assert not list(tmp_path.iterdir())

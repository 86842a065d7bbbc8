"""Whatever is asked for wrongly: one clear line, exit status 2, nothing written, nothing overwritten."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import lab.tables
from envs import scenarios, scoring
from envs.errors import RequestError
from lab import experiment as registry
from lab.cli import cli
from lab.config import parse
from lab.console import run_cli
from lab.runs import Plan, Run
from lab.tables import learned

KEYS = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
ID = "6f1c1f2e-8a3b-4c5d-9e0f-112233445566"


@pytest.fixture
def world(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with right and wrong files in it, and runs of which some are damaged."""
    import experiments  # noqa: F401

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def write(name: str, content: str | bytes) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    write("backends", "\n".join(KEYS))
    write("empty", "# nobody\n\n")
    write("twice", "10.0.0.1:80\n10.0.0.2:80\n10.0.0.1:80\n")
    write("spelt-twice", f"{ID}\n{ID.upper()}\n")
    write("malformed", f"{ID[:-2]}\n")
    write("binary", b"\xff\xfe\x00")
    write("eight", "\n".join(f"10.0.0.{i}:80" for i in range(8)))
    for name, weights in {"nan": "1 nan 1", "negative": "1 -1 1", "zero": "0 0 0", "text": "1 heavy 1"}.items():
        write(f"weights-{name}", "\n".join(f"{k} {w}" for k, w in zip(KEYS, weights.split(), strict=True)))
    write("weights-short", f"{KEYS[0]} 1\n")
    write("weights-other", "\n".join(f"{key} 1" for key in [*KEYS, "10.0.0.9:80"]))
    write("weights", "\n".join(f"{key} 1.5" for key in KEYS))
    write("there", "precious")
    good = {
        "format": 1,
        "algorithm": "maglev",
        "version": 1,
        "size": 3,
        "backends": KEYS,
        "weights": None,
        "entries": [0, 1, 2],
    }
    write("table.json", json.dumps(good))
    write("table-cut.json", json.dumps(good)[:40])
    write("table-long.json", json.dumps({**good, "size": 4, "entries": [0, 1, 2, 0]}))
    write("table-range.json", json.dumps({**good, "entries": [0, 1, 3]}))
    write("table-new.json", json.dumps({**good, "format": 2}))
    write(
        "cluster-open.yaml",
        (Path(__file__).parents[1] / "cluster.yaml").read_text().replace("RAY_AUTH_MODE=token ", ""),
    )
    write("cluster-cut.yaml", "cluster_name: [")

    supervised = registry.get("table_supervised")

    def make_run(name: str) -> Run:
        plan = Plan(samples=1)
        run = Run.create(
            supervised,
            kind="train",
            preset="quick",
            config=supervised.resolve("quick").model_dump(mode="json"),
            plan=plan,
        )
        moved = run.folder.with_name(name)
        run.folder.rename(moved)
        return Run(moved)

    for name in ("20260101T000000Z-aaaa01", "20260101T000000Z-aaaa02"):
        make_run(name)
    manifest = make_run("20260102T000000Z-cut").folder / "run.json"
    manifest.write_bytes(manifest.read_bytes()[:100])
    (make_run("20260103T000000Z-journal").folder / "journal.jsonl").write_text("nonsense\n")
    foreign = make_run("20260104T000000Z-foreign").folder / "run.json"
    foreign.write_text(foreign.read_text().replace('"table_supervised"', '"table_superstition"'))
    network = make_run("20260105T000000Z-network")
    network.claim()
    network.add_trial(0, network.manifest.config)
    network.add_result(0, {"iteration": 1, "seconds": 1.0, supervised.metric: 1.5})
    network.end_trial(0, "finished")
    network.finish("finished")
    network.release()
    (network.trial_folder(0) / "model.json").write_text('{"format": 1, "archit')
    (network.trial_folder(0) / "model.safetensors").write_bytes(b"\x08\x00")
    shutil.copytree(network.folder, tmp_path / "elsewhere")
    write("artefact/model.json", '{"format": 1, "architecture": "os.system", "options": {}, "sha256": {}}')
    write("artefact/model.safetensors", b"\x00" * 16)
    return tmp_path


CLI: dict[str, tuple[str, str]] = {
    # what is wrong: (the command line, what the line must say)
    "a misspelt verb": ("traim", "unknown verb 'traim'.*Did you mean 'train'"),
    "a misspelt option": ("sweep table_ppo --sampels 4", "--sampels.*--samples"),
    "a missing argument": ("train", "Missing argument 'EXPERIMENT'"),
    "a list of nothing": ("list tabels", "Did you mean 'tables'"),
    "an unknown experiment": ("train table_supervise", "Did you mean 'table_supervised'"),
    "a misspelt preset": ("train table_supervised --preset quik", "unknown preset.*Did you mean 'quick'"),
    "a misspelt field": ("train table_supervised learning_rat=1", "Did you mean 'learning_rate'"),
    "text for a number": ("train table_supervised learning_rate=fast", "learning_rate.*number.*'fast'"),
    "a number out of range": ("train table_supervised learning_rate=-1", "learning_rate.*greater than 0.*-1"),
    "a NaN in the configuration": ("train table_supervised learning_rate=.nan", "learning_rate.*finite"),
    "no equals sign": ("train table_supervised learning_rate", "expected key=value.*'learning_rate'"),
    "a field twice": ("train table_ppo iterations=1 iterations=2", "'iterations' is given twice"),
    "a fraction for a count": ("train table_ppo iterations=1.5", "iterations.*integer.*1.5"),
    "no iterations": ("train table_ppo iterations=0", "iterations.*0"),
    "more runners than cores": ("train table_ppo env_runners=640 envs=640", "env_runners of at most.*640"),
    "runners in a sweep": ("sweep table_ppo env_runners=1", "env_runners=0 in a sweep.*1"),
    "a reward at the end that is not discounted to": ("train table_ppo reward=terminal", "gamma.*terminal"),
    "a run from elsewhere": ("resume elsewhere", "a run under .*elsewhere"),
    "a misspelt runner": ("train table_ppo --runner fsat", "unknown runner 'fsat'.*Did you mean 'fast'"),
    "a runner where there is none": ("train table_supervised --runner stock", "no --runner with table_supervised"),
    "a runner in a sweep without": ("sweep l1_norm --runner fast", "no --runner with l1_norm"),
    "an unknown word": ("train table_ppo balance=masks", "balance 'masks'.*Did you mean 'mask'"),
    "an unknown device": ("train table_supervised device=cud", "device.*'cud'"),
    "a GPU that is not there": ("train table_supervised device=cuda", "device=cpu.*device=cuda"),
    "no seeds": ("train table_supervised --seeds 0", "--seeds.*0"),
    "seeds in words": ("train table_supervised --seeds five", "--seeds.*'five'"),
    "a seed by two ways": ("train table_supervised seed=3", "--seed 3"),
    "an unknown search": ("sweep table_supervised --search optina", "Did you mean 'optuna'"),
    "an unknown scheduler": ("sweep table_supervised --scheduler ash", "Did you mean 'asha'"),
    "a grid without points": ("sweep table_supervised --search grid", "--grid-points"),
    "points without a grid": ("sweep table_supervised --grid-points 3 --search random", "--search grid only"),
    "one point": ("sweep table_supervised --search grid --grid-points 1", "--grid-points.*1"),
    "no samples": ("sweep table_supervised --samples 0", "--samples.*0"),
    "no trials at once": ("sweep table_supervised --max-concurrent 0", "--max-concurrent.*0"),
    "a negative seed": ("sweep table_supervised --seed -1", "seed.*-1"),
    "a sweep of a misspelt preset": ("sweep table_ppo --preset defualt", "Did you mean 'default'"),
    "a population of one": ("sweep table_supervised --scheduler pbt --samples 1", "samples.*at least 2.*1"),
    "two searchers at once": ("sweep table_supervised --scheduler pbt --search optuna", "--search random or grid"),
    "a Ray client address": ("sweep table_supervised --address ray://h:1", "auto or host:port.*ray://h:1"),
    "no such run": ("resume nowhere", "unknown run.*'nowhere'"),
    "two runs of one name": ("resume 20260101T000000Z", "fits 2"),
    "a truncated manifest": ("resume 20260102T000000Z-cut", "run manifest.*truncated"),
    "a damaged journal": ("resume 20260103T000000Z-journal", "journal event.*line 1.*nonsense"),
    "a run of an unknown experiment": ("resume 20260104T000000Z-foreign", "Did you mean 'table_supervised'"),
    "an unknown suite": ("compare --suite churn-48", "Did you mean 'churn-47'"),
    "an unknown run to compare": ("compare nowhere", "'nowhere'"),
    "an unknown builder to compare": ("compare --builder maglef", "Did you mean 'maglev'"),
    "a run that has not finished": ("compare 20260101T000000Z-aaaa01", "finished trial"),
    "a truncated network": ("compare 20260105T000000Z-network", "model.json.*truncated"),
    "too few pairs": ("compare --count 1", "--count.*1"),
    "a file for a report folder": ("compare --builder maglev --out there", "folder.*there is a file"),
    "a port out of range": ("watch --mlflow-port 70000", "--mlflow-port.*70000"),
    "one port for two": ("watch --mlflow-port 6006 --tensorboard-port 6006", "two different ports.*6006"),
    "an unknown algorithm": (
        "table build --algorithm maglef --size 47 --backends backends --out t",
        "Did you mean 'maglev'",
    ),
    "an old version": ("table build --algorithm maglev@9 --size 47 --backends backends --out t", "maglev@1.*maglev@9"),
    "a table that needs another": (
        "table build --algorithm stateful-optimum --size 47 --backends backends --out t",
        "table in force",
    ),
    "an unknown family": ("table build --algorithm ppp:x --size 47 --backends backends --out t", "Did you mean 'ppo'"),
    "a builder of no run": ("table build --algorithm ppo:x --size 47 --backends backends --out t", "unknown run.*'x'"),
    "a builder of the wrong family": (
        "table build --algorithm ppo:20260105T000000Z-network --size 47 --backends backends --out t",
        "model.json|table_ppo",
    ),
    "code in an artefact": (
        "table build --algorithm learned:artefact --size 47 --backends backends --out t",
        "architecture.*os.system",
    ),
    "a size that is not prime": (
        "table build --algorithm maglev --size 48 --backends backends --out t",
        "prime.*48.*47 or 53",
    ),
    "no entries": ("table build --algorithm maglev --size 0 --backends backends --out t", "--size.*0"),
    "a size in words": ("table build --algorithm maglev --size big --backends backends --out t", "--size.*'big'"),
    "more backends than entries": ("table build --algorithm maglev --size 7 --backends eight --out t", "8 backends.*7"),
    "no backend file": ("table build --algorithm maglev --size 47 --backends nowhere --out t", "nowhere"),
    "an empty backend file": ("table build --algorithm maglev --size 47 --backends empty --out t", "backend.*empty"),
    "a backend twice": ("table build --algorithm maglev --size 47 --backends twice --out t", "10.0.0.1:80"),
    "a backend in two spellings": ("table build --algorithm maglev --size 47 --backends spelt-twice --out t", ID),
    "a malformed UUID": ("table build --algorithm maglev --size 47 --backends malformed --out t", "malformed UUID"),
    "a binary backend file": ("table build --algorithm maglev --size 47 --backends binary --out t", "binary"),
    "a NaN weight": (
        "table build --algorithm maglev --size 47 --backends backends --weights weights-nan --out t",
        "nan",
    ),
    "a negative weight": (
        "table build --algorithm maglev --size 47 --backends backends --weights weights-negative --out t",
        "-1",
    ),
    "a weight in words": (
        "table build --algorithm maglev --size 47 --backends backends --weights weights-text --out t",
        "heavy",
    ),
    "all weights zero": (
        "table build --algorithm maglev --size 47 --backends backends --weights weights-zero --out t",
        "above 0",
    ),
    "a weight too few": (
        "table build --algorithm maglev --size 47 --backends backends --weights weights-short --out t",
        "10.0.0.2:80",
    ),
    "a weight too many": (
        "table build --algorithm maglev --size 47 --backends backends --weights weights-other --out t",
        "10.0.0.9:80",
    ),
    "weights that are not understood": (
        "table build --algorithm modulo --size 47 --backends backends --weights weights --out t",
        "no weights for modulo",
    ),
    "a table file that is there": (
        "table build --algorithm maglev --size 47 --backends backends --out there",
        "--force",
    ),
    "a folder for a table file": (
        "table build --algorithm maglev --size 47 --backends backends --out artefact",
        "folder",
    ),
    "a table file that is not there": ("table diff table.json nowhere.json", "nowhere.json"),
    "a truncated table file": ("table diff table.json table-cut.json", "table-cut.json"),
    "two sizes": ("table diff table.json table-long.json", "one size.*3 and 4"),
    "an entry out of range": ("table diff table.json table-range.json", "table-range.json.*3"),
    "a table file of a later format": ("table diff table.json table-new.json", "format.*2"),
    "a cluster file that is not there": ("cluster check nowhere.yaml", "nowhere.yaml"),
    "a cluster file that is not YAML": ("cluster check cluster-cut.yaml", "YAML"),
    "a cluster without a token": ("cluster check cluster-open.yaml", "RAY_AUTH_MODE=token"),
}


def _uuids(*numbers: int) -> list[uuid.UUID]:
    return [uuid.UUID(int=number) for number in numbers]


API: dict[str, tuple[Callable[[], Any], str]] = {
    # what is wrong: (the call, what the line must say)
    "a scenario that cannot be": (
        lambda: scenarios.ScenarioConfig(n_before=(5, 5), n_after=(5, 5)),
        "no scenario satisfies",
    ),
    "a range the wrong way round": (lambda: scenarios.ScenarioConfig(n_before=(9, 3)), "9 > 3"),
    "an unknown purpose": (lambda: scenarios.stream("trian", 0), "Did you mean 'train'"),  # type: ignore[arg-type]
    "an environment with a misspelt option": (
        lambda: gym.make("envs:LookupTable-v0", balanc="mask"),
        "Did you mean 'balance'",
    ),
    "an environment with an unknown word": (
        lambda: gym.make("envs:LookupTable-v0", balance="masks"),
        "Did you mean 'mask'",
    ),
    "a table over one backend twice": (lambda: lab.tables.build("maglev", _uuids(1, 1), 47), "came twice"),
    "a table over a number": (lambda: lab.tables.build("maglev", [7], 47), "UUID or text"),  # type: ignore[list-item]
    "a fraction of an entry": (lambda: lab.tables.build("maglev", KEYS, 4.5), "table size.*4.5"),  # type: ignore[arg-type]
    "weights of the wrong number": (
        lambda: lab.tables.build("maglev", KEYS, 47, weights=[1, 2]),
        "a weight for each backend",
    ),
    "an infinite weight": (lambda: lab.tables.build("maglev", KEYS, 47, weights=[1, 2, np.inf]), "finite weights.*inf"),
    "hashes of the wrong type": (
        lambda: lab.tables.build_batch("maglev", np.zeros((1, 2, 4)), np.ones((1, 2), bool), 47),
        "uint64.*float64",
    ),
    "scores of an entry out of range": (lambda: scoring.score_table([0, 5], KEYS), r"\[-1, 3\)"),
    "scores of tables of two sizes": (lambda: scoring.score_transition([0], KEYS, [0, 1], KEYS), "shape"),
    "an experiment of a taken name": (
        lambda: registry.register(registry.get("table_ppo")),
        "'table_ppo' is registered already",
    ),
    "a field outside the space": (lambda: parse(registry.get("table_ppo").config, {"learn_rate": 1}), "learn_rate"),
    "an artefact of another architecture": (lambda: learned.load(Path("artefact")), "os.system"),
    "an artefact that is not there": (lambda: learned.load(Path("nowhere")), "nowhere"),
}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` and what it holds; locks hold nothing."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command line is refused."""
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 2, err
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("lab: ")
    return line


@pytest.mark.parametrize("case", [*CLI, *API])
def test_bad_input_is_one_line_and_changes_nothing(case: str, world: Path, capsys: pytest.CaptureFixture[str]):
    before = tree(world)
    if case in CLI:
        command, message = CLI[case]
        line = refused(command.split(), capsys)
    else:
        call, message = API[case]
        with pytest.raises(RequestError) as caught:
            call()
        line = str(caught.value)
        assert "\n" not in line
    assert re.search(message, line), line
    assert tree(world) == before


def test_there_are_enough_cases():
    assert len(CLI) + len(API) >= 60


@pytest.mark.parametrize("verb", [["train"], ["sweep"]])
def test_runs_that_cannot_be_written_are_refused(verb, world, monkeypatch, capsys):
    monkeypatch.setenv("LAB_RUNS", str(world / "there" / "runs"))
    line = refused([*verb, "table_supervised", "--preset", "quick"], capsys)
    assert "there" in line
    assert (world / "there").read_text() == "precious"


def test_a_full_disk_is_refused_before_anything_is_trained(world, runs, monkeypatch, capsys):
    before = tree(world)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    line = refused(["train", "table_supervised", "--preset", "quick"], capsys)
    assert "No space left on device" in line
    assert tree(world) == before


@pytest.mark.parametrize("verb", [["train", "table_supervised", "--preset", "quick"], ["watch"]])
def test_a_corrupt_mlflow_database_is_refused_and_left_alone(verb, world, runs, capsys):
    (runs / "mlflow.db").write_bytes(b"this is no database, " * 100)
    before = tree(world)
    assert "mlflow.db" in refused(verb, capsys)
    assert tree(world) == before


@pytest.mark.parametrize("option", ["--tensorboard-port", "--mlflow-port"])
def test_a_port_in_use_is_refused(option, world, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(["watch", option, str(port)], capsys)
    assert str(port) in line
    assert option in line


def test_a_traceback_comes_with_debug_only(world):
    with pytest.raises(RequestError, match="unknown verb"):
        run_cli(cli, ["--debug", "traim"])

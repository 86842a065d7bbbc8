"""Parity models trained as one: each reports, and leaves behind, what it would have alone."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

import experiments  # noqa: F401  # registers them
from lab.config import parse
from lab.errors import RequestError
from lab.experiment import get
from lab.files import read_json, write_json
from lab.population_task import CheckpointedTask
from lab.runs import Plan, Run
from lab.sweep.population import member_bytes, train_population
from lab.tasks.parity import TASK, ParityConfig, fit
from lab.tasks.parity.checkpoint import load
from lab.tasks.parity.scheme_of import output_of

TINY = {"iterations": 3, "epochs": 1, "base_epochs": 1, "batch_groups": 128, "parity_width": 0.5}
MEMBERS = (
    {},
    {"seed": 1, "learning_rate": 3e-3, "smoothing": 0.01, "loss_rate": 0.5},
    {"optimiser": "adamw", "weight_decay": 0.1, "shift": 1, "mix": 0.5, "distil": True},
    {"seed": 1, "weight_decay": 0.1, "schedule": "constant", "base_batch_size": 128},
)
CODES = {
    "addition": {},
    "concatenation": {"code": "concatenation/subtraction", "k": 4, "parity_model": "linear"},
    "two-lost": {"code": "vandermonde/linear", "r": 2, "k": 3},
    "learned": {"code": "mlp/mlp", "loss": "kl"},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Base models are trained once for all tests here."""
    return str(tmp_path_factory.mktemp("base-models"))


def configs_of(cache, **fields):
    return {i: parse(ParityConfig, {**TINY, "cache_dir": cache, **fields, **own}) for i, own in enumerate(MEMBERS)}


def together(configs, folder=None, **options):
    """The metrics of each member, and how each ended; checkpoints go to `folder`, by iteration."""
    rows, ends = {index: [] for index in configs}, {}

    def report(now, checkpoint):
        for index, metrics in now.rows.items():
            rows[index].append(metrics)
        ends.update(now.ends)
        if folder is not None and checkpoint is not None:
            shutil.copytree(checkpoint, folder / str(now.iteration))

    train_population(TASK, configs, report, **options)
    return rows, ends


def alone(config, **options):
    rows = []
    fit(config, lambda metrics, checkpoint=None: rows.append(metrics), **options)
    return rows


def assert_equal(fused, lone):
    """To rounding: a sample whose two best classes are as good as equal may fall either way."""
    assert set(lone) <= set(fused)
    for name, value in lone.items():
        if name == "train/loss":
            assert fused[name] == pytest.approx(value, rel=1e-3)
        elif name != "seconds":
            assert fused[name] == pytest.approx(value, abs=0.006), name


@pytest.mark.parametrize("code", CODES)
def test_members_report_what_they_would_alone(cache, code):
    configs = configs_of(cache, **CODES[code])
    assert len({TASK.key(config) for config in configs.values()}) == 1
    rows, ends = together(configs)
    assert {end.status for end in ends.values()} == {"finished"}
    for index, config in configs.items():
        for fused, lone in zip(rows[index], alone(config), strict=True):
            assert_equal(fused, lone)
    assert len({found[-1]["train/loss"] for found in rows.values()}) == len(configs), "members differ"


def test_each_base_model_is_introduced_once_as_in_a_lone_training(tmp_path, cache, capsys):
    """Nobody would know otherwise whether what is rebuilt is bad, or what it stands in for."""
    configs = configs_of(cache, iterations=2)
    configs[4] = configs[0].model_copy(update={"smoothing": 0.1})
    told = []
    for index in (0, 1, 3):
        alone(configs[index])
        told.append(capsys.readouterr().err.splitlines()[0])
    assert len(set(told)) == 3
    before = []
    train_population(TASK, configs, lambda now, checkpoint: before.append(capsys.readouterr().err))
    assert before[0].splitlines() == told
    assert before[1:] == [""]


def test_a_member_that_was_stopped_goes_on_alone(tmp_path, cache):
    configs = configs_of(cache)
    _, ends = together(configs, tmp_path, rungs=(1,), eta=4)
    stopped = [index for index, end in ends.items() if end.status == "stopped"]
    assert len(stopped) == 3
    for index in stopped:
        checkpoint = tmp_path / "1" / "members" / str(index) / "checkpoint"
        rest, whole = alone(configs[index], resume=checkpoint), alone(configs[index])
        assert [row["iteration"] for row in rest] == [2, 3]
        for one, other in zip(rest, whole[1:], strict=True):
            assert_equal(one, other)
            assert one["best/validation/degraded_accuracy"] >= one["validation/degraded_accuracy"]


def test_the_checkpoint_of_a_member_is_that_of_a_lone_training(tmp_path, cache):
    configs = configs_of(cache)
    rows, _ = together(configs, tmp_path)
    folder = tmp_path / "3" / "members" / "2"
    config = configs[2].model_copy(update={"only_test": True, "continue_from": str(folder / "checkpoint")})
    (tested,) = alone(config)
    assert tested["test/degraded_accuracy"] == rows[2][-1]["best/test/degraded_accuracy"]
    best, artefact = (load_file(place / "model.safetensors") for place in (folder / "checkpoint", folder))
    assert all(torch.equal(best[name], value) for name, value in artefact.items())
    assert read_json(folder / "model.json", "")["format"] == "parity/1"
    # A run keeps it where `--continue-from` and `lab parity simulate` look.
    run = Run.create(get("parity"), kind="sweep", preset="quick", config={}, plan=Plan(samples=3))
    run.save_artefacts({2: folder})
    on = {**configs[2].model_dump(), "iterations": 4, "continue_from": f"{run.name}#2"}
    assert [row["iteration"] for row in alone(parse(ParityConfig, on))] == [4]
    # Ray Tune's own place of a trial that trained alone, and one that is not the run's.
    shutil.copytree(folder / "checkpoint", run.folder / "tune" / "00000" / "checkpoint_000002")
    run.add_trial(0, configs[2].model_dump(mode="json"))
    run.add_checkpoint(0, 3, str(run.folder / "tune" / "00000" / "checkpoint_000002"))
    run.add_trial(1, configs[2].model_dump(mode="json"))
    run.add_checkpoint(1, 3, str(folder / "checkpoint"))
    assert [row["iteration"] for row in alone(parse(ParityConfig, {**on, "continue_from": run.name}))] == [4]
    with pytest.raises(RequestError, match=r"a checkpoint of .*#1 at .*, but there is none"):
        alone(parse(ParityConfig, {**on, "continue_from": f"{run.name}#1"}))


def test_a_population_goes_on_bit_for_bit_with_its_best_figures(tmp_path, cache):
    configs = configs_of(cache)
    rows, _ = together(configs, tmp_path)
    rest, _ = together(configs, resume=tmp_path / "1")
    for index in configs:
        for one, other in zip(rest[index], rows[index][1:], strict=True):
            assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_of_equally_good_networks_the_last_is_kept(tmp_path, cache, monkeypatch):
    real = type(TASK).evaluate
    monkeypatch.setattr(type(TASK), "evaluate", lambda *args: [{**row, TASK.objective: 0.5} for row in real(*args)])
    rows, _ = together(configs_of(cache), tmp_path)
    for found in rows.values():
        assert found[-1]["best/test/degraded_accuracy"] == found[-1]["test/degraded_accuracy"]


def test_only_members_that_gain_from_it_train_as_one(cache, tmp_path):
    assert isinstance(TASK, CheckpointedTask)
    config = parse(ParityConfig, {**TINY, "cache_dir": cache})

    def key(**fields):
        return TASK.key(parse(ParityConfig, {**TINY, "cache_dir": cache, **fields}))

    for fields in ({"k": 3}, {"batch_groups": 64}, {"parity_width": 1.0}, {"epochs": 2}, {"code": "addition/mlp"}):
        assert key(**fields) not in (None, TASK.key(config)), fields
    for fields in (
        {"code": "berrut"},
        {"parity_model": "resnet18"},
        {"parity_width": 8.0},
        {"code": "conv/subtraction"},
        {"train_parity_model": False, "parity_init": "base", "parity_width": 1.0},
        {"dataset": "mnist"},
        {"dataset": "digits", "k": 4, "code": "concatenation/mlp", "parity_width": 16.0},
    ):
        assert key(**fields) is None, fields
    assert key(code="conv/subtraction", device="cuda") is not None
    assert hash(TASK.key(config)) == hash(key(seed=5))


def test_the_memory_of_a_member_is_known_without_training_its_base_model(tmp_path):
    config = parse(ParityConfig, {"cache_dir": str(tmp_path), "device": "cuda"})
    wide = config.model_copy(update={"parity_width": 4.0})
    assert 1e6 < member_bytes(TASK, config) < member_bytes(TASK, wide)
    assert list(tmp_path.iterdir()) == []


def test_smoothed_logits_keep_their_order_and_their_sums_can_be_undone():
    logits = 20 * torch.randn(500, 10, generator=torch.Generator().manual_seed(0))
    for fields in ({"smoothing": 1e-3}, {"smoothing": 0.5, "temperature": 3.0}):
        config = parse(ParityConfig, fields)
        found = output_of(config)(logits)
        assert (found.argmax(-1) == logits.argmax(-1)).all()
        assert found.exp().sum(-1).allclose(torch.ones(500))
        assert found.min() >= torch.log(torch.tensor(config.smoothing / 10)) - 1e-4
        total = found[:250] + found[250:]
        assert ((total - found[250:]).argmax(-1) == logits[:250].argmax(-1)).float().mean() > 0.99
    assert output_of(parse(ParityConfig, {}))(logits) is logits
    with pytest.raises(RequestError, match=r"smoothing is of logits, expected output = logits"):
        parse(ParityConfig, {"smoothing": 0.1, "output": "probabilities"})
    with pytest.raises(RequestError, match=r"smoothing.*less than 1.*1\.0"):
        parse(ParityConfig, {"smoothing": 1.0})


def test_a_checkpoint_of_before_there_was_smoothing_had_none(tmp_path, cache):
    config = parse(ParityConfig, {**TINY, "cache_dir": cache, "iterations": 1})
    fit(config, lambda metrics, checkpoint: shutil.copytree(checkpoint, tmp_path / "1"))
    digest = config.samples.digest
    path = tmp_path / "1" / "progress.json"
    progress = read_json(path, "progress")
    del progress["architecture"]["smoothing"]
    write_json(path, progress)
    assert load(tmp_path / "1", config, digest).progress.iteration == 1
    with pytest.raises(RequestError, match=r"smoothing = 0\.1, but .* has smoothing = 0\.0"):
        load(tmp_path / "1", config.model_copy(update={"smoothing": 0.1}), digest)

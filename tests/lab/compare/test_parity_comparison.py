"""Comparing codes: what is counted, whom it is counted of, what is said of it, and what is refused."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lab import cli
from lab.compare import compare_runs, parity
from lab.compare.drawing import Format
from lab.compare.page import lookup
from lab.compare.parity import comparison
from lab.compare.parity.evaluate import Question, answers_of
from lab.compare.parity.load import load_member
from lab.compare.parity.methods import Member, methods_of
from lab.compare.parity.report import FORMATS
from lab.config import parse
from lab.errors import RequestError
from lab.files import read_json, write_json
from lab.runs import Run
from lab.tasks.parity import ParityConfig
from lab.tasks.parity.latency.answers import service_of
from lab.tasks.parity.measures import measure

from . import standin
from .chromium import SIZES, browser_test, contrast, launched, opened
from .parity_runs import make_run, seeds
from .test_comparison import everything

CODES = ("addition/subtraction", "berrut", "replication", "cheap-model", "majority")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of runs in which base models are trained once for all tests here."""
    return tmp_path_factory.mktemp("parity") / "runs"


@pytest.fixture(autouse=True)
def runs(home, monkeypatch):
    standin.register(monkeypatch)
    monkeypatch.setenv("LAB_RUNS", str(home))
    return home


@pytest.fixture(scope="module")
def compared(home):
    """Five methods and one seed of a sixth at k = 2, and a code for two losses at k = 3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_RUNS", str(home))
        # Coarse pictures: most of the time here is theirs.
        patch.setattr(Format, "dpi", 100)
        made = [
            *(make_run(seeds(3, code=code)) for code in CODES),
            make_run(seeds(2, code="vandermonde/linear", k=3, r=2)),
            make_run(seeds(1, code="concatenation/subtraction")),
        ]
        found = compare_runs([str(run.folder) for run in made], out=home.parent / "out")
        return made, found, [Run(run.folder).manifest.readings for run in made]


def member(run, trial=0):
    return Member(run, trial, parse(ParityConfig, run.trials[trial].config))


def rows_of(found, label="k = 2", setting=0):
    (group,) = [group for group in found.content["settings"][setting]["groups"] if group["label"] == label]
    return {row["method"]: row for row in group["rows"]}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"code": "berrut", "k": 3},
        {"code": "vandermonde/linear", "r": 2},
        {"code": "cheap-model", "k": 4},
        {"code": "majority"},
    ],
    ids=["systematic", "all coded", "two lost", "cheap", "majority"],
)
@pytest.mark.parametrize("groupings", [1, 3])
def test_what_is_counted_is_what_a_training_counts(fields, groupings):
    loaded = load_member(member(make_run(seeds(1, **fields))))
    test = loaded.data.test
    found = answers_of(loaded, Question(groupings=groupings))
    said = measure(loaded.scheme, loaded.data, test, loaded.predictions(test), 0.05, groupings)
    assert found.accuracy.mean() == pytest.approx(said["accuracy"])
    assert found.degraded.mean() == pytest.approx(said["degraded_accuracy"])
    assert found.agreement.mean() == pytest.approx(said["reconstruction"])
    assert found.first == pytest.approx(loaded.recorded["best/test/degraded_accuracy"])
    assert found.base.mean() == pytest.approx(loaded.recorded["base/test_accuracy"])
    for name, right, asked in zip(found.patterns, found.right, found.asked, strict=True):
        assert right.sum() / asked.sum() == pytest.approx(said[f"degraded_accuracy/{name}"])
    assert np.trace(found.confusion) == found.right.sum()
    assert found.confusion.sum() == found.asked.sum()
    assert (found.asked.sum(0) == found.asked.sum(0)[0]).all()


def test_a_group_of_few_samples_asks_about_the_first_ones_alone():
    loaded = load_member(member(make_run(seeds(1))))
    assert len(answers_of(loaded, Question(17)).base) == 17
    whole = answers_of(loaded, Question())
    np.testing.assert_array_equal(answers_of(loaded, Question(17)).base, whole.base[:17])


@pytest.mark.parametrize(("samples", "orders"), [(20, 8), (1000, 8), (5000, 4), (10_000, 2), (100_000, 2)])
def test_many_samples_need_fewer_orders(samples, orders):
    assert Question().orders(samples) == orders


def test_threads_are_as_before(monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    answers_of(load_member(member(make_run(seeds(1, code="majority")))), Question(17))
    assert set_to[-2:] == [1, 3]


def test_replication_is_the_base_model_and_nothing_else_is(compared):
    rows = rows_of(compared[1])
    assert {row["extra_servers_for_each"] for row in rows.values() if row["kind"] in ("parity", "interpolation")} == {
        0.5
    }
    copy = rows["replication"]
    assert [copy["to_the_base_model"][bound] for bound in ("value", "low", "high")] == [0, 0, 0]
    assert copy["agreement"]["value"] == pytest.approx(1)
    assert copy["extra_servers_for_each"] == 1
    assert copy["confusion"] == copy["confusion_of_the_base_model"]
    assert rows["majority"]["extra_servers"] == 0
    assert rows["majority"]["degraded_accuracy"]["value"] < 0.2
    assert rows["addition/subtraction"]["with_nothing_lost_to_the_base_model"]["value"] == 0
    assert rows["addition/subtraction"]["to_the_base_model"]["value"] < 0
    assert rows["berrut"]["accuracy"]["value"] != rows["berrut"]["base"]["value"]


def test_the_best_code_is_chosen_among_codes_by_validation(compared):
    for group in compared[1].content["settings"][0]["groups"]:
        coded = [row for row in group["rows"] if row["kind"] in ("parity", "interpolation")]
        best = max(coded, key=lambda row: row["validation_degraded_accuracy"])
        assert [row["method"] for row in group["rows"] if row["best_code"]] == [best["method"]]
    (setting,) = compared[1].content["settings"]
    for each in setting["differences"]:
        best, other = (rows_of(compared[1], each["group"])[each[side]] for side in ("best", "other"))
        assert best["best_code"]
        if best["seeds"] == other["seeds"]:
            by_seed = (row["degraded_accuracy_of_each_seed"] for row in (best, other))
            differences = [a - b for a, b in zip(*by_seed, strict=True)]
            assert min(differences) - 1e-12 <= each["degraded_accuracy"]["value"] <= max(differences) + 1e-12


def test_few_seeds_are_hedged_everywhere(compared):
    content = compared[1].content
    assert content["lead"][0].endswith("too few for a result.")
    assert not any(each["shown"] for each in content["settings"][0]["differences"])
    words = " ".join(each["words"] for each in content["settings"][0]["differences"])
    assert "a difference that is shown" not in words
    (row,) = [row for row in rows_of(compared[1]).values() if row["method"].startswith("concatenation")]
    assert row["seeds_note"] == "one seed: not a result"
    assert row["degraded_accuracy"]["over"] == "samples"


def test_every_number_of_the_page_is_the_one_in_the_json(compared):
    _, found, _ = compared
    assert found.content == read_json(found.json, "report")
    page = found.html.read_text()
    values = re.findall(r'data-path="([^"]+)" data-format="([^"]+)"[^>]*>([^<]*)<', page)
    assert len(values) > 250
    for path, form, text in values:
        shown = FORMATS[form](lookup(found.content, path)).replace(" %", "\N{NO-BREAK SPACE}%")
        assert text == shown.replace("'", "&#39;").replace('"', "&#34;").replace(">", "&gt;"), path
    assert not re.search(r"(?:src|href|srcset|action)=\"(?!data:|#)", page)


def test_figures_tables_and_readings_are_there(compared):
    made, found, readings = compared
    assert sorted(path.stem for path in found.figures if not path.stem.startswith("patterns")) == [
        "accuracy-by-cost",
        "accuracy-by-k",
        "confusion-1-k2",
        "confusion-1-k3-r2",
        "overall-1",
    ]
    ((title, columns, rows),) = found.tables()
    assert title.startswith("digits, mlp; base model ")
    assert len(rows) == sum(len(group["rows"]) for group in found.content["settings"][0]["groups"]) == 7
    assert {len(row) for row in rows} == {len(columns)}
    for run, noted in zip(made, readings, strict=True):
        assert [(reading.suite, reading.trial) for reading in noted] == [("parity-digits", t) for t in run.trials]
    assert {run["read_before"] for run in found.content["runs"]} == {0}


def test_one_seed_of_one_code_is_a_whole_page_and_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "draw", lambda analyses: [])
    run = make_run(seeds(1, k=4))
    found = compare_runs([run.name], out=tmp_path / "out", count=100)
    assert "One seed is not a result" in found.content["lead"][0]
    assert "A reduced look" in found.html.read_text()
    assert "the only code here" in found.html.read_text()
    assert found.content["settings"][0]["differences"] == []
    assert [reading.suite for reading in Run(run.folder).manifest.readings] == ["parity-digits[:100]"]


def test_without_a_code_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Format, "dpi", 100)
    found = compare_runs([make_run(seeds(1, code="replication")).name], out=tmp_path / "out", count=50)
    assert "nothing is coded here" in found.content["lead"][0]
    assert not list((tmp_path / "out").glob("confusion*"))


def test_a_sweep_without_its_checkpoints_is_what_it_was_with_them(home):
    configs = [*seeds(1), *seeds(1, code="cheap-model")]
    kept, sweep = make_run(configs), make_run(configs, kind="sweep", search="grid", checkpoints=False)
    for trial in (0, 1):
        with_all, without = (answers_of(load_member(member(run, trial)), Question()) for run in (kept, sweep))
        np.testing.assert_array_equal(with_all.degraded, without.degraded)
        np.testing.assert_array_equal(with_all.base, without.base)


def test_what_is_compared_is_what_is_served():
    """A page that says how good a code is would otherwise say it of other models than those that answer."""
    run = make_run(seeds(1, code="mlp/mlp", base_shift=1))
    compared, served = load_member(member(run)), service_of(run.name)
    for one, other in ((compared.base, served.base), (compared.scheme, served.scheme)):
        assert not any(module.training for module in (*one.modules(), *other.modules()))
        weights = other.state_dict()
        assert one.state_dict().keys() == weights.keys()
        assert all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


def test_weights_of_another_architecture_are_compared_and_served_by_nobody():
    run = make_run(seeds(1))
    run.add_trial(1, {**run.trials[0].config, "parity_width": 2.0})
    run.end_trial(1, "finished")
    path = run.trial_folder(1) / "checkpoint" / "progress.json"
    shutil.copytree(run.trial_folder(0) / "checkpoint", path.parent)
    progress = read_json(path, "progress")
    progress["architecture"]["parity_width"] = 2.0
    write_json(path, progress)
    for restore in (lambda: load_member(member(run, 1)), lambda: service_of(f"{run.name}#1")):
        with pytest.raises(RequestError, match="expected the weights of this architecture in the checkpoint") as caught:
            restore()
        assert "\n" not in str(caught.value)


def test_models_that_are_not_those_that_were_trained_are_refused(tmp_path):
    run = make_run(seeds(1), checkpoints=False)
    journal = run.folder / "journal.jsonl"
    text = journal.read_text()
    (said,) = set(re.findall(r'"base/test_accuracy": ([^,}]+)', text))
    journal.write_text(text.replace(said, str(float(said) - 0.05)))
    with pytest.raises(RequestError, match="expected the base model to be right on") as caught:
        compare_runs([run.name], out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


# ---- who is compared


def test_seeds_of_two_runs_are_one_method_and_each_counts_once():
    first, second = make_run(seeds(2)), make_run([{"seed": 1}, {"seed": 2}], failed=[1])
    (method,) = methods_of([first, second])
    assert method.seeds == (0, 1)
    assert [each.run.name for each in method.members] == [first.name] * 2
    assert (method.copies, method.failed) == (1, 1)


def test_what_a_code_does_not_read_tells_no_methods_apart():
    run = make_run(
        [{"code": "berrut", "learning_rate": rate, "seed": seed} for seed, rate in enumerate((1e-3, 1e-2))]
        + [{"learning_rate": rate, "seed": 0} for rate in (1e-3, 1e-2)],
        kind="sweep",
        search="grid",
    )
    assert [(method.label, method.seeds) for method in methods_of([run])] == [
        ("berrut", (0, 1)),
        ("addition/subtraction, learning_rate 0.001", (0,)),
        ("addition/subtraction, learning_rate 0.01", (0,)),
    ]


def test_a_search_stands_for_its_best_configuration_by_validation():
    rates = (1e-4, 1e-2, 3e-2)
    run = make_run([{"learning_rate": rate} for rate in rates], kind="sweep", search="random")
    (method,) = methods_of([run])
    best = max(run.trials.values(), key=lambda trial: trial.best("validation/degraded_accuracy", "max"))
    assert [each.trial for each in method.members] == [best.index]
    assert method.seeds_note == "one seed: not a result; best of 3 trials"


def test_other_base_models_are_settings_of_their_own():
    methods = methods_of([make_run([{}, {"base_epochs": 3}, {"model": "linear", "k": 3}])])
    assert [(method.setting.label, method.k) for method in methods] == [
        ("digits, mlp, base_epochs 4", 2),
        ("digits, mlp, base_epochs 3", 2),
        ("digits, linear", 3),
    ]


# ---- what is refused


def damage(run):
    path = run.trial_folder(0) / "checkpoint" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def damage_artefact(run):
    shutil.rmtree(run.trial_folder(0) / "checkpoint")
    path = run.trial_folder(0) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("harm", "asked", "words"),
    [
        pytest.param(damage, {}, "truncated or changed", id="truncated checkpoint"),
        pytest.param(damage_artefact, {}, "SHA-256 differs", id="truncated network"),
        pytest.param(None, {"count": 15}, "at least 16 test samples", id="few samples"),
        pytest.param(None, {"suites": ["churn-47"]}, "--suite churn-47", id="a suite of tables"),
        pytest.param(None, {"builders": ["maglev"]}, "--builder maglev", id="a builder of tables"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(tmp_path, runs, harm, asked, words):
    run = make_run(seeds(1))
    if harm:
        harm(run)
    before = everything(runs)
    with pytest.raises(RequestError, match=words) as caught:
        compare_runs([run.name], out=tmp_path / "out", **asked)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert everything(runs) == before


def test_runs_of_other_kinds_one_trial_and_runs_without_an_end_are_refused(tmp_path):
    run = make_run(seeds(1))
    with pytest.raises(RequestError, match="expected runs of one kind"):
        compare_runs([run.name, standin.make_run().name], out=tmp_path / "out")
    with pytest.raises(RequestError, match="one seed is not a result"):
        compare_runs([f"{run.name}#0"], out=tmp_path / "out")
    with pytest.raises(RequestError, match="expected a run with a trial that left a network"):
        compare_runs([make_run(seeds(1), end=False).name], out=tmp_path / "out")
    with pytest.raises(RequestError, match="expected a run with a trial that left a network"):
        compare_runs([make_run(seeds(1), failed=[0]).name], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_in_use_is_refused(tmp_path):
    run = make_run(seeds(1))
    holder = Run(run.folder)
    holder.claim()
    try:
        with pytest.raises(RequestError, match="in use"):
            compare_runs([f"parity:{run.name}"], out=tmp_path / "out")
    finally:
        holder.release()


def test_data_that_is_gone_is_said_of_the_run(tmp_path):
    run = make_run(seeds(1))
    config = {**run.trials[0].config, "dataset": "mnist", "data_dir": str(tmp_path / "gone")}
    run.add_trial(1, config)
    run.end_trial(1, "finished")
    with pytest.raises(RequestError, match=f"the data of {run.name}: expected a folder as --data-dir") as caught:
        compare_runs([run.name], out=tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_without_names_it_is_codes_where_there_is_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    with pytest.raises(RequestError, match="expected a finished run of parity"):
        parity.compare(out=tmp_path / "out")
    monkeypatch.setattr(comparison, "draw", lambda analyses: [])
    run = make_run(seeds(1, code="replication"))
    found = compare_runs(out=tmp_path / "out", count=20)
    assert [each["run"] for each in found.content["runs"]] == [run.name]
    standin.make_run(noises=(0.1,))
    capsys.readouterr()
    # It is said before anything is done, and so before this is refused.
    with pytest.raises(RequestError, match="--force replaces it"):
        compare_runs(out=tmp_path / "out")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "There are runs of codes that rebuild predictions too: lab compare parity"


def test_the_command_line_ends_with_2_and_one_line(tmp_path):
    run = make_run(seeds(1))
    for args in (["--suite", "churn-47"], ["--nonsense"], ["nobody"]):
        result = CliRunner().invoke(cli.cli, ["compare", run.name, "--out", str(tmp_path / "out"), *args])
        assert result.exit_code == 2 or isinstance(result.exception, RequestError)
    assert not (tmp_path / "out").exists()


# ---- the page in a browser


@pytest.fixture(scope="module")
def browser():
    with launched() as chromium:
        yield chromium


@browser_test
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_page_needs_nothing_but_itself_and_is_no_wider_than_the_screen(compared, browser, size):
    _, found, _ = compared
    with opened(browser, found.html, size) as page:
        assert [url for url in page.requests if not url.startswith("data:")] == [found.html.as_uri()]
        assert page.complaints == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.closest('.box'))")
        images = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt.length])")
    assert len(images) == len(found.figures)
    assert all(width > 300 and alt > 40 for width, alt in images)


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(compared, browser, scheme):
    assert contrast(browser, compared[1].html, scheme) >= 4.5

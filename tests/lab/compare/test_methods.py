"""Who takes part: a wrong guess here compares something else than was asked for."""

from __future__ import annotations

import pytest

from lab.compare.dispatch import _kind_of_name
from lab.compare.kinds import TABLES
from lab.compare.methods import FAMILIES, methods
from lab.errors import RequestError
from lab.files import read_json, write_json
from lab.tables.registry import get, spectrum

from .standin import make_run


def labels(names=(), builders=()):
    return [method.label for method in methods(names, builders)]


def test_without_runs_all_classical_builders_take_part():
    assert labels() == [builder.name for builder in spectrum() if not builder.trained]


def test_only_the_builders_named_and_maglev():
    assert labels(["ring", "rendezvous@1"]) == ["maglev", "ring", "rendezvous"]


def test_the_newest_finished_run_of_each_experiment_takes_part():
    make_run("table_supervised")
    make_run("table_ppo", (0.1,), steps="env_steps")
    make_run("parity", artefacts=False)
    make_run("table_ppo", (0.1,), finished=False)
    assert (
        labels(builders=["maglev"])
        == [
            "maglev",
            "table_ppo",
            "table_ppo, untrained",
            "table_supervised",
            "table_supervised, untrained",
        ]
        or labels(builders=["maglev"])[1] == "table_supervised"
    )


def test_a_run_brings_all_its_seeds_and_what_they_cost():
    run = make_run("table_ppo", (0.1, 0.2, 0.3), steps="env_steps")
    method = next(m for m in methods([run.folder.name]) if m.kind == "ppo" and m.trained)
    assert method.seeds == 3
    assert method.untrained_label == "table_ppo, untrained"
    assert method.training is not None
    assert method.training.steps == (144_000.0,) * 3
    assert [round(s) for s in method.training.seconds] == pytest.approx([252] * 3, abs=2)


def test_a_sweep_brings_its_best_trial_by_validation_and_is_one_seed():
    run = make_run("table_supervised", (0.9, 0.0, 0.5), kind="sweep")
    method = next(m for m in methods([str(run.folder)]) if m.training)
    assert method.builders == (f"supervised:{run.folder}#1",)
    assert "one seed: not a result" in method.summary
    assert method.training.searched == 3


def test_a_sweep_over_seeds_is_compared_value_by_value_and_nothing_is_picked():
    searched = {"width": (8, 16, 8, 16), "seed": (0, 0, 1, 1)}
    run = make_run("table_supervised", (0.9, 0.0, 0.5, 0.1), kind="sweep", searched=searched)
    found = [m for m in methods([str(run.folder)]) if m.training]
    assert [(m.label, m.training.trials, m.seeds) for m in found] == [("width=8", (0, 2), 2), ("width=16", (1, 3), 2)]
    named = make_run("table_ppo", (0.1, 0.2), kind="sweep", searched={"cell": ("a", "b"), "seed": (0, 0)})
    assert [m.label for m in methods([str(named.folder)]) if m.training] == ["a", "b"]
    assert all(m.trained and m.training.searched == 0 and m.untrained_label is None for m in found)


def test_a_trial_can_be_named():
    run = make_run("table_supervised", (0.9, 0.0))
    for name in (f"{run.folder}#0", f"supervised:{run.folder.name}#0"):
        method = next(m for m in methods([name]) if m.training)
        assert method.training.trials == (0,)


def test_two_runs_of_one_experiment_keep_apart():
    runs = [make_run("table_supervised"), make_run("table_supervised"), make_run("table_supervised", preset="quick")]
    found = [m.label for m in methods([str(run.folder) for run in runs]) if m.training and m.trained]
    assert len(set(found)) == 3
    assert found[2] == "table_supervised (quick)"


def test_the_same_run_twice_is_one_method():
    run = make_run("table_supervised")
    assert len([m for m in methods([str(run.folder), run.folder.name]) if m.training and m.trained]) == 1


def test_trials_of_one_run_are_a_method_each_under_a_name_each():
    run = make_run("table_ppo", (0.1, 0.2, 0.3))
    found = [m for m in methods([f"{run.folder}#0", f"{run.folder.name}#2", f"{run.folder}#0"]) if m.training]
    assert [(m.label, m.training.trials) for m in found if m.trained] == [("table_ppo#0", (0,)), ("table_ppo#2", (2,))]
    assert [m.builders for m in found if not m.trained] == [
        (f"ppo:{run.folder}#0@untrained",),
        (f"ppo:{run.folder}#2@untrained",),
    ]


def test_a_run_beside_one_of_its_trials_and_another_run_keep_apart():
    run, other = make_run("table_ppo"), make_run("table_ppo")
    found = [m for m in methods([str(run.folder), f"{run.folder}#1", str(other.folder)]) if m.training and m.trained]
    ids = [each.folder.name.rpartition("-")[2] for each in (run, other)]
    assert [m.label for m in found] == [f"table_ppo {ids[0]}", f"table_ppo {ids[0]}#1", f"table_ppo {ids[1]}"]


@pytest.mark.parametrize("folder", ["me@home", "a#3", "a#b", "x@untrained", "c#4@trained"])
def test_a_path_may_hold_what_separates_the_parts_of_a_name(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / folder))
    run = make_run("table_ppo", (0.1, 0.2))
    moved = run.folder.rename(tmp_path / folder / "mine" if "#" in folder else tmp_path / "mine@home")
    for name in (f"{moved}#1", f"ppo:{moved}#1"):
        found = [m for m in methods([name]) if m.training or not m.trained]
        assert [get(m.builders[0]).exact for m in found] == [True, True]
        assert found[0].training.trials == (1,)


def test_what_a_run_is_called_does_not_say_what_it_trained():
    run = make_run("supervised_lookalike", (0.1,), family="ppo")
    assert [m.kind for m in methods([str(run.folder)]) if m.training] == ["ppo"] * 2


@pytest.mark.parametrize("named", [True, False])
def test_a_run_of_a_task_of_ones_own_takes_part_if_it_holds_networks(named):
    run = make_run("my_task", (0.1, 0.2), family="learned")
    trained, before = (m for m in methods([str(run.folder)] if named else []) if m.training)
    assert (trained.label, trained.kind, trained.seeds) == ("my_task", "learned", 2)
    assert trained.builders == tuple(f"learned:{run.trial_folder(i)}" for i in range(2))
    assert get(before.builders[1]).exact


def test_a_run_without_its_untrained_network_is_compared_all_the_same():
    run = make_run("table_supervised", (0.1,))
    (run.trial_folder(0) / "untrained.safetensors").unlink()
    found = methods([str(run.folder)])
    assert [m.label for m in found if m.kind == "supervised"] == ["table_supervised"]
    assert found[-1].untrained_label is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maglevv", "Did you mean 'maglev'"),
        ("maglev@9", "maglev@1"),
        ("ppo:nowhere", "unknown run"),
        ("", "unknown table builder or run"),
    ],
)
def test_an_unknown_name_is_answered_in_one_line(name, message):
    with pytest.raises(RequestError, match=message) as caught:
        methods([name])
    assert "\n" not in str(caught.value)


def test_an_unknown_builder_is_answered_with_the_nearest():
    with pytest.raises(RequestError, match="Did you mean 'ring'"):
        methods([], ["rng"])


def test_a_run_of_another_task_is_refused():
    run = make_run("parity", artefacts=False)
    with pytest.raises(RequestError, match="expected a run that trained tables"):
        methods([str(run.folder)])


def test_a_run_without_a_finished_trial_is_refused():
    run = make_run(finished=False)
    with pytest.raises(RequestError, match="expected a run with a finished trial"):
        methods([str(run.folder)])


@pytest.mark.parametrize("trial", ["7", "x", ""])
def test_a_trial_that_is_not_there_is_refused(trial):
    run = make_run()
    with pytest.raises(RequestError, match="trial"):
        methods([f"{run.folder}#{trial}"])


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_truncated_network_is_refused(name):
    run = make_run(noises=(0.1,))
    path = run.trial_folder(0) / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RequestError) as caught:
        methods([str(run.folder)])
    assert "\n" not in str(caught.value)


def test_a_manifest_of_another_format_is_refused():
    run = make_run()
    manifest = read_json(run.folder / "run.json", "manifest")
    write_json(run.folder / "run.json", manifest | {"format": 99})
    with pytest.raises(RequestError, match="run manifest"):
        methods([str(run.folder)])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_named_with_its_family_is_one_of_tables(family):
    assert _kind_of_name(f"{family}:some-run") == TABLES

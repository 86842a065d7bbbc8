"""Who takes part: a wrong guess here compares something else than was asked for."""

from __future__ import annotations

import pytest

from lab.compare.methods import methods
from lab.errors import RequestError
from lab.files import read_json, write_json
from lab.tables.registry import spectrum

from .standin import make_run


def labels(names=(), builders=()):
    return [method.label for method in methods(names, builders)]


def test_without_runs_all_classical_builders_take_part():
    assert labels() == [builder.name for builder in spectrum()]


def test_only_the_builders_named_and_maglev():
    assert labels(["ring", "rendezvous@1"]) == ["maglev", "ring", "rendezvous"]


def test_the_newest_finished_run_of_each_experiment_takes_part():
    make_run("table_supervised")
    make_run("table_ppo", (0.1,), steps="env_steps")
    make_run("parity")
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
    run = make_run("parity")
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

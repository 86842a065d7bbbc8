"""A known roster: nothing moves needlessly, whatever leaves, and what is not in the roster is named."""

import json

import numpy as np
import pytest
import torch

from envs.scoring import table_scores, transition_scores
from lab.cli import cli
from lab.console import run_cli
from lab.errors import RequestError
from lab.tables import learned
from lab.tables.capped import CappedOptions, CappedTables
from lab.tables.rankings import (
    PRESETS,
    RankingOptions,
    RankingTables,
    evenness,
    measure,
    of_roster,
    preset_names,
    rankings_folder,
)
from lab.tables.registry import build_with
from lab.tables.subsets import all_subsets

ROSTER = [f"10.0.0.{i}:80" for i in range(7)]


def tables_of_all_subsets(size, roster):
    builder = of_roster(roster, size, roster)
    present = all_subsets(len(roster))
    tables = np.stack(
        [np.flatnonzero(row)[build_with(builder, [roster[i] for i in np.flatnonzero(row)], size)] for row in present]
    )
    return present, tables.astype(np.int32)


def test_no_backend_that_leaves_moves_another_ones_entry():
    present, tables = tables_of_all_subsets(47, ROSTER)
    whole = len(present) - 1
    moves = transition_scores(
        np.repeat(tables[whole:], whole, axis=0), tables[:whole], np.ones((whole, 7), dtype=bool), present[:whole]
    )
    assert moves.excess.max() == 0
    assert table_scores(tables, present).invalid.max() == 0


@pytest.mark.parametrize("name", preset_names())
def test_rankings_that_come_with_the_lab_are_as_even_as_they_say(name):
    folder = PRESETS / f"rankings-{name}"
    said = json.loads((folder / "model.json").read_text())
    found = measure(learned.model(folder).rankings)
    assert found == said["validation"]
    size, n = map(int, name.split("-"))
    if (size, n) in {(47, 4), (47, 5), (47, 6), (47, 7)}:
        assert found["uneven"] == 0, "perfectly even for every subset"
        assert evenness(learned.model(folder).rankings) == f"perfectly even for every subset of the {n}"
    if (size, n) == (47, 8):
        assert found["uneven"] <= 5


def test_the_roster_may_be_given_in_any_order():
    one = of_roster(ROSTER, 47, ROSTER)
    other = of_roster(ROSTER[::-1], 47, ROSTER)
    np.testing.assert_array_equal(build_with(one, ROSTER[:4], 47), build_with(other, ROSTER[:4], 47))
    assert build_with(one, [], 47).tolist() == [-1] * 47


@pytest.mark.parametrize(
    ("roster", "size", "ids", "said"),
    [
        (ROSTER, 48, ROSTER, "47 with up to .* but got 48 with 7: train some"),
        ([f"10.0.1.{i}:80" for i in range(120)], 47, [], "but got 47 with 120"),
        (ROSTER, 47, ["10.0.0.9:80"], "backend of the roster"),
        ([*ROSTER[:6], ROSTER[0]], 47, ROSTER[:1], "once"),
    ],
    ids=["size", "backends", "stranger", "twice"],
)
def test_what_does_not_go_together_is_refused(roster, size, ids, said):
    with pytest.raises(RequestError, match=said):
        of_roster(roster, size, ids)


def test_weights_are_refused():
    with pytest.raises(RequestError, match="no weights"):
        build_with(of_roster(ROSTER, 47, ROSTER), ROSTER, 47, [1.0, 2, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("state", "said"),
    [("floats", "float64"), ("no ranking", "each once"), ("another shape", "expected")],
)
def test_artefacts_that_hold_no_rankings_are_refused(tmp_path, state, said):
    tables = RankingTables(RankingOptions(size=5, backends=3))
    tensors = {name: tensor.clone() for name, tensor in tables.state_dict().items()}
    if state == "floats":
        tensors["rankings"] = tensors["rankings"].double()
    elif state == "no ranking":
        tensors["rankings"][2] = 1
    else:
        tensors["rankings"] = tensors["rankings"][:4]
    learned.save(tmp_path, "rankings", {"size": 5, "backends": 3}, tensors, {})
    with pytest.raises(RequestError, match=said):
        learned.load(tmp_path)


def test_a_smaller_roster_takes_the_first_places_of_rankings_for_more():
    """Of three backends there are no rankings of their own: nothing moves needlessly, and all is even as for four."""
    few, more = ROSTER[:3], ROSTER[:4]
    assert rankings_folder(47, 3) == rankings_folder(47, 4)
    present, tables = tables_of_all_subsets(47, few)
    scores = table_scores(tables, present)
    assert scores.imbalance.max() == 0
    assert scores.invalid.max() == 0
    assert "perfectly even for every subset of the 3" in of_roster(few, 47, few).summary
    np.testing.assert_array_equal(tables[-1], build_with(of_roster(more, 47, more), few, 47))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of `table_roster` whose best trial is #1, as far as building needs one."""
    folder = tmp_path / "runs" / "table_roster" / "mine"
    tables = RankingTables(RankingOptions(size=5, backends=3))
    learned.save(folder / "trials" / "00001", "rankings", {"size": 5, "backends": 3}, tables.state_dict(), {})
    (folder / "run.json").write_text(json.dumps({"best_trial": 1}))
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    return folder


def test_rankings_of_a_run_serve_a_roster_of_ones_own(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roster").write_text("a:1\nb:1\nc:1\n")
    (tmp_path / "some").write_text("c:1\nb:1\n")
    command = ["table", "build", "--roster", "roster", "--backends", "some"]
    for rankings in ("mine", "mine#1"):
        options = ["--rankings", rankings, "--size", "5", "--out", "table.json", "--force"]
        assert status_of([*command, *options]) == 0
        # All rankings are of the same order, so every table has one owner: with two or three present that is uneven.
        assert "for 4 of 7 subsets of the 3: loads differ by 2.9 on average and by 5 at most" in capsys.readouterr().out
        assert len(set(json.loads((tmp_path / "table.json").read_text())["entries"])) == 1
    assert status_of([*command, "--rankings", "mine", "--size", "6", "--out", "other.json"]) == 2
    assert "the size of these rankings, 5, but got 6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rankings", "said"),
    [("47-99", "did you mean '47-9'"), ("", "expected a run"), ("mine#7", "expected a trial"), ("nine", "mine")],
)
def test_rankings_that_there_are_not_are_answered_with_those_there_are(run, rankings, said):
    with pytest.raises(RequestError, match=f"(?i){said}"):
        of_roster(ROSTER[:3], 5, [], rankings)


def test_a_run_without_rankings_is_refused(run):
    learned.save(run / "trials" / "00001", "capped", {"size": 5}, CappedTables(CappedOptions(size=5)).state_dict(), {})
    with pytest.raises(RequestError, match="expected a run of table_roster"):
        of_roster(ROSTER[:3], 5, [], "mine")


def test_rankings_that_come_with_the_lab_can_be_pinned():
    """A roster of six is served by those for seven, if they are named."""
    assert of_roster(ROSTER[:6], 47, [], "47-7").name == "rankings:47-7"
    assert of_roster(ROSTER[:6], 47, [], "rankings:47-7").name == "rankings:47-7", "as a table file has it"
    assert of_roster(ROSTER[:6], 47, []).name == "rankings:47-6"


def test_what_a_roster_is_served_by_does_not_change():
    """Instances of one release build one table: rankings that are added later must not take a roster over."""
    served = {size: [name for name in preset_names() if name.startswith(f"{size}-")] for size in (47, 307)}
    assert served == {
        47: [f"47-{n}" for n in (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 20, 24, 32, 47)],
        307: [f"307-{n}" for n in (8, 16, 32, 50)],
    }
    assert rankings_folder(47, 14) == rankings_folder(47, 16)


def test_rankings_of_before_are_read_and_new_ones_take_a_byte_each(tmp_path):
    tables = RankingTables(RankingOptions(size=5, backends=3))
    state = dict(tables.state_dict())
    assert state["rankings"].dtype == torch.uint8
    for dtype in (torch.uint8, torch.int64):
        tables.load_state_dict({**state, "rankings": state["rankings"].to(dtype)})
        assert tables.rankings.dtype == np.int64


def build(tmp_path, monkeypatch, capsys, *options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roster").write_text("\n".join(ROSTER))
    (tmp_path / "some").write_text("\n".join(ROSTER[:3]))
    command = ["table", "build", "--size", "47", "--backends", "some", "--out", "table.json", *options]
    return status_of(command), capsys.readouterr()


def status_of(command):
    with pytest.raises(SystemExit) as ended:
        run_cli(cli, command)
    return ended.value.code


def test_a_person_builds_a_table_of_a_roster_and_reads_it_back(tmp_path, monkeypatch, capsys):
    status, said = build(tmp_path, monkeypatch, capsys, "--roster", "roster")
    assert status == 0
    assert "rankings:47-7@1, 47 entries, 3 backends" in said.out
    assert "perfectly even for every subset of the 7" in said.out
    assert status_of(["table", "diff", "table.json", "table.json"]) == 0


def test_rankings_of_eight_are_not_presented_as_perfectly_even(tmp_path, monkeypatch, capsys):
    roster = [*ROSTER, "10.0.0.7:80"]
    (tmp_path / "eight").write_text("\n".join(roster))
    status, said = build(tmp_path, monkeypatch, capsys, "--roster", "eight")
    assert status == 0
    assert (
        "not perfectly even for 1 of 255 subsets of the 8: loads differ by 1.0 on average and by 3 at most" in said.out
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "an algorithm or a roster, but got neither"),
        (("--roster", "roster", "--algorithm", "maglev"), "got both"),
        (("--algorithm", "maglev", "--rankings", "47-7"), "expected a roster with rankings"),
    ],
    ids=["neither", "both", "rankings alone"],
)
def test_a_roster_or_an_algorithm_is_asked_for(tmp_path, monkeypatch, capsys, options, said):
    status, printed = build(tmp_path, monkeypatch, capsys, *options)
    assert status == 2
    assert said in printed.err
    assert not (tmp_path / "table.json").exists()

"""A fleet over time: what is painted red is what moved needlessly, and a wrong request leaves no file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from envs.scoring import transition_scores
from lab.cli import cli
from lab.console import run_cli
from lab.table_animation import FORMATS, MOST_BACKENDS, Fleet, animate, follow, keys_of, summary
from lab.tables import build

SIDES = {"maglev": "maglev", "learned": "learned"}
RED = (179, 0, 27)


@pytest.fixture(scope="module")
def fleet():
    return Fleet.of(keys_of(None, 5), steps=8)


@pytest.fixture(scope="module")
def moves(fleet):
    return follow(fleet, SIDES, 47)


@pytest.mark.parametrize(("n", "steps"), [(2, 7), (5, 12), (MOST_BACKENDS, 20)])
def test_one_backend_leaves_or_comes_back_at_a_time_and_one_always_stays(n, steps):
    fleet = Fleet.of(keys_of(None, n), steps, seed=3)
    assert fleet.present.shape == (steps + 1, n)
    assert fleet.present[0].all()
    assert (np.abs(np.diff(fleet.present.astype(int), axis=0)).sum(axis=1) == 1).all()
    assert (fleet.present.sum(axis=1) >= max(1, n - 3)).all()
    assert any("comes back" in fleet.event(step) for step in range(1, steps + 1))


def test_the_tables_are_those_of_the_present_backends_and_red_is_their_excess(fleet, moves):
    maglev = moves[0]
    for step, here in enumerate(fleet.present):
        keys = [key for key, there in zip(fleet.keys, here, strict=True) if there]
        served = [keys[entry] for entry in build("maglev", keys, 47)]
        assert [fleet.keys[owner] for owner in maglev.tables[step]] == served
    scores = transition_scores(maglev.tables[:-1], maglev.tables[1:], fleet.present[:-1], fleet.present[1:])
    np.testing.assert_allclose(maglev.needless[1:].mean(axis=1), scores.excess)
    np.testing.assert_allclose(maglev.forced[1:].mean(axis=1), scores.forced)
    assert not maglev.needless[0].any()
    assert f"maglev {maglev.needless.sum()}, " in summary(moves)
    assert "of 8 × 47 entries" in summary(moves)


@pytest.mark.parametrize("form", FORMATS.values())
def test_a_file_has_a_picture_a_step_and_is_the_same_again(fleet, moves, form, tmp_path):
    drawn = animate(fleet, moves, form)
    assert drawn == animate(fleet, moves, form)
    (tmp_path / "fleet").write_bytes(drawn)
    image = Image.open(tmp_path / "fleet")
    assert image.n_frames == 9


def test_a_step_with_more_needless_moves_is_redder(fleet, moves, tmp_path):
    (tmp_path / "fleet.webp").write_bytes(animate(fleet, moves, "WEBP", narrow=True))
    image = Image.open(tmp_path / "fleet.webp")
    assert image.height > image.width

    def red(step):
        image.seek(step)
        return (np.asarray(image.convert("RGB")) == RED).all(axis=-1).sum()

    worst = int(sum(each.needless.sum(axis=1) for each in moves).argmax())
    assert red(worst) > 2 * red(0)


def test_the_verb_writes_the_file_and_says_what_moved(tmp_path, capsys):
    backends, out = tmp_path / "backends.txt", tmp_path / "fleet.gif"
    backends.write_text("a\nb\nc\n")
    arguments = ["table", "animate", "--backends", str(backends), "--steps", "4", "--out", str(out), "--json"]
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, arguments)
    assert caught.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["needless"].keys() == SIDES.keys()
    with Image.open(out) as image:
        assert image.n_frames == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "fleet.png"], "unknown ending"),
        (["--out", "there.gif"], "--force"),
        (["--n", "1"], "expected 2 to 16 backends"),
        (["--n", "17"], "expected 2 to 16 backends"),
        (["--n", "3", "--backends", "weighted"], "but got both"),
        (["--backends", "weighted"], "without weights"),
        (["--backends", "nowhere"], "no such file"),
        (["--size", "2000"], "expected 1 to 1024 entries"),
        (["--steps", "0"], "steps"),
        (["--algorithm", "maglev"], "two algorithms"),
        (["--algorithm", "maglev", "--algorithm", "maglev"], "two algorithms"),
        (["--algorithm", "maglv", "--algorithm", "learned"], "Did you mean 'maglev'"),
        (["--algorithm", "stateful-optimum", "--algorithm", "learned"], "expected a stateless builder"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_no_file(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weighted").write_text("a 1\nb 2\n")
    (tmp_path / "there.gif").write_text("mine")
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, ["table", "animate", "--out", "fleet.gif", *arguments])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.gif", "weighted"]
    assert (tmp_path / "there.gif").read_text() == "mine"

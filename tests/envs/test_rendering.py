"""Frames say what moved and what had to, in text and in pixels."""

from __future__ import annotations

import re
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from envs.lookup_table import LookupTableEnv, LookupTableVectorEnv
from envs.rendering import EXCESS, FORCED, KEPT, YET_TO_COME, Frame

SMALL = {"size": 7, "scenario": {"n_before": (2, 6), "n_after": (1, 6)}}


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_moves_are_told_apart() -> None:
    tables = np.array([[0, 1, 0, 2, 0, -1, 1], [0, 0, 1, 3, -1, -1, -1]], dtype=np.int32)
    before, after = np.array([True, True, True, False]), np.array([True, True, False, True])
    frame = Frame(["a", "b", "c", "d"], before, after, tables, np.arange(7) < np.array([[7], [6]]))
    assert frame.moves.tolist() == [KEPT, EXCESS, EXCESS, FORCED, EXCESS, KEPT, YET_TO_COME]
    assert "4 of 7 entries moved: 1 had to" in frame.headline
    assert "two even tables move at least 2" in frame.headline
    assert [frame.fate(column) for column in range(4)] == [
        "stays, 3 -> 2",
        "stays, 2 -> 1",
        "leaves, had 1",
        "joins, has 1",
    ]


def test_ansi_shows_both_tables_as_they_grow() -> None:
    env = gym.make("envs:LookupTable-v0", render_mode="ansi", validity="penalty", max_backends=7, **SMALL)
    observation, _ = env.reset(seed=0)
    assert "0 of 7 entries given" in plain(env.render())
    env.step(6)  # absent: nobody's
    for _ in range(7):
        observation = env.step(observation["action_mask"].argmax())[0]
    text = plain(env.render())
    assert re.search(r"^ before !\w+$", text, re.MULTILINE)
    assert "after: " in text
    assert ", 1 of 7 entries given" in text


@pytest.mark.parametrize("size", [7, 131])
def test_rgb_frames_change_with_the_tables(size: int) -> None:
    env = LookupTableEnv(size=size, scenario={"n_before": (3, 5), "n_after": (2, 4)}, render_mode="rgb_array")
    observation, _ = env.reset(seed=1)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    env.step(observation["action_mask"].argmax())
    assert not np.array_equal(first, env.render())


def test_the_vector_renders_a_frame_for_each_table() -> None:
    env = LookupTableVectorEnv(num_envs=2, render_mode="ansi", **SMALL)
    observation, _ = env.reset(seed=0)
    for _ in range(9):
        observation, *_ = env.step(observation["action_mask"].argmax(axis=1))
    frames = env.render()
    assert frames is not None
    assert len(frames) == 2
    assert all("2 of 7 entries given" in plain(frame) for frame in frames)
    single = LookupTableEnv(render_mode="ansi", **SMALL)
    assert env.scenarios is not None
    observation, _ = single.reset(options={"scenarios": env.scenarios.select(0)})
    for _ in range(9):
        observation = single.step(observation["action_mask"].argmax())[0]
    assert single.render() == frames[0]


def test_without_matplotlib_pixels_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    env = LookupTableEnv(render_mode="rgb_array", **SMALL)
    env.reset(seed=0)
    with pytest.raises(DependencyNotInstalled, match="matplotlib"):
        env.render()


def test_rendering_without_a_mode_warns() -> None:
    env = LookupTableEnv(**SMALL)
    env.reset(seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert env.render() is None
    assert "render_mode" in str(caught[0].message)

"""The environments as somebody finds them who has installed the package and works in a folder of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

SINGLE = """
import gymnasium as gym
env = gym.make({name!r})
observation, info = env.reset(seed=0)
assert env.observation_space.contains(observation)
env.action_space.seed(0)
observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
assert env.observation_space.contains(observation)
env.close()
"""

VECTOR = """
import gymnasium as gym
envs = gym.make_vec({name!r}, num_envs=3, vectorization_mode="vector_entry_point")
observation, info = envs.reset(seed=0)
assert envs.observation_space.contains(observation)
observation, reward, terminated, truncated, info = envs.step(observation["action_mask"].argmax(axis=1))
assert envs.observation_space.contains(observation)
assert reward.shape == terminated.shape == truncated.shape == (3,)
envs.close()
"""


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (SINGLE, "envs:LookupTable-v0"),
        (SINGLE, "envs:LookupTableOneShot-v0"),
        (VECTOR, "envs:LookupTable-v0"),
    ],
    ids=["single", "one-shot", "vector"],
)
def test_gymnasium_finds_them_from_any_folder_without_a_warning(script: str, name: str, tmp_path: Path) -> None:
    """The id alone is enough: no import before it, no working directory, nothing to silence."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script.format(name=name)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
@pytest.mark.parametrize("name", ["envs:LookupTable-v0", "envs:LookupTableOneShot-v0"])
@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_is_content_with_its_frames(name: str, render_mode: str) -> None:
    """At the size that a person gets who sets nothing, rendering checked."""
    env = gym.make(name, render_mode=render_mode)
    assert set(env.metadata["render_modes"]) == {"ansi", "rgb_array"}
    check_env(env.unwrapped)
    env.close()

"""LookupTableOneShot-v0: the same task in one step, and a stateless policy can tell its halves apart."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs.errors import RequestError
from envs.lookup_table import LookupTableEnv
from envs.one_shot import LookupTableOneShotEnv
from envs.scenarios import ScenarioBatch, sample_batch, stream

SMALL = {"size": 7, "scenario": {"n_before": (2, 6), "n_after": (1, 6)}}


def half_of(observation: dict[str, np.ndarray], half: str) -> np.ndarray:
    """A stateless policy: each entry goes to the present slot with the best stratified score, one set at a time."""
    mask = observation[f"{half}_mask"]
    return np.where(mask[:, None] == 1, observation[f"{half}_scores"].reshape(len(mask), -1), -1).argmax(axis=0)


def act(observation: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([half_of(observation, "before"), half_of(observation, "after")])


@pytest.mark.parametrize(
    "options", [{}, {"features": "offsets"}, {"features": "hashes"}, {"universe": "roster", "roster": 5}]
)
@pytest.mark.filterwarnings("error")
def test_both_checkers_are_content(options: dict[str, Any]) -> None:
    check_env(gym.make("envs:LookupTableOneShot-v0", **SMALL, **options).unwrapped, skip_render_check=True)
    sb3_check_env(gym.make("envs:LookupTableOneShot-v0", **SMALL, **options).unwrapped, warn=True)


def test_a_half_is_computed_from_its_own_set_alone() -> None:
    """The other half's set may swap places with it, change or shrink: this half stays the same to the bit."""
    env = LookupTableOneShotEnv(**SMALL)
    scenarios = sample_batch(env.task.config, 40, stream("test", 30))
    rng = np.random.default_rng(0)
    for row in range(40):
        scenario = scenarios.select(row)
        seen, _ = env.reset(options={"scenarios": scenario})
        tables = act(seen).reshape(2, -1)

        swapped = ScenarioBatch(scenario.hashes, scenario.after, scenario.before, scenario.ids, scenario.size)
        other, _ = env.reset(options={"scenarios": swapped})
        np.testing.assert_array_equal(act(other).reshape(2, -1), tables[::-1])
        for name in ("", "_mask", "_scores"):
            np.testing.assert_array_equal(seen[f"before{name}"], other[f"after{name}"])
            np.testing.assert_array_equal(seen[f"after{name}"], other[f"before{name}"])

        union = np.flatnonzero(scenario.before[0] | scenario.after[0])
        altered = np.zeros_like(scenario.after)
        altered[0, rng.choice(union, size=rng.integers(1, len(union) + 1), replace=False)] = True
        changed = ScenarioBatch(scenario.hashes, scenario.before, altered, scenario.ids, scenario.size)
        other, _ = env.reset(options={"scenarios": changed})
        np.testing.assert_array_equal(act(other).reshape(2, -1)[0], tables[0])


@pytest.mark.parametrize("options", [{}, {"universe": "roster", "roster": 5}])
def test_it_pays_what_the_sequential_environment_pays(options: dict[str, Any]) -> None:
    weights = {"w_evenness": 0.5, "w_stability": 2.0, "w_validity": 3.0}
    once = LookupTableOneShotEnv(**SMALL, **weights, **options)
    steps = LookupTableEnv(**SMALL, **weights, **options, balance="reward", validity="penalty")
    once.action_space.seed(0)
    for seed in range(20):
        once.reset(seed=seed)
        action = once.action_space.sample()
        _, reward, terminated, truncated, info = once.step(action)
        assert (terminated, truncated) == (True, False)
        steps.reset(options={"scenarios": once.scenario})
        total = 0.0
        for slot in action:
            _, paid, _, _, last = steps.step(slot)
            total += paid
        assert reward == pytest.approx(total, abs=1e-6)
        np.testing.assert_array_equal(once.tables, steps.tables)
        assert info == last


def test_wrong_requests_are_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match="unknown argument of the one-shot environment 'balance'"):
        LookupTableOneShotEnv(balance="mask")
    with pytest.raises(RequestError, match="Did you mean 'features'"):
        LookupTableOneShotEnv(feature="all")
    env = LookupTableOneShotEnv(**SMALL)
    with pytest.raises(ResetNeeded):
        env.step(env.action_space.sample())
    with pytest.raises(ResetNeeded):
        env.render()
    env.reset(seed=0)
    for action in (np.full(14, 6), np.zeros(13, dtype=int), np.zeros(14), 3):
        with pytest.raises(RequestError, match="14 slots"):
            env.step(action)  # type: ignore[arg-type]
    env.step(env.action_space.sample())
    with pytest.raises(ResetNeeded):
        env.step(env.action_space.sample())


def test_it_renders_both_tables() -> None:
    env = LookupTableOneShotEnv(**SMALL, render_mode="ansi")
    env.reset(seed=0)
    assert "before: " in env.render()
    env.step(env.action_space.sample())
    assert "7 of 7 entries given" in env.render()

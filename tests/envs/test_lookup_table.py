"""LookupTable-v0: one table as the issue says, N tables equal to N single ones, step by step."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs.errors import RequestError
from envs.features import FEATURES, feature_names
from envs.lookup_table import LookupTableEnv, LookupTableVectorEnv
from envs.scenarios import ScenarioBatch, ScenarioConfig, churn_batch, sample_batch, stream
from envs.scoring import table_scores, transition_scores
from envs.task import PRIVILEGED

SMALL = {"size": 7, "scenario": {"n_before": (2, 6), "n_after": (1, 6)}}
VARIANTS = [
    {},
    {"information": "stateful"},
    {"balance": "reward"},
    {"validity": "penalty"},
    {"reward": "terminal", "w_evenness": 0.5, "w_stability": 2.0, "w_validity": 3.0},
    {"balance": "reward", "validity": "penalty", "information": "stateful", "reward": "dense", "max_backends": 9},
    {"features": "offsets"},
    {"features": "hashes", "information": "stateful"},
    {"order": "pairs"},
    {"order": "pairs", "information": "stateful", "validity": "penalty", "max_backends": 9},
    {"order": "pairs", "balance": "reward", "validity": "penalty", "features": "offsets", "reward": "terminal"},
    {"order": "pairs", "universe": "roster", "roster": 5, "features": "hashes"},
    {"universe": "roster", "roster": 5},
    {"universe": "roster", "roster": 5, "validity": "penalty", "balance": "reward", "information": "stateful"},
]


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def legal(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random legal slot of each row."""
    return (mask * rng.uniform(0.1, 1.0, mask.shape)).argmax(axis=-1)


def play(
    env: LookupTableEnv, rng: np.random.Generator, obey: float = 1.0, **reset: Any
) -> tuple[float, dict[str, Any]]:
    observation, _ = env.reset(**reset)
    total, done, info = 0.0, False, {}
    while not done:
        action = legal(observation["action_mask"], rng) if rng.random() < obey else env.action_space.sample()
        observation, reward, done, truncated, info = env.step(action)
        assert not truncated
        total += reward
    return total, info


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: ",".join(map(str, variant.values())) or "default")
def test_n_tables_equal_n_single_ones(variant: dict[str, Any]) -> None:
    options = {**SMALL, **variant}
    count = 5
    many = LookupTableVectorEnv(num_envs=count, **options)
    singles = [LookupTableEnv(**options) for _ in range(count)]
    rng = np.random.default_rng(1)
    observation, _ = many.reset(seed=3)
    for _ in range(2):  # two episodes: the second begins by autoreset
        scenarios = many.scenarios
        assert scenarios is not None
        firsts = [env.reset(options={"scenarios": scenarios.select(i)})[0] for i, env in enumerate(singles)]
        for i, first in enumerate(firsts):
            assert_same({name: values[i] for name, values in observation.items()}, first)
        for _ in range(14):
            obey = rng.random(count) < 0.8
            actions = np.where(obey, legal(observation["action_mask"], rng), rng.integers(many.task.slots, size=count))
            observation, rewards, terminated, truncated, infos = many.step(actions)
            for i, env in enumerate(singles):
                seen, reward, done, cut, info = env.step(actions[i])
                assert_same({name: values[i] for name, values in observation.items()}, seen)
                assert rewards[i] == pytest.approx(reward, abs=1e-12)
                assert (terminated[i], truncated[i]) == (done, cut)
                assert {name: values[i] for name, values in infos.items() if name[0] != "_"} == info
                assert many.single_observation_space.contains(seen)
        assert terminated.all()
        assert all(infos[f"_{name}"].all() for name in ("score", "excess"))
        observation, rewards, terminated, truncated, infos = many.step(actions)
        assert not rewards.any()
        assert not terminated.any()
        assert infos == {}


@given(
    seed=st.integers(0, 10**6),
    weights=st.tuples(*[st.floats(0, 10)] * 3),
    balance=st.sampled_from(["mask", "reward"]),
    validity=st.sampled_from(["mask", "penalty"]),
    obey=st.sampled_from([1.0, 0.7, 0.0]),
)
@settings(max_examples=40, deadline=None)
def test_the_return_is_the_score_dense_or_terminal(
    seed: int, weights: tuple[float, ...], balance: str, validity: str, obey: float
) -> None:
    names = dict(zip(("w_evenness", "w_stability", "w_validity"), weights, strict=True))
    returns = []
    for reward in ("dense", "terminal"):
        env = LookupTableEnv(**SMALL, **names, balance=balance, validity=validity, reward=reward)
        env.action_space.seed(seed)
        total, info = play(env, np.random.default_rng(seed), obey, seed=seed)
        assert env.scenario is not None
        first = table_scores(env.tables[:1], env.scenario.before)
        second = table_scores(env.tables[1:], env.scenario.after)
        moves = transition_scores(env.tables[:1], env.tables[1:], env.scenario.before, env.scenario.after)
        score = -(
            weights[0] * (first.imbalance[0] + second.imbalance[0]) / 2
            + weights[1] * moves.excess[0]
            + weights[2] * (first.invalid[0] + second.invalid[0]) / 2
        )
        assert total == pytest.approx(score, abs=1e-6)
        assert info["score"] == pytest.approx(score, abs=1e-6)
        returns.append(total)
    assert returns[0] == pytest.approx(returns[1], abs=1e-6)


def test_a_dense_reward_is_paid_where_it_is_earned() -> None:
    """An entry beyond the even load costs 1 / (2 size), a needless move 1 / size, and an invalid one 1 / (2 size)."""
    scenarios = churn_batch(4, 2, 1, stream("test", 20))
    stays = int(np.flatnonzero(scenarios.after[0])[0])
    env = LookupTableEnv(size=4, scenario={"n_before": (2, 2), "n_after": (1, 1)}, balance="reward", validity="penalty")
    env.reset(options={"scenarios": scenarios})
    rewards = [env.step(action)[1] for action in (stays, stays, stays, 1 - stays)]
    assert rewards == pytest.approx([0, 0, -1 / 8, 0])
    # Slot 1 is absent now: the stayer's entry becomes nobody's (excess and invalid), the leaver's had to move.
    rewards = [env.step(action)[1] for action in (0, 1, 0, 0)]
    assert rewards == pytest.approx([0, -1 / 4 - 1 / 8, 0, 0])


@pytest.mark.parametrize(
    "options", [{}, {"balance": "reward"}, {"validity": "penalty"}, {"universe": "roster", "roster": 6}]
)
def test_stateless_reads_the_present_set_alone(options: dict[str, Any]) -> None:
    """One set reached as before and as after, the same actions: the actor's observations are equal bit for bit."""
    env = LookupTableEnv(**SMALL, **options)
    rng = np.random.default_rng(2)
    for seed in range(10):
        env.reset(seed=seed)
        scenario = env.scenario
        assert scenario is not None
        swapped = ScenarioBatch(scenario.hashes, scenario.after, scenario.before, scenario.ids, scenario.size)
        seen: list[list[dict[str, np.ndarray]]] = []
        plan: list[int] = []
        for turn, batch in enumerate((scenario, swapped)):
            observation, _ = env.reset(options={"scenarios": batch})
            frames = []
            for step in range(14):
                if step // 7 == turn:
                    frames.append({name: values for name, values in observation.items() if name != "privileged"})
                if turn == 0 and step < 7:
                    plan.append(int(legal(observation["action_mask"], rng)))
                other = int(legal(observation["action_mask"], rng))
                observation = env.step(plan[step % 7] if step // 7 == turn else other)[0]
            seen.append(frames)
        for left, right in zip(*seen, strict=True):
            assert_same(left, right)


def test_stateful_sees_the_table_in_force_and_stateless_does_not() -> None:
    env = LookupTableEnv(**SMALL, information="stateful")
    observation, _ = env.reset(seed=5)
    names = feature_names("all", "stateful")
    owned, was = names.index("owned_entry"), names.index("was_present")
    for step in range(14):
        backends = observation["backends"].reshape(-1, len(names))
        assert observation["globals"][-1] == (step >= 7)
        if step < 7:
            assert not backends[:, [owned, was]].any()
        else:
            assert env.scenario is not None
            columns = np.flatnonzero(env.scenario.after[0])
            former = env.tables[0, step - 7]
            assert backends[: len(columns), owned].tolist() == (columns == former).tolist()
            assert backends[: len(columns), was].tolist() == env.scenario.before[0, columns].tolist()
        observation = env.step(observation["action_mask"].argmax())[0]
    assert "owned_entry" not in FEATURES


def test_a_critic_may_see_phase_other_set_and_former_owner() -> None:
    env = LookupTableEnv(**SMALL)
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=8)
    for step in range(14):
        assert env.scenario is not None
        sets = [env.scenario.before[0], env.scenario.after[0]]
        present, other = (sets[0], sets[1]) if step < 7 else (sets[1], sets[0])
        heads, slots = len(PRIVILEGED), env.task.slots
        values = dict(zip(PRIVILEGED, observation["privileged"], strict=False))
        assert values["phase"] == (step >= 7)
        assert values["n_other"] == np.float32(other.sum() / slots)
        columns = np.flatnonzero(present)
        former = env.tables[0, step - 7] if step >= 7 else -1
        assert values["free"] == (former >= 0 and not sets[1][former])
        owner, in_other = observation["privileged"][heads:].reshape(2, slots)
        assert owner[: len(columns)].tolist() == (columns == former).tolist()
        assert in_other[: len(columns)].tolist() == other[columns].tolist()
        observation = env.step(legal(observation["action_mask"], rng))[0]
    assert observation["privileged"][PRIVILEGED.index("excess")] == np.float32(
        env.task.final_scores(env.scenario, env.tables[:, None])["excess"][0]
    )


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_quotas_in_the_mask_make_exactly_even_tables(seed: int) -> None:
    env = LookupTableVectorEnv(num_envs=6, size=11, scenario={"n_before": (1, 11), "n_after": (1, 11)})
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(22):
        assert observation["action_mask"].any(axis=1).all()
        observation, _, _, _, info = env.step(legal(observation["action_mask"], rng))
    assert not info["imbalance"].any()
    assert not info["invalid"].any()
    assert (info["changed"] >= info["optimum"] - 1e-12).all()


def test_one_backend_has_one_legal_action() -> None:
    env = LookupTableEnv(size=5, scenario={"n_before": (1, 1), "n_after": (2, 2)})
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        assert observation["action_mask"].tolist() == [1, 0]
        observation = env.step(0)[0]
    assert observation["action_mask"].tolist() == [1, 1]


def test_an_illegal_action_leaves_the_entry_without_a_backend() -> None:
    env = LookupTableEnv(size=5, scenario={"n_before": (1, 1), "n_after": (2, 2)}, w_evenness=0, w_stability=0)
    env.reset(seed=0)
    _, reward, _, _, _ = env.step(1)
    assert env.tables[0, 0] == -1
    assert reward == pytest.approx(-1 / 10)


def test_a_scenario_without_a_legal_action_is_refused() -> None:
    scenarios = churn_batch(7, 2, 1, stream("test", 21))
    empty = ScenarioBatch(scenarios.hashes, scenarios.before, np.zeros((1, 2), dtype=bool), scenarios.ids, 7)
    for env in (LookupTableEnv(**SMALL), LookupTableVectorEnv(**SMALL)):
        with pytest.raises(RequestError, match="legal action"):
            env.reset(options={"scenarios": empty})


@pytest.mark.parametrize("variant", VARIANTS[:6] + VARIANTS[8:])
@pytest.mark.filterwarnings("error")
def test_both_checkers_are_content(variant: dict[str, Any]) -> None:
    options = {**SMALL, **variant}
    check_env(gym.make("envs:LookupTable-v0", **options).unwrapped, skip_render_check=True)
    sb3_check_env(gym.make("envs:LookupTable-v0", **options).unwrapped, warn=True)


def test_gymnasium_makes_both() -> None:
    env = gym.make("envs:LookupTable-v0", **SMALL)
    observation, _ = env.reset(seed=0)
    assert observation["action_mask"].dtype == np.int8
    assert env.action_space.contains(env.action_space.sample(mask=observation["action_mask"]))
    many = gym.make_vec("envs:LookupTable-v0", num_envs=3, vectorization_mode="vector_entry_point", **SMALL)
    assert isinstance(many, LookupTableVectorEnv)
    assert many.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observation, _ = many.reset(seed=0)
    assert many.observation_space.contains(observation)
    for _ in range(40):
        observation, *_ = many.step(many.action_space.sample())
        assert many.observation_space.contains(observation)


def test_gymnasiums_own_vectors_of_single_ones_work_too() -> None:
    many = gym.make_vec("envs:LookupTable-v0", num_envs=2, vectorization_mode="sync", **SMALL)
    many.reset(seed=0)
    for _ in range(30):
        *_, info = many.step(many.action_space.sample())
        if info:
            assert info["excess"].shape == (2,)


def test_a_seed_repeats_everything_and_purposes_never_meet() -> None:
    def rollout(seed: int | None, **options: Any) -> np.ndarray:
        env = LookupTableVectorEnv(num_envs=3, **SMALL, **options)
        observation, _ = env.reset(seed=seed)
        frames = [observation["backends"]]
        for _ in range(20):  # beyond the first episode
            observation, *_ = env.step(observation["action_mask"].argmax(axis=1))
            frames.append(observation["backends"])
        return np.stack(frames)

    np.testing.assert_array_equal(rollout(4), rollout(4))
    rollouts = [
        rollout(4),
        rollout(5),
        rollout(None),
        rollout(None),
        rollout(4, purpose="validation"),
        rollout(4, purpose="test"),
    ]
    for left, right in itertools.combinations(rollouts, 2):
        assert not np.array_equal(left[0], right[0])


def test_only_the_first_reset_needs_a_seed() -> None:
    env = LookupTableEnv(**SMALL)
    env.reset(seed=1)
    env.reset()
    assert env.scenario is not None
    second = env.scenario.ids.copy()
    env.reset(seed=1)
    assert not np.array_equal(env.scenario.ids, second)
    env.reset()
    np.testing.assert_array_equal(env.scenario.ids, second)


def test_observations_are_never_reused() -> None:
    """A re-used buffer would corrupt stored episodes in silence."""
    env = LookupTableVectorEnv(num_envs=2, **SMALL)
    observation, _ = env.reset(seed=0)
    kept, copies = [], []
    for _ in range(16):
        kept.append(observation)
        copies.append({name: values.copy() for name, values in observation.items()})
        observation, *_ = env.step(observation["action_mask"].argmax(axis=1))
    for frame, copy in zip(kept, copies, strict=True):
        assert_same(frame, copy)
    for left, right in itertools.combinations(kept, 2):
        assert not any(np.shares_memory(left[name], right[name]) for name in left)


def test_default_options_are_the_notebooks() -> None:
    env = LookupTableEnv()
    assert env.task.config == ScenarioConfig()
    assert env.action_space.n == 47
    assert env.observation_space["backends"].shape == (47 * len(FEATURES),)
    assert env.observation_space["privileged"].shape == (7 + 2 * 47,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gym.make("envs:LookupTable-v0").reset(seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"balanse": "mask"}, "Did you mean 'balance'"),
        ({"balance": "masks"}, "Did you mean 'mask'"),
        ({"validity": "penalti"}, "Did you mean 'penalty'"),
        ({"reward": "sparse"}, "unknown reward 'sparse'"),
        ({"information": "statefull"}, "Did you mean 'stateful'"),
        ({"universe": "any"}, "Did you mean 'any-hash'"),
        ({"features": "offset"}, "Did you mean 'offsets'"),
        ({"purpose": "training"}, "Did you mean 'train'"),
        ({"render_mode": "human"}, "unknown render mode"),
        ({"w_evenness": -1.0}, "w_evenness"),
        ({"w_stability": float("nan")}, "w_stability"),
        ({"w_validity": "1"}, "w_validity"),
        ({"size": 1}, "no scenario satisfies"),
        ({"size": "7"}, "size"),
        ({"size": 7, "scenario": ScenarioConfig(size=11)}, "scenario's, 11"),
        ({"scenario": {"n_befor": (1, 2)}}, "Did you mean 'n_before'"),
        ({"scenario": 3}, "ScenarioConfig or a mapping"),
        ({"scenario": {"n_before": (3, 3), "n_after": (3, 3)}}, "no scenario satisfies"),
        ({"universe": "roster"}, "needs a roster"),
        ({"roster": 5}, 'universe="roster"'),
        ({"universe": "roster", "roster": "abc"}, "list of UUIDs"),
        ({"universe": "roster", "roster": ["10.0.0.1:80"]}, "must be a UUID"),
        ({"universe": "roster", "roster": 0}, "n must be"),
        ({"universe": "roster", "roster": 2}, "fits in a roster"),
        ({"universe": "roster", "roster": 5, "max_backends": 6}, "max_backends"),
        ({"max_backends": 3}, "max_backends"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    for kind in (LookupTableEnv, LookupTableVectorEnv):
        with pytest.raises(RequestError, match=message) as caught:
            kind(**options)
        assert "\n" not in str(caught.value)


def test_wrong_calls_are_refused_in_one_line() -> None:
    single, many = LookupTableEnv(**SMALL), LookupTableVectorEnv(num_envs=2, **SMALL)
    for env, action in ((single, 0), (many, np.array([0, 0]))):
        with pytest.raises(ResetNeeded):
            env.step(action)
        with pytest.raises(ResetNeeded):
            env.render()
        env.reset(seed=0)
        wrong = sample_batch(ScenarioConfig(size=11), 2, stream("test", 0))
        for options in ({"scenario": wrong}, {"scenarios": wrong}, {"scenarios": 3}):
            with pytest.raises(RequestError):
                env.reset(options=options)
    for action in (-1, 6, 0.5, "0"):
        with pytest.raises(RequestError, match="slot"):
            single.step(action)  # type: ignore[arg-type]
    for actions in (np.array([0, 6]), np.array([-1, 0]), np.array([0]), np.array([0.0, 1.0])):
        with pytest.raises(RequestError, match="actions must be"):
            many.step(actions)
    with pytest.raises(RequestError, match="num_envs"):
        LookupTableVectorEnv(num_envs=0)
    play(single, np.random.default_rng(0), seed=0)
    with pytest.raises(ResetNeeded):
        single.step(0)

"""What all contenders are told, and what each says of the time that it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lab.tables.policy_networks import PolicyOptions

if TYPE_CHECKING:
    from lab.tasks.table_ppo import TablePpoConfig

__all__ = ["Clock", "Setting", "Spent", "clock_of", "timed"]

Clock = Literal["wall", "cpu"]


@dataclass(frozen=True)
class Setting:
    """A `TablePpoConfig` without what it imports: a contender without Ray has no Ray in its memory.

    Attributes:
        fields: the config's, for the contenders that are RLlib's.
        env: arguments of `LookupTable-v0`.
        policy: the policy network.
        critic_width: units of a hidden layer of the critic.
        seed: of weights, scenarios and exploration.
        envs: tables stepped at once.
        size: entries of a table; there are as many slots.
        steps: of an episode, and of a rollout.
        minibatch: rows of a gradient step.
        epochs: passes over a rollout.
        learning_rate: of Adam, constant.
        gamma, gae_lambda, clip, entropy, value_coef, grad_clip: PPO's.
    """

    fields: Mapping[str, Any]
    env: Mapping[str, Any]
    policy: PolicyOptions
    critic_width: int
    seed: int
    envs: int
    size: int
    steps: int
    minibatch: int
    epochs: int
    learning_rate: float
    gamma: float
    gae_lambda: float
    clip: float
    entropy: float
    value_coef: float
    grad_clip: float

    @classmethod
    def of(cls, config: TablePpoConfig) -> Setting:
        """The setting of a config whose schedules are constant."""
        same = ("critic_width", "seed", "envs", "size", "minibatch", "epochs", "learning_rate")
        same += ("gamma", "gae_lambda", "clip", "entropy", "value_coef", "grad_clip")
        return cls(
            fields=config.model_dump(mode="json"),
            env=config.env_kwargs,
            policy=config.policy.policy,
            steps=config.batch // config.envs,
            **{name: getattr(config, name) for name in same},
        )

    @property
    def batch(self) -> int:
        """Environment steps of an iteration."""
        return self.envs * self.steps


@dataclass
class Spent:
    """Seconds of some iterations.

    Attributes:
        iterations: how many.
        total: from the first one's beginning to the last one's end.
        parts: `sampling` (environment, forward, draw, storing) and `learning` (values, advantages, gradient steps).
    """

    iterations: int
    total: float = 0.0
    parts: dict[str, float] = field(default_factory=lambda: {"sampling": 0.0, "learning": 0.0})


def clock_of(kind: Clock) -> Callable[[], float]:
    """Seconds of the wall, or of this process on any core."""
    return time.perf_counter if kind == "wall" else time.process_time


def timed(work: Callable[..., Any], clock: Callable[[], float], spent: Spent, part: str) -> Callable[..., Any]:
    """The same function; its seconds count as a part of what is spent."""

    def call(*args: Any, **kwargs: Any) -> Any:
        started = clock()
        result = work(*args, **kwargs)
        spent.parts[part] += clock() - started
        return result

    return call

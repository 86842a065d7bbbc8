"""What a PPO training of the sequential table is told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from envs.features import Balance, FeatureGroups, Validity
from envs.scenarios import ScenarioConfig
from lab.config import Config
from lab.tables.policy_networks import Network
from lab.tables.sequential import SequentialOptions, stateless_options

__all__ = ["VALIDATION_SIZE", "TablePpoConfig"]

VALIDATION_SIZE = 47
"""Entries of the tables of `scenarios-47`, whose distribution the validation scenarios have."""


class TablePpoConfig(Config):
    """PPO (Schulman et al., 2017) on `LookupTable-v0`, any-hash universe, stateless.

    An iteration plays one episode, two tables of `size` entries, in each of `envs` environments, and learns from it.

    Attributes:
        seed: of the weights, the scenarios and the exploration.
        iterations: how many.
        device: where the learner computes; environments run on the CPU.
        threads: of torch, in the process of the learner.
        size: entries of the tables trained on; validation is always at 47.
        max_delta: the largest difference of the two sets trained on, in backends.
        features: what the policy reads of a backend's hashes (`envs.features`).
        balance: `mask` puts the quotas into the action mask, so tables are exactly even; `reward` pays for evenness.
        validity: `mask` forbids absent backends, `penalty` pays for them.
        reward: `dense` pays each step, `terminal` at the last one.
        w_evenness: weight of the mean imbalance of the two tables.
        w_stability: weight of the excess.
        w_validity: weight of the mean invalid share.
        network: `pointer` (weights shared over backends) or `mlp` (at size 47 only, as validation is).
        width: units of a hidden layer of the policy.
        attention: heads of the pointer's attention over backends, 0 for none.
        sharpness: factor of the policy's scores: how much it prefers what it prefers before it has learned anything.
        critic_width: units of a hidden layer of the critic.
        envs: environments stepped at once, over all runners.
        env_runners: remote processes that sample; 0 samples in the process of the learner.
        minibatch: observations of one gradient step.
        epochs: passes over an iteration's observations.
        lr: Adam's first learning rate; it falls linearly to `lr_final`.
        lr_final: learning rate at the last iteration.
        gamma: discount. The score is the undiscounted return; a smaller one trades some of it for far less variance.
        gae_lambda: of generalised advantage estimation (Schulman et al., 2016).
        clip: PPO's clip parameter.
        entropy: first weight of the entropy bonus; it falls linearly to `entropy_final`.
        entropy_final: weight of the entropy bonus at the last iteration.
        value_coef: weight of the value loss.
        grad_clip: largest global norm of a gradient.
        validate_every: iterations between two validations; the first and the last are always validated.
        validation_pairs: scenarios of a validation, the same for every trial.
        checkpoint_every: iterations between two checkpoints.
    """

    seed: int = Field(default=0, ge=0)
    iterations: int = Field(default=100, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1)
    size: int = Field(default=47, ge=2, le=1024)
    max_delta: int = Field(default=10, ge=1)
    features: FeatureGroups = "hashes"
    balance: Balance = "mask"
    validity: Validity = "mask"
    reward: Literal["dense", "terminal"] = "dense"
    w_evenness: float = Field(default=1.0, ge=0)
    w_stability: float = Field(default=1.0, ge=0)
    w_validity: float = Field(default=1.0, ge=0)
    network: Network = "pointer"
    width: int = Field(default=32, ge=1, le=1024)
    attention: int = Field(default=0, ge=0, le=16)
    sharpness: float = Field(default=8.0, gt=0, le=1000)
    critic_width: int = Field(default=64, ge=1, le=1024)
    envs: int = Field(default=64, ge=1)
    env_runners: int = Field(default=0, ge=0)
    minibatch: int = Field(default=1024, ge=1)
    epochs: int = Field(default=3, ge=1)
    lr: float = Field(default=1e-2, gt=0, le=1)
    lr_final: float = Field(default=1e-3, ge=0, le=1)
    gamma: float = Field(default=0.0, ge=0, le=1)
    gae_lambda: float = Field(default=0.0, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    entropy: float = Field(default=0.1, ge=0)
    entropy_final: float = Field(default=0.0, ge=0)
    value_coef: float = Field(default=0.5, ge=0)
    grad_clip: float = Field(default=0.5, gt=0)
    validate_every: int = Field(default=10, ge=1)
    validation_pairs: int = Field(default=512, ge=1)
    checkpoint_every: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> TablePpoConfig:
        if self.minibatch > self.batch:
            raise ValueError(f"minibatch must be at most envs * 2 * size = {self.batch}, but got {self.minibatch}")
        if self.env_runners and self.envs % self.env_runners:
            raise ValueError(f"envs must be a multiple of env_runners, but got {self.envs} and {self.env_runners}")
        if self.attention and self.width % self.attention:
            raise ValueError(f"width must be a multiple of attention, but got {self.width} and {self.attention}")
        if self.network == "mlp" and self.size != VALIDATION_SIZE:
            raise ValueError(f"size must be {VALIDATION_SIZE} with network mlp, but got {self.size}")
        return self

    @property
    def policy(self) -> SequentialOptions:
        """The policy that is trained."""
        return stateless_options(
            self.size,
            network=self.network,
            width=self.width,
            attention=self.attention,
            sharpness=self.sharpness,
            features=self.features,
            balance=self.balance,
            validity=self.validity,
        )

    @property
    def batch(self) -> int:
        """Environment steps of one iteration."""
        return self.envs * 2 * self.size

    @property
    def scenario(self) -> ScenarioConfig:
        """The scenarios trained on: the notebook's rule, at `size`."""
        return ScenarioConfig(
            size=self.size, n_before=(min(3, self.size), self.size), n_after=(1, self.size), max_delta=self.max_delta
        )

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of `LookupTable-v0`."""
        return {
            "size": self.size,
            "scenario": self.scenario,
            "features": self.features,
            "balance": self.balance,
            "validity": self.validity,
            "reward": self.reward,
            "w_evenness": self.w_evenness,
            "w_stability": self.w_stability,
            "w_validity": self.w_validity,
        }

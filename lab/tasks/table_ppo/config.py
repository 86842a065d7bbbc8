"""What a PPO training of the sequential table is told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from envs.features import Balance, FeatureGroups, Information, Order, Validity
from envs.scenarios import ScenarioConfig
from lab.config import Config
from lab.tables.policy_networks import Network
from lab.tables.sequential import SequentialOptions, sequential_options

__all__ = ["VALIDATION_SIZE", "SequentialConfig", "TablePpoConfig"]

VALIDATION_SIZE = 47
"""Entries of the tables of `scenarios-47`, whose distribution the validation scenarios have."""


class SequentialConfig(Config):
    """Reinforcement learning of a table on `LookupTable-v0`, any-hash universe: the environment and the policy.

    An iteration plays one episode, two tables of `size` entries, in each of `envs` environments, and learns from it.
    """

    seed: int = Field(default=0, ge=0, description="of the weights, the scenarios and the exploration")
    iterations: int = Field(default=100, ge=1, description="how many, each a rollout of `envs` episodes")
    device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="where the learner computes; environments run on the CPU"
    )
    threads: int = Field(default=1, ge=1, description="of torch, in the process of the learner")
    size: int = Field(
        default=47, ge=2, le=1024, description="entries of the tables trained on; validation is always at 47"
    )
    max_delta: int = Field(
        default=10, ge=1, description="the largest difference of the two sets trained on, in backends"
    )
    features: FeatureGroups = Field(
        default="hashes", description="what the policy reads of a backend's hashes (`envs.features`)"
    )
    balance: Balance = Field(
        default="mask",
        description="`mask` puts quotas into the action mask: exactly even tables; `reward` pays for evenness",
    )
    validity: Validity = Field(default="mask", description="`mask` forbids absent backends, `penalty` pays for them")
    order: Order = Field(
        default="entries", description="`entries` gives out entry 0 first; with `pairs` the policy chooses what is next"
    )
    information: Information = Field(
        default="stateless", description="`stateful` policies also read the table in force: shown, not ranked"
    )
    reward: Literal["dense", "terminal"] = Field(
        default="dense", description="`dense` pays each step, `terminal` at the last one"
    )
    w_evenness: float = Field(default=1.0, ge=0, description="weight of the mean imbalance of the two tables")
    w_stability: float = Field(default=1.0, ge=0, description="weight of the excess")
    w_validity: float = Field(default=1.0, ge=0, description="weight of the mean invalid share")
    network: Network = Field(
        default="pointer",
        description="`pointer` (weights shared over backends) or `mlp` (at size 47 only, as validation is)",
    )
    width: int = Field(default=32, ge=1, le=1024, description="units of a hidden layer of the policy")
    attention: int = Field(
        default=0, ge=0, le=16, description="heads of the pointer's attention over backends, 0 for none"
    )
    sharpness: float = Field(
        default=8.0,
        gt=0,
        le=1000,
        description="factor of the policy's scores: how firm its preferences are before it has learned any",
    )
    envs: int = Field(default=64, ge=1, description="environments stepped at once, over all runners")
    learning_rate: float = Field(
        default=1e-2, gt=0, le=1, description="Adam's first learning rate; it falls linearly to `learning_rate_final`"
    )
    learning_rate_final: float = Field(default=1e-3, ge=0, le=1, description="learning rate at the last iteration")
    gamma: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="discount. The score is the undiscounted return; a smaller one is biased, with far less variance",
    )
    grad_clip: float = Field(default=0.5, gt=0, description="largest global norm of a gradient")
    validate_every: int = Field(
        default=10, ge=1, description="iterations between two validations; the first and the last are always validated"
    )
    validation_pairs: int = Field(default=512, ge=1, description="scenarios of a validation, the same for every trial")
    checkpoint_every: int = Field(default=20, ge=1, description="iterations between two checkpoints")

    @model_validator(mode="after")
    def _policy_fits(self) -> SequentialConfig:
        if self.attention and self.width % self.attention:
            raise ValueError(f"width must be a multiple of attention, but got {self.width} and {self.attention}")
        if self.network == "mlp" and self.size != VALIDATION_SIZE:
            raise ValueError(f"size must be {VALIDATION_SIZE} with network mlp, but got {self.size}")
        return self

    @property
    def policy(self) -> SequentialOptions:
        """The policy that is trained."""
        return sequential_options(
            self.size,
            network=self.network,
            width=self.width,
            attention=self.attention,
            sharpness=self.sharpness,
            features=self.features,
            balance=self.balance,
            validity=self.validity,
            order=self.order,
            information=self.information,
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
            "order": self.order,
            "information": self.information,
            "reward": self.reward,
            "w_evenness": self.w_evenness,
            "w_stability": self.w_stability,
            "w_validity": self.w_validity,
        }


class TablePpoConfig(SequentialConfig):
    """PPO (Schulman et al., 2017), as `SequentialConfig` has the environment and the policy."""

    critic_width: int = Field(default=64, ge=1, le=1024, description="units of a hidden layer of the critic")
    runner: Literal["fast", "stock"] = Field(
        default="fast",
        description="`fast` samples and learns on flat arrays, `stock` is RLlib's own path; checkpoints are the same",
    )
    env_runners: int = Field(
        default=0, ge=0, description="remote processes that sample; 0 samples in the process of the learner"
    )
    minibatch: int = Field(default=1024, ge=1, description="observations of one gradient step")
    epochs: int = Field(default=3, ge=1, description="passes over an iteration's observations")
    gae_lambda: float = Field(
        default=0.0, ge=0, le=1, description="of generalised advantage estimation (Schulman et al., 2016)"
    )
    clip: float = Field(default=0.2, gt=0, description="PPO's clip parameter")
    entropy: float = Field(
        default=0.1, ge=0, description="first weight of the entropy bonus; it falls linearly to `entropy_final`"
    )
    entropy_final: float = Field(default=0.0, ge=0, description="weight of the entropy bonus at the last iteration")
    value_coef: float = Field(default=0.5, ge=0, description="weight of the value loss")

    @model_validator(mode="after")
    def _fits(self) -> TablePpoConfig:
        if self.minibatch > self.batch:
            raise ValueError(f"minibatch must be at most envs * 2 * size = {self.batch}, but got {self.minibatch}")
        if self.reward == "terminal" and not (self.gamma and self.gae_lambda):
            raise ValueError(
                "gamma and gae_lambda must be above 0 with reward terminal, which is paid at the last step alone, "
                f"but got {self.gamma} and {self.gae_lambda}"
            )
        if self.env_runners and self.envs % self.env_runners:
            raise ValueError(f"envs must be a multiple of env_runners, but got {self.envs} and {self.env_runners}")
        return self

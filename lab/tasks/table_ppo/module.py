"""The masked RLlib module: a table policy and its critic, reading the Dict observation and changing nothing in it."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium.spaces import Dict as DictSpace
from gymnasium.spaces import Discrete
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.inference_only_api import InferenceOnlyAPI
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from lab.errors import WorkError
from lab.tables.policy_networks import Critic, PolicyOptions, make_policy, mask_scores

__all__ = ["TablePolicyModule"]


class TablePolicyModule(TorchRLModule, InferenceOnlyAPI, ValueFunctionAPI):
    """A policy over backend slots whose illegal actions have probability 0.

    Observations are the Dict of `envs.lookup_table`: `backends` float32 (B, max_backends * features), `globals`
    float32 (B, G), `action_mask` (B, max_backends) of any dtype, `privileged` float32 (B, P). Only the critic reads
    `privileged`. With one legal action the entropy is 0 and the log-probability exactly 0.

    Attributes:
        policy: the network that an artefact keeps (`lab.tables.policy_networks`).
        critic: the value head; environment runners have none.
    """

    def setup(self) -> None:
        """Builds both networks from `model_config["policy"]`, a `PolicyOptions` as a dict."""
        space = self.observation_space
        if not isinstance(space, DictSpace) or not isinstance(self.action_space, Discrete):
            raise WorkError(
                f"expected a Dict observation and Discrete actions, but got {space} and {self.action_space}"
            )
        privileged = space["privileged"].shape
        assert privileged is not None
        options = PolicyOptions(**self.model_config["policy"])
        self.policy = make_policy(options)
        self.critic = Critic(
            options.width,
            options.global_features,
            privileged[0],
            int(self.model_config["critic_width"]),
        )

    def get_non_inference_attributes(self) -> list[str]:
        """What environment runners do without."""
        return ["critic"]

    def _scores(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        observations = batch[Columns.OBS]
        backends, mask = observations["backends"], observations["action_mask"]
        backends = backends.view(len(backends), mask.shape[1], -1)
        scores, summary = self.policy(backends, observations["globals"], mask != 0)
        return mask_scores(scores, mask), summary

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        mask = batch[Columns.OBS]["action_mask"]
        if not bool((mask != 0).any(dim=1).all()):
            rows = torch.nonzero(~(mask != 0).any(dim=1))[:, 0].tolist()
            raise WorkError(f"expected a legal action in every observation, but the mask of row {rows[0]} forbids all")
        return {Columns.ACTION_DIST_INPUTS: self._scores(batch)[0]}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        # Here a row may be the phantom step that RLlib appends to an episode: no legal action, and no part of the loss.
        logits, summary = self._scores(batch)
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.EMBEDDINGS: summary}

    def compute_values(self, batch: dict[str, Any], embeddings: Any | None = None) -> Tensor:
        """Values float (B,) of the observations in `batch`; `embeddings` is the summary of a `forward_train`."""
        observations = batch[Columns.OBS]
        if embeddings is None:
            _, embeddings = self._scores(batch)
        return self.critic(embeddings, observations["globals"], observations["privileged"])

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

from envs.features import GLOBALS
from envs.task import PRIVILEGED
from lab.errors import WorkError
from lab.tables.policy_networks import ILLEGAL, Critic, PolicyOptions, make_policy, mask_scores
from lab.tasks.table_ppo.distribution import InvertedCategorical

__all__ = ["SUMMARY", "TablePolicyModule"]

SUMMARY = "policy_summary"
"""Column of a batch: the policy's summary float (B, width), as an environment runner saw it."""

_GIVEN = GLOBALS.index("given")


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
        """Builds both networks from `model_config["policy"]`, a `PolicyOptions` as a dict.

        With `model_config["keep_summary"]` explorations return the policy's summary, which spares the critic a forward.
        """
        space = self.observation_space
        if not isinstance(space, DictSpace) or not isinstance(self.action_space, Discrete):
            raise WorkError(
                f"expected a Dict observation and Discrete actions, but got {space} and {self.action_space}"
            )
        self.action_dist_cls = InvertedCategorical
        options = PolicyOptions(**self.model_config["policy"])
        self.policy = make_policy(options)
        inputs = options.width + 1 + options.global_features + len(PRIVILEGED)
        self.critic = Critic(inputs, int(self.model_config["critic_width"]))

    def train(self, mode: bool = True) -> TablePolicyModule:
        """Sets the mode where it is another: RLlib sets it at each forward, which is a quarter of a small one."""
        return self if mode == self.training else super().train(mode)

    def get_non_inference_attributes(self) -> list[str]:
        """What environment runners do without."""
        return ["critic"]

    def _act(self, observations: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Masked logits (B, max_backends) and the policy's summary (B, width)."""
        legal = observations["action_mask"].bool()
        backends = observations["backends"].view(*legal.shape, -1)
        scores, summary = self.policy(backends, observations["globals"], legal)
        return mask_scores(scores, legal), summary

    @torch.no_grad()
    def _embed(self, observations: dict[str, Tensor], logits: Tensor, summary: Tensor) -> Tensor:
        """What the critic reads: the policy's summary, the probability of an action that moves nothing needlessly, and
        what else is known. The critic's gradient ends here: the two losses differ in scale by orders."""
        slots, privileged = logits.shape[1], observations["privileged"]
        owner, in_other = privileged[:, -2 * slots : -slots], privileged[:, -slots:]
        # Both are 0 or 1: only what is in the other set and does not own the entry is moved needlessly.
        free = torch.ge(owner, in_other, out=torch.empty_like(logits))
        share = torch.softmax(logits, dim=1).mul_(free).sum(dim=1, keepdim=True)
        return torch.cat([summary, share, observations["globals"], privileged[:, : len(PRIVILEGED)]], dim=1)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        logits, summary = self._act(batch[Columns.OBS])
        best = logits.amax(dim=1)
        if best.amin().item() <= ILLEGAL:
            row = best.argmin().item()
            raise WorkError(f"expected a legal action in every observation, but the mask of row {row} forbids all")
        outputs = {Columns.ACTION_DIST_INPUTS: logits}
        return {**outputs, SUMMARY: summary} if self.model_config.get("keep_summary") else outputs

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        # Here a row may be the phantom step that RLlib appends to an episode: no legal action, and no part of the loss.
        logits, summary = self._act(batch[Columns.OBS])
        return {
            Columns.ACTION_DIST_INPUTS: logits,
            Columns.EMBEDDINGS: self._embed(batch[Columns.OBS], logits, summary),
        }

    def compute_values(self, batch: dict[str, Any], embeddings: Any | None = None) -> Tensor:
        """Values float (B,) of the observations in `batch`; `embeddings` are those of a `forward_train`.

        Where there are none, and the batch holds what this very policy said of the observations, it is not asked again.
        """
        observations = batch[Columns.OBS]
        if embeddings is None:
            with torch.no_grad():
                said = (batch[Columns.ACTION_DIST_INPUTS], batch[SUMMARY]) if SUMMARY in batch else None
                embeddings = self._embed(observations, *(said or self._act(observations)))
        values = self.critic(embeddings)
        # Nothing comes after a full table. RLlib standardises advantages over a phantom step at the end of each episode
        # too, whose advantage is minus its value: left to the critic, it would dwarf those of all true steps.
        return torch.where(observations["globals"][:, _GIVEN] >= 1, 0.0, values)

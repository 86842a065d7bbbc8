"""The masked RLlib module of Q-learning: a table policy whose scores are values, and its target."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.dqn.dqn_learner import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis.inference_only_api import InferenceOnlyAPI
from ray.rllib.core.rl_module.apis.q_net_api import QNetAPI
from ray.rllib.core.rl_module.apis.target_network_api import TargetNetworkAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from lab.tables.policy_networks import ILLEGAL, PolicyOptions, make_policy
from lab.tasks.table_ppo.distribution import InvertedCategorical

__all__ = ["TableQModule"]


class TableQModule(TorchRLModule, InferenceOnlyAPI, QNetAPI, TargetNetworkAPI):
    """Values of backend slots; those of illegal actions are `ILLEGAL`, below every other.

    Observations are the Dict of `envs.lookup_table`. `forward_exploration` returns the logits of the epsilon-greedy
    policy over legal actions.

    Attributes:
        policy: the network that an artefact keeps (`lab.tables.policy_networks`).
        target: the copy of it that values what comes next; environment runners have none.
    """

    def setup(self) -> None:
        """Builds the network from `model_config["policy"]`, a `PolicyOptions` as a dict; `model_config["epsilon"]` is
        (first share of random actions, last one, environment steps between the two)."""
        self.action_dist_cls = InvertedCategorical
        self.policy = make_policy(PolicyOptions(**self.model_config["policy"]))

    def train(self, mode: bool = True) -> TableQModule:
        """Sets the mode where it is another: RLlib sets it at each forward, which is a quarter of a small one."""
        return self if mode == self.training else super().train(mode)

    def get_non_inference_attributes(self) -> list[str]:
        """What environment runners do without."""
        return ["target"]

    def make_target_networks(self) -> None:
        """Makes the target, a copy of the policy."""
        self.target = make_target_network(self.policy)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """The policy and its target."""
        return [(self.policy, self.target)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The target's values of `batch`."""
        return {QF_PREDS: _values(self.target, batch[Columns.OBS])}

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Values float (B, slots) of `batch`."""
        return {QF_PREDS: _values(self.policy, batch[Columns.OBS])}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        return {Columns.ACTION_DIST_INPUTS: _values(self.policy, batch[Columns.OBS])}

    def _forward_exploration(self, batch: dict[str, Any], t: int = 0, **kwargs: Any) -> dict[str, Tensor]:
        first, last, steps = self.model_config["epsilon"]
        epsilon = first + (last - first) * min(1.0, t / steps)
        values = _values(self.policy, batch[Columns.OBS])
        legal = (values > ILLEGAL).to(values.dtype)
        chances = epsilon * legal / legal.sum(dim=1, keepdim=True)
        chances.scatter_add_(1, values.argmax(dim=1, keepdim=True), chances.new_full((len(chances), 1), 1 - epsilon))
        return {Columns.ACTION_DIST_INPUTS: chances.log().clamp(min=ILLEGAL)}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        following = {Columns.OBS: batch[Columns.NEXT_OBS]}
        with torch.no_grad():
            preferred = self.compute_q_values(following)[QF_PREDS]
        return {
            **self.compute_q_values(batch),
            QF_NEXT_PREDS: preferred,
            QF_TARGET_NEXT_PREDS: self.forward_target(following)[QF_PREDS],
        }


def _values(network: nn.Module, observations: dict[str, Tensor]) -> Tensor:
    legal = observations["action_mask"].bool()
    scores, _ = network(observations["backends"].view(*legal.shape, -1), observations["globals"], legal)
    return torch.where(legal, scores, ILLEGAL)

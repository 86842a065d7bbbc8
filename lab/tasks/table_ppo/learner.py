"""A lean learner: RLlib's PPO learner with the loop over minibatches, and the loss, on flat tensors."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo.ppo import (
    LEARNER_RESULTS_KL_KEY,
    LEARNER_RESULTS_VF_EXPLAINED_VAR_KEY,
    LEARNER_RESULTS_VF_LOSS_UNCLIPPED_KEY,
    PPOConfig,
)
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    MODULE_TRAIN_BATCH_SIZE_MEAN,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    WEIGHTS_SEQ_NO,
)
from ray.rllib.utils.torch_utils import explained_variance
from torch import Tensor, nn

from lab.allocator import keep_freed_memory
from lab.errors import WorkError
from lab.tasks.table_ppo.loss import policy_loss
from lab.tasks.table_ppo.runner import SECONDS

__all__ = ["FlatLearner", "flatten"]

_LEARNT_FROM = (
    Columns.ACTIONS,
    Columns.ACTION_LOGP,
    Columns.ACTION_DIST_INPUTS,
    Postprocessing.ADVANTAGES,
    Postprocessing.VALUE_TARGETS,
)

_MOMENTS = ("exp_avg", "exp_avg_sq")


class FlatLearner(PPOTorchLearner):
    """RLlib's `PPOTorchLearner` for the batches of `FlatBatch`: the same losses, schedules and checkpoints.

    Minibatches are gathered by index from the batch; each epoch goes through it in a new order, the first one too, and
    the last minibatch is filled up from one more, as RLlib does. All parameters lie in one vector, for torch's fused
    Adam: `postprocess_gradients` and `apply_gradients` work on that, whatever the dict they are given holds. The
    metrics of losses are those of the last minibatch, which is all that RLlib keeps of them; the Kullback-Leibler
    divergence is computed for it alone, unless it is a part of the loss. Where the time went is logged as `SECONDS`; on
    a GPU that says when work was asked for, not when it was done. For one learner.
    """

    def build(self) -> None:
        """Builds the module and its optimiser.

        Raises:
            WorkError: a configuration that this learner does not serve.
        """
        refused = {
            "num_learners": self.config.num_learners > 1,
            "torch_compile_learner": self.config.torch_compile_learner,
            "_torch_lr_scheduler_classes": self.config._torch_lr_scheduler_classes,
            "_torch_grad_scaler_class": self.config._torch_grad_scaler_class,
        }
        for name, given in refused.items():
            if given:
                raise WorkError(f"expected {name} as it is by default with the fast learner, but got {given}")
        super().build()
        keep_freed_memory()
        self._order = np.random.default_rng(self.config.seed)
        self._seconds: dict[str, float] = {}
        self._measured = False
        self._read_coefficients()

    def _read_coefficients(self) -> None:
        """RLlib changes them after an update: read here, a GPU is waited for once."""
        scheduler = self.entropy_coeff_schedulers_per_module[DEFAULT_MODULE_ID]
        self._entropy_coeff = float(scheduler.get_current_value())
        self._kl_coeff = float(self.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID])

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Registers the fused Adam, over one vector."""
        parameters = self.get_parameters(self._module[module_id])
        self._vector = flatten(parameters)
        self._shapes = [parameter.shape for parameter in parameters]
        optimizer = torch.optim.Adam([self._vector], fused=True)
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=config.lr
        )

    # In a checkpoint each parameter has a state of its own, as RLlib's learner writes and reads it.
    def _get_optimizer_state(self) -> Any:
        state = super()._get_optimizer_state()
        for one in state.values():
            adam = one["state"]
            (group,) = adam["param_groups"]
            group |= {"params": list(range(len(self._shapes))), "fused": None}
            if adam["state"]:
                whole = adam["state"].pop(0)
                for place, pieces in enumerate(zip(*(self._split(whole[name]) for name in _MOMENTS), strict=True)):
                    adam["state"][place] = {"step": whole["step"], **dict(zip(_MOMENTS, pieces, strict=True))}
        return state

    def _set_optimizer_state(self, state: Any) -> None:
        whole = copy.deepcopy(state)
        for one in whole.values():
            adam = one["state"]
            (group,) = adam["param_groups"]
            group |= {"params": [0], "fused": True}
            if adam["state"]:
                each = [adam["state"][place] for place in range(len(self._shapes))]
                moments = {name: np.concatenate([np.ravel(own[name]) for own in each]) for name in _MOMENTS}
                adam["state"] = {0: {"step": each[0]["step"], **moments}}
        super()._set_optimizer_state(whole)

    def _split(self, vector: NDArray[Any]) -> list[NDArray[Any]]:
        ends = np.cumsum([shape.numel() for shape in self._shapes])[:-1]
        return [piece.reshape(shape) for piece, shape in zip(np.split(vector, ends), self._shapes, strict=True)]

    def update(
        self,
        training_data: TrainingData | None = None,
        *,
        episodes: list[Any] | None = None,
        timesteps: dict[str, Any] | None = None,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        shuffle_batch_per_epoch: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Learns from rollouts; see `Learner.update`. Returns the reduced metrics."""
        began = time.perf_counter()
        self._check_is_built()
        self.before_gradient_based_update(timesteps=timesteps or {})
        training_data = training_data or TrainingData(episodes=episodes)
        training_data.solve_refs()
        if training_data.episodes is None:
            raise WorkError("expected rollouts to learn from with the fast learner, but got another kind of data")
        self._read_coefficients()
        self._weights_seq_no += 1
        self._seconds = dict.fromkeys(("batch", "gather", "forward", "backward", "optimizer"), 0.0)
        batch = self._learner_connector(
            rl_module=self.module, batch={}, episodes=training_data.episodes, shared_data={}, metrics=self.metrics
        )[DEFAULT_MODULE_ID]
        # What is not asked for below is let go, and need not be gathered.
        batch = {Columns.OBS: batch[Columns.OBS], **{name: batch[name] for name in _LEARNT_FROM if name in batch}}
        rows = len(batch[Columns.ACTIONS])
        size = minibatch_size or rows
        count = math.ceil(num_epochs * rows / size)
        self._seconds["batch"] = time.perf_counter() - began
        for number, index in enumerate(self._indices(rows, size, count, shuffle_batch_per_epoch and count > 1)):
            self._measured = number == count - 1
            self._step(batch, index)
        self._log_trained(rows, size, count)
        self.after_gradient_based_update(timesteps=timesteps or {})
        for part, seconds in self._seconds.items():
            self.metrics.log_value((ALL_MODULES, SECONDS, part), seconds, reduce="sum")
        return self.metrics.reduce()

    def _indices(self, rows: int, size: int, count: int, shuffle: bool) -> Iterator[Tensor | None]:
        """The rows of `count` minibatches of `size`; None for one that is the whole batch as it lies."""
        if size == rows and not shuffle:
            yield from [None] * count
            return
        order = np.empty(0, dtype=np.int64)
        for _ in range(count):
            while len(order) < size:
                order = np.concatenate([order, self._order.permutation(rows) if shuffle else np.arange(rows)])
            yield torch.from_numpy(order[:size]).to(self._device)
            order = order[size:]

    def _step(self, batch: Mapping[str, Any], index: Tensor | None) -> None:
        """One gradient step."""
        clock = _Clock(self._seconds)
        if not self._needs_divergence:
            batch = {name: column for name, column in batch.items() if name != Columns.ACTION_DIST_INPUTS}
        minibatch = _take(batch, index)
        clock.stop("gather")
        outputs = self.module.forward_train({DEFAULT_MODULE_ID: minibatch})
        losses = self.compute_losses(fwd_out=outputs, batch={DEFAULT_MODULE_ID: minibatch})
        clock.stop("forward")
        gradients = self.compute_gradients(losses)
        clock.stop("backward")
        self.apply_gradients(self.postprocess_gradients(gradients))
        clock.stop("optimizer")
        if self._measured:
            self.metrics.log_value((DEFAULT_MODULE_ID, self.TOTAL_LOSS_KEY), losses[DEFAULT_MODULE_ID], window=1)

    def compute_gradients(self, loss_per_module: Any, **kwargs: Any) -> Any:
        """Fills the gradients, which are views of the vector's."""
        self._gradient.zero_()
        sum(loss_per_module.values()).backward()
        return {reference: parameter.grad for reference, parameter in self._params.items()}

    def postprocess_gradients(self, gradients_dict: Any) -> Any:
        """Clips by the global norm at once; other ways of clipping are left to RLlib."""
        config = self.config.get_config_for_module(DEFAULT_MODULE_ID)
        if not config.grad_clip or config.grad_clip_by != "global_norm":
            for reference, gradient in super().postprocess_gradients(gradients_dict).items():
                self._params[reference].grad.copy_(gradient)
            return gradients_dict
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient.mul_((config.grad_clip / (norm + 1e-6)).clamp(max=1.0))
        if self._measured:
            self.metrics.log_value((DEFAULT_MODULE_ID, "gradients_default_optimizer_global_norm"), norm, window=1)
        return gradients_dict

    def apply_gradients(self, gradients_dict: Any) -> None:
        """Steps the optimiser, after what is not finite became 0 or the largest number, as RLlib has it."""
        if not self.config.torch_skip_nan_gradients:
            self._gradient.nan_to_num_()
        self.get_optimizer(DEFAULT_MODULE_ID).step()

    @property
    def _needs_divergence(self) -> bool:
        return self._measured or self._kl_coeff > 0

    @property
    def _gradient(self) -> Tensor:
        gradient = self._vector.grad
        assert gradient is not None
        return gradient

    def compute_loss_for_module(
        self, *, module_id: str, config: PPOConfig, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """The loss of `PPOTorchLearner`, for batches in which every row counts."""
        module = self.module[module_id].unwrapped()
        logits = fwd_out[Columns.ACTION_DIST_INPUTS]
        entropy_coeff = self._entropy_coeff
        loss, entropy = policy_loss(
            logits,
            batch[Columns.ACTIONS],
            batch[Columns.ACTION_LOGP],
            batch[Postprocessing.ADVANTAGES],
            clip=config.clip_param,
            entropy_coeff=entropy_coeff,
        )
        total = loss
        value_loss = clipped_value_loss = logits.new_zeros(())
        values = None
        if config.use_critic:
            values = module.compute_values(batch, embeddings=fwd_out.get(Columns.EMBEDDINGS))
            squared = (values - batch[Postprocessing.VALUE_TARGETS]).pow(2)
            value_loss = squared.mean()
            clipped_value_loss = value_loss
            if math.isfinite(config.vf_clip_param):
                clipped_value_loss = squared.clamp(0, config.vf_clip_param).mean()
            total = total + config.vf_loss_coeff * clipped_value_loss
        divergence = logits.new_zeros(())
        if config.use_kl_loss and self._needs_divergence:
            divergence = _divergence(batch[Columns.ACTION_DIST_INPUTS], logits)
            total = total + self._kl_coeff * divergence
        if self._measured:
            targets = batch[Postprocessing.VALUE_TARGETS]
            measures = {
                POLICY_LOSS_KEY: loss + entropy_coeff * entropy,
                VF_LOSS_KEY: clipped_value_loss,
                LEARNER_RESULTS_VF_LOSS_UNCLIPPED_KEY: value_loss,
                LEARNER_RESULTS_VF_EXPLAINED_VAR_KEY: explained_variance(
                    targets, torch.zeros_like(targets) if values is None else values
                ),
                ENTROPY_KEY: entropy,
                LEARNER_RESULTS_KL_KEY: divergence,
            }
            self.metrics.log_dict(measures, key=module_id, window=1)
        return total

    def _log_trained(self, rows: int, size: int, count: int) -> None:
        """The steps that RLlib's learner logs of each minibatch, in one go."""
        module, log = DEFAULT_MODULE_ID, self.metrics.log_value
        log((module, WEIGHTS_SEQ_NO), self._weights_seq_no, window=1)
        log((module, MODULE_TRAIN_BATCH_SIZE_MEAN), size, reduce="mean")
        for where in (module, ALL_MODULES):
            log((where, NUM_MODULE_STEPS_TRAINED), size * count, reduce="sum", with_throughput=where == ALL_MODULES)
            log((where, NUM_MODULE_STEPS_TRAINED_LIFETIME), size * count, reduce="lifetime_sum", with_throughput=True)
        log((ALL_MODULES, NUM_ENV_STEPS_TRAINED), rows * count, reduce="sum", with_throughput=True)
        log((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), rows * count, reduce="lifetime_sum", with_throughput=True)


def flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Moves parameters into one vector, and their gradients into its gradient.

    To zero, to clip and to step are then one operation each.

    Returns:
        The vector (P,), a leaf with a gradient; each parameter, and its gradient, is a view of it.
    """
    vector = torch.cat([parameter.detach().flatten() for parameter in parameters]).requires_grad_()
    vector.grad = torch.zeros_like(vector)
    sizes = [parameter.numel() for parameter in parameters]
    pieces = zip(parameters, vector.detach().split(sizes), vector.grad.split(sizes), strict=True)
    for parameter, value, gradient in pieces:
        parameter.data, parameter.grad = value.view_as(parameter), gradient.view_as(parameter)
    return vector


class _Clock:
    """Adds the time since the last stop to a part."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, time.perf_counter()

    def stop(self, part: str) -> None:
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now


def _take(batch: Mapping[str, Any], index: Tensor | None) -> dict[str, Any]:
    """The rows `index` of each column."""
    if index is None:
        return dict(batch)
    return {
        name: _take(value, index) if isinstance(value, Mapping) else value.index_select(0, index)
        for name, value in batch.items()
    }


def _divergence(before: Tensor, now: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of two categorical policies, in nats, from logits (B, A)."""
    before_logp = torch.log_softmax(before, dim=1)
    probabilities = torch.softmax(before, dim=1)
    return torch.linalg.vecdot(probabilities, before_logp - torch.log_softmax(now, dim=1)).mean()

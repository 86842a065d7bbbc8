"""RLlib's PPO, set up for the lookup-table environment, and what of its results the lab reports."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)
from torch import Tensor

from lab.errors import RequestError, WorkError
from lab.experiment import require_device
from lab.sweep.cluster import ray_session
from lab.tasks.table_ppo.advantages import FlatBatch
from lab.tasks.table_ppo.config import SequentialConfig, TablePpoConfig
from lab.tasks.table_ppo.learner import FlatLearner
from lab.tasks.table_ppo.module import TablePolicyModule
from lab.tasks.table_ppo.runner import SECONDS, BatchedEnvRunner
from lab.timing import Timing

__all__ = [
    "ENVIRONMENT",
    "algorithm_config",
    "check",
    "configured",
    "local_ray",
    "make_algorithm",
    "policy_weights",
    "train_once",
]

C = TypeVar("C", bound=AlgorithmConfig)

ENVIRONMENT = "envs:LookupTable-v0"
"""Gymnasium's own name: importing `envs` registers it, with a batched entry point, in whichever process asks."""

_LEARNER_METRICS = {
    "policy_loss": "policy_loss",
    "value_loss": "vf_loss",
    "total_loss": "total_loss",
    "entropy": "entropy",
    "kl": "mean_kl_loss",
    "explained_variance": "vf_explained_var",
    "gradient_norm": "gradients_default_optimizer_global_norm",
    "learning_rate": "default_optimizer_learning_rate",
}


@contextmanager
def local_ray(config: SequentialConfig) -> Iterator[None]:
    """A Ray for the length of the block, the one that is there or a small one; RLlib is silent below errors in it.

    Raises:
        RequestError: there is no such device, or no room for the remote runners.
    """
    require_device(config)
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with ray_session(None):
            check(config, ray.util.get_current_placement_group() is not None)
            yield
    finally:
        logger.setLevel(level)


def check(config: SequentialConfig, in_sweep: bool) -> None:
    """Raises RequestError for remote runners that Ray would wait for without end."""
    if not isinstance(config, TablePpoConfig):
        return
    if config.env_runners and in_sweep:
        raise RequestError(
            f"expected env_runners=0 in a sweep, where a trial is one process, but got {config.env_runners}"
        )
    cores = int(ray.cluster_resources().get("CPU", 0)) if ray.is_initialized() else os.cpu_count() or 1
    if config.env_runners > cores:
        raise RequestError(f"expected env_runners of at most {cores}, the cores here, but got {config.env_runners}")


def make_algorithm(config: TablePpoConfig, iterations_done: int = 0) -> Algorithm:
    """The algorithm of `algorithm_config`, built."""
    return algorithm_config(config, iterations_done).build_algo()


def configured(
    rllib: C,
    config: SequentialConfig,
    iterations_done: int,
    module: type[RLModule],
    model_config: Mapping[str, Any],
    env_runners: int = 0,
) -> C:
    """`rllib` with what every algorithm on the lookup-table environment has in common, on RLlib's new API stack.

    Args:
        rllib: a configuration as RLlib has it by default; it is changed.
        config: the training.
        iterations_done: of a training that is resumed. RLlib seeds the first reset only, and a checkpoint holds no
            environments: another seed keeps a resumed training from seeing the first scenarios again.
        module: of the policy.
        model_config: of the module, beside `policy`.
        env_runners: remote ones.
    """
    rllib.environment(
        ENVIRONMENT,
        env_config=config.env_kwargs,
        normalize_actions=False,
        clip_actions=False,
        disable_env_checking=True,
    )
    rllib.env_runners(
        num_env_runners=env_runners,
        num_envs_per_env_runner=config.envs // max(1, env_runners),
        gym_env_vectorize_mode="vector_entry_point",
        # All episodes are equally long and start together: a fragment is one whole episode, nothing is cut.
        rollout_fragment_length=2 * config.size,
    )
    rllib.learners(num_learners=0, num_gpus_per_learner=1 if config.device == "cuda" else 0)
    rllib.rl_module(
        rl_module_spec=RLModuleSpec(
            module_class=module, model_config={"policy": config.policy.policy.model_dump(), **model_config}
        )
    )
    rllib.training(
        lr=_falling(config, config.learning_rate, config.learning_rate_final, iterations_done),
        gamma=config.gamma,
        grad_clip=config.grad_clip,
        grad_clip_by="global_norm",
    )
    rllib.reporting(metrics_num_episodes_for_smoothing=config.envs)
    seed = int(np.random.SeedSequence([config.seed, iterations_done]).generate_state(1)[0] >> 1)
    rllib.debugging(seed=seed, log_level="ERROR")
    return rllib


def algorithm_config(config: TablePpoConfig, iterations_done: int = 0) -> PPOConfig:
    """PPO, with RLlib's stock environment runner and learner or with the fast ones; see `configured`."""
    model_config = {"critic_width": config.critic_width, "keep_summary": config.runner == "fast"}
    rllib = configured(PPOConfig(), config, iterations_done, TablePolicyModule, model_config, config.env_runners)
    rllib.training(
        train_batch_size_per_learner=config.batch,
        minibatch_size=config.minibatch,
        num_epochs=config.epochs,
        lambda_=config.gae_lambda,
        clip_param=config.clip,
        entropy_coeff=_falling(config, config.entropy, config.entropy_final, iterations_done),
        vf_loss_coeff=config.value_coef,
        # RLlib clips the squared error itself, which stops the critic where it errs most.
        vf_clip_param=float("inf"),
        # The divergence is measured, not paid for.
        use_kl_loss=True,
        kl_coeff=0.0,
    )
    if config.runner == "fast":
        estimation = {"gamma": config.gamma, "lambda_": config.gae_lambda}
        rllib.env_runners(env_runner_cls=BatchedEnvRunner).training(
            learner_class=FlatLearner,
            learner_connector=lambda observations, actions: FlatBatch(observations, actions, **estimation),
            add_default_connectors_to_learner_pipeline=False,
        )
    return rllib


def _falling(config: SequentialConfig, first: float, last: float, iterations_done: int) -> list[list[float]]:
    """An RLlib schedule, linear over the whole training. RLlib starts every schedule at its first value: when a
    training is resumed, that is the value it was left at."""
    total, done = config.iterations * config.batch, iterations_done * config.batch
    now = first + (last - first) * done / total
    return [[0, now], *([[done, now]] if done else []), [total, last]]


def train_once(algorithm: Algorithm, timing: Timing) -> dict[str, float]:
    """One `Algorithm.train()`, timed: the blocks `sampling`, `learning` and `weights`, and their parts where the fast
    runner and learner say them.

    Returns:
        What the lab reports of the result: plain names, floats.

    Raises:
        WorkError: every environment runner failed.
    """
    for timer in _TIMERS.values():
        # RLlib keeps moving averages: without a past, that is the time of this iteration.
        algorithm.metrics.delete(TIMERS, timer, key_error=False)
    with timing("iteration"):
        result = algorithm.train()
    if DEFAULT_MODULE_ID not in result.get(LEARNER_RESULTS, {}):
        raise WorkError("expected rollouts to learn from, but no environment runner answered")
    for block, timer in _TIMERS.items():
        timing.add(("iteration", block), float(result[TIMERS][timer]))
    parts = {
        "sampling": result[ENV_RUNNER_RESULTS].get(SECONDS, {}),
        "learning": result[LEARNER_RESULTS][ALL_MODULES].get(SECONDS, {}),
    }
    for block, seconds in parts.items():
        for part, spent in seconds.items():
            # A part of a checkpoint of the other path has no value here.
            if math.isfinite(spent):
                timing.add(("iteration", block, part), float(spent))
    return _metrics(result)


_TIMERS = {
    "sampling": ENV_RUNNER_SAMPLING_TIMER,
    "learning": LEARNER_UPDATE_TIMER,
    "weights": SYNCH_WORKER_WEIGHTS_TIMER,
}


def _metrics(result: dict[str, Any]) -> dict[str, float]:
    runners, learner = result["env_runners"], result["learners"][DEFAULT_MODULE_ID]
    metrics = {name: float(learner[key]) for name, key in _LEARNER_METRICS.items()}
    metrics["env_steps"] = float(runners["num_env_steps_sampled_lifetime"])
    metrics["episode_return"] = float(runners["episode_return_mean"])
    return metrics


def policy_weights(algorithm: Algorithm) -> dict[str, Tensor]:
    """A copy of the policy's weights, without the critic, on the CPU."""
    module = algorithm.get_module(DEFAULT_MODULE_ID)
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in module.policy.state_dict().items()}

"""RLlib's PPO: with the lab's runner and learner, and with its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from ray.rllib.algorithms.algorithm import Algorithm

from lab.tasks.table_ppo import TablePpoConfig
from lab.tasks.table_ppo.algorithm import algorithm_config, local_ray, make_algorithm
from ppo_contenders.setting import Setting, Spent, timed

__all__ = ["Fast", "Stock"]


class Fast:
    """One training as `lab train` does it, without validations, checkpoints and trackers.

    Attributes:
        episode_return: the mean of the last rollout's episodes.
    """

    _runner = "fast"

    def __init__(self, setting: Setting, clock: Callable[[], float]) -> None:
        self._clock = clock
        config = TablePpoConfig(**{**setting.fields, "runner": self._runner})
        self._stack = ExitStack()
        self._stack.enter_context(local_ray(config))
        self._algorithm = self._make(config)
        self.episode_return = 0.0

    def run(self, iterations: int) -> Spent:
        """Trains."""
        spent, clock = Spent(iterations), self._clock
        runner, learners = self._algorithm.env_runner, self._algorithm.learner_group
        sample, update = runner.sample, learners.update

        runner.sample = timed(sample, clock, spent, "sampling")
        learners.update = timed(update, clock, spent, "learning")
        try:
            began = clock()
            for _ in range(iterations):
                result = self._algorithm.train()
            spent.total = clock() - began
        finally:
            runner.sample, learners.update = sample, update
        self.episode_return = float(result["env_runners"]["episode_return_mean"])
        return spent

    def close(self) -> None:
        """Stops the algorithm and its Ray."""
        self._algorithm.stop()
        self._stack.close()

    def _make(self, config: TablePpoConfig) -> Algorithm:
        return make_algorithm(config)


class Stock(Fast):
    """RLlib's own runner, connectors and learner, as fast as its settings make them.

    The config has what counts: a batched environment, and actions that are passed on as they are. Of what is left, no
    measure of the machine and no divergence are within what runs differ by; so are an `episode_lookback_horizon` of 0,
    `batch_mode="complete_episodes"` and no clipping.
    """

    _runner = "stock"

    def _make(self, config: TablePpoConfig) -> Algorithm:
        return algorithm_config(config).debugging(log_sys_usage=False).training(use_kl_loss=False).build_algo()

"""The training: RLlib's DQN, validated and kept as a table builder."""

from __future__ import annotations

from pathlib import Path

from lab.experiment import Report, Result
from lab.tasks.table_dqn.algorithm import make_algorithm, train_once
from lab.tasks.table_dqn.config import TableDqnConfig
from lab.tasks.table_ppo.fit import train

__all__ = ["fit"]


def fit(config: TableDqnConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains a sequential table policy by Q-learning; as `lab.tasks.table_ppo.fit`, which see.

    Args:
        config: the training.
        report: called once an iteration with `iteration`, `seconds`, `env_steps`, `episode_return`, `q_loss`, `q_mean`,
            `td_error`, and the last validation's metrics.
        resume: a checkpoint directory that a fit wrote. It holds no transitions: the buffer fills anew.
    """
    return train(config, report, resume, "table_dqn", make_algorithm, train_once)

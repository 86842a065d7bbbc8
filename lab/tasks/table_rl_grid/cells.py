"""The cells of the grid: a formulation, an algorithm, and what differs from the cell beside it.

Every cell is a task of its own (`lab train table_dqn ...` trains one with other settings) and gets the same number of
environment steps, entries given out. Each has the hyperparameters that were found for it on validation scenarios.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from envs.scenarios import ScenarioBatch
from lab.config import Config
from lab.experiment import Fit
from lab.tasks import table_bandit, table_dqn, table_one_shot, table_ppo, table_supervised

__all__ = ["CELLS", "Cell"]


@dataclass(frozen=True)
class Cell:
    """One way to learn tables.

    Attributes:
        formulation: what an action is, in words.
        algorithm: who learns, in words.
        fit: trains it.
        config: its configuration.
        fields: what differs from that configuration's defaults.
        steps: `config -> environment steps of an iteration`.
        validation: `config -> the scenarios that it is validated on`.
    """

    formulation: str
    algorithm: str
    fit: Fit
    config: type[Config]
    steps: Callable[[Any], int]
    validation: Callable[[Any], ScenarioBatch]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def resolve(self, env_steps: int, shared: Mapping[str, Any]) -> Config:
        """The configuration that takes as many iterations as `env_steps` hold, at least 1.

        Args:
            env_steps: of the whole training.
            shared: fields of every cell: `seed`, `device`, `threads`.
        """
        config = self.config.model_validate({**shared, **self.fields})
        return self.config.model_validate(
            {**shared, **self.fields, "iterations": max(1, round(env_steps / self.steps(config)))}
        )


def _sequential(config: Any) -> int:
    return int(config.batch)


def _one_shot(config: Any) -> int:
    share = getattr(config, "supervised_share", 1.0)
    tables = share + (1 - share) * getattr(config, "tables", 1)
    return int(2 * config.size * config.batch_size * config.steps * tables)


def _bandit(config: Any) -> int:
    return int(2 * config.size * config.pulls)


def _ppo(formulation: str, **fields: Any) -> Cell:
    common = {"entropy": 0.09, "entropy_final": 0.02, "learning_rate_final": 3e-4, "validation_pairs": 256, **fields}
    return Cell(
        formulation, "PPO", table_ppo.fit, table_ppo.TablePpoConfig, _sequential, table_ppo.validation_scenarios, common
    )


def _dqn(formulation: str, **fields: Any) -> Cell:
    common = {"learning_rate": 3e-3, "learning_rate_final": 3e-4, "validation_pairs": 256, **fields}
    return Cell(
        formulation, "DQN", table_dqn.fit, table_dqn.TableDqnConfig, _sequential, table_ppo.validation_scenarios, common
    )


def _reinforce(formulation: str, algorithm: str = "REINFORCE", **fields: Any) -> Cell:
    common = {"steps": 5, "checkpoint_every": 5, **fields}
    return Cell(
        formulation,
        algorithm,
        table_one_shot.fit,
        table_one_shot.TableOneShotConfig,
        _one_shot,
        table_one_shot.validation_scenarios,
        common,
    )


def _bandits(algorithm: str, **fields: Any) -> Cell:
    return Cell(
        "one builder for all",
        algorithm,
        table_bandit.fit,
        table_bandit.TableBanditConfig,
        _bandit,
        table_bandit.validation_scenarios,
        {"device": "cpu", "validation_pairs": 256, **fields},
    )


CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "entries-ppo": _ppo("entry after entry"),
        "entries-ppo-mlp": _ppo("entry after entry, MLP", network="mlp", width=64),
        "entries-ppo-terminal": _ppo(
            "entry after entry, paid at the end", reward="terminal", gamma=1.0, gae_lambda=0.95
        ),
        "entries-ppo-penalty": _ppo(
            "entry after entry, evenness and validity paid for", balance="reward", validity="penalty"
        ),
        "entries-ppo-stateful": _ppo("entry after entry, sees the table in force", information="stateful"),
        "entries-dqn": _dqn("entry after entry"),
        "pairs-ppo": _ppo("best pair next", order="pairs"),
        "pairs-ppo-terminal": _ppo(
            "best pair next, paid at the end", order="pairs", reward="terminal", gamma=1.0, gae_lambda=0.95
        ),
        "pairs-dqn": _dqn("best pair next", order="pairs"),
        "one-shot-reinforce": _reinforce("whole table, Plackett-Luce"),
        "one-shot-reinforce-entry": _reinforce(
            "whole table, Plackett-Luce, each entry paid for itself", credit="entry"
        ),
        "one-shot-factorised": _reinforce("whole table, each entry by itself", decoder="ranking"),
        "one-shot-warm": _reinforce(
            "whole table, Plackett-Luce",
            "gradient on plans, then REINFORCE",
            credit="entry",
            supervised_share=0.5,
            spread_start=0.05,
        ),
        "one-shot-supervised": Cell(
            "whole table",
            "gradient on plans (no reinforcement)",
            table_supervised.fit,
            table_supervised.TableSupervisedConfig,
            _one_shot,
            table_supervised.validation_scenarios,
            {"steps": 25, "checkpoint_every": 5},
        ),
        "builders-epsilon": _bandits("epsilon-greedy", explore="epsilon"),
        "builders-ucb": _bandits("UCB1", explore="ucb"),
    }
)

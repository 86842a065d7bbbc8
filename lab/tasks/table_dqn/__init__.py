"""The sequential table as an off-policy problem, trained by RLlib's DQN."""

from lab.tasks.table_dqn.config import TableDqnConfig
from lab.tasks.table_dqn.fit import fit
from lab.tasks.table_ppo.validation import OBJECTIVE, validation_scenarios

__all__ = ["OBJECTIVE", "TableDqnConfig", "fit", "validation_scenarios"]

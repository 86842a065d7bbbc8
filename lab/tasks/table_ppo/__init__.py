"""The lookup table as a sequential decision problem, learned by RLlib's PPO."""

from lab.tasks.table_ppo.algorithm import check
from lab.tasks.table_ppo.config import TablePpoConfig
from lab.tasks.table_ppo.fit import fit
from lab.tasks.table_ppo.validation import OBJECTIVE, validation_scenarios

__all__ = ["OBJECTIVE", "TablePpoConfig", "check", "fit", "validation_scenarios"]

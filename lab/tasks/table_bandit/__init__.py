"""Bandits over the classical builders: which one to use, found by trying."""

from lab.tasks.table_bandit.config import TableBanditConfig
from lab.tasks.table_bandit.fit import OBJECTIVE, fit, validation_scenarios

__all__ = ["OBJECTIVE", "TableBanditConfig", "fit", "validation_scenarios"]

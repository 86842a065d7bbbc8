"""The table as one action: REINFORCE on a policy over whole tables, alone or after gradient descent on plans."""

from lab.tasks.table_one_shot.config import TableOneShotConfig
from lab.tasks.table_one_shot.task import TASK, OneShotTables, fit
from lab.tasks.table_supervised import validation_scenarios

__all__ = ["TASK", "OneShotTables", "TableOneShotConfig", "fit", "validation_scenarios"]

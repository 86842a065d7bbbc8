"""Tables learned from before/after scenarios by gradient descent on what a table is judged by."""

from lab.tasks.table_supervised.config import TableSupervisedConfig
from lab.tasks.table_supervised.task import TASK, SupervisedTables, fit, validation_scenarios

__all__ = ["TASK", "SupervisedTables", "TableSupervisedConfig", "fit", "validation_scenarios"]

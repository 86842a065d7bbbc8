"""Formulations of the table as a problem of reinforcement learning, and algorithms on them, on equal terms."""

from lab.tasks.table_rl_grid.cells import CELLS, Cell
from lab.tasks.table_rl_grid.fit import OBJECTIVE, TableRlGridConfig, fit, validation_scenarios

__all__ = ["CELLS", "OBJECTIVE", "Cell", "TableRlGridConfig", "fit", "validation_scenarios"]

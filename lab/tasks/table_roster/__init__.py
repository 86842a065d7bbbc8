"""Rankings of a known roster, searched for until its subsets are as even as can be."""

from lab.tasks.table_roster.config import TableRosterConfig
from lab.tasks.table_roster.fit import OBJECTIVE, fit

__all__ = ["OBJECTIVE", "TableRosterConfig", "fit"]

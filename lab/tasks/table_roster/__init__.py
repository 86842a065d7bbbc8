"""Rankings of a known roster, sampled whole by a heat bath until every subset is as even as can be."""

from lab.tasks.table_roster.config import TableRosterConfig
from lab.tasks.table_roster.fit import OBJECTIVE, fit

__all__ = ["OBJECTIVE", "TableRosterConfig", "fit"]

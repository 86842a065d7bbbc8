"""Which numbers of backends look ahead, how far and to which side, and the prices below: found by coordinate search."""

from lab.tasks.table_lookahead.config import TableLookaheadConfig
from lab.tasks.table_lookahead.fit import OBJECTIVE, fit

__all__ = ["OBJECTIVE", "TableLookaheadConfig", "fit"]

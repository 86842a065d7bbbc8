"""How much more than even a backend may have, for each number of backends: the fewest moves for so much evenness."""

from lab.tasks.table_slack.config import TableSlackConfig
from lab.tasks.table_slack.fit import OBJECTIVE, fit

__all__ = ["OBJECTIVE", "TableSlackConfig", "fit"]

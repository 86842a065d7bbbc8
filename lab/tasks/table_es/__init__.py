"""The prices of priced rendezvous, found by an evolution strategy."""

from lab.tasks.table_es.config import TableEsConfig
from lab.tasks.table_es.fit import OBJECTIVE, fit

__all__ = ["OBJECTIVE", "TableEsConfig", "fit"]

"""The prices of priced rendezvous, found by an evolution strategy."""

from lab.tasks.table_es.config import TableEsConfig
from lab.tasks.table_es.fit import OBJECTIVE, fit
from lab.tasks.table_es.objective import validation_scenarios

__all__ = ["OBJECTIVE", "TableEsConfig", "fit", "validation_scenarios"]

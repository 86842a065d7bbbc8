"""Parity models: learned coded resilience for inference (Kosaian, Rashmi and Venkataraman, SOSP 2019)."""

from lab.tasks.parity.config import ParityConfig
from lab.tasks.parity.fit import OBJECTIVE, fit
from lab.tasks.parity.reference import read_reference, result_texts
from lab.tasks.parity.scheme_of import check
from lab.tasks.parity.task import TASK

__all__ = ["OBJECTIVE", "TASK", "ParityConfig", "check", "fit", "read_reference", "result_texts"]

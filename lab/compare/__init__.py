"""Comparing what was trained on held-out data, each kind under one set of statistics: tables, L1 norms, and codes."""

from lab.compare.comparison import SUITES_BY_DEFAULT, Comparison, Progress, compare
from lab.compare.dispatch import Compared, compare_runs
from lab.compare.output import refuse_report
from lab.compare.suites import SUITES, Suite, suite

__all__ = [
    "SUITES",
    "SUITES_BY_DEFAULT",
    "Compared",
    "Comparison",
    "Progress",
    "Suite",
    "compare",
    "compare_runs",
    "refuse_report",
    "suite",
]

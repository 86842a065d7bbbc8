"""Comparing classical, supervised and reinforcement-learned tables on held-out suites, under one set of statistics."""

from lab.compare.comparison import SUITES_BY_DEFAULT, Comparison, Progress, compare, refuse_report
from lab.compare.suites import SUITES, Suite, suite

__all__ = ["SUITES", "SUITES_BY_DEFAULT", "Comparison", "Progress", "Suite", "compare", "refuse_report", "suite"]

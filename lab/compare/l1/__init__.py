"""Comparing networks that learned the L1 norm: success over seeds, error against length, and initial signs."""

from lab.compare.l1.comparison import KIND, LENGTHS, Comparison, compare, rows

__all__ = ["KIND", "LENGTHS", "Comparison", "compare", "rows"]

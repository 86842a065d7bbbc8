"""Comparing rankings of a known roster, by how even they are on its subsets."""

from lab.compare.roster.comparison import KIND, Comparison, compare

__all__ = ["KIND", "Comparison", "compare"]

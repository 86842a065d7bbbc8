"""Comparing codes that rebuild lost predictions: parity models, and peers that need no training."""

from lab.compare.parity.comparison import KIND, Comparison, compare

__all__ = ["KIND", "Comparison", "compare"]

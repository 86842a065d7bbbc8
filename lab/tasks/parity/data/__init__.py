"""Readers of the data sets that parity models are trained on."""

from lab.tasks.parity.data.dataset import Dataset, Part
from lab.tasks.parity.data.registry import ALIASES, DATASETS, load

__all__ = ["ALIASES", "DATASETS", "Dataset", "Part", "load"]

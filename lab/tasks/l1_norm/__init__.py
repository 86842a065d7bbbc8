"""The RNN that learns the L1 norm of sequences of any length."""

from lab.tasks.l1_norm.artefact import load_model
from lab.tasks.l1_norm.config import L1NormConfig
from lab.tasks.l1_norm.task import TASK, fit

__all__ = ["TASK", "L1NormConfig", "fit", "load_model"]

"""What parity models are for: a serving cluster whose servers slow down and hang, and who answers in time."""

from lab.tasks.parity.latency.config import MODES, ServingConfig

__all__ = ["MODES", "ServingConfig"]

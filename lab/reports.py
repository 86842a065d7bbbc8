"""What a training may report, and what a failed one says."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lab.errors import RequestError, WorkError

__all__ = ["check_metrics", "failure_reason"]


def check_metrics(metrics: Mapping[str, float], objective: str) -> str | None:
    """What is wrong with the metrics of an iteration, in one line; None if nothing is.

    Every metric has to be a finite number, and `iteration` and the objective have to be there.
    """
    for key in ("iteration", objective):
        if key not in metrics:
            return f"expected {key!r} in every report, but got {', '.join(sorted(metrics)) or 'nothing'}"
    if not math.isfinite(metrics["iteration"]):
        return f"iteration is {metrics['iteration']}"
    for key, value in metrics.items():
        if not math.isfinite(value):
            return f"{key} is {float(value)} at iteration {int(metrics['iteration'])}"
    return None


def failure_reason(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    if text and isinstance(error, RequestError | WorkError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

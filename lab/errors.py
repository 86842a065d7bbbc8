"""The two ways a verb of the lab can fail."""

from __future__ import annotations

from envs.errors import RequestError, unknown_name

__all__ = ["RequestError", "WorkError", "unknown_name"]


class WorkError(RuntimeError):
    """Raised when a right request could not be carried out: one line; the command line exits with status 1."""

"""Which numbers of backends a search is judged on."""

from __future__ import annotations

from pydantic import Field, model_validator

from lab.config import Config

__all__ = ["LeavesConfig"]


class LeavesConfig(Config):
    """Fleets of which one backend leaves."""

    size: int = Field(default=47, ge=2, le=4096, description="entries of the tables trained on")
    leaves: tuple[int, ...] = Field(
        default=(), description="numbers of backends of which one leaves; none stands for all, from 2 to size"
    )

    @model_validator(mode="after")
    def _known_numbers(self) -> LeavesConfig:
        if not all(2 <= n <= self.size for n in self.leaves):
            raise ValueError(f"leaves must be numbers from 2 to size = {self.size}, but got {self.leaves}")
        if len(set(self.leaves)) < len(self.leaves):
            raise ValueError(f"leaves must be numbers that differ, but got {self.leaves}")
        return self

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of backends of which one leaves."""
        return self.leaves or tuple(range(2, self.size + 1))

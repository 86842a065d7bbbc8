from __future__ import annotations

from pathlib import Path

import pytest

from .standin import register


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs, and networks that need no training."""
    register(monkeypatch)
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"

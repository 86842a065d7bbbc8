from __future__ import annotations

from pathlib import Path

import pytest

from lab.tables import learned

from .standin import ARCHITECTURE


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs, and networks that need no training."""
    monkeypatch.setitem(learned.ARCHITECTURES, "stand-in", ARCHITECTURE)
    for family in ("supervised", "ppo"):
        monkeypatch.setitem(learned.FAMILIES, family, (*learned.FAMILIES[family], "stand-in"))
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"

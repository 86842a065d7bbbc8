"""What stands above every figure that is measured here: the machine, and the commit of what was measured."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

__all__ = ["commit", "hardware"]

_ROOT = Path(__file__).parents[2]


def hardware(device: str = "cpu") -> str:
    """The processor's name, and how many of them; the accelerator's too, if that is the device."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    found = f"{len(names) or 'unknown number of'} x {names[0] if names else platform.processor() or platform.machine()}"
    if device == "cuda":
        import torch

        found += f", {torch.cuda.get_device_name()}"
    return found


def commit(*paths: str) -> str:
    """The last commit of what is measured, and whether it was changed since.

    Args:
        *paths: of what is measured, from the root of the checkout.
    """
    last, changed = (
        subprocess.run(
            ["git", *verb, "--", *paths], capture_output=True, text=True, cwd=_ROOT, check=False
        ).stdout.strip()
        for verb in (["log", "-1", "--format=%h"], ["status", "--porcelain"])
    )
    return (last or "unknown") + (" and changes since" if changed else "")

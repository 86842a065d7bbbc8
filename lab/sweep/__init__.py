"""Sweeps with Ray Tune that any kill leaves resumable."""

from lab.sweep.driver import run_sweep, sweep
from lab.sweep.plan import FUSES, SCHEDULERS, SEARCHES, make_plan

__all__ = ["FUSES", "SCHEDULERS", "SEARCHES", "make_plan", "run_sweep", "sweep"]

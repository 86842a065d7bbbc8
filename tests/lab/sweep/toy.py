"""A training that takes no time: the tests' own experiment, importable by the processes of trials."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from pathlib import Path

from pydantic import Field
from ray import tune

from lab.config import Config
from lab.experiment import Experiment, Report, Result
from lab.timing import Timing


class ToyConfig(Config):
    rate: float = Field(0.1, ge=0)
    width: int = Field(4, ge=1)
    shape: tuple[int, ...] = (8, 8)
    seed: int = 0
    iterations: int = 6
    device: str = "cpu"
    threads: int = 1
    pause: float = 0.0
    every: int = 1
    """A checkpoint comes at every so many iterations."""
    trouble: str = ""
    """`nan`, `raise`, or `die:<folder>`: what happens at iteration 3; `timing`: the fit ends with one that is none."""


def toy_fit(config: ToyConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Adds up `rate * width` from iteration to iteration; the sum shows whether a resume lost or repeated one."""
    state = {"iteration": 0, "total": 0.0, "seconds": 0.0}
    timing = Timing()
    if resume is not None:
        state = json.loads((resume / "state.json").read_text())
        timing = Timing(json.loads((resume / "timing.json").read_text()))
    metrics: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while state["iteration"] < config.iterations:
            time.sleep(config.pause)
            state["iteration"] += 1
            with timing("adding"):
                state["total"] += config.rate * config.width + config.seed
            state["seconds"] += 0.25
            loss = (config.rate - 0.5) ** 2 + 1 / state["iteration"]
            if state["iteration"] == 3 and config.trouble:
                trouble(config.trouble)
                if config.trouble == "nan":
                    loss = float("nan")
            metrics = {**state, "validation/loss": loss}
            (folder / "state.json").write_text(json.dumps(state))
            (folder / "timing.json").write_text(json.dumps(timing.tree()))
            (folder / "model.safetensors").write_bytes(b"weights")
            (folder / "model.json").write_text(json.dumps({"iteration": state["iteration"]}))
            due = state["iteration"] % config.every == 0 or state["iteration"] == config.iterations
            report(metrics, folder if due else None)
    return Result(metrics, timing={} if config.trouble == "timing" else timing.tree())


def trouble(kind: str) -> None:
    if kind == "raise":
        raise ValueError("the loss went\nthrough the roof")
    if kind.startswith("die:"):
        # Once for each trial: a mark in the folder says that it has died already.
        try:
            Path(kind.removeprefix("die:")).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def toy(**changes: object) -> Experiment:
    """The experiment, with some attributes replaced."""
    attributes: dict = {
        "name": "toy",
        "summary": "adds up",
        "config": ToyConfig,
        "fit": toy_fit,
        "space": {
            "rate": tune.loguniform(1e-3, 1.0),
            "width": tune.choice([1, 2, 4]),
            "shape": tune.choice([(4,), (8, 8)]),
        },
        "metric": "validation/loss",
        "mode": "min",
        "presets": {"default": {}, "slow": {"pause": 0.15}},
        "samples": 4,
    }
    return Experiment(**(attributes | changes))

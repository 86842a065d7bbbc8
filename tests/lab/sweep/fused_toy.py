"""Many small regressions that can train as one: the tests' own population, importable by the processes of shards."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from ray import tune
from safetensors.torch import save_file
from torch import Tensor, nn
from toy import trouble

from lab.config import Config
from lab.experiment import Experiment
from lab.sweep.population import fit_one


class LineConfig(Config):
    rate: float = Field(0.01, ge=0)
    width: int = Field(3, ge=1)
    seed: int = 0
    iterations: int = Field(6, ge=1)
    steps: int = 2
    device: str = "cpu"
    threads: int = 1
    checkpoint_every: int = 1
    pause: float = 0.0
    trouble: str = ""
    """`nan`, `raise`, or `die:<folder>`: what happens in the third iteration."""
    alone: bool = False


class LineTask:
    """Fits a line through points; a width is an architecture of its own."""

    objective = "validation/loss"
    mode = "min"
    betas = (0.9, 0.999)
    replayable = False

    def key(self, config: LineConfig) -> Any:
        return None if config.alone else config.width

    def init(self, config: LineConfig) -> nn.Module:
        module = nn.Linear(config.width, 1)
        generator = torch.Generator().manual_seed(config.seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return module

    def stream(self, config: LineConfig) -> int:
        return config.seed

    def blocks(self, config: LineConfig, iteration: int) -> Iterator[dict[str, Tensor]]:
        time.sleep(config.pause)
        generator = torch.Generator().manual_seed(config.seed * 1000 + iteration)
        if iteration == 2 and config.trouble not in ("", "nan"):
            trouble(config.trouble)
        x = torch.randn(config.steps, 8, config.width, generator=generator)
        yield {"x": x, "y": x.sum(dim=2)}

    def knobs(self, config: LineConfig, steps: Any) -> dict[str, float]:
        diverges = config.trouble == "nan" and steps[0] >= 2 * config.steps
        rate = math.inf if diverges else config.rate
        return {"learning_rate": rate, "weight_decay": 0.0, "max_gradient_norm": math.inf}

    def loss(self, config: LineConfig, model: Any, batch: Any, knobs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (model(batch["x"]).squeeze(-1) - batch["y"]).square().mean()
        return loss, {}

    def evaluate(self, members: Any, iteration: int) -> list[dict[str, float]]:
        x = torch.eye(members.configs[0].width)
        losses = members.map(lambda model, x: (model(x).squeeze(-1) - 1).square().mean(), x)
        return [{"validation/loss": float(loss)} for loss in losses]

    def save(self, config: LineConfig, directory: Path, *, best: Any, untrained: Any, **objectives: float) -> None:
        save_file(best, directory / "model.safetensors")
        save_file(untrained, directory / "untrained.safetensors")
        (directory / "model.json").write_text(json.dumps(objectives))


def lines(**changes: object) -> Experiment:
    """The experiment, with some attributes replaced."""
    task = LineTask()
    attributes: dict = {
        "name": "lines",
        "summary": "fits lines",
        "config": LineConfig,
        "fit": partial(fit_one, task),
        "space": {"rate": tune.loguniform(1e-3, 1e-1), "seed": tune.randint(0, 1000)},
        "metric": "validation/loss",
        "mode": "min",
        "presets": {"default": {}},
        "samples": 6,
        "population": task,
    }
    return Experiment(**(attributes | changes))

"""What is trained, step by step."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.scenarios import stream
from lab.experiment import Report, Result
from lab.population_task import Members, Model
from lab.sweep.population import fit_one
from lab.tasks.table_one_shot.config import TableOneShotConfig
from lab.tasks.table_one_shot.policy import draw_independent, draw_plackett_luce, needless
from lab.tasks.table_supervised.losses import even_limits, standardise
from lab.tasks.table_supervised.task import SupervisedTables

__all__ = ["TASK", "OneShotTables", "fit"]

_GUMBEL = 2
"""Of the stream of scenarios, the substream of the noise."""


class OneShotTables(SupervisedTables):
    """REINFORCE on whole tables (`lab.population_task.PopulationTask`).

    In each step `tables` pairs of tables are drawn for each fresh scenario, and paid minus their excess and imbalance
    (the weights of stability and evenness); the baseline of one is the mean of the others' pay (leave-one-out: Kool et
    al., 2019). With `supervised_share` the first steps are those of the supervised table.
    """

    meta: Mapping[str, str] = MappingProxyType({"experiment": "table_one_shot", "family": "rl"})

    def key(self, config: Any) -> Hashable:
        """As the supervised table's, and how draws are paid."""
        return (super().key(config), config.tables, config.credit)

    def blocks(self, config: Any, iteration: int) -> Iterator[Mapping[str, Tensor]]:
        """Those of the supervised table, and `noise`, float32 (n, tables, 2B, size, S), standard Gumbel."""
        for number, block in enumerate(super().blocks(config, iteration)):
            _, rows, slots = block["present"].shape
            rng = stream("train", config.seed, iteration * config.steps + number, _GUMBEL)
            noise = rng.gumbel(size=(1, config.tables, rows, config.size, slots)).astype(np.float32)
            yield {**block, "noise": torch.from_numpy(noise)}

    def knobs(self, config: Any, steps: NDArray[np.int64]) -> Mapping[str, float | NDArray[np.float64]]:
        """As the supervised table's, which ends where the share of its steps does; then the policy's `spread`."""
        total = config.iterations * config.steps
        first = round(config.supervised_share * total)
        before = dict(super().knobs(config.model_copy(update={"iterations": 1, "steps": max(1, first)}), steps))
        done = np.clip((steps - first) / (total - first), 0.0, 1.0)
        rate = (
            config.learning_rate
            * np.minimum(1.0, (steps - first + 1) / 20).clip(0)
            * (0.55 + 0.45 * np.cos(math.pi * done))
        )
        return {
            **before,
            "learning_rate": np.where(steps < first, before["learning_rate"], rate),
            "supervised": (steps < first).astype(np.float64),
            "spread": config.spread_start * (config.spread_end / config.spread_start) ** done,
        }

    def loss(
        self, config: Any, model: Model, batch: Mapping[str, Tensor], knobs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Minus the pay-weighted log-probability of the draws; reports the mean `excess` and `imbalance` of them."""
        if float(knobs["supervised"]):
            value, parts = super().loss(config, model, batch, knobs)
            return value, {"excess": parts["stability"], "imbalance": parts["evenness"]}
        present, same, noise = batch["present"], batch["same"], batch["noise"]
        draws, half = len(noise), len(same)
        scores = standardise(model(batch["features"], present), present).double() / knobs["spread"]
        draw = draw_plackett_luce if config.decoder == "balanced" else draw_independent
        drawn = draw(
            scores.expand(draws, *scores.shape).flatten(0, 1),
            present.expand(draws, *present.shape).flatten(0, 1),
            noise.flatten(0, 1),
        )
        tables, log_probability = (values.unflatten(0, (draws, -1)) for values in (drawn.table, drawn.log_probability))
        before, after = tables[:, :half].flatten(0, 1), tables[:, half:].flatten(0, 1)
        moved = needless(before, after, same.repeat(draws, 1), present[half:].repeat(draws, 1))
        moved = moved.double().unflatten(0, (draws, half))
        uneven = _imbalance(tables, present).unflatten(1, (2, half)).mean(dim=1)
        paid = -(knobs["weight_evenness"] * uneven[..., None] + knobs["weight_stability"] * _credit(config, moved))
        advantage = (paid - paid.mean(dim=0)) * (draws / (draws - 1))
        weighted = (log_probability.unflatten(1, (2, half)) * advantage[:, None]).sum(dim=-1).mean()
        return -weighted, {"excess": moved.mean(), "imbalance": uneven.mean()}

    def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
        """As the supervised table's, and `env_steps`: an entry that is given out is one, drawn or planned."""
        config = members.configs[0]
        assert isinstance(config, TableOneShotConfig)
        done, first = iteration * config.steps, round(config.supervised_share * config.iterations * config.steps)
        tables = min(done, first) + max(0, done - first) * config.tables
        steps = 2.0 * config.size * config.batch_size * tables
        return [{**metrics, "env_steps": steps} for metrics in super().evaluate(members, iteration)]


def _credit(config: TableOneShotConfig, moved: Tensor) -> Tensor:
    """What each entry is paid for, (draws, B, size): its own move in the whole, or the whole."""
    return moved / config.size if config.credit == "entry" else moved.mean(dim=2, keepdim=True).expand_as(moved)


def _imbalance(tables: Tensor, present: Tensor) -> Tensor:
    """Total variation between loads and the nearest even ones, (draws, R): int64 (draws, R, size), bool (R, S)."""
    loads = torch.zeros(*tables.shape[:2], present.shape[1], dtype=torch.float64, device=tables.device)
    loads.scatter_add_(2, tables, torch.ones_like(tables, dtype=torch.float64))
    lower, upper = even_limits(present, tables.shape[2], torch.float64)
    over, under = (loads - upper).clamp(min=0).sum(dim=2), ((lower - loads).clamp(min=0) * present).sum(dim=2)
    return torch.maximum(over, under) / tables.shape[2]


TASK = OneShotTables()


def fit(config: TableOneShotConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains one one-shot table (`lab.experiment.Fit`), as `lab.sweep.population.fit_one` has it."""
    return fit_one(TASK, config, report, resume=resume)

"""How many members fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab.population_task import CheckpointedTask, PopulationTask

__all__ = ["member_bytes"]


def member_bytes(task: PopulationTask, config: Any) -> int:
    """The memory that one member takes in training, in bytes.

    Its weights sixteen times over (moments, gradients, best and first ones, and two copies of them all while a
    checkpoint is written), a block of batches three times (drawn, stacked with the others', and in use), and twice what
    the gradient of one loss keeps (what is kept, and what is made of it). What an evaluation takes is for the task to
    bound.
    """
    if isinstance(task, CheckpointedTask):
        task = task.sketch
    module = task.init(config)
    block = next(task.blocks(config, 0))
    batch = {name: value[0] for name, value in block.items()}
    knobs = {
        name: torch.tensor(float(np.max(value))) for name, value in task.knobs(config, np.zeros(1, np.int64)).items()
    }
    weights = sum(value.nbytes for value in module.parameters())
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        task.loss(config, module, batch, knobs)
    return 16 * weights + 3 * sum(value.nbytes for value in block.values()) + 2 * sum(kept.values())

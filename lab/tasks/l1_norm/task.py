"""The L1 norm as a task of which hundreds train as one (`lab.population_task.PopulationTask`)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from lab.experiment import Report, Result
from lab.population_task import Members, Model
from lab.sweep import population
from lab.tasks.l1_norm import data, signs
from lab.tasks.l1_norm.accumulators import NotebookCell
from lab.tasks.l1_norm.artefact import save_model
from lab.tasks.l1_norm.cell import Cell
from lab.tasks.l1_norm.cells import make
from lab.tasks.l1_norm.config import L1NormConfig
from lab.tasks.l1_norm.measures import errors, exact_sums, outputs_at, probe, responses, sparsity_error

__all__ = ["TASK", "L1NormTask", "fit"]

_LENGTHS = (10, 100, 1000)

_CHUNK = 10
"""Entries after which sequences that have ended start anew in training."""


class L1NormTask:
    """Learns `sum |x_t|` of sequences of any length from short ones.

    Metrics of an evaluation: `validation/error`, the median relative error at `validation_length`, in float32;
    `validation/error_p95` there; `validation/error_10`, `_100` and `_1000` at those lengths, where sequences are long
    enough; `gain`, `response/+1` and `response/-1` (`measures.responses`); `sparsity` (`measures.sparsity_error`);
    `weight/recurrent` and `weight/input` where each is one number; and for the notebook's cell `exact`, 1 if both are
    exactly 1 in float32, else 0.
    """

    objective = "validation/error"
    mode: Literal["min", "max"] = "min"
    betas = (0.9, 0.999)
    replayable = True

    def key(self, config: L1NormConfig) -> Hashable:
        options = config.options()
        shape = (config.dtype, config.batch_size, config.max_length)
        return (*options.model_dump().values(), *shape, config.validation_length, config.validation_sequences)

    def init(self, config: L1NormConfig) -> Cell:
        cell, generator = make(config.options(), config.dtype), torch.Generator().manual_seed(config.seed)
        cell.initialise(generator)
        if config.signs and isinstance(cell, NotebookCell):
            signs.apply(signs.get(config.signs), cell, generator)
        return cell

    def stream(self, config: L1NormConfig) -> Hashable:
        return (config.seed, config.input_range, config.curriculum)

    def blocks(self, config: L1NormConfig, iteration: int) -> Iterator[Mapping[str, Tensor]]:
        return data.blocks(config, iteration)

    def knobs(self, config: L1NormConfig, steps: NDArray[np.int64]) -> Mapping[str, float | NDArray[np.float64]]:
        knobs: dict[str, float | NDArray[np.float64]] = {
            "learning_rate": config.learning_rates(steps),
            "weight_decay": config.weight_decay,
            "max_gradient_norm": config.max_gradient_norm or math.inf,
        }
        return knobs | ({"regularizer": config.regularizers(steps)} if config.cell == "nau" else {})

    def loss(
        self, config: L1NormConfig, model: Model, batch: Mapping[str, Tensor], knobs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean squared error of the read-outs after the last entries, and the NAU's regulariser.

        What is behind the end of a sequence is never read: the cell is given zeros there, whatever it holds, and goes
        on over them as shapes are fixed; what it reads out there is not gathered, and gets a gradient of exactly 0.
        That is no gradient as long as the state there is finite (0 x infinity is not a number), so a sequence that has
        ended starts anew every ten entries. A state can then overflow behind the end only within nine steps; where the
        squared error at the end is finite that takes a recurrent weight beyond 100 in float32, 10^17 in float64.
        """
        outputs, state = _read(model, batch["x"], batch["last"])
        error = (outputs.gather(1, batch["last"])[:, 0] - batch["y"]).square().mean()
        if config.cell != "nau":
            return error, {}
        return error + knobs["regularizer"] * state.sparsity, {"sparsity": state.sparsity}

    def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
        config = members.configs[0]
        assert isinstance(config, L1NormConfig)
        lengths = [*(length for length in _LENGTHS if length < config.validation_length), config.validation_length]
        x = data.validation_sequences(config.validation_sequences, config.validation_length)

        def read(entries: Tensor, state: Any) -> Any:
            return members.map(_begin, entries) if state is None else members.map(_go_on, entries, carry=state)

        scanned = outputs_at(read, x.to(members.device), lengths)
        impulses = probe(len(x)).to(members.device)
        probed = outputs_at(read, impulses, [1, impulses.shape[1]])
        found = errors(scanned.cpu().numpy(), exact_sums(x.numpy(), lengths))
        medians, highest = np.median(found, axis=1), np.quantile(found[..., -1], 0.95, axis=1)
        columns: dict[str, list[float]] = {
            self.objective: medians[:, -1].tolist(),
            "validation/error_p95": highest.tolist(),
        }
        for place, length in enumerate(lengths):
            if length in _LENGTHS:
                columns[f"validation/error_{length}"] = medians[:, place].tolist()
        columns |= {name: value.tolist() for name, value in responses(probed.cpu().numpy()).items()}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        for row, module in zip(rows, members.modules(), strict=True):
            assert isinstance(module, Cell)
            row |= _of_weights(module)
            if not math.isfinite(row["sparsity"]):
                # Outputs beyond float32 are a bad network; weights that are not numbers are none.
                row[self.objective] = math.nan
        return rows

    def save(
        self,
        config: L1NormConfig,
        directory: Path,
        *,
        best: dict[str, Tensor],
        untrained: dict[str, Tensor],
        best_objective: float,
        untrained_objective: float,
    ) -> None:
        meta = {
            "seed": config.seed,
            "signs": config.signs,
            "trained_in": config.dtype,
            "validation": {"error": best_objective, "untrained": untrained_objective},
        }
        save_model(directory, config.options(), best, untrained, meta)


def _read(model: Model, x: Tensor, last: Tensor) -> tuple[Tensor, Any]:
    """The read-outs after each entry, (B, T), and the last state, with nothing behind the ends going in.

    Args:
        model: a cell.
        x: real (B, T).
        last: int64 (B, 1), the place of the last entry of each sequence.
    """
    inside = torch.arange(x.shape[1], device=x.device) <= last
    chunks = torch.where(inside, x, 0.0).split(_CHUNK, 1)
    outputs, state = model(chunks[0])
    found = [outputs]
    for place, chunk in enumerate(chunks[1:], 1):
        outputs, state = model(chunk, pytree.tree_map(partial(_only, inside[:, place * _CHUNK]), state))
        found.append(outputs)
    return (torch.cat(found, 1) if len(found) > 1 else outputs), state


def _only(alive: Tensor, state: Tensor) -> Tensor:
    """A state (B, ...) as it is where a sequence goes on, else 0; what is no sequence's own, a scalar, as it is."""
    return torch.where(alive.view(-1, *[1] * (state.ndim - 1)), state, 0.0) if state.ndim else state


def _begin(model: Model, entries: Tensor) -> Any:
    return model(entries)


def _go_on(model: Model, entries: Tensor, state: Any) -> Any:
    return model(entries, state)


def _of_weights(cell: Cell) -> dict[str, float]:
    """What the weights themselves say, as they are in float32."""
    with torch.no_grad():
        scalars = {name: float(value.float()) for name, value in cell.scalars().items()}
        found = {f"weight/{name}": value for name, value in scalars.items()}
        found["sparsity"] = sparsity_error({name: value.float() for name, value in cell.matrices().items()})
    if isinstance(cell, NotebookCell):
        found["exact"] = float(all(value == 1.0 for value in scalars.values()))
    return found


TASK = L1NormTask()


def fit(config: L1NormConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Trains one network alone (`lab.experiment.Fit`, `lab.sweep.population.fit_one`)."""
    return population.fit_one(TASK, config, report, resume=resume)

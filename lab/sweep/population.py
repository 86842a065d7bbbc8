"""Fused populations: hundreds of small models of one architecture, trained as one.

A gradient step of a model with a hundred weights is nearly all overhead of the library. Here the weights of the members
are the rows of one matrix, the loss of one member is mapped over them (`torch.func.vmap`), and one optimiser steps all
rows, each with its own learning rate, weight decay, batches and initialisation. No row ever touches another: a member's
result is that of the same configuration trained alone, to rounding. Training alone is the same loop with one member and
nothing mapped.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor
from torch.func import grad_and_value, vmap

from lab.errors import RequestError
from lab.experiment import Report, Result, require_device
from lab.files import read_json, sha256, write_bytes, write_json
from lab.population_task import PopulationTask
from lab.reports import check_metrics
from lab.sweep.replay import Replay
from lab.sweep.stack import Mapped, Stack

__all__ = ["Ended", "PopulationReport", "fit_one", "member_bytes", "train_population"]

_STATE, _PROGRESS, _MEMBERS = "population.safetensors", "population.json", "members"
_OPTIMISER = ("weight_decay", "max_gradient_norm")
_AT_ONCE = 1 << 28
"""Bytes that the members of one mapped step take on the CPU."""


@dataclass(frozen=True)
class Ended:
    """How a member ended: `stopped` is halving's doing, `reason` says why it failed or was stopped."""

    status: Literal["finished", "stopped", "failed"]
    reason: str | None = None


@dataclass(frozen=True)
class PopulationReport:
    """One iteration of a population.

    Attributes:
        iteration: counted from 1.
        rows: member -> its metrics; a member that failed is not there.
        ends: member -> how it ended, for those that ended with this iteration.
    """

    iteration: int
    rows: dict[int, dict[str, float]]
    ends: dict[int, Ended]


def fit_one(task: PopulationTask, config: Any, report: Report, *, resume: Path | None = None) -> Result:
    """Trains one member alone, without mapping anything (`lab.experiment.Fit`).

    Args:
        task: of the member.
        config: its configuration.
        report: called once an iteration. Metrics: those of `task.evaluate`, `iteration`, `seconds`, `members` (1),
            `untrained/<objective>`, `best/<objective>`, means over the iteration's steps of `train/loss`, its parts and
            `train/gradient_norm`, and the last `train/<knob>` of those that change. Where a figure is not finite, the
            metrics say so and the training ends.
        resume: a checkpoint directory of a training with the same network. What follows is bit for bit what would have
            followed without the break (same config, device and threads).

    Returns:
        The last metrics. Checkpoint directories live no longer than a `report`, which copies them.

    Raises:
        RequestError: no such device, or a checkpoint that is damaged or of another network.
    """
    result = Result({})
    with _Population.of(task, {0: config}, fused=False, resume=resume) as population, _directory() as directory:
        while population.iteration < config.iterations:
            metrics = population.train()[0]
            folder = None
            if check_metrics(metrics, task.objective) is None and population.due:
                population.save(directory)
                population.save_artefact(0, directory)
                folder = directory
            report(metrics, folder)
            result = Result(metrics)
            if check_metrics(metrics, task.objective) is not None:
                break
    return result


def train_population(
    task: PopulationTask,
    configs: Mapping[int, Any],
    report: Callable[[PopulationReport, Path | None], None],
    *,
    resume: Path | None = None,
    rungs: Sequence[int] = (),
    eta: int = 3,
) -> None:
    """Trains many members as one, until each has ended.

    Args:
        task: of the members.
        configs: member -> configuration; `task.key` is the same for all.
        report: called once an iteration, with a checkpoint directory when one is due and when a member finished or was
            stopped. It holds the state of those that go on, and under `members/<member>` the artefact of each that
            finished or was stopped with this iteration. It lives no longer than the call.
        resume: such a directory. Members that had ended are left out, whoever asks for them; rows of members that are
            not asked for are dropped. The same members go on bit for bit as without the break.
        rungs: iterations at which only the best go on (successive halving, Jamieson and Talwalkar, AISTATS 2016).
        eta: one member in `eta` passes a rung.

    Raises:
        RequestError: no such device, or a checkpoint that is damaged, of another network or of other members.
    """
    with _Population.of(task, configs, fused=len(configs) > 1, resume=resume) as population:
        while population.members:
            rows = dict(zip(population.members, population.train(), strict=True))
            iteration, last = population.iteration, population.iteration >= population.iterations
            ends: dict[int, Ended] = {}
            for member, metrics in rows.items():
                wrong = check_metrics(metrics, task.objective)
                if wrong is not None:
                    ends[member] = Ended("failed", wrong)
                elif last:
                    ends[member] = Ended("finished")
            rows = {m: metrics for m, metrics in rows.items() if m not in ends or ends[m].status == "finished"}
            if iteration in rungs and not last:
                ends |= _halve(task, rows, eta, iteration)
            with _directory() as directory:
                kept = [member for member, end in ends.items() if end.status != "failed"]
                for member in kept:
                    population.save_artefact(member, directory / _MEMBERS / str(member))
                due = bool(rows) and (population.due or bool(kept))
                population.drop(ends)
                if due:
                    population.save(directory)
                report(PopulationReport(iteration, rows, ends), directory if due else None)


def member_bytes(task: PopulationTask, config: Any) -> int:
    """The memory that one member takes in training, in bytes: its weights six times over (moments, gradients, best and
    first ones), a batch, and twice what the gradient of one loss keeps (what is kept, and what is made of it)."""
    module = task.init(config)
    batch = {name: value[0] for name, value in next(task.blocks(config, 0)).items()}
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
    return 6 * weights + sum(value.nbytes for value in batch.values()) + 2 * sum(kept.values())


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="population-") as directory:
        yield Path(directory)


def _halve(task: PopulationTask, rows: Mapping[int, dict[str, float]], eta: int, iteration: int) -> dict[int, Ended]:
    sign = 1.0 if task.mode == "min" else -1.0
    ranked = sorted(rows, key=lambda member: (sign * rows[member][task.objective], member))
    return {
        member: Ended("stopped", f"by halving at iteration {iteration}")
        for member in ranked[math.ceil(len(ranked) / eta) :]
    }


class _Population:
    """Members between two iterations.

    Attributes:
        members: those that go on, by their numbers.
        iteration: iterations done.
        iterations: of the whole training.
    """

    def __init__(self, task: PopulationTask, configs: Mapping[int, Any], *, fused: bool) -> None:
        first = next(iter(configs.values()))
        require_device(first)
        self._task, self._fused = task, fused
        self._mapped: dict[Callable[..., Any], Replay] | None = {} if task.replayable else None
        self._steps_mapped: dict[int | None, Callable[..., Any]] = {}
        # What is recorded has small tensors. Large ones are slower the more there are, once no cache holds them.
        large = len(configs) > 1 and not task.replayable and first.device == "cpu"
        self._chunk = max(1, _AT_ONCE // member_bytes(task, first)) if large else None
        self._configs: list[Any] = list(configs.values())
        self.members, self.iteration, self.iterations = list(configs), 0, first.iterations
        self._name = task.objective.partition("/")[2]
        device = torch.device(first.device)
        self._stack = Stack([task.init(config) for config in self._configs], device)
        worst = math.inf if task.mode == "min" else -math.inf
        self._best, self._seconds = [worst] * len(self), [0.0] * len(self)
        self._untrained = [math.nan] * len(self)

    @classmethod
    @contextmanager
    def of(
        cls, task: PopulationTask, configs: Mapping[int, Any], *, fused: bool, resume: Path | None
    ) -> Iterator[_Population]:
        """A population at its start, or as a checkpoint has it; torch has the threads that it asks for."""
        threads = torch.get_num_threads()
        torch.set_num_threads(next(iter(configs.values())).threads)
        try:
            population = cls(task, configs, fused=fused)
            if resume is None:
                population._untrained = [row[task.objective] for row in population._evaluate(0)]
            else:
                population._restore(Path(resume))
            yield population
        finally:
            torch.set_num_threads(threads)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def due(self) -> bool:
        """Whether this iteration has a checkpoint."""
        every = self._configs[0].checkpoint_every if self._configs else 1
        return self.iteration % every == 0 or self.iteration >= self.iterations

    def train(self) -> list[dict[str, float]]:
        """One iteration; the metrics of each member, not finite where it failed."""
        started = time.perf_counter()
        measured = self._steps()
        self.iteration += 1
        good = [row for row in range(len(self)) if all(math.isfinite(value) for value in measured[row].values())]
        for row, metrics in zip(good, self._evaluate(self.iteration, good), strict=True):
            measured[row] |= metrics
        self._remember(good, [measured[row][self._task.objective] for row in good])
        share = (time.perf_counter() - started) / len(self)
        for row, metrics in enumerate(measured):
            self._seconds[row] += share
            metrics |= {
                "iteration": float(self.iteration),
                "seconds": self._seconds[row],
                "members": float(len(self)),
                f"untrained/{self._name}": self._untrained[row],
            }
            if self._task.objective in metrics:
                metrics[f"best/{self._name}"] = self._best[row]
            else:
                metrics[self._task.objective] = math.nan
        return measured

    def _steps(self) -> list[dict[str, float]]:
        """The gradient steps of an iteration; means over them."""
        stack, first = self._stack, self._configs[0]
        steps = range(self.iteration * first.steps, (self.iteration + 1) * first.steps)
        knobs, shown = self._knobs(steps)
        names, sums = [], []
        for step, (batch, dims) in zip(steps, self._batches(), strict=True):
            now = {name: values[step - steps.start] for name, values in knobs.items()}
            gradients, loss, parts = self._gradients(batch, dims, now)
            norm = gradients.norm(dim=1)
            gradients = gradients * (now["max_gradient_norm"] / (norm + 1e-6)).clamp(max=1.0)[:, None]
            stack.step(
                gradients,
                count=step + 1,
                learning_rate=now["learning_rate"],
                weight_decay=now["weight_decay"],
                betas=self._task.betas,
            )
            names = ["loss", *parts, "gradient_norm"]
            sums.append(torch.stack([loss, *parts.values(), norm]))
        # One wait for the device an iteration, not one a step.
        means = torch.stack(sums).double().mean(dim=0).cpu().tolist()
        return [
            {
                **{f"train/{name}": means[place][row] for place, name in enumerate(names)},
                **{f"train/{name}": values[row] for name, values in shown.items()},
            }
            for row in range(len(self))
        ]

    def _knobs(self, steps: range) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
        """The knobs of an iteration, (steps, M) each, and of those that change their last values, M each."""
        count = np.arange(steps.start, steps.stop)
        each = [self._task.knobs(config, count) for config in self._configs]
        columns = {
            name: np.stack([np.broadcast_to(one[name], count.shape) for one in each], axis=1) for name in each[0]
        }
        changing = [name for name, value in each[0].items() if np.ndim(value) and name not in _OPTIMISER]
        shown = {name: columns[name][-1].tolist() for name in changing}
        return {name: torch.from_numpy(column).to(self._stack.weights) for name, column in columns.items()}, shown

    def _batches(self) -> Iterator[tuple[dict[str, Tensor], int | None]]:
        """The batches of an iteration, each with the axis of the members in it: None where all share one."""
        streams: dict[Any, int] = {}
        place = [streams.setdefault(self._task.stream(config), len(streams)) for config in self._configs]
        drawn = [
            self._task.blocks(self._configs[place.index(number)], self.iteration) for number in range(len(streams))
        ]
        device = self._stack.device
        index = None if len(streams) == len(self) else torch.tensor(place, device=device)
        for each in zip(*drawn, strict=True):
            # (n, streams, ...): the batch of a step lies together, whichever members share it.
            block = {name: torch.stack([one[name] for one in each], dim=1).to(device) for name in each[0]}
            for number in range(len(next(iter(block.values())))):
                batch = {name: value[number] for name, value in block.items()}
                if len(each) == 1:
                    yield {name: value[0] for name, value in batch.items()}, None
                else:
                    yield batch if index is None else {name: value[index] for name, value in batch.items()}, 0

    def _gradients(
        self, batch: Mapping[str, Tensor], dims: int | None, knobs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The gradients (M, P), losses (M,) and further scalars (M,) of one step."""
        stack = self._stack
        if self._fused:
            if dims not in self._steps_mapped:
                loss = grad_and_value(self._loss, has_aux=True)
                self._steps_mapped[dims] = (
                    Replay(vmap(loss, in_dims=(0, dims, 0)))
                    if self._task.replayable
                    else vmap(loss, in_dims=(0, dims, 0), chunk_size=self._chunk)
                )
            gradients, (loss, parts) = self._steps_mapped[dims](stack.weights, batch, knobs)
            return gradients, loss, dict(parts)
        row = stack.weights[0].detach().requires_grad_()
        loss, parts = self._loss(row, batch, {name: value[0] for name, value in knobs.items()})
        (gradient,) = torch.autograd.grad(loss, row)
        return gradient[None], loss.detach()[None], {name: value.detach()[None] for name, value in parts.items()}

    def _loss(self, row: Tensor, batch: Mapping[str, Tensor], knobs: Mapping[str, Tensor]) -> Any:
        return self._task.loss(self._configs[0], self._stack.model(row), batch, knobs)

    def _evaluate(self, iteration: int, rows: Sequence[int] | None = None) -> list[dict[str, float]]:
        """The task's metrics of the members in these rows, of all if none are named."""
        stack, configs = self._stack, self._configs
        if rows is not None and len(rows) < len(self):
            stack, configs = copy.copy(stack), [configs[row] for row in rows]
            stack.keep(rows)
        members = Mapped(stack, configs, fused=self._fused, replays=self._mapped)
        return self._task.evaluate(members, iteration) if configs else []

    def _remember(self, rows: Sequence[int], objectives: Sequence[float]) -> None:
        """Keeps the weights of the members that are better than they ever were."""
        sign = 1.0 if self._task.mode == "min" else -1.0
        better = [
            (row, value) for row, value in zip(rows, objectives, strict=True) if sign * value < sign * self._best[row]
        ]
        for row, value in better:
            self._best[row] = value
        index = torch.tensor([row for row, _ in better], dtype=torch.int64, device=self._stack.device)
        self._stack.best[index] = self._stack.weights[index]

    def drop(self, members: Container[int]) -> None:
        """Leaves these members out from here on."""
        self._keep([row for row, member in enumerate(self.members) if member not in members])

    def _keep(self, rows: Sequence[int]) -> None:
        if len(rows) == len(self):
            return
        self._stack.keep(rows)
        for name in ("members", "_configs", "_best", "_seconds", "_untrained"):
            values = getattr(self, name)
            setattr(self, name, [values[row] for row in rows])

    def save_artefact(self, member: int, directory: Path) -> None:
        """Writes the artefact of a member's best network into `directory`."""
        row = self.members.index(member)
        directory.mkdir(parents=True, exist_ok=True)
        self._task.save(
            self._configs[row],
            directory,
            best=self._stack.state_dict(row, "best"),
            untrained=self._stack.state_dict(row, "untrained"),
            best_objective=self._best[row],
            untrained_objective=self._untrained[row],
        )

    def save(self, directory: Path) -> None:
        """Writes the state of the members into `directory`."""
        write_bytes(directory / _STATE, dump_tensors(self._stack.tensors()))
        layout = self._stack.layout
        progress = {
            "iteration": self.iteration,
            "members": self.members,
            "seconds": self._seconds,
            "best_objective": self._best,
            "untrained_objective": self._untrained,
            "parameters": {name: list(shape) for name, shape in zip(layout.names, layout.shapes, strict=True)},
            "sha256": sha256(directory / _STATE),
        }
        write_json(directory / _PROGRESS, progress)

    def _restore(self, directory: Path) -> None:
        progress = read_json(directory / _PROGRESS, "population")
        path, layout = directory / _STATE, self._stack.layout
        try:
            if sha256(path) != progress["sha256"]:
                raise RequestError(
                    f"expected at {path} the tensors that {_PROGRESS} names, but the SHA-256 differs: truncated?"
                )
            tensors = load_tensors(path.read_bytes())
            parameters = {name: tuple(shape) for name, shape in progress["parameters"].items()}
            there = {int(member): row for row, member in enumerate(progress["members"])}
            columns = {
                name: [float(value) for value in progress[name]]
                for name in ("seconds", "best_objective", "untrained_objective")
            }
            iteration = int(progress["iteration"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, RequestError):
                raise
            raise RequestError(f"expected the checkpoint of a population at {directory}, but got: {error!r}") from None
        mine = dict(zip(layout.names, layout.shapes, strict=True))
        if parameters != mine:
            raise RequestError(f"expected at {path} a network with {mine}, but got {parameters}")
        self._keep([row for row, member in enumerate(self.members) if member in there])
        rows = [there[member] for member in self.members]
        self.iteration = iteration
        if len(rows) and max(rows) >= min(len(values) for values in (*columns.values(), *tensors.values())):
            raise RequestError(f"expected at {directory} figures for each of {len(there)} members, but got fewer")
        self._stack.restore(tensors, rows)
        self._seconds, self._best, self._untrained = ([columns[name][row] for row in rows] for name in columns)

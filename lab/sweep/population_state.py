"""The members of a population between two iterations: what they are, one iteration of them, and their checkpoint."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as dump_tensors
from torch import Tensor
from torch.func import grad_and_value, vmap

from lab.errors import RequestError
from lab.experiment import require_device
from lab.files import read_json, sha256, write_bytes, write_json
from lab.paths import CHECKPOINT
from lab.population_task import SCHEDULE, CheckpointedTask, MemberState, PopulationTask
from lab.sweep.memory import member_bytes
from lab.sweep.replay import Replay
from lab.sweep.stack import Mapped, Stack
from lab.tensor_files import read_tensors
from lab.threads import torch_threads

__all__ = ["Population"]

_STATE, _PROGRESS = "population.safetensors", "population.json"
_OPTIMISER = ("weight_decay", "max_gradient_norm")
_AT_ONCE = 1 << 28
"""Bytes that the members of one mapped step take on the CPU."""


class Population:
    """Members between two iterations.

    Attributes:
        members: those that go on, by their numbers.
        iteration: iterations done.
        iterations: of the whole training.
    """

    def __init__(self, task: PopulationTask, configs: Mapping[int, Any], *, fused: bool) -> None:
        first = next(iter(configs.values()))
        require_device(first)
        kinds = {(task.key(one), *(getattr(one, name) for name in SCHEDULE)) for one in configs.values()}
        if len(kinds) > 1 or (len(configs) > 1 and task.key(first) is None):
            raise RequestError(
                f"expected members with one key and the same {', '.join(SCHEDULE)}, but got {len(kinds)} kinds of them"
            )
        self._task, self._fused = task, fused
        self._mapped: dict[Callable[..., Any], Replay] | None = {} if task.replayable else None
        self._steps_mapped: dict[int | None, Callable[..., Any]] = {}
        # What is recorded has small tensors. Large ones are slower the more there are, once no cache holds them.
        large = len(configs) > 1 and not task.replayable and first.device == "cpu"
        self._chunk = max(1, _AT_ONCE // member_bytes(task, first)) if large else None
        self._configs: list[Any] = list(configs.values())
        self.members, self.iteration, self.iterations = list(configs), 0, first.iterations
        self._begun = list(configs)
        self._name = task.objective.partition("/")[2]
        device = torch.device(first.device)
        self._stack = Stack([task.init(config) for config in self._configs], device)
        worst = math.inf if task.mode == "min" else -math.inf
        self._best, self._seconds = [worst] * len(self), [0.0] * len(self)
        self._untrained = [math.nan] * len(self)
        self._of_best: list[dict[str, float]] = [{} for _ in self.members]

    @classmethod
    @contextmanager
    def of(
        cls, task: PopulationTask, configs: Mapping[int, Any], *, fused: bool, resume: Path | None
    ) -> Iterator[Population]:
        """A population at its start, or as a checkpoint has it; torch has the threads that it asks for."""
        with torch_threads(next(iter(configs.values())).threads):
            population = cls(task, configs, fused=fused)
            if resume is None:
                population._untrained = [row[task.objective] for row in population._evaluate(0)]
            else:
                population._restore(Path(resume))
            if isinstance(task, CheckpointedTask):
                task.introduce(population._configs)
            yield population

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
        self._remember(good, measured)
        share = (time.perf_counter() - started) / len(self)
        for row, metrics in enumerate(measured):
            self._seconds[row] += share
            metrics |= {
                "iteration": float(self.iteration),
                "seconds": self._seconds[row],
                "members": float(len(self)),
                f"untrained/{self._name}": self._untrained[row],
            }
            metrics |= self._of_best[row]
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
        # Asked once an iteration: a pass over all weights for each step, for nothing where nobody is clipped.
        clipped = bool(knobs["max_gradient_norm"].isfinite().any())
        names, sums = [], []
        for step, (batch, dims) in zip(steps, self._batches(), strict=True):
            now = {name: values[step - steps.start] for name, values in knobs.items()}
            gradients, loss, parts = self._gradients(batch, dims, now)
            if "l2" in now:
                gradients = torch.addcmul(gradients, now["l2"][:, None], stack.weights)
            norm = gradients.norm(dim=1)
            if clipped:
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
            if len(each) == 1:
                block = {name: value.to(device) for name, value in each[0].items()}
            else:
                # (n, streams, ...): the batch of a step lies together, whichever members share it.
                block = {name: torch.stack([one[name] for one in each], dim=1).to(device) for name in each[0]}
            del each
            for number in range(len(next(iter(block.values())))):
                batch = {name: value[number] for name, value in block.items()}
                if len(streams) == 1:
                    yield batch, None
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

    def _remember(self, rows: Sequence[int], measured: Sequence[Mapping[str, float]]) -> None:
        """Keeps the weights of the members that are better than they ever were."""
        task, sign = self._task, 1.0 if self._task.mode == "min" else -1.0
        own = task if isinstance(task, CheckpointedTask) else None
        better = []
        for row in rows:
            value, best = sign * measured[row][task.objective], sign * self._best[row]
            if value < best or (own is not None and own.latest_of_equals and value == best):
                better.append(row)
                self._best[row] = measured[row][task.objective]
                self._of_best[row] = {} if own is None else own.of_best(measured[row])
        index = torch.tensor(better, dtype=torch.int64, device=self._stack.device)
        self._stack.best[index] = self._stack.weights[index]

    def drop(self, members: Container[int]) -> None:
        """Leaves these members out from here on."""
        self._keep([row for row, member in enumerate(self.members) if member not in members])

    def _keep(self, rows: Sequence[int]) -> None:
        if len(rows) == len(self):
            return
        self._stack.keep(rows)
        # Records are of shapes that will not come again.
        self._steps_mapped.clear()
        if self._mapped is not None:
            self._mapped.clear()
        for name in ("members", "_configs", "_best", "_seconds", "_untrained", "_of_best"):
            values = getattr(self, name)
            setattr(self, name, [values[row] for row in rows])

    def save_artefact(self, member: int, directory: Path) -> None:
        """Writes the artefact of a member's best network into `directory`, and its checkpoint where there is one."""
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
        if isinstance(self._task, CheckpointedTask):
            (directory / CHECKPOINT).mkdir()
            tensors = {name: self._stack.state_dict(row, name) for name in ("best", "exp_avg", "exp_avg_sq")}
            state = MemberState(
                iteration=self.iteration,
                seconds=self._seconds[row],
                current=self._stack.state_dict(row, "weights"),
                best_metrics=self._of_best[row],
                **tensors,
            )
            self._task.save_checkpoint(self._configs[row], directory / CHECKPOINT, state)

    def save(self, directory: Path) -> None:
        """Writes the state of the members into `directory`."""
        write_bytes(directory / _STATE, dump_tensors(self._stack.tensors()))
        layout = self._stack.layout
        progress = {
            "iteration": self.iteration,
            "members": self.members,
            "begun": self._begun,
            "seconds": self._seconds,
            "best_objective": self._best,
            "untrained_objective": self._untrained,
            "of_best": self._of_best,
            "parameters": {name: list(shape) for name, shape in zip(layout.names, layout.shapes, strict=True)},
            "sha256": sha256(directory / _STATE),
        }
        write_json(directory / _PROGRESS, progress)

    def _restore(self, directory: Path) -> None:
        progress = read_json(directory / _PROGRESS, "population")
        path, layout = directory / _STATE, self._stack.layout
        try:
            tensors = read_tensors(path, progress["sha256"], _PROGRESS, "a population")
            parameters = {name: tuple(shape) for name, shape in progress["parameters"].items()}
            there = {int(member): row for row, member in enumerate(progress["members"])}
            begun = [int(member) for member in progress["begun"]]
            columns = {
                name: [float(value) for value in progress[name]]
                for name in ("seconds", "best_objective", "untrained_objective")
            }
            iteration = int(progress["iteration"])
            # Populations of before have none, and tasks that had them then need none.
            of_best = [
                {name: float(value) for name, value in one.items()}
                for one in progress.get("of_best", [{}] * len(there))
            ]
        except RequestError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RequestError(f"expected the checkpoint of a population at {directory}, but got: {error!r}") from None
        mine = dict(zip(layout.names, layout.shapes, strict=True))
        if parameters != mine:
            raise RequestError(f"expected at {path} a network with {mine}, but got {parameters}")
        strange = [member for member in self.members if member not in begun]
        if strange:
            raise RequestError(f"expected at {directory} a population with member {strange[0]}, but got {begun}")
        self._begun = begun
        self._keep([row for row, member in enumerate(self.members) if member in there])
        rows = [there[member] for member in self.members]
        self.iteration = iteration
        if len(rows) and max(rows) >= min([len(of_best), *map(len, columns.values()), *map(len, tensors.values())]):
            raise RequestError(f"expected at {directory} figures for each of {len(there)} members, but got fewer")
        self._stack.restore(tensors, rows)
        self._of_best = [of_best[row] for row in rows]
        self._seconds, self._best, self._untrained = ([columns[name][row] for row in rows] for name in columns)

"""Fused populations: hundreds of small models of one architecture, trained as one.

A gradient step of a model with a hundred weights is nearly all overhead of the library. Here the weights of the members
are the rows of one matrix, the loss of one member is mapped over them (`torch.func.vmap`), and one optimiser steps all
rows, each with its own learning rate, weight decay, batches and initialisation. No row ever touches another: a member's
result is that of the same configuration trained alone, to rounding. Training alone is the same loop with one member and
nothing mapped.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.experiment import Report, Result
from lab.population_task import PopulationTask
from lab.reports import check_metrics
from lab.sweep.memory import member_bytes
from lab.sweep.population_state import Population

__all__ = ["Ended", "PopulationReport", "fit_one", "member_bytes", "train_population"]

_MEMBERS = "members"


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
    with Population.of(task, {0: config}, fused=False, resume=resume) as population, _directory() as directory:
        while population.iteration < config.iterations:
            metrics = population.train()[0]
            folder, good = None, check_metrics(metrics, task.objective) is None
            if good and population.due:
                population.save(directory)
                population.save_artefact(0, directory)
                folder = directory
            report(metrics, folder)
            result = Result(metrics)
            if not good:
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
        configs: member -> configuration; `task.key` and the fields of `SCHEDULE` are the same for all.
        report: called once an iteration, with a checkpoint directory when one is due and when a member finished or was
            stopped. It holds the state of those that go on, and under `members/<member>` the artefact of each that
            finished or was stopped with this iteration. It lives no longer than the call.
        resume: such a directory. Members that had ended are left out, whoever asks for them; rows of members that are
            not asked for are dropped. The same members go on bit for bit as without the break.
        rungs: iterations at which only the best go on (successive halving, Jamieson and Talwalkar, AISTATS 2016).
        eta: one member in `eta` passes a rung.

    Raises:
        RequestError: members that cannot be trained as one, no such device, or a checkpoint that is damaged, of another
            network or of other members.
    """
    with Population.of(task, configs, fused=len(configs) > 1, resume=resume) as population:
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

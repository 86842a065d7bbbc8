"""Runs of `parity` with real, tiny trainings on digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import experiments  # noqa: F401  # registers parity
from lab.config import parse
from lab.experiment import get
from lab.runs import Plan, Run
from lab.tasks.parity import ParityConfig, fit

TINY = {
    "iterations": 1,
    "epochs": 4,
    "base_epochs": 4,
    "learning_rate": 1e-2,
    "batch_groups": 128,
    "validation_groupings": 1,
}


def make_run(
    configs: Sequence[Mapping[str, Any]],
    *,
    kind: Any = "train",
    search: str = "list",
    checkpoints: bool = True,
    failed: Sequence[int] = (),
    end: bool = True,
    **fields: Any,
) -> Run:
    """A run with a trial for each of `configs`, over `fields` and `TINY`.

    Without `checkpoints` only what every trial leaves is kept, as of a sweep whose storage is elsewhere; `failed` are
    the numbers of trials that fail.
    """
    run = Run.create(
        get("parity"), kind=kind, preset="default", config={}, plan=Plan(samples=len(configs), search=search)
    )
    for index, each in enumerate(configs):
        config = parse(ParityConfig, {**TINY, **fields, **each})
        run.add_trial(index, config.model_dump(mode="json"))
        if index in failed:
            run.end_trial(index, "failed", "test/degraded_accuracy is nan")
        elif end:
            _train(run, index, config, keep=checkpoints)
    run.finish("finished" if end else "interrupted")
    return run


def _train(run: Run, index: int, config: ParityConfig, *, keep: bool) -> None:
    def report(metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:
        run.add_result(index, dict(metrics))
        if checkpoint is not None and keep:
            run.save_checkpoint(index, int(metrics["iteration"]), checkpoint)
        if checkpoint is not None:
            run.end_trial(index, "finished", checkpoint=checkpoint)

    fit(config, report)


def seeds(count: int = 2, **fields: Any) -> list[dict[str, Any]]:
    """Configurations that differ in their seed."""
    return [{**fields, "seed": seed} for seed in range(count)]

"""A `fit` as a function that Ray Tune runs; everything here happens in the process of a trial."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray import tune

from lab.config import parse
from lab.errors import RequestError
from lab.experiment import Experiment
from lab.journal import End
from lab.reports import check_metrics, failure_reason
from lab.sweep.asha import REDUCTION_FACTOR, rungs
from lab.sweep.plan import iterations_of
from lab.sweep.progress import encode_progress
from lab.sweep.storage import Storage
from lab.timing import check_tree

__all__ = ["make_trainable"]

Send = Callable[[dict[str, Any], Path | None], None]


class _Ended(BaseException):
    """Leaves a fit from inside its report; no `except Exception` of a task holds it up."""

    def __init__(self, how: str, reason: str | None = None) -> None:
        self.how, self.reason = how, reason


def make_trainable(
    experiment: Experiment,
    storage: Storage,
    shards: Sequence[Mapping[int, Mapping[str, Any]]] = (),
    *,
    halving: bool = False,
) -> Callable[[dict[str, Any]], None]:
    """The trainable of an experiment, with its resources: for a trial, and for the shards of a fused sweep.

    A trial reports `{"lab": metrics}` for each iteration, a shard `{"shard": text}` (`encode_progress`), and both
    `{"closing": how, ...}` once, at their own end: `finished` (of a trial with its `timing` as JSON, if the fit has
    one), `failed`, `boundary` (of a generation), `refused` (the fit cannot go on from its checkpoint) or `unwritable`
    (the storage fails); the last two are no failure of the training. It is reported, not raised, because Tune would
    start it again in vain; what Tune starts again is a trial whose process died.

    Args:
        experiment: what is trained.
        storage: of the checkpoints.
        shards: member -> configuration, for each shard; a payload names one by its place.
        halving: whether members of a shard are stopped at ASHA's rungs.
    """
    fit, config_class, objective, resources = experiment.fit, experiment.config, experiment.metric, experiment.resources
    population = experiment.population

    def first_config(payload: dict[str, Any]) -> Any:
        values = next(iter(shards[payload["shard"]].values())) if "shard" in payload else payload["config"]
        return parse(config_class, values)

    def train_shard(members: Mapping[int, Mapping[str, Any]], send: Send, folder: Path | None) -> None:
        from lab.sweep.population import PopulationReport, train_population

        def report(progress: PopulationReport, checkpoint: Path | None = None) -> None:
            ends: dict[int, End] = {index: (end.status, end.reason) for index, end in progress.ends.items()}
            send({"shard": encode_progress(progress.iteration, progress.rows, ends)}, checkpoint)

        configs = {index: parse(config_class, values) for index, values in members.items()}
        at = rungs(iterations_of(next(iter(configs.values())))) if halving else []
        assert population is not None
        train_population(population, configs, report, resume=folder, rungs=at, eta=REDUCTION_FACTOR)

    def train_alone(payload: dict[str, Any], send: Send, folder: Path | None) -> dict[str, Any] | None:
        until = payload["until"]

        def report(metrics: dict[str, float], checkpoint: Path | None = None) -> None:
            wrong = check_metrics(metrics, objective)
            if wrong is not None:
                raise _Ended("failed", wrong)
            send({"lab": {key: float(value) for key, value in metrics.items()}}, checkpoint)
            if until is not None and metrics["iteration"] >= until:
                raise _Ended("boundary")

        timing = fit(parse(config_class, payload["config"]), report, resume=folder).timing
        return None if timing is None else check_tree(timing)

    def trial(payload: dict[str, Any]) -> None:
        reported = False

        def send(row: dict[str, Any], checkpoint: Path | None) -> None:
            nonlocal reported
            reported = True
            kept = None if checkpoint is None else tune.Checkpoint.from_directory(checkpoint)
            try:
                tune.report(row, checkpoint=kept)
            except (OSError, pa.ArrowException) as error:
                raise _Ended("unwritable", f"cannot write to {storage.root}: {failure_reason(error)}") from error

        closing: dict[str, Any] = {"closing": "finished"}
        folder = None
        try:
            first_config(payload)
            with ExitStack() as stack:
                # Tune's own checkpoint is the later one: it has one only after this process was started again.
                checkpoint = tune.get_checkpoint() or storage.checkpoint(payload["resume"])
                try:
                    folder = None if checkpoint is None else Path(stack.enter_context(checkpoint.as_directory()))
                except (OSError, pa.ArrowException) as error:
                    raise _Ended("unwritable", f"cannot read from {storage.root}: {failure_reason(error)}") from error
                if "shard" in payload:
                    train_shard(shards[payload["shard"]], send, folder)
                else:
                    timing = train_alone(payload, send, folder)
                    if timing is not None:
                        # One text, as what a shard reports: Tune flattens and averages every number that it can see.
                        closing["timing"] = json.dumps(timing)
        except _Ended as end:
            closing = {"closing": end.how, "reason": end.reason}
        except Exception as error:
            closing = {"closing": "failed", "reason": failure_reason(error), "traceback": traceback.format_exc()}
            if isinstance(error, RequestError) and folder is not None and not reported:
                closing["closing"] = "refused"
        tune.report(closing)

    def request(payload: dict[str, Any]) -> Any:
        wanted = resources(first_config(payload))
        return tune.PlacementGroupFactory([{_RESOURCE.get(key, key): value for key, value in wanted.items()}])

    trial.__name__ = experiment.name
    return tune.with_resources(trial, request)


_RESOURCE = {"cpu": "CPU", "gpu": "GPU"}

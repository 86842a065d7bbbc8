"""A `fit` as a function that Ray Tune runs; everything here happens in the process of a trial."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray import tune

from lab.config import parse
from lab.errors import RequestError
from lab.experiment import Experiment
from lab.reports import check_metrics, failure_reason
from lab.sweep.storage import Storage

__all__ = ["make_trainable"]


class _Ended(BaseException):
    """Leaves a fit from inside its report; no `except Exception` of a task holds it up."""

    def __init__(self, how: str, reason: str | None = None) -> None:
        self.how, self.reason = how, reason


def make_trainable(experiment: Experiment, storage: Storage) -> Callable[[dict[str, Any]], None]:
    """The trainable of an experiment, with its resources.

    It reports `{"lab": metrics}` for each iteration and `{"closing": how, ...}` once, at its own end: `finished`,
    `failed`, `boundary` (of a generation), `refused` (the fit cannot go on from its checkpoint) or `unwritable` (the
    storage fails); the last two are no failure of the training. It is reported, not raised, because Tune would start
    it again in vain; what Tune starts again is a trial whose process died.
    """
    fit, config_class, objective, resources = experiment.fit, experiment.config, experiment.metric, experiment.resources

    def trial(payload: dict[str, Any]) -> None:
        until = payload["until"]
        reported = False

        def report(metrics: dict[str, float], checkpoint: Path | None = None) -> None:
            nonlocal reported
            reported = True
            wrong = check_metrics(metrics, objective)
            if wrong is not None:
                raise _Ended("failed", wrong)
            kept = None if checkpoint is None else tune.Checkpoint.from_directory(checkpoint)
            row = {key: float(value) for key, value in metrics.items()}
            try:
                tune.report({"lab": row}, checkpoint=kept)
            except (OSError, pa.ArrowException) as error:
                raise _Ended("unwritable", f"cannot write to {storage.root}: {failure_reason(error)}") from error
            if until is not None and metrics["iteration"] >= until:
                raise _Ended("boundary")

        closing: dict[str, Any] = {"closing": "finished"}
        folder = None
        try:
            config = parse(config_class, payload["config"])
            with ExitStack() as stack:
                # Tune's own checkpoint is the later one: it has one only after this process was started again.
                checkpoint = tune.get_checkpoint() or storage.checkpoint(payload["resume"])
                try:
                    folder = None if checkpoint is None else Path(stack.enter_context(checkpoint.as_directory()))
                except (OSError, pa.ArrowException) as error:
                    raise _Ended("unwritable", f"cannot read from {storage.root}: {failure_reason(error)}") from error
                fit(config, report, resume=folder)
        except _Ended as end:
            closing = {"closing": end.how, "reason": end.reason}
        except Exception as error:
            closing = {"closing": "failed", "reason": failure_reason(error), "traceback": traceback.format_exc()}
            if isinstance(error, RequestError) and folder is not None and not reported:
                closing["closing"] = "refused"
        tune.report(closing)

    def request(payload: dict[str, Any]) -> Any:
        wanted = resources(parse(config_class, payload["config"]))
        return tune.PlacementGroupFactory([{_RESOURCE.get(key, key): value for key, value in wanted.items()}])

    trial.__name__ = experiment.name
    return tune.with_resources(trial, request)


_RESOURCE = {"cpu": "CPU", "gpu": "GPU"}

"""Training in this process: one trial after another, a seed each, resumable after any kill."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lab.config import Config, parse
from lab.errors import RequestError, WorkError
from lab.experiment import Experiment, require_device
from lab.files import settle_directory, write_text
from lab.paths import CHECKPOINT
from lab.reports import check_metrics, failure_reason
from lab.runs import Plan, Run, RunStatus, Trial
from lab.timing import check_tree
from lab.tracking import Tracker, Tracking

__all__ = ["run_training", "seed_configs", "train"]


class _Failed(BaseException):
    """Leaves a fit from inside its report; no `except Exception` of a task holds it up."""


class _Refused(BaseException):
    """A fit that cannot go on from its checkpoint: what is wrong with the files is no failure of the trial."""

    def __init__(self, error: RequestError) -> None:
        self.error = error


class _Unwritable(BaseException):
    """The same, when the run folder cannot be written: the next trial's could not be either."""

    def __init__(self, error: WorkError) -> None:
        self.error = error


def run_training(
    experiment: Experiment,
    *,
    preset: str = "default",
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    seeds: int = 1,
    trackers: Iterable[Tracker] = (),
) -> Run:
    """Makes a run of `seeds` trials and trains them in this process. Nothing is written if the request is wrong.

    Args:
        experiment: what is trained.
        preset: name of the configuration.
        overrides: config fields that replace the preset's.
        seed: of the first trial, by default the configuration's; each next trial has the next one.
        seeds: how many trials, at least 1: the group over which a comparison takes its intervals.
        trackers: told of everything.

    Returns:
        The run, finished.

    Raises:
        RequestError: a preset, an override or a number is wrong.
        WorkError: every trial failed, or the run folder cannot be written.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    if seeds < 1:
        raise RequestError(f"expected at least 1 seed, but got {seeds}")
    given = dict(overrides or {})
    if seed is not None:
        given["seed"] = seed
    base = experiment.resolve(preset, given)
    if hasattr(base, "device"):
        require_device(base)
    experiment.check(base, False)
    plan = Plan(samples=seeds, search="list", max_concurrent=1, seed=getattr(base, "seed", 0))
    run = Run.create(experiment, kind="train", preset=preset, config=base.model_dump(mode="json"), plan=plan)
    train(experiment, run, trackers)
    return run


def seed_configs(experiment: Experiment, run: Run) -> list[Config]:
    """The configurations of the trials of a run: the run's own, with the seeds that follow its seed."""
    base, first = run.manifest.config, run.manifest.plan.seed
    return [parse(experiment.config, {**base, "seed": first + i}) for i in range(run.manifest.plan.samples)]


def train(experiment: Experiment, run: Run, trackers: Iterable[Tracker] = ()) -> RunStatus:
    """Does what is left to do of a run, from the beginning or after any kill, until every trial has ended.

    An unfinished trial goes on from its last checkpoint. A trial whose metrics are not finite numbers, or whose
    training raises, has failed, with the reason in one line; the others go on.

    Args:
        experiment: the one that the run is of.
        run: of kind `train`.
        trackers: told of everything; those that fail do not end the training (see `Tracking`).

    Returns:
        `finished`. A run that has ended already is left alone.

    Raises:
        RequestError: another process works on the run, or a checkpoint is damaged; the run is left as it was.
        WorkError: every trial failed, now or before, or a file cannot be written.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    configs = seed_configs(experiment, run)
    tracking = Tracking(trackers)
    run.claim()
    try:
        if run.manifest.status in ("finished", "failed"):
            tracking.catch_up(run)
            if run.manifest.status == "failed":
                raise run.failure()
            return run.manifest.status
        before = run.manifest.status
        tracking.start(run)
        run.manifest.status = "running"
        run.save_manifest()
        status: RunStatus = "interrupted"
        refusal: RequestError | None = None
        try:
            for index, config in enumerate(configs):
                if index not in run.trials:
                    tracking.trial_start(run.add_trial(index, config.model_dump(mode="json")))
                if not run.trials[index].ended:
                    _train_trial(experiment, config, run, run.trials[index], tracking)
            status = "failed" if all(trial.status == "failed" for trial in run.trials.values()) else "finished"
        except _Refused as refused:
            refusal = refused.error
        finally:
            if refusal is None:
                run.finish(status, experiment.texts)
            else:
                run.manifest.status = before
                run.save_manifest()
            tracking.end(status)
        if refusal is not None:
            raise refusal
        if status == "failed":
            raise run.failure()
        return status
    finally:
        run.release()


def _train_trial(experiment: Experiment, config: Config, run: Run, trial: Trial, tracking: Tracking) -> None:
    folder = run.trial_folder(trial.index) / CHECKPOINT
    settle_directory(folder)
    index = trial.index
    resume = folder if folder.is_dir() else None
    reported = False

    def report(metrics: dict[str, float], checkpoint: Path | None = None) -> None:
        nonlocal reported
        reported = True
        wrong = check_metrics(metrics, experiment.metric)
        if wrong is not None:
            raise _Failed(wrong)
        try:
            if run.add_result(index, metrics):
                tracking.result(trial, int(metrics["iteration"]))
            if checkpoint is not None:
                run.save_checkpoint(index, int(metrics["iteration"]), checkpoint)
        except WorkError as error:
            raise _Unwritable(error) from error

    try:
        timing = experiment.fit(config, report, resume=resume).timing
        if timing is not None:
            timing = check_tree(timing)
    except _Failed as failure:
        run.end_trial(index, "failed", str(failure))
    except _Unwritable as unwritable:
        raise unwritable.error from None
    except Exception as error:
        if isinstance(error, RequestError) and resume is not None and not reported:
            raise _Refused(error) from error
        write_text(run.trial_folder(index) / "error.txt", traceback.format_exc())
        run.end_trial(index, "failed", failure_reason(error))
    else:
        run.end_trial(index, "finished", checkpoint=folder if folder.is_dir() else None, timing=timing)
    tracking.trial_end(trial)

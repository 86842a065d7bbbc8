"""A sweep: a plan of trials, run by Ray Tune, remembered by the run's own journal."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray import tune

from lab.config import parse
from lab.errors import WorkError
from lab.experiment import Experiment
from lab.reports import failure_reason
from lab.runs import Plan, Run, RunStatus, runs_root
from lab.sweep.asha import JournalASHA
from lab.sweep.cluster import check_resources, environment, fits_here, live_nodes, node_sees, ray_session
from lab.sweep.fusion import begin, slots
from lab.sweep.halt import Halt
from lab.sweep.plan import check_unchanged, iterations_of, make_plan, narrow, with_axes
from lab.sweep.recorder import Recorder
from lab.sweep.searcher import JournalSearcher
from lab.sweep.shards import LEAST, LEAST_ON_CLUSTER
from lab.sweep.space import grid
from lab.sweep.storage import Storage, check_nodes, open_storage, unseen
from lab.sweep.trainable import make_trainable
from lab.tracking import Tracker, Tracking

__all__ = ["run_sweep", "sweep"]

_QUIET = {
    # Loggers of ours are there already; Tune's would write each result a second and a third time.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The closing report of a trial has no objective.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # `Halt` takes its place; Tune's own would tell people to use `Tuner.restore`.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Snapshots for `Tuner.restore`, which nobody calls.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def run_sweep(
    experiment: Experiment,
    *,
    preset: str = "default",
    overrides: Mapping[str, Any] | None = None,
    axes: Mapping[str, list[Any]] | None = None,
    trackers: Iterable[Tracker] = (),
    **options: Any,
) -> Run:
    """Makes a run and sweeps it. Nothing is written if the request is wrong.

    Args:
        experiment: what is swept.
        preset: name of the configuration that the trials share.
        overrides: config fields that replace the preset's; a field of the space that is given here is not searched.
        axes: config field -> values; their grid takes the place of the experiment's space.
        trackers: told of everything.
        **options: of `make_plan`.

    Returns:
        The run, finished.

    Raises:
        RequestError: an option, a preset, an override, the storage or the cluster is wrong.
        WorkError: every trial failed, or the run folder cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the run can be resumed.
    """
    overrides = dict(overrides or {})
    base = experiment.resolve(preset, overrides)
    experiment.check(base, True)
    kept = None if axes is None else {key: values for key, values in axes.items() if key not in overrides}
    experiment = with_axes(experiment, kept)
    experiment = narrow(experiment, [key for key in experiment.space if key not in overrides])
    plan = make_plan(experiment, axes=kept, **options)
    if kept is not None:
        # Somebody wrote this grid by hand: one wrong point of it is refused before the others are trained.
        for point in grid(experiment.space, None):
            experiment.check(experiment.resolve(preset, {**overrides, **point}), True)
    with ray_session(plan.address):
        _check_cluster(experiment, base, plan)
        run = Run.create(experiment, kind="sweep", preset=preset, config=base.model_dump(mode="json"), plan=plan)
        sweep(experiment, run, trackers)
    return run


def sweep(
    experiment: Experiment, run: Run, trackers: Iterable[Tracker] = (), *, address: str | None = None
) -> RunStatus:
    """Does what is left to do of a sweep, from the beginning or after any kill, until every planned trial has ended.

    The journal is the truth: unfinished trials go on from their last checkpoint under the same index and with the same
    configuration, and each planned trial is there once. Random and grid searches are the same lists after a resume;
    Optuna is told all trials again; ASHA's rungs and PBT's generations are as they were. So are the shards of a fused
    sweep: each goes on from its last checkpoint, with the members that it was cut with.

    Args:
        experiment: the one that the run is of.
        run: of kind `sweep`.
        trackers: told of everything; those that fail do not end the sweep (see `Tracking`).
        address: of a Ray cluster, instead of the plan's.

    Returns:
        `finished`. A run that was finished already is left alone.

    Raises:
        RequestError: another process works on the run, the cluster or storage is not there, a checkpoint is damaged, or
            the experiment's space is not what it was when the run was made.
        WorkError: every trial failed, now or before, or a file cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the run can be resumed.
    """
    plan = run.manifest.plan
    experiment = narrow(with_axes(experiment, plan.axes), run.manifest.space)
    base = parse(experiment.config, run.manifest.config)
    run.claim()
    try:
        if run.manifest.status in ("finished", "failed"):
            Tracking(trackers).catch_up(run)
            if run.manifest.status == "failed":
                raise run.failure()
            return run.manifest.status
        check_unchanged(experiment, run.manifest.space)
        with ray_session(address or plan.address):
            storage = _check_cluster(experiment, base, plan, run, address=address)
            tracking = Tracking(trackers)
            tracking.start(run)
            run.manifest.status = "running"
            run.save_manifest()
            halt = Halt()
            try:
                with halt.on_signals():
                    _tune(experiment, base, run, tracking, storage, halt)
            finally:
                status = _status(run)
                run.finish(status, experiment.texts)
                tracking.end(status)
        if halt.error is not None:
            raise halt.error
        if status == "interrupted":
            raise KeyboardInterrupt
        if status == "failed":
            raise run.failure()
        return status
    finally:
        run.release()


def _tune(experiment: Experiment, base: Any, run: Run, tracking: Tracking, storage: Storage, halt: Halt) -> None:
    plan = run.manifest.plan
    if plan.fuse:
        processes, least = plan.max_concurrent, LEAST_ON_CLUSTER
        if not (plan.address or os.environ.get("RAY_ADDRESS")):
            # A cluster may grow; this machine does not, and a shard that waits had better be part of one that trains.
            processes, least = min(processes, slots(experiment.resources(base))), LEAST
        begin(experiment, base, run, tracking, processes, least)
    scheduler, overdue = None, {}
    if plan.scheduler == "asha":
        scheduler = JournalASHA(metric=experiment.metric, mode=experiment.mode, iterations=iterations_of(base))
        overdue = scheduler.replay(run)
    recorder = Recorder(run, tracking, storage, halt, scheduler=plan.scheduler, overdue=overdue)
    searcher = JournalSearcher(experiment, base, run, tracking, storage, halt, overdue=overdue)
    recorder.settle(searcher.boundary())
    if len(run.trials) == plan.samples and all(trial.ended for trial in run.trials.values()):
        return
    shards = [{index: run.trials[index].config for index in shard} for shard in run.shards]
    attempt = f"tune-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    tuner = tune.Tuner(
        make_trainable(experiment, storage, shards, halving=plan.scheduler == "asha"),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,
            # A new process for each trial costs seconds; one that had a GPU is not trusted to have let go of it.
            reuse_actors=not experiment.resources(base).get("gpu"),
            trial_name_creator=lambda trial: f"{trial.config['index']:05d}",
            trial_dirname_creator=lambda trial: f"{trial.config['index']:05d}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=attempt,
            storage_path=storage.root,
            storage_filesystem=storage.filesystem,
            stop=halt,
            callbacks=[recorder],
            failure_config=tune.FailureConfig(max_failures=plan.max_failures),
            # The journal names the newest; the one before it is for a kill between the two.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            verbose=0,
        ),
    )
    # Tune may have this many trials waiting for a process, and otherwise only one.
    pending = {"TUNE_MAX_PENDING_TRIALS_PG": str(plan.max_concurrent)}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with environment(_QUIET | pending):
            tuner.fit()
    except (tune.TuneError, ray.exceptions.RayError) as error:
        raise WorkError(f"Ray Tune gave up on {run.name}: {failure_reason(error)[:300]}") from error
    finally:
        logger.setLevel(level)


def _status(run: Run) -> RunStatus:
    if len(run.trials) < run.manifest.plan.samples or not all(trial.ended for trial in run.trials.values()):
        return "interrupted"
    return "failed" if all(trial.status == "failed" for trial in run.trials.values()) else "finished"


def _check_cluster(
    experiment: Experiment, base: Any, plan: Plan, run: Run | None = None, *, address: str | None = None
) -> Storage:
    """The storage of a sweep, seen by every node, on a cluster that can hold a trial.

    Without a run, only looks; the folder of all runs then stands for the run's own.
    """
    joined = bool(address or plan.address or os.environ.get("RAY_ADDRESS"))
    wanted = experiment.resources(base)
    if not joined:
        check_resources(wanted)
    if run is None:
        place = plan.storage or str(runs_root())
    else:
        place = f"{plan.storage.rstrip('/')}/{run.name}" if plan.storage else str(run.folder / "tune")
    storage = open_storage(place)
    nodes = live_nodes()
    if storage.scheme is None and len(nodes) > 1:
        check_nodes(Path(storage.root), nodes, node_sees)
    if joined and plan.storage is None and not fits_here(wanted):
        # The trials will run on other nodes, which may not even be there yet.
        raise unseen(Path(storage.root), "all nodes see", "the nodes that can hold a trial")
    return storage

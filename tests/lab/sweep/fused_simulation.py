"""A Ray Tune of threads: runs the trainable of a sweep as Tune does, one report at a time, and can lose any part of it.

The driver dies at a line of the journal (`simulation.killed_after`), a worker at one of its reports.
"""

from __future__ import annotations

import itertools
import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune
from ray.tune.schedulers import TrialScheduler

from lab.config import parse
from lab.experiment import Experiment
from lab.runs import Run
from lab.sweep.asha import JournalASHA
from lab.sweep.fusion import begin
from lab.sweep.halt import Halt
from lab.sweep.plan import iterations_of, narrow
from lab.sweep.recorder import Recorder
from lab.sweep.searcher import JournalSearcher
from lab.sweep.shards import LEAST
from lab.sweep.storage import Storage
from lab.sweep.trainable import make_trainable
from lab.tracking import Tracking

_HERE = threading.local()
_NAMES = itertools.count()


class _Gone(BaseException):
    """The worker is no more."""


class Worker:
    """One of Tune's trials, and the process in which it trains; a thread that waits at each report.

    Attributes:
        trial_id, config, last_result: as Tune's trials have them.
        checkpoints: those that the driver was told of, oldest first; Tune keeps two.
    """

    def __init__(self, train: Any, trial_id: str, payload: dict[str, Any], storage: Storage) -> None:
        self.trial_id, self.config, self.last_result = trial_id, payload, {}
        self.checkpoints: list[tune.Checkpoint] = []
        self._train, self._folder = train, Path(storage.root) / f"attempt-{next(_NAMES)}"
        self._thread: threading.Thread | None = None

    def next(self) -> tuple[dict[str, Any], tune.Checkpoint | None]:
        """What is reported next, by a new process if there is none."""
        if self._thread is None:
            self._said: queue.Queue = queue.Queue()
            self._go: queue.Queue = queue.Queue()
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        else:
            self._go.put(True)
        return self._said.get(timeout=60)

    def die(self) -> None:
        """Ends the process where it is."""
        if self._thread is not None:
            self._go.put(False)
            self._thread.join()
            self._thread = None

    def keep(self, checkpoint: tune.Checkpoint) -> None:
        """The driver has heard of a checkpoint: Tune takes it up, and deletes all but two."""
        self.checkpoints.append(checkpoint)
        while len(self.checkpoints) > 2:
            shutil.rmtree(self.checkpoints.pop(0).path)

    def report(self, row: dict[str, Any], checkpoint: tune.Checkpoint | None) -> None:
        kept = None
        if checkpoint is not None:
            kept = self._folder / f"checkpoint-{next(_NAMES)}"
            shutil.copytree(checkpoint.path, kept)
            kept = tune.Checkpoint.from_directory(kept)
        self._said.put((row, kept))
        if not self._go.get(timeout=60):
            raise _Gone

    def _work(self) -> None:
        _HERE.worker = self
        try:
            self._train(self.config)
        except _Gone:
            return


@contextmanager
def paper_tune() -> Iterator[None]:
    """Takes the place of what a trainable asks of Tune."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "with_resources", lambda trial, request: trial)
        patch.setattr(tune, "get_checkpoint", lambda: (_HERE.worker.checkpoints or [None])[-1])
        patch.setattr(tune, "report", lambda row, checkpoint=None: _HERE.worker.report(row, checkpoint))
        yield


def drive_fused(experiment: Experiment, folder: Path, order: np.random.Generator, *, deaths: float = 0.0) -> Run:
    """Does what is left of a sweep; which of the live trials reports next is up to `order`, and so is who dies."""
    run = Run(folder)
    run.claim()
    live: list[Worker] = []
    try:
        experiment = narrow(experiment, run.manifest.space)
        base = parse(experiment.config, run.manifest.config)
        plan, storage, halt, tracking = run.manifest.plan, Storage(str(folder / "tune")), Halt(), Tracking([])
        begin(experiment, base, run, tracking, plan.max_concurrent, LEAST)
        scheduler, overdue = None, {}
        if plan.scheduler == "asha":
            scheduler = JournalASHA(metric=experiment.metric, mode=experiment.mode, iterations=iterations_of(base))
            overdue = scheduler.replay(run)
        recorder = Recorder(run, tracking, storage, halt, scheduler=plan.scheduler, overdue=overdue)
        searcher = JournalSearcher(experiment, base, run, tracking, storage, halt, overdue=overdue)
        recorder.settle(searcher.boundary())
        shards = [{index: run.trials[index].config for index in shard} for shard in run.shards]
        with paper_tune():
            train = make_trainable(experiment, storage, shards, halving=plan.scheduler == "asha")
            for number in itertools.count():
                payload = searcher.suggest(str(number))
                if isinstance(payload, dict):
                    live.append(Worker(train, str(number), payload, storage))
                    if scheduler is not None:
                        scheduler.on_trial_add(None, live[-1])
                    continue
                if not live:
                    assert payload == "FINISHED"
                    break
                worker = live[int(order.integers(len(live)))]
                if order.random() < deaths:
                    worker.die()
                elif step(worker, recorder, scheduler):
                    worker.die()
                    live.remove(worker)
                    searcher.on_trial_complete(worker.trial_id)
                    recorder.on_trial_complete(0, [], worker)
        if halt.error is not None:
            raise halt.error
    finally:
        for worker in live:
            worker.die()
        run.release()
    return run


def step(worker: Worker, recorder: Recorder, scheduler: JournalASHA | None) -> bool:
    """One report, and all that Tune makes of it; whether the trial is at its end."""
    row, checkpoint = worker.next()
    decision = TrialScheduler.CONTINUE
    if scheduler is not None:
        flat = {f"lab/{key}": value for key, value in row.get("lab", {}).items()}
        decision = scheduler.on_trial_result(None, worker, flat | row)
    recorder.on_trial_result(0, [], worker, row)
    worker.last_result = row
    if checkpoint is not None:
        recorder.on_checkpoint(0, [], worker, checkpoint)
        worker.keep(checkpoint)
    return "closing" in row or decision == TrialScheduler.STOP

"""A Ray Tune of paper: hands trials to the searcher and the recorder as Tune does, and can be killed at any event."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from lab.config import parse
from lab.experiment import Experiment
from lab.journal import Journal
from lab.runs import Run
from lab.sweep.asha import JournalASHA
from lab.sweep.halt import Halt
from lab.sweep.plan import narrow
from lab.sweep.recorder import Recorder
from lab.sweep.searcher import JournalSearcher
from lab.tracking import Tracking


class Killed(BaseException):
    """The driver is no more."""


@contextmanager
def killed_after(events: int, *, torn: bool) -> Iterator[None]:
    """Kills the driver at its `events`-th line of the journal: before it is written, or in the middle of it."""
    record, count = Journal._record, itertools.count()

    def dying(self: Journal, *lines: dict[str, Any]) -> None:
        for number, event in enumerate(lines):
            if next(count) == events:
                if number:
                    # The first lines of one write are on the disk.
                    record(self, *lines[:number])
                if torn:
                    with self._path.open("a") as file:
                        file.write(json.dumps(event)[:9])
                raise Killed
        record(self, *lines)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "_record", dying)
        yield


class PaperStorage:
    """Checkpoints that are their own address: the state as JSON."""

    def address(self, checkpoint: dict[str, float]) -> str:
        return json.dumps(checkpoint)

    def checkpoint(self, address: str | None) -> Any:
        if address is None:
            return None
        return SimpleNamespace(as_directory=lambda: self._folder())

    @contextmanager
    def _folder(self) -> Iterator[str]:
        yield "/nowhere"


@dataclass
class PaperTrial:
    """One of Tune's trials, and the training inside it."""

    trial_id: str
    config: dict[str, Any]
    last_result: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        resume = self.config["resume"]
        self.state = {"iteration": 0, "total": 0.0} if resume is None else json.loads(resume)


def drive(experiment: Experiment, folder: Path, order: np.random.Generator) -> Run:
    """Does what is left of a sweep; which of the live trials reports next is up to `order`."""
    run = Run(folder)
    run.claim()
    try:
        experiment = narrow(experiment, run.manifest.space)
        base = parse(experiment.config, run.manifest.config)
        plan, storage, halt, tracking = run.manifest.plan, PaperStorage(), Halt(), Tracking([])
        scheduler, overdue = None, {}
        if plan.scheduler == "asha":
            scheduler = JournalASHA(metric=experiment.metric, mode=experiment.mode, iterations=base.iterations)
            overdue = scheduler.replay(run)
        recorder = Recorder(run, tracking, storage, halt, scheduler=plan.scheduler, overdue=overdue)
        searcher = JournalSearcher(experiment, base, run, tracking, storage, halt, overdue=overdue)
        recorder.settle(searcher.boundary())
        live: list[PaperTrial] = []
        for number in itertools.count():
            payload = searcher.suggest(str(number))
            if isinstance(payload, dict):
                live.append(PaperTrial(str(number), payload))
                if scheduler is not None:
                    scheduler.on_trial_add(None, live[-1])
                continue
            if not live:
                assert payload == "FINISHED"
                break
            trial = live[int(order.integers(len(live)))]
            if step(trial, recorder, scheduler):
                live.remove(trial)
                searcher.on_trial_complete(trial.trial_id)
                recorder.on_trial_complete(0, [], trial)
        if halt.error is not None:
            raise halt.error
    finally:
        run.release()
    return run


def step(trial: PaperTrial, recorder: Recorder, scheduler: JournalASHA | None) -> bool:
    """One iteration of the toy training; whether the trial is at its end."""
    config, state = trial.config["config"], trial.state
    if state["iteration"] >= config["iterations"]:
        recorder.on_trial_result(0, [], trial, {"closing": "finished"})
        return True
    state["iteration"] += 1
    state["total"] += config["rate"] * config["width"]
    loss = (config["rate"] - 0.5) ** 2 + config["width"] / state["iteration"]
    result = {"lab": {**state, "validation/loss": loss}}
    decision = TrialScheduler.CONTINUE
    if scheduler is not None:
        decision = scheduler.on_trial_result(None, trial, {f"lab/{key}": value for key, value in result["lab"].items()})
    recorder.on_trial_result(0, [], trial, result)
    trial.last_result = result
    if state["iteration"] % config["every"] == 0 or state["iteration"] == config["iterations"]:
        recorder.on_checkpoint(0, [], trial, dict(state))
    until = trial.config["until"]
    if decision != TrialScheduler.STOP and until is not None and state["iteration"] >= until:
        recorder.on_trial_result(0, [], trial, {"closing": "boundary"})
        return True
    return decision == TrialScheduler.STOP

"""Which trial Ray Tune runs next: the journal decides, and is told before Tune is."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from lab.config import Config, parse
from lab.errors import RequestError
from lab.experiment import Experiment
from lab.runs import Run, Trial
from lab.sweep.generations import boundary_after, renew
from lab.sweep.halt import DriverOnly, Halt
from lab.sweep.optuna_search import propose
from lab.sweep.plan import iterations_of, planned_values
from lab.sweep.storage import Storage
from lab.tracking import Tracking

__all__ = ["JournalSearcher"]


class JournalSearcher(DriverOnly, Searcher):
    """Hands out the unfinished trials of a run, each from its last checkpoint, then those that were never begun.

    A new trial is in the journal, with its whole configuration, before Tune hears of it: whatever is killed when, the
    trials are those with the indices 0 to `samples` - 1, each once. A population (`pbt`) is handed out in parts, from
    one boundary to the next.

    The shards of a fused sweep come first. One is handed out again with all the members that it was cut with, until the
    last has ended: so the others do bit for bit what they would have done, and are halved among the same.

    Args:
        experiment: gives the space and the objective.
        base: the fields that are not in the space.
        run: claimed by this process.
        tracking: is told of new trials.
        storage: of the checkpoints.
        halt: ends the sweep early.
        overdue: trial -> iteration at which the scheduler had stopped it when the last driver was killed; it is trained
            as far as that once more if it has no checkpoint of it.
    """

    def __init__(
        self,
        experiment: Experiment,
        base: Config,
        run: Run,
        tracking: Tracking,
        storage: Storage,
        halt: Halt,
        *,
        overdue: dict[int, int],
    ) -> None:
        super().__init__()
        self._experiment, self._base, self._run, self._tracking = experiment, base, run, tracking
        self._storage, self._halt, self._overdue = storage, halt, overdue
        self._plan = run.manifest.plan
        self._values = planned_values(experiment, self._plan)
        self._iterations = iterations_of(base)
        self._every = max(1, int(getattr(base, "checkpoint_every", 1)))
        self._live: dict[str, list[int]] = {}
        self._fused = {index for shard in run.shards for index in shard}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """What the Tune trial `trial_id` is to do; None if it has to wait, `FINISHED` if there is nothing left."""
        if self._halt.broken:
            return str(Searcher.FINISHED)
        with self._halt.guard():
            if len(self._live) >= self._plan.max_concurrent:
                return None
            shard = self._next_shard()
            if shard is not None:
                members = self._live[trial_id] = self._run.shards[shard]
                going = [self._run.trials[index] for index in members if not self._run.trials[index].ended]
                oldest = min(going, key=lambda trial: trial.checkpoint_iteration)
                return {"index": members[0], "shard": shard, "resume": self._there(oldest.checkpoint), "until": None}
            trial = self._next()
            if trial is not None:
                self._live[trial_id] = [trial.index]
                return {
                    "index": trial.index,
                    "config": trial.config,
                    "resume": self._there(trial.checkpoint),
                    "until": self._overdue.get(trial.index, self.boundary()),
                }
            if self._live:
                return None
        return str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._live.pop(trial_id, None)

    def _there(self, checkpoint: str | None) -> str | None:
        return checkpoint if self._storage.checkpoint(checkpoint) is not None else None

    def _next_shard(self) -> int | None:
        """The first shard that has members to train and is not being trained."""
        busy = {members[0] for members in self._live.values()}
        for number, members in enumerate(self._run.shards):
            if members[0] not in busy and not all(self._run.trials[index].ended for index in members):
                return number
        return None

    def _next(self) -> Trial | None:
        while True:
            boundary, busy = self.boundary(), {index for members in self._live.values() for index in members}
            for _, trial in sorted(self._run.trials.items()):
                waits = boundary is not None and trial.arrived >= boundary
                if not trial.ended and trial.index not in busy | self._fused and not waits:
                    return trial
            if len(self._run.trials) < self._plan.samples:
                self._begin(len(self._run.trials))
            elif not busy and boundary is not None and not all(trial.ended for trial in self._run.trials.values()):
                self._renew(boundary)
            else:
                return None

    def _begin(self, index: int) -> None:
        values = {**self._base.model_dump(mode="json"), **self._propose(index)}
        try:
            config = parse(self._experiment.config, values).model_dump(mode="json")
        except RequestError as error:
            # A corner of the space that no configuration has: a trial like any other, and its failure is on record.
            trial = self._run.add_trial(index, values)
            self._tracking.trial_start(trial)
            self._run.end_trial(index, "failed", str(error))
            self._tracking.trial_end(trial)
            return
        self._tracking.trial_start(self._run.add_trial(index, config))

    def _propose(self, index: int) -> dict[str, Any]:
        if self._plan.search != "optuna":
            return self._values(index)
        return propose(
            self._experiment.space,
            self._run.trials.values(),
            metric=self._experiment.metric,
            mode=self._experiment.mode,
            seed=self._plan.seed,
            index=index,
        )

    def boundary(self) -> int | None:
        """The iteration at which the trials of a population wait next; None where there is none."""
        if self._plan.scheduler != "pbt":
            return None
        return boundary_after(self._run.generation, self._iterations, self._every)

    def _renew(self, boundary: int) -> None:
        racing = [trial for trial in self._run.trials.values() if not trial.ended]
        self._run.add_generation(boundary, renew(self._experiment, racing, boundary, self._plan.seed))

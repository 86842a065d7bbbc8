"""Asynchronous successive halving that remembers its rungs across a kill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from lab.journal import Journal

__all__ = ["REDUCTION_FACTOR", "JournalASHA", "rungs"]

REDUCTION_FACTOR = 3
"""One trial in three passes a rung (eta in the paper); there are about three rungs."""


def rungs(iterations: int) -> list[int]:
    """The iterations after which a training of this length may be cut short, in order: a ninth and a third of it."""
    found, rung = [], grace_period(iterations)
    while rung < iterations:
        found.append(rung)
        rung *= REDUCTION_FACTOR
    return found


def grace_period(iterations: int) -> int:
    """The first rung."""
    return max(1, iterations // REDUCTION_FACTOR**2)


@dataclass(frozen=True)
class _Named:
    """All that Tune's brackets want to know of a trial."""

    trial_id: str


class JournalASHA(AsyncHyperBandScheduler):
    """Tune's ASHA, Li et al., 2018 (arXiv:1810.05934), with rungs that are filled again from the journal.

    `Tuner.restore` starts it with empty rungs. Here a trial is known by its index in the run, which a restart keeps,
    instead of by Tune's name for it.

    Args:
        metric: the objective.
        mode: `min` or `max`.
        iterations: the length of a trial; the first rung is at a ninth of it.
    """

    def __init__(self, *, metric: str, mode: str, iterations: int) -> None:
        super().__init__(
            time_attr="lab/iteration",
            metric=f"lab/{metric}",
            mode=mode,
            max_t=iterations,
            grace_period=grace_period(iterations),
            reduction_factor=REDUCTION_FACTOR,
            # A trial ends by itself at its last iteration, after it has put its things away.
            stop_last_trials=False,
        )

    def replay(self, journal: Journal) -> dict[int, int]:
        """Fills the rungs from every result so far, in the order in which they came.

        Members of shards are left out: they are halved within their shard.

        Returns:
            trial -> iteration, for each trial that was to be stopped, but the kill came before it was written down.
        """
        overdue = {}
        fused = {index for shard in journal.shards for index in shard}
        for index in (index for index in journal.trials if index not in fused):
            super().on_trial_add(None, _Named(str(index)))
        for index, iteration in journal.history:
            if index in fused:
                continue
            trial = journal.trials[index]
            row = {f"lab/{key}": value for key, value in trial.results[iteration].items()}
            decision = super().on_trial_result(None, _Named(str(index)), {**row, "lab/iteration": iteration})
            if decision == TrialScheduler.STOP and not trial.ended and iteration == trial.iteration:
                overdue[index] = iteration
        return overdue

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if "shard" not in trial.config:
            super().on_trial_add(tune_controller, _named(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "shard" in trial.config:
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, _named(trial), result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing: the last result has been counted when it came."""

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing: what a trial has shown stays in the rungs."""


def _named(trial: Any) -> _Named:
    return _Named(str(trial.config["index"]))

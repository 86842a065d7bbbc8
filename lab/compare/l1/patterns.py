"""The study of initial signs: of how many seeds each pattern converges, and which of the notebook's findings hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lab.compare.l1.evaluate import Scores
from lab.compare.l1.methods import NOT_OF_THE_METHOD
from lab.compare.l1.success import Finding, Proportion, finding, first_step, wilson
from lab.compare.quantiles import Floats, quantile, seed_quantiles
from lab.compare.statistics import Interval, generator
from lab.runs import Run, Trial
from lab.tasks.l1_norm.signs import PATTERNS, Pattern

__all__ = [
    "CONVERGED",
    "CONVERGED_AT",
    "OF_THE_NOTEBOOK",
    "Outcome",
    "Path",
    "Study",
    "judged_speed",
    "outcomes",
    "studies",
]

CONVERGED = 1e-3
"""A training converged if the median relative error of its network, the best of all its validations, is at most this on
held-out sequences of `CONVERGED_AT` numbers."""

CONVERGED_AT = 1000

_ERROR = f"validation/error_{CONVERGED_AT}"
_EXACT = "exact"
"""In the journal: 1 where both weights are exactly 1.0."""

_OF_THE_PATTERN = ("signs", "activation", "bias")

OF_THE_NOTEBOOK = "relu"
"""The activation that the notebook's lines are about, as far as is known; others stand beside and are not judged."""


@dataclass(frozen=True)
class Study:
    """Trainings that differ in pattern, activation and seed alone.

    Attributes:
        label: what the report calls it; unique.
        steps: gradient steps of a training.
        spacing: gradient steps from one validation to the next.
        trials: (pattern, activation) -> the trainings, each with its run, one a seed.
    """

    label: str
    steps: int
    spacing: int
    trials: Mapping[tuple[str, str], list[tuple[Run, Trial]]]

    @property
    def activations(self) -> list[str]:
        found = {activation for _, activation in self.trials}
        return sorted(found, key=_relu_first)

    @property
    def members(self) -> list[tuple[Run, Trial]]:
        """All trainings."""
        return [member for group in self.trials.values() for member in group]


@dataclass(frozen=True)
class Path:
    """The way of one training through the plane of its two weights.

    Attributes:
        recurrent, input: (K,), one an evaluation.
        converged: whether it did.
    """

    recurrent: Floats
    input: Floats
    converged: bool


@dataclass(frozen=True)
class Outcome:
    """One pattern under one activation.

    Attributes:
        pattern, activation: which.
        converged: seeds that converged (`CONVERGED`) on held-out sequences.
        kept: those of them whose validation error is at most `CONVERGED` at the last validation too.
        exact: seeds that met the notebook's own criterion at any validation: both weights exactly 1.0.
        exact_last: seeds that meet it at the last validation.
        failed: seeds without a network, as where figures were not finite; they did not converge.
        steps: median over seeds of the first validation at `CONVERGED`; None where more than half never got there.
        finding: what `converged` says of the notebook's line; None for an activation that it is not about.
        speed: what `steps` says of a line that speaks of speed (`judged_speed`); None for the others.
        paths: ways through the plane of the weights, one a seed.
    """

    pattern: Pattern
    activation: str
    converged: Proportion
    kept: Proportion
    exact: Proportion
    exact_last: Proportion
    failed: int
    steps: Interval
    finding: Finding | None
    speed: Finding | None
    paths: list[Path] = field(repr=False)


def studies(runs: Sequence[Run]) -> list[Study]:
    """The studies in runs of `l1_signs`: trials of several runs belong together if all else of their configurations is
    equal. The same pattern, activation and seed twice counts once, for it is the same training."""
    groups: dict[str, dict[tuple[str, str], dict[int, tuple[Run, Trial]]]] = {}
    names: dict[str, Run] = {}
    for run in runs:
        for _, trial in sorted(run.trials.items()):
            if not trial.ended:
                continue
            rest = {k: v for k, v in trial.config.items() if k not in (*NOT_OF_THE_METHOD, *_OF_THE_PATTERN)}
            key = json.dumps(rest, sort_keys=True)
            names.setdefault(key, run)
            place = (str(trial.config["signs"]), str(trial.config["activation"]))
            groups.setdefault(key, {}).setdefault(place, {}).setdefault(int(trial.config["seed"]), (run, trial))
    found = []
    for key, by_place in groups.items():
        run = names[key]
        label = f"{run.manifest.experiment} ({run.manifest.preset})"
        alike = [other for other in groups if names[other].manifest.preset == run.manifest.preset]
        if len(alike) > 1:
            label += f" {run.folder.name.rpartition('-')[2]}.{alike.index(key) + 1}"
        rest = json.loads(key)
        spacing = int(rest.get("steps", 1))
        trials = {
            (name, activation): [by_seed[seed] for seed in sorted(by_seed)]
            for name in PATTERNS
            for (pattern, activation), by_seed in sorted(by_place.items(), key=lambda item: _relu_first(item[0][1]))
            if pattern == name
        }
        found.append(Study(label, spacing * int(rest.get("iterations", 1)), spacing, trials))
    return found


def _relu_first(activation: str) -> tuple[bool, str]:
    return activation != "relu", activation


def outcomes(
    study: Study,
    scores: Mapping[tuple[str, int], Scores | None],
    starts: Mapping[tuple[str, int], tuple[float, float]],
) -> list[Outcome]:
    """What came of each pattern under each activation, in the notebook's order.

    Args:
        study: the trainings.
        scores: (name of the run, trial) -> scores of its network at `CONVERGED_AT`; None where there is none.
        starts: likewise, recurrent and input weight before training, where they are known.
    """
    found = []
    for (name, activation), members in study.trials.items():
        pattern = PATTERNS[name]
        reached = [_converged(scores[run.name, trial.index]) for run, trial in members]
        share = wilson(sum(reached), len(reached))
        last = [_last(trial, _ERROR) for _, trial in members]
        found.append(
            Outcome(
                pattern=pattern,
                activation=activation,
                converged=share,
                kept=wilson(
                    sum(hit and e is not None and e <= CONVERGED for hit, e in zip(reached, last, strict=True)),
                    len(members),
                ),
                exact=wilson(sum(_exact(trial) for _, trial in members), len(members)),
                exact_last=wilson(sum((_last(trial, _EXACT) or 0) >= 1 for _, trial in members), len(members)),
                failed=sum(scores[run.name, trial.index] is None for run, trial in members),
                steps=_steps(f"{study.label} {name} {activation}", [trial for _, trial in members]),
                finding=finding(pattern.finding != "not", share) if activation == OF_THE_NOTEBOOK else None,
                speed=None,
                paths=[
                    _path(trial, starts.get((run.name, trial.index)), hit)
                    for (run, trial), hit in zip(members, reached, strict=True)
                ],
            )
        )
    return [replace(outcome, speed=judged_speed(outcome, found)) for outcome in found]


def judged_speed(outcome: Outcome, all_of_them: Sequence[Outcome]) -> Finding | None:
    """What the steps of a pattern say of a line that calls it slow or fast; None where the line does not.

    It is compared with the other patterns of its activation of which at least half of the seeds converge, by the median
    of their median steps. Slow holds where the whole interval of the pattern's own median is above that, is
    contradicted where the whole interval is below, and is undecided otherwise; fast is the other way round.
    """
    if outcome.finding is None or outcome.pattern.finding not in ("slowly", "fast"):
        return None
    others = [
        other.steps.value
        for other in all_of_them
        if other is not outcome and other.activation == outcome.activation and other.steps.value is not None
    ]
    low, high = outcome.steps.low, outcome.steps.high
    if not others or low is None:
        return "undecided"
    usual, slow = quantile(np.array(others), 0.5), outcome.pattern.finding == "slowly"
    if low > usual:
        return "holds" if slow else "contradicted"
    # Without an upper bound some resamples never converge.
    if high is not None and high < usual:
        return "contradicted" if slow else "holds"
    return "undecided"


def _converged(scores: Scores | None) -> bool:
    return scores is not None and quantile(scores.errors[CONVERGED_AT], 0.5) <= CONVERGED


def _exact(trial: Trial) -> bool:
    return any(row.get(_EXACT, 0) >= 1 for row in trial.results.values())


def _last(trial: Trial, metric: str) -> float | None:
    """A metric at the last validation of a training; None where there is none, or where the training failed."""
    found = [trial.results[k][metric] for k in sorted(trial.results) if metric in trial.results[k]]
    return found[-1] if found and trial.status != "failed" else None


def _steps(name: str, trials: list[Trial]) -> Interval:
    moments = [first_step(t.results, _ERROR, CONVERGED, int(t.config.get("steps", 1))) for t in trials]
    values = np.array([np.inf if moment is None else moment.step for moment in moments])
    return seed_quantiles(values[:, None], (0.5,), generator("steps", name))[0]


def _path(trial: Trial, start: tuple[float, float] | None, converged: bool) -> Path:
    rows = [trial.results[k] for k in sorted(trial.results)]
    points = [
        (r["weight/recurrent"], r["weight/input"]) for r in rows if "weight/recurrent" in r and "weight/input" in r
    ]
    both = np.array([*([] if start is None else [start]), *points], dtype=np.float64).reshape(-1, 2)
    return Path(both[:, 0], both[:, 1], converged)

"""Optuna's tree-structured Parzen estimator, asked anew for each trial from what the journal holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Categorical, Domain

from lab.journal import Trial

__all__ = ["propose"]


def propose(
    space: Mapping[str, Domain],
    trials: Iterable[Trial],
    *,
    metric: str,
    mode: Literal["min", "max"],
    seed: int,
    index: int,
) -> dict[str, Any]:
    """The values that the estimator would try as trial `index`, knowing `trials`.

    A pure function of its arguments: the study is made anew each time, so a sweep that was killed goes on as one that
    was not. Finished trials count with their best value, stopped ones as pruned at their last, failed ones as failed,
    and running ones keep others away from where they are (the constant liar). Bergstra et al., 2011, "Algorithms for
    Hyper-Parameter Optimization"; the sampler is `optuna.samplers.TPESampler`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = _distributions(space)
    sampler_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
    study = optuna.create_study(
        direction="minimize" if mode == "min" else "maximize",
        sampler=optuna.samplers.TPESampler(seed=sampler_seed, constant_liar=True),
    )
    for trial in sorted(trials, key=lambda trial: trial.index):
        known = _known(space, distributions, trial, metric, mode)
        if known is not None:
            study.add_trial(known)
    parameters = study.ask(fixed_distributions=distributions).params
    return {key: _decode(space[key], value) for key, value in parameters.items()}


def _distributions(space: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    # Choices go by their position: Optuna takes scalars only, and compares them with ==.
    numbers = {key: domain for key, domain in space.items() if not isinstance(domain, Categorical)}
    found: dict[str, BaseDistribution] = dict(OptunaSearch.convert_search_space(numbers))
    for key, domain in space.items():
        if isinstance(domain, Categorical):
            found[key] = CategoricalDistribution(range(len(domain.categories)))
    return {key: found[key] for key in space}


def _decode(domain: Domain, value: Any) -> Any:
    return domain.categories[value] if isinstance(domain, Categorical) else value


def _encode(domain: Domain, value: Any) -> Any:
    if not isinstance(domain, Categorical):
        return value
    # A tuple in the space is a list in the journal.
    return [json.loads(json.dumps(category)) for category in domain.categories].index(value)


def _known(
    space: Mapping[str, Domain],
    distributions: dict[str, BaseDistribution],
    trial: Trial,
    metric: str,
    mode: str,
) -> FrozenTrial | None:
    """The trial as Optuna would remember it; None where it could not have come out of this space."""
    try:
        parameters = {key: _encode(domain, trial.config[key]) for key, domain in space.items()}
    except (KeyError, ValueError):
        return None
    best = trial.best(metric, mode)
    state = {"running": TrialState.RUNNING, "failed": TrialState.FAIL, "stopped": TrialState.PRUNED}.get(
        trial.status, TrialState.COMPLETE
    )
    if state == TrialState.COMPLETE and best is None:
        state = TrialState.FAIL
    steps = {iteration: row[metric] for iteration, row in trial.results.items() if metric in row}
    try:
        return create_trial(
            state=state,
            value=best if state == TrialState.COMPLETE else None,
            params=parameters,
            distributions=distributions,
            intermediate_values={} if state == TrialState.FAIL else steps,
        )
    except ValueError:
        return None

"""The bandit: pulls, what they were paid, and what the best arm would have been paid."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from envs.scenarios import ScenarioBatch, sample_batch, stream
from envs.scoring import table_scores, transition_scores
from lab.config import Config
from lab.experiment import Report, Result
from lab.tables import judging, learned
from lab.tables.arm import ArmOptions, ArmTables, arm_builder
from lab.tasks.checkpoint_files import read_progress, read_weights, write_progress
from lab.tasks.table_bandit.config import TableBanditConfig

__all__ = ["OBJECTIVE", "choose", "fit", "rewards", "validation_scenarios"]

OBJECTIVE = f"validation/{judging.OBJECTIVE}"
"""The metric that is minimised."""

_PROGRESS = "progress.json"
_VALIDATED_SIZE = 47


class Progress(Config):
    """How far a bandit is.

    Attributes:
        iteration: iterations done.
        seconds: time so far.
        got: the sum of what was paid.
        could: for each arm, the sum of what it would have been paid had every pull been one of it.
    """

    iteration: int = 0
    seconds: float = 0.0
    got: float = 0.0
    could: list[float] = Field(default_factory=list)


def validation_scenarios(config: TableBanditConfig) -> ScenarioBatch:
    """The scenarios that an arm is validated on, those of `table_ppo`."""
    return sample_batch(config.scenario(_VALIDATED_SIZE), config.validation_pairs, stream("validation", 0))


def rewards(config: TableBanditConfig, scenarios: ScenarioBatch) -> NDArray[np.float64]:
    """What each arm would be paid for each scenario, float64 (A, B): minus imbalance and excess, weighted."""
    paid = np.empty((len(config.arms), len(scenarios)))
    for place, name in enumerate(config.arms):
        build = arm_builder(name).build_batch
        before, after = (
            build(scenarios.hashes, present, scenarios.size, None) for present in (scenarios.before, scenarios.after)
        )
        moved = transition_scores(before, after, scenarios.before, scenarios.after).excess
        uneven = table_scores(before, scenarios.before).imbalance + table_scores(after, scenarios.after).imbalance
        paid[place] = -(config.w_evenness * uneven / 2 + config.w_stability * moved)
    return paid


def choose(
    config: TableBanditConfig, pull: int, pulls: NDArray[np.int64], sums: NDArray[np.float64], rng: np.random.Generator
) -> int:
    """The arm of pull `pull`, counted from 0; each arm is pulled once first, and ties are broken at random.

    Epsilon-greedy, or UCB1 (Auer, Cesa-Bianchi and Fischer, 2002).
    """
    untried = np.flatnonzero(pulls == 0)
    if len(untried):
        return int(rng.choice(untried))
    if config.explore == "epsilon" and rng.random() < config.epsilon_at(pull):
        return int(rng.integers(len(pulls)))
    worth = sums / pulls
    if config.explore == "ucb":
        worth = worth + config.bonus * np.sqrt(2 * math.log(pull) / pulls)
    return int(rng.choice(np.flatnonzero(worth == worth.max())))


def fit(config: TableBanditConfig, report: Report, *, resume: Path | None = None) -> Result:
    """Pulls arms. Two bandits with the same config report the same metrics, save `seconds`, resumed or not.

    Args:
        config: the bandit.
        report: called once an iteration with `iteration`, `seconds`, `pulls` and `env_steps` (entries given out) so
            far, `reward` (mean of the iteration), `regret` (what the best fixed arm, in hindsight, would have been paid
            more over all pulls so far), `best_share` (pulls of that arm in the iteration), and `validation/...` of the
            arm with the highest mean (`lab.tables.judging.judge`), on the scenarios of table_ppo's validation.
        resume: a checkpoint directory that a fit wrote.

    Raises:
        RequestError: `resume` is no whole checkpoint of such a bandit.
    """
    progress = Progress(could=[0.0] * len(config.arms))
    tables = ArmTables(ArmOptions(arms=config.arms))
    untrained = dict(tables.state_dict())
    if resume is not None:
        what = "checkpoint of table_bandit"
        progress = read_progress(resume / _PROGRESS, Progress, what)
        tables.load_state_dict(read_weights(resume / learned.MODEL, what))
    pulls = tables.pulls.numpy().copy()
    sums = tables.means.numpy() * pulls
    held_out = validation_scenarios(config)
    validated: dict[str, dict[str, float]] = {}
    started = time.perf_counter() - progress.seconds
    metrics: dict[str, float] = {}
    for iteration in range(progress.iteration + 1, config.iterations + 1):
        rng = stream("train", config.seed, iteration)
        paid = rewards(config, sample_batch(config.scenario(config.size), config.pulls, rng))
        pulled = np.zeros_like(pulls)
        got = 0.0
        for turn in range(config.pulls):
            arm = choose(config, int(pulls.sum()), pulls, sums, rng)
            pulls[arm], pulled[arm] = pulls[arm] + 1, pulled[arm] + 1
            sums[arm] += paid[arm, turn]
            got += float(paid[arm, turn])
        tables.load_state_dict(
            {"pulls": torch.from_numpy(pulls.copy()), "means": torch.from_numpy(sums / np.maximum(pulls, 1))}
        )
        progress = Progress(
            iteration=iteration,
            seconds=time.perf_counter() - started,
            got=progress.got + got,
            could=(np.array(progress.could) + paid.sum(axis=1)).tolist(),
        )
        best = int(np.argmax(progress.could))
        if tables.chosen not in validated:
            validated[tables.chosen] = judging.judge(tables, held_out)
        validation = {f"validation/{name}": value for name, value in validated[tables.chosen].items()}
        metrics = {
            "iteration": float(iteration),
            "seconds": progress.seconds,
            "pulls": float(pulls.sum()),
            "env_steps": float(2 * config.size * pulls.sum()),
            "reward": got / config.pulls,
            "regret": progress.could[best] - progress.got,
            "best_share": float(pulled[best] / config.pulls),
            **validation,
        }
        if iteration == config.iterations or iteration % config.checkpoint_every == 0:
            with tempfile.TemporaryDirectory(prefix="table-bandit-") as directory:
                meta = {
                    "experiment": "table_bandit",
                    "family": "rl",
                    "size": config.size,
                    "chosen": tables.chosen,
                    "validation": {judging.OBJECTIVE: validation[OBJECTIVE]},
                }
                state, options = tables.state_dict(), {"arms": list(config.arms)}
                learned.save(Path(directory), "arm", options, state, meta, untrained=untrained)
                write_progress(Path(directory) / _PROGRESS, progress)
                report(metrics, Path(directory))
        else:
            report(metrics, None)
    return Result(metrics)

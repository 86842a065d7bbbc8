"""Stand-ins for trained networks: balanced rendezvous with some noise in its scores, saved as any learned table is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lab.compare.curves import METRIC
from lab.config import Config
from lab.experiment import Experiment
from lab.runs import Plan, Run
from lab.tables import learned
from lab.tables.greedy import assign_batch
from lab.tables.hashing import independent_scores, stratified_scores
from lab.tables.networks import EquivariantOptions, EquivariantScorer

ARCHITECTURE = f"{__name__}:StandIn"


def register(patch: pytest.MonkeyPatch) -> None:
    """An architecture for each family, and one that is in no family but `learned`: as a new task brings its own."""
    for family in ("supervised", "ppo", "learned"):
        patch.setitem(learned.ARCHITECTURES, f"stand-in-{family}", ARCHITECTURE)
        patch.setitem(learned.FAMILIES, family, (*learned.FAMILIES[family], f"stand-in-{family}"))


class StandIn:
    """`noise` 0 is balanced stratified rendezvous; the more of it, the more its tables move."""

    exact = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.only = options.get("size")
        self.noise = torch.zeros(1)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"noise": self.noise}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self.noise = state["noise"]

    def check(self, size: int, n_backends: int) -> None:
        if self.only is not None and size != self.only:
            raise learned.RequestError(f"expected {self.only} entries, but got {size}")

    def build_batch(self, hashes: np.ndarray, present: np.ndarray, size: int) -> np.ndarray:
        scores = stratified_scores(hashes, size).astype(np.float64)
        # Noise that depends on the size of the set, as what a network makes of the whole set does.
        shifted = hashes ^ present.sum(axis=1).astype(np.uint64)[:, None, None]
        scores += float(self.noise[0]) * independent_scores(shifted, size).astype(np.float64)
        return assign_batch(scores, present)


def nothing(config: Any, report: Any, *, resume: Path | None = None) -> Any:
    raise AssertionError("a comparison trains nothing")


def make_run(
    experiment: str = "table_supervised",
    noises: Sequence[float] = (0.1, 0.15, 0.2),
    *,
    kind: Any = "train",
    preset: str = "default",
    size: int | None = None,
    finished: bool = True,
    steps: str | None = None,
    family: str | None = None,
    artefacts: bool = True,
    searched: Mapping[str, Sequence[Any]] | None = None,
) -> Run:
    """A run folder with one trial for each of `noises`; the untrained networks have a noise of 2.

    `searched` are the fields of a sweep's space, with the value of each trial.
    """
    described = Experiment(
        name=experiment, summary="", config=Config, fit=nothing, space={}, metric=METRIC, mode="min", presets={}
    )
    plan = Plan(samples=len(noises), search="grid" if searched else "random")
    run = Run.create(described, kind=kind, preset=preset, config={}, plan=plan)
    if searched:
        run.manifest.space = dict.fromkeys(searched, "choice")
        run.save_manifest()
    family = family or ("ppo" if "ppo" in experiment else "supervised")
    rng = np.random.default_rng(1)
    for index, noise in enumerate(noises):
        searched_values = {key: values[index] for key, values in (searched or {}).items()}
        run.add_trial(index, {"seed": index, "size": size or 47} | searched_values)
        if not finished:
            continue
        for iteration in range(1, 13):
            ratio = 1.45 + 1.5 * noise + 0.9 * 0.7**iteration + 0.01 * rng.standard_normal()
            metrics = {"iteration": iteration, "seconds": 21.0 * iteration + rng.random(), METRIC: ratio}
            run.add_result(index, metrics | ({steps: 12_000.0 * iteration} if steps else {}))
        folder = run.trial_folder(index)
        state, before = {"noise": torch.tensor([noise])}, {"noise": torch.tensor([2.0])}
        options = {"size": size}
        if artefacts:
            learned.save(folder, f"stand-in-{family}", options, state, {"experiment": experiment}, untrained=before)
        run.end_trial(index, "finished")
    run.finish("finished" if finished else "interrupted")
    return run


def pair_run(column: int, seeds: int = 2, *, sees_set: bool = False, experiment: str = "table_supervised") -> Run:
    """Scorers that read one column of their features: 0 is a wave of the first ring offset, -1 counts from behind."""
    options = EquivariantOptions(width=1, depth=0, frequencies=1, strata=1, sees_set=sees_set)
    run = make_run(experiment, (0.1,) * seeds)
    for seed in range(seeds):
        scorer = EquivariantScorer(options)
        state = {name: torch.zeros_like(tensor) for name, tensor in scorer.state_dict().items()}
        state["embed.weight"][0, column] = 1.0
        # Far from 0 the activation is monotone: scores are ordered as what is read.
        state["embed.bias"][:] = 20.0
        state["head.weight"][:] = 1.0
        learned.save(run.trial_folder(seed), "equivariant", options.model_dump(), state, {"size": 47}, untrained=state)
    return run

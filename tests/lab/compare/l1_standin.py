"""Stand-ins for trained networks of the L1 norm: the exact weights, and some that are off by a little or a lot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lab import experiment as experiments
from lab.config import Config
from lab.experiment import Experiment
from lab.runs import Plan, Run
from lab.tasks.l1_norm import L1NormConfig
from lab.tasks.l1_norm.artefact import save_model
from lab.tasks.l1_norm.cells import make

from .standin import nothing

NORM, SIGNS = "stand_in_norm", "stand_in_signs"
STEPS = 50


def register(patch: pytest.MonkeyPatch) -> None:
    """The two experiments, under names that no real one has."""
    for name in (NORM, SIGNS):
        patch.setitem(experiments._REGISTRY, name, described(name))


def described(name: str, space: Iterable[str] = ()) -> Experiment:
    return Experiment(
        name=name,
        summary="",
        config=L1NormConfig if name in (NORM, SIGNS) else Config,
        fit=nothing,
        space=dict.fromkeys(space),
        metric="validation/error",
        mode="min",
        presets={},
        comparison="l1_norm",
    )


def weights(config: L1NormConfig, gain: float, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """`scale |x|` summed up with a recurrent weight of `gain`; cells without such weights keep random ones."""
    cell = make(config.options())
    cell.initialise(torch.Generator().manual_seed(config.seed))
    state = {name: value.detach().clone() for name, value in cell.state_dict().items()}
    if config.cell == "notebook":
        state |= {"weight_hh": torch.full((1, 1), gain), "weight_ih": torch.full((1, 1), scale)}
        state |= {name: torch.zeros_like(value) for name, value in state.items() if name.startswith("bias")}
    elif config.cell in ("relu", "leaky"):
        signs = torch.tensor([1.0, -1.0] + [0.0] * (config.width - 2))[:, None]
        state |= {"weight_i": scale * signs, "weight_o": signs.abs().T.clone(), "weight_r": torch.full((1, 1), gain)}
    return state


def journal(gain: float, error: float, iterations: int, scale: float = 1.0) -> list[dict[str, float]]:
    """Errors that fall from 1 to `error` by the middle of a training, and weights that come from (0.2, 0.4)."""
    rows = []
    for iteration in range(1, iterations + 1):
        done = min(1.0, 2 * iteration / iterations)
        value = error**done
        rows.append(
            {
                "iteration": iteration,
                "seconds": 0.5 * iteration,
                "members": 8,
                "validation/error": value,
                "validation/error_1000": value,
                "weight/recurrent": 0.2 + done * (gain - 0.2),
                "weight/input": 0.4 + done * (scale - 0.4),
                "exact": float(done == 1.0 and gain == scale == 1.0),
            }
        )
    return rows


def make_run(
    name: str,
    trials: Sequence[tuple[Mapping[str, Any], float | None]],
    *,
    kind: Any = "train",
    preset: str = "default",
    space: Iterable[str] = (),
    iterations: int = 20,
    end: bool = True,
) -> Run:
    """A run folder with one trial for each configuration and recurrent weight; None instead of it is a failed one."""
    plan = Plan(samples=len(trials))
    run = Run.create(described(name, space), kind=kind, preset=preset, config={}, plan=plan)
    for index, (fields, gain) in enumerate(trials):
        config = L1NormConfig(**{"steps": STEPS, "iterations": iterations, "width": 2, **fields})
        run.add_trial(index, config.model_dump(mode="json"))
        if not end:
            continue
        error = 1.0 if gain is None else max(abs(float(np.float32(gain)) - 1) * 5000, 3e-6)
        scale = 1.0 if gain is None or gain > 0 else -1.0
        for row in journal(gain or 0.0, min(error, 1.0), iterations, scale):
            run.add_result(index, row)
        if gain is None:
            run.end_trial(index, "failed", "validation/error is nan at iteration 20")
            continue
        folder: Path = run.trial_folder(index)
        save_model(folder, config.options(), weights(config, gain, scale), weights(config, 0.2, 0.4), {})
        run.end_trial(index, "finished")
    run.finish("finished" if end else "interrupted")
    return run


def seeds(count: int, gains: Sequence[float | None] = (1.0,), **fields: Any) -> list[tuple[dict[str, Any], Any]]:
    """Configurations that differ in their seed, with recurrent weights in turn."""
    return [({"seed": seed, **fields}, gains[seed % len(gains)]) for seed in range(count)]

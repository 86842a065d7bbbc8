"""A search space as lists and draws: every configuration of a sweep follows from the space, a seed and an index."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Uniform

from lab.errors import RequestError

__all__ = ["GRID_LIMIT", "check_space", "draw", "grid", "perturb"]

GRID_LIMIT = 10_000
"""A larger grid is a mistake in typing."""


def check_space(space: Mapping[str, Any]) -> None:
    """Refuses what cannot be drawn again from a seed.

    Raises:
        RequestError: the space is empty, or an entry is not a float, integer or choice of Ray Tune's.
    """
    if not space:
        raise RequestError("expected an experiment with a search space, but its space is empty: use lab train")
    for key, domain in space.items():
        if not isinstance(domain, Float | Integer | Categorical):
            raise RequestError(
                f"expected tune.uniform, loguniform, randint, choice or a relative for {key!r} in the space, "
                f"but got {type(domain).__name__}: other entries cannot be drawn again on a resume"
            )


def draw(space: Mapping[str, Domain], seed: int, index: int) -> dict[str, Any]:
    """The random configuration number `index` of the stream `seed`; it depends on nothing else."""
    rng = np.random.default_rng([seed, index])
    return {key: domain.sample(random_state=rng) for key, domain in space.items()}


def grid(space: Mapping[str, Domain], points: int | None) -> list[dict[str, Any]]:
    """Every combination of grid values, the last key changing fastest.

    Args:
        space: config field -> domain.
        points: values taken from each domain that is not a list of choices: evenly spaced, in the logarithm where
            the domain is logarithmic, rounded where it is quantised or integer, repetitions dropped.

    Raises:
        RequestError: a domain needs `points` and there are none, has no bounds, or the grid is beyond `GRID_LIMIT`.
    """
    axes = {key: _axis(key, domain, points) for key, domain in space.items()}
    size = math.prod(len(axis) for axis in axes.values())
    if size > GRID_LIMIT:
        raise RequestError(f"expected a grid of at most {GRID_LIMIT:,} points, but this one has {size:,}")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _axis(key: str, domain: Domain, points: int | None) -> list[Any]:
    if isinstance(domain, Categorical):
        return list(domain.categories)
    if points is None:
        raise RequestError(f"expected --grid-points for a grid over {key!r}, which is not a list of choices")
    if points < 1:
        raise RequestError(f"expected --grid-points of at least 1, but got {points}")
    sampler, step = _unwrap(domain)
    if not isinstance(sampler, Uniform | LogUniform) or not (
        math.isfinite(domain.lower) and math.isfinite(domain.upper)
    ):
        raise RequestError(f"expected bounds for a grid over {key!r}, but its domain has none")
    # Tune's integers end before their upper bound, unless they are quantised.
    last = domain.upper - 1 if isinstance(domain, Integer) and step is None else domain.upper
    spaced = np.geomspace if isinstance(sampler, LogUniform) else np.linspace
    values = spaced(domain.lower, last, points)
    return list(dict.fromkeys(_snap(domain, float(value)) for value in values))


def perturb(space: Mapping[str, Domain], config: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The exploration step of population based training, Jaderberg et al., 2017 (arXiv:1711.09846), section 4.

    Each number is multiplied by 0.8 or 1.2 within its bounds, and one in four is drawn anew. Choices stay: most are
    shapes of a network, and the donor's checkpoint fits its own alone.

    Returns:
        The fields of `space`, changed.
    """
    changed: dict[str, Any] = {}
    for key, domain in space.items():
        if isinstance(domain, Categorical):
            changed[key] = config[key]
        elif rng.random() < 0.25:
            changed[key] = domain.sample(random_state=rng)
        else:
            changed[key] = _snap(domain, float(config[key]) * float(rng.choice([0.8, 1.2])))
    return changed


def _unwrap(domain: Domain) -> tuple[Any, float | None]:
    sampler = domain.get_sampler()
    return (sampler.sampler, sampler.q) if isinstance(sampler, Quantized) else (sampler, None)


def _snap(domain: Float | Integer, value: float) -> float | int:
    """The value of the domain that is nearest."""
    step = _unwrap(domain)[1]
    last = domain.upper - 1 if isinstance(domain, Integer) and step is None else domain.upper
    if step is not None:
        value = round(value / step) * step
    value = min(max(value, domain.lower), last)
    return round(value) if isinstance(domain, Integer) else float(value)

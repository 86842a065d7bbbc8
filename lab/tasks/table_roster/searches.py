"""The searches by name, all of one shape: what `fit` turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import relu

from envs.backends import hash_uuid_bytes
from envs.hash_scores import stratified_scores
from envs.scenarios import fixed_roster, stream
from lab.errors import RequestError
from lab.tables.subsets import ALL_UP_TO, all_subsets, draw_subsets
from lab.tasks.table_roster import anneal, insertion
from lab.tasks.table_roster.config import TableRosterConfig
from lab.tasks.table_roster.flow import improve
from lab.tasks.table_roster.heat_bath import HeatBath
from lab.tasks.table_roster.loads import Loads
from lab.tasks.table_roster.luce import Adam, logits_of, order
from lab.tasks.table_roster.ppo import Policy

__all__ = ["Search", "first_rankings", "search", "stratified_rankings"]


_WARM_UP = 150
"""Sweeps of the heat bath before the solver's first call."""


class Search(Protocol):
    """A search for rankings.

    Attributes:
        rankings: int64 (K, size, N), the candidates as they are.
    """

    @property
    def rankings(self) -> NDArray[np.int64]: ...

    def step(self, iteration: int, rng: np.random.Generator) -> dict[str, float]:
        """One iteration, counted from 1; all of its chance is `rng`'s. Returns metrics of its own."""

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, beside the configuration."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state` returned.

        Raises:
            RequestError: it is of another search.
        """


def stratified_rankings(size: int, backends: int) -> NDArray[np.int64]:
    """The rankings of stratified rendezvous of the lab's own roster, int64 (size, N): where large rosters begin."""
    scores = stratified_scores(hash_uuid_bytes(fixed_roster(backends)), size)
    return np.ascontiguousarray((-scores.T).argsort(axis=1, kind="stable"))


def first_rankings(config: TableRosterConfig) -> NDArray[np.int64]:
    """Where a search begins, int64 (chains, size, N): random rankings, and stratified ones where subsets are drawn."""
    chains = config.chains if config.method in ("heat_bath", "insertion", "anneal") else 1
    if config.backends > ALL_UP_TO:
        return np.repeat(stratified_rankings(config.size, config.backends)[None], chains, axis=0)
    return stream("train", config.seed, 0).random((chains, config.size, config.backends)).argsort(axis=2)


def search(config: TableRosterConfig) -> Search:
    """The search that a configuration names, before its first step."""
    return _SEARCHES[config.method](config, first_rankings(config))


class _Rankings:
    """A search whose state is its rankings."""

    def __init__(self, config: TableRosterConfig, first: NDArray[np.int64]) -> None:
        self.config, self._first = config, first

    @property
    def rankings(self) -> NDArray[np.int64]:
        return self._first

    def state(self) -> dict[str, Tensor]:
        return {"rankings": torch.from_numpy(self.rankings.copy())}

    def load(self, state: Mapping[str, Tensor]) -> None:
        _same_shapes(state, self.state())
        self._first = state["rankings"].numpy()


class _HeatBath(_Rankings):
    _bath: HeatBath | None = None

    @property
    def rankings(self) -> NDArray[np.int64]:
        return self._first if self._bath is None else self._bath.rankings

    def step(self, iteration: int, rng: np.random.Generator) -> dict[str, float]:
        config, temperature = self.config, self.config.temperature(iteration)
        if self._bath is None:
            self._bath = HeatBath(config.size, config.backends, config.power, self._first)
        self._bath.sweep(temperature, rng)
        return {"temperature": temperature}


class _Local(_Rankings):
    """Sweeps over single entries, at all subsets of a small roster, or at fresh ones for every sweep."""

    _loads: Loads | None = None

    @property
    def rankings(self) -> NDArray[np.int64]:
        return self._first if self._loads is None else self._loads.rankings

    def step(self, iteration: int, rng: np.random.Generator) -> dict[str, float]:
        config, temperature = self.config, self.config.temperature(iteration)
        whole = config.backends <= ALL_UP_TO
        if self._loads is None or not whole:
            subsets = all_subsets(config.backends) if whole else draw_subsets(config.backends, config.subsets, rng)
            self._loads = Loads(self.rankings, subsets, config.power)
        sweep = insertion.sweep if config.method == "insertion" else anneal.sweep
        sweep(self._loads, temperature, rng)
        return {"temperature": temperature}


class _Flow(_Rankings):
    """The solver improves what a short heat bath leaves."""

    def step(self, iteration: int, rng: np.random.Generator) -> dict[str, float]:
        config = self.config
        if iteration == 1:
            bath = HeatBath(config.size, config.backends, config.power, self._first)
            ratio = config.temperature_end / config.temperature_start
            for done in np.linspace(0, 1, _WARM_UP):
                bath.sweep(config.temperature_start * ratio**done, rng)
            self._first = bath.rankings
        self._first = improve(self._first[0], self.config.effort, int(rng.integers(1 << 31)))[None]
        return {}


class _Gradient:
    """Descent on the logits: a backend's share p of an entry is a softmax over those that are present, at a temperature
    that falls, and the loss is the squared distance of the soft loads from floor and ceiling.

    Soft loads are even where every entry is undecided, so the loss also has the variance that entries drawn by these
    shares would have, `p (1 - p)`, at a weight that rises.
    """

    def __init__(self, config: TableRosterConfig, first: NDArray[np.int64]) -> None:
        self.config = config
        self._adam = Adam({"logits": logits_of(first[0], config.start_scale)})

    @property
    def rankings(self) -> NDArray[np.int64]:
        return order(self._adam.parameters["logits"])[None]

    def step(self, iteration: int, rng: np.random.Generator) -> dict[str, float]:
        config, temperature = self.config, self.config.temperature(iteration)
        present = draw_subsets(config.backends, config.subsets, rng)
        logits = self._adam.parameters["logits"]
        share = torch.where(torch.from_numpy(present)[:, None], logits / temperature, -torch.inf).softmax(dim=2)
        loads = share.sum(dim=1)
        count = torch.from_numpy(present.sum(axis=1, keepdims=True))
        over = relu(loads - -(-config.size // count)) ** 2 + relu(config.size // count - loads) ** 2
        undecided = (share * (1 - share)).sum(dim=(1, 2))
        loss = ((over * torch.from_numpy(present)).sum(dim=1) + config.variance_weight(iteration) * undecided).mean()
        self._adam.step(loss, config.learning_rate * (1 - 0.95 * config.done(iteration)))
        return {"temperature": temperature, "train/loss": float(loss.detach())}

    def state(self) -> dict[str, Tensor]:
        return self._adam.state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        _same_shapes(state, self._adam.parameters)
        self._adam.load(state)


class _PPO:
    def __init__(self, config: TableRosterConfig, first: NDArray[np.int64]) -> None:
        self.config = config
        self._policy = Policy(config, logits_of(first[0], config.start_scale))

    @property
    def rankings(self) -> NDArray[np.int64]:
        return order(self._policy.logits)[None]

    def step(self, iteration: int, rng: np.random.Generator) -> dict[str, float]:
        return self._policy.update(draw_subsets(self.config.backends, self.config.subsets, rng), rng)

    def state(self) -> dict[str, Tensor]:
        return self._policy.adam.state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        _same_shapes(state, self._policy.adam.parameters)
        self._policy.adam.load(state)


_SEARCHES: Mapping[str, Callable[[TableRosterConfig, NDArray[np.int64]], Search]] = {
    "heat_bath": _HeatBath,
    "insertion": _Local,
    "anneal": _Local,
    "flow": _Flow,
    "gradient": _Gradient,
    "ppo": _PPO,
}


def _same_shapes(state: Mapping[str, Tensor], mine: Mapping[str, Tensor]) -> None:
    for name, tensor in mine.items():
        found = tuple(state[name].shape) if name in state else None
        if found != tuple(tensor.shape):
            raise RequestError(f"expected {name} of shape {tuple(tensor.shape)} in the checkpoint, but got {found}")

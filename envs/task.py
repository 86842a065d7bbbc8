"""The options of the lookup-table environments, checked at once, and what follows from them: spaces and scenarios."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.backends import Identity, uuid_bytes
from envs.errors import RequestError, unknown_name
from envs.features import Balance, FeatureGroups, Information, Order, Validity, feature_names, global_names
from envs.scenarios import (
    Purpose,
    ScenarioBatch,
    ScenarioConfig,
    fixed_roster,
    sample_batch,
    sample_roster_batch,
    stream,
)
from envs.scoring import table_scores, transition_scores

Universe = Literal["any-hash", "roster"]
Reward = Literal["dense", "terminal"]
Observation = dict[str, NDArray]

PRIVILEGED = ("phase", "n_other", "free", "optimum", "imbalance", "excess", "invalid")
"""What "privileged" begins with; then who owned its entry before, and who is in the other set, each by slot."""


@dataclasses.dataclass(frozen=True)
class TableTask:
    """What is to be built, what is seen of it and what it is worth. See `LookupTableEnv` for each field."""

    size: int | None = None
    scenario: ScenarioConfig | Mapping[str, Any] | None = None
    universe: Universe = "any-hash"
    roster: int | Sequence[Identity] | None = None
    information: Information = "stateless"
    balance: Balance = "mask"
    validity: Validity = "mask"
    order: Order = "entries"
    reward: Reward = "dense"
    w_evenness: float = 1.0
    w_stability: float = 1.0
    w_validity: float = 1.0
    features: FeatureGroups = "all"
    max_backends: int | None = None
    purpose: Purpose = "train"
    config: ScenarioConfig = dataclasses.field(init=False, repr=False)
    roster_ids: NDArray[np.uint8] | None = dataclasses.field(init=False, repr=False, compare=False, default=None)
    slots: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        choices = {
            "universe": Universe,
            "information": Information,
            "balance": Balance,
            "validity": Validity,
            "order": Order,
            "reward": Reward,
            "features": FeatureGroups,
            "purpose": Purpose,
        }
        for name, known in choices.items():
            if getattr(self, name) not in get_args(known):
                raise unknown_name(name, getattr(self, name), get_args(known))
        for name in ("w_evenness", "w_stability", "w_validity"):
            weight = getattr(self, name)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise RequestError(f"{name} must be a finite number >= 0, but got {weight!r}")
        object.__setattr__(self, "config", self._scenario_config())
        object.__setattr__(self, "size", self.config.size)
        object.__setattr__(self, "roster_ids", self._roster_ids())
        object.__setattr__(self, "slots", self._slots())
        if self.roster_ids is not None:
            self.sample(0, stream("train", 0))  # refuses a roster that no scenario fits in

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> TableTask:
        """The task of keyword arguments.

        Raises:
            RequestError: for an unknown argument (with the nearest right name) or a wrong value.
        """
        known = [field.name for field in dataclasses.fields(cls) if field.init]
        for name in options:
            if name not in known:
                raise unknown_name("argument of the lookup-table environment", name, known)
        return cls(**options)

    @property
    def entries(self) -> int:
        """Entries of a table."""
        return self.config.size

    @property
    def is_roster(self) -> bool:
        """Whether slots are places in a roster."""
        return self.universe == "roster"

    def generator(
        self, seed: int | None, current: np.random.Generator | None
    ) -> tuple[int | None, np.random.Generator]:
        """Seed and stream after `reset(seed=seed)`: new ones, of this purpose, if there is a seed or was no stream."""
        if seed is None and current is not None:
            return None, current
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        return seed, stream(self.purpose, seed)

    def sample(self, count: int, rng: np.random.Generator) -> ScenarioBatch:
        """Scenarios of this task."""
        if self.roster_ids is not None:
            return sample_roster_batch(self.config, self.roster_ids, count, rng)
        return sample_batch(self.config, count, rng)

    def scenarios(self, options: Mapping[str, Any] | None, count: int, rng: np.random.Generator) -> ScenarioBatch:
        """The scenarios of a reset: those of `options["scenarios"]`, or sampled ones.

        Raises:
            RequestError: for scenarios that are too many or too few, of another size, or with more backends than slots.
        """
        for name in options or {}:
            if name != "scenarios":
                raise unknown_name("reset option", name, ["scenarios"])
        given = (options or {}).get("scenarios")
        if given is None:
            return self.sample(count, rng)
        if not isinstance(given, ScenarioBatch):
            raise RequestError(f'options["scenarios"] must be a ScenarioBatch, but got {type(given).__name__}')
        if len(given) != count or given.size != self.entries:
            raise RequestError(
                f'options["scenarios"] must be {count} scenarios of size {self.entries}, '
                f"but got {len(given)} of size {given.size}"
            )
        for n in (given.n_before, given.n_after):
            if not 1 <= n.min() <= n.max() <= self.slots:
                raise RequestError(
                    f"each set must have 1 to {self.slots} backends (max_backends), but one has "
                    f"{n.min() if n.min() < 1 else n.max()}: there must be a legal action, and a slot for each backend"
                )
        if self.is_roster and given.before.shape[1] != self.slots:
            raise RequestError(f"a roster of {self.slots} needs as many columns, but got {given.before.shape[1]}")
        return given

    def observation_space(self) -> spaces.Dict:
        """The observation of one table; see `LookupTableEnv`."""
        names = feature_names(self.features, self.information)
        high = np.array([self.entries if name in ("load", "demand") else 1 for name in names], dtype=np.float32)
        highs = {
            "backends": np.tile(high, self.slots),
            "globals": np.ones(len(global_names(self.information)), dtype=np.float32),
            "privileged": np.ones(len(PRIVILEGED) + 2 * self.slots, dtype=np.float32),
        }
        boxes: dict[str, spaces.Space] = {
            name: spaces.Box(np.zeros_like(top), top, dtype=np.float32) for name, top in highs.items()
        }
        return spaces.Dict({**boxes, "action_mask": spaces.Box(0, 1, (self.slots,), dtype=np.int8)})

    def score(self, imbalance: Any, excess: Any, invalid: Any) -> Any:
        """What an episode is worth: `-(w_e * imbalance + w_s * excess + w_v * invalid)`; floats or arrays."""
        return -(self.w_evenness * imbalance + self.w_stability * excess + self.w_validity * invalid)

    def final_scores(self, scenarios: ScenarioBatch, tables: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
        """What the last `info` of an episode says.

        Args:
            scenarios: B scenarios.
            tables: int32 (2, B, size), the tables before and after, in columns.

        Returns:
            float64 (B,) by name; imbalance and invalid are means over the two tables.
        """
        before, after = scenarios.before, scenarios.after
        first, second = table_scores(tables[0], before), table_scores(tables[1], after)
        moves = transition_scores(tables[0], tables[1], before, after)
        imbalance = (first.imbalance + second.imbalance) / 2
        invalid = (first.invalid + second.invalid) / 2
        return {
            "score": self.score(imbalance, moves.excess, invalid),
            "imbalance": imbalance,
            "invalid": invalid,
            **dataclasses.asdict(moves),
        }

    def _scenario_config(self) -> ScenarioConfig:
        scenario = self.scenario
        if scenario is None:
            return ScenarioConfig() if self.size is None else ScenarioConfig(size=self.size)
        if isinstance(scenario, Mapping):
            known = [field.name for field in dataclasses.fields(ScenarioConfig)]
            for name in scenario:
                if name not in known:
                    raise unknown_name("scenario field", name, known)
            fields = dict(scenario) if self.size is None else {"size": self.size, **scenario}
            scenario = ScenarioConfig(**fields)
        if not isinstance(scenario, ScenarioConfig):
            raise RequestError(f"scenario must be a ScenarioConfig or a mapping, but got {type(scenario).__name__}")
        if self.size is not None and scenario.size != self.size:
            raise RequestError(f"size must be the scenario's, {scenario.size}, or left out, but got {self.size}")
        return scenario

    def _roster_ids(self) -> NDArray[np.uint8] | None:
        if not self.is_roster:
            if self.roster is not None:
                raise RequestError('a roster needs universe="roster", but got universe="any-hash"')
            return None
        if self.roster is None:
            raise RequestError('universe="roster" needs a roster: the backends, or how many of them')
        if isinstance(self.roster, int) and not isinstance(self.roster, bool):
            return fixed_roster(self.roster)
        if isinstance(self.roster, str) or not isinstance(self.roster, Sequence):
            raise RequestError(f"roster must be a list of UUIDs or how many, but got {self.roster!r}")
        return uuid_bytes(self.roster)

    def _slots(self) -> int:
        if self.roster_ids is not None:
            if self.max_backends not in (None, len(self.roster_ids)):
                raise RequestError(
                    f"max_backends must be the roster's {len(self.roster_ids)}, but got {self.max_backends}"
                )
            return len(self.roster_ids)
        least = self.config.max_backends
        slots = least if self.max_backends is None else self.max_backends
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < least:
            raise RequestError(f"max_backends must be an integer >= the scenario's {least}, but got {slots!r}")
        return slots

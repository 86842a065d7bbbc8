"""N lookup tables at once: `LookupTableEnv` element by element, in one pass of NumPy a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs import rendering
from envs.errors import RequestError
from envs.features import TABLES, PartialTables
from envs.scenarios import ScenarioBatch
from envs.scoring import optimal_change
from envs.task import PRIVILEGED, Observation, TableTask

_FREE, _TERMS = PRIVILEGED.index("free"), slice(PRIVILEGED.index("imbalance"), len(PRIVILEGED))


class LookupTableVectorEnv(VectorEnv[Observation, NDArray[np.int64], NDArray]):
    """`num_envs` tables of `LookupTableEnv` side by side; its docstring is the manual.

    All episodes have `2 * size` steps, so the tables keep step: they end together, and the step after that begins new
    episodes (`AutoresetMode.NEXT_STEP`: its actions are ignored, its rewards are 0). Observations are new arrays each
    step. Rewards are float64. The last `info` has float64 arrays of shape (num_envs,), each with its `_name` mask.

    Args:
        num_envs: how many tables.
        render_mode: None, "ansi" or "rgb_array"; `render` returns a tuple of `num_envs` frames.
        **options: the arguments of `LookupTableEnv`.

    Raises:
        RequestError: for an unknown argument or a wrong value, naming the nearest right one.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium's)
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **options: Any) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise RequestError(f"num_envs must be an integer >= 1, but got {num_envs!r}")
        self.num_envs = num_envs
        self.task = TableTask.parse(options)
        self.render_mode = rendering.checked_mode(render_mode)
        self.single_observation_space = self.task.observation_space()
        self.single_action_space = spaces.Discrete(self.task.slots)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.scenarios: ScenarioBatch | None = None
        self._rows = np.arange(num_envs)
        self._most = self.task.entries * np.array([[2], [1], [2]])  # imbalance and invalid are means of two tables
        self._phase, self._done = 0, True
        self._tables: list[PartialTables] = []
        self._score: NDArray[np.float64] = np.zeros(num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins all episodes; `options={"scenarios": batch}` gives their scenarios."""
        seed, generator = self.task.generator(seed, self._np_random)
        super().reset(seed=seed)
        self._np_random = generator
        self._begin(self.task.scenarios(options, self.num_envs, generator))
        return self._observation(), {}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Gives the next entry of each table to a slot, or begins the next episodes after the last step."""
        if self.scenarios is None:
            raise ResetNeeded("the episodes were never begun: call reset() before step()")
        actions = self._checked(actions)
        never = np.zeros(self.num_envs, dtype=np.bool_)
        if self._done:
            self._begin(self.task.sample(self.num_envs, self.np_random))
            return self._observation(), np.zeros(self.num_envs), never, never.copy(), {}

        current = self._tables[self._phase]
        columns = current.give(actions)
        if self._phase == 1:
            entries = current.last
            forced = self._free[self._rows, entries] | self._joined[self._rows, columns]
            self._excess += (self._tables[0].table[self._rows, entries] != columns) & ~forced
        info: dict[str, Any] = {}
        if current.entry == self.task.entries:
            if self._phase == 0:
                self._begin_second()
            else:
                self._done = True
                info = self._last_info()
        score = self._note_score()
        if self.task.reward == "dense":
            reward = score - self._score
        else:
            reward = score if self._done else np.zeros(self.num_envs)
        self._score = score
        return self._observation(), reward, np.full(self.num_envs, self._done), never, info

    def render(self) -> tuple[Any, ...] | None:
        """A frame of each table; see `LookupTableEnv.render`."""
        if self.scenarios is None:
            raise ResetNeeded("there is nothing to render before reset()")
        first = self._tables[0].given
        given = np.stack([first, self._tables[1].given if self._phase else np.zeros_like(first)])
        return tuple(rendering.render(self.render_mode, self.scenarios, self._both_tables(), given))

    def _begin(self, scenarios: ScenarioBatch) -> None:
        self.scenarios = scenarios
        self._done, self._phase = False, 0
        before, after = scenarios.before, scenarios.after
        self._excess = np.zeros(self.num_envs, dtype=np.int64)
        self._tables = [self._start(before)]
        self._privileged = np.zeros((self.num_envs, len(PRIVILEGED) + 2 * self.task.slots), dtype=np.float32)
        self._privileged[:, PRIVILEGED.index("optimum")] = optimal_change(before, after, self.task.entries)
        self._note_other(after)
        self._score = self._note_score()

    def _begin_second(self) -> None:
        assert self.scenarios is not None
        self._phase = 1
        before, after = self.scenarios.before, self.scenarios.after
        first = self._tables[0].table
        # Column -1 is the owner "none": padded as the last column, it neither leaves nor joins.
        self._free = np.take_along_axis(np.pad(before & ~after, ((0, 0), (0, 1))), first, axis=1)
        self._joined = np.pad(after & ~before, ((0, 0), (0, 1)))
        stateful = self.task.information == "stateful"
        in_force = {"in_force": first, "in_force_set": before} if stateful else {}
        self._tables.append(self._start(after, **in_force))
        self._privileged[:, PRIVILEGED.index("phase")] = 1
        self._note_other(before)

    def _start(self, present: NDArray[np.bool_], **in_force: Any) -> PartialTables:
        assert self.scenarios is not None
        task = self.task
        return TABLES[task.order](
            self.scenarios.hashes,
            present,
            task.entries,
            slots=task.slots,
            features=task.features,
            balance=task.balance,
            validity=task.validity,
            roster=task.is_roster,
            information=task.information,
            **in_force,
        )

    def _note_other(self, other: NDArray[np.bool_]) -> None:
        """What a critic may know of the set that is not being built for."""
        current = self._tables[self._phase]
        in_other = other[self._rows[:, None], current.slot_column] & current.slot_present
        self._privileged[:, PRIVILEGED.index("n_other")] = other.sum(axis=1) / self.task.slots
        self._privileged[:, len(PRIVILEGED) + self.task.slots :] = in_other

    def _observation(self) -> Observation:
        current = self._tables[self._phase]
        if self._phase == 1:
            heads = len(PRIVILEGED)
            self._privileged[:, _FREE] = current.share_ahead(self._free)
            self._privileged[:, heads : heads + self.task.slots] = current.owned(self._tables[0].table)
        return {**current.observe(), "privileged": self._privileged.copy()}

    def _note_score(self) -> NDArray[np.float64]:
        """The score of the tables so far, whose terms a critic may know."""
        uneven, invalid = sum(table.uneven for table in self._tables), sum(table.invalid for table in self._tables)
        terms = np.array([uneven, self._excess, invalid]) / self._most
        self._privileged[:, _TERMS] = terms.T
        return self.task.score(*terms)

    def _both_tables(self) -> NDArray[np.int32]:
        blank = np.full_like(self._tables[0].table, -1)
        return np.stack([self._tables[0].table, self._tables[1].table if self._phase else blank])

    def _last_info(self) -> dict[str, Any]:
        assert self.scenarios is not None
        info: dict[str, Any] = {}
        for name, values in self.task.final_scores(self.scenarios, self._both_tables()).items():
            info[name] = values
            info[f"_{name}"] = np.ones(self.num_envs, dtype=np.bool_)
        return info

    def _checked(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise RequestError(
                f"actions must be {self.num_envs} integers, but got {actions.dtype} of shape {actions.shape}"
            )
        return actions

"""The lookup table as a contextual bandit: both tables in one step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from envs import rendering
from envs.backends import HASHES
from envs.errors import RequestError, unknown_name
from envs.features import slot_columns
from envs.hash_scores import stratified_scores
from envs.scenarios import ScenarioBatch
from envs.task import Observation, TableTask

OPTIONS = (
    "size",
    "scenario",
    "universe",
    "roster",
    "w_evenness",
    "w_stability",
    "w_validity",
    "features",
    "max_backends",
    "purpose",
)


class LookupTableOneShotEnv(gym.Env[Observation, NDArray[np.integer]]):
    """Both tables of a scenario in one step: the task of `LookupTableEnv` as a contextual bandit.

    ## Action Space
    `MultiDiscrete([M] * 2 * size)`, M being `max_backends`: the slots of the entries of the table before, then of the
    table after. Slots are those of `LookupTableEnv`. An absent slot leaves the entry without a backend: -1, invalid.

    ## Observation Space
    A `Dict` of two blocks, each a function of one set and the size alone, made alike and of the same shapes. A policy
    that computes each half of its action from that half's block is stateless: two load balancers agree.

    | Key                           | Shape         | Type    | Range  | Content                                       |
    |-------------------------------|---------------|---------|--------|-----------------------------------------------|
    | `before`, `after`             | `(M * F,)`    | float32 | [0, 1] | reshape to (M, F): present, then (features    |
    |                               |               |         |        | "all", "offsets") `hash_k mod size / size`    |
    | `before_scores`,              | `(M * size,)` | float32 | [0, 1] | reshape to (M, size): stratified scores       |
    | `after_scores`                |               |         |        | (features "all", "hashes" alone)              |
    | `before_mask`, `after_mask`   | `(M,)`        | int8    | {0, 1} | 1: the slot has a backend                     |

    ## Rewards
    The score, `-(w_evenness * imbalance + w_stability * excess + w_validity * invalid)`, as `LookupTableEnv` pays.

    ## Starting State
    A scenario, as in `LookupTableEnv`; `reset(options={"scenarios": batch})` takes a batch of one.

    ## Episode End
    Terminates after one step; `info` has what the last `info` of `LookupTableEnv` has.

    ## Arguments
    `size`, `scenario`, `universe`, `roster`, `w_evenness`, `w_stability`, `w_validity`, `features`, `max_backends` and
    `purpose` as in `LookupTableEnv`. There are no quotas: evenness is a matter of the reward alone.

    Raises:
        RequestError: for an unknown argument or a wrong value, naming the nearest right one.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's)

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        for name in options:
            if name not in OPTIONS:
                raise unknown_name("argument of the one-shot environment", name, OPTIONS)
        self.task = TableTask.parse({**options, "balance": "reward", "validity": "penalty", "reward": "terminal"})
        self.render_mode = rendering.checked_mode(render_mode)
        self.action_space = spaces.MultiDiscrete([self.task.slots] * 2 * self.task.entries)
        slots = self.task.slots
        blank = np.zeros((slots, HASHES), dtype=np.uint64), np.ones(slots, dtype=np.bool_)
        blocks = {**self._block("before", *blank), **self._block("after", *blank)}
        self.observation_space = spaces.Dict(
            {name: spaces.Box(0, 1, block.shape, dtype=block.dtype.type) for name, block in blocks.items()}
        )
        self.scenario: ScenarioBatch | None = None
        self._done = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draws a scenario; `options={"scenarios": batch}` gives it (a batch of one)."""
        seed, generator = self.task.generator(seed, self._np_random)
        super().reset(seed=seed)
        self._np_random = generator
        self.scenario = self.task.scenarios(options, 1, generator)
        self.tables = np.full((2, self.task.entries), -1, dtype=np.int32)
        self._done = False
        return self._observation(), {}

    def step(self, action: NDArray[np.integer]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Builds both tables."""
        if self.scenario is None or self._done:
            raise ResetNeeded("the episode is over or was never begun: call reset() before step()")
        action = np.asarray(action)
        if not self.action_space.contains(action):
            raise RequestError(
                f"an action must be {2 * self.task.entries} slots in [0, {self.task.slots}), "
                f"but got {action.dtype} of shape {action.shape}"
            )
        for which, present in enumerate((self.scenario.before, self.scenario.after)):
            columns = self._columns(present)
            self.tables[which] = columns[action.reshape(2, -1)[which]]
        self._done = True
        scores = self.task.final_scores(self.scenario, self.tables[:, None])
        info = {name: float(values[0]) for name, values in scores.items()}
        return self._observation(), info["score"], True, False, info

    def render(self) -> Any:
        """Both tables, entries coloured by owner, what moved and what had to."""
        if self.scenario is None:
            raise ResetNeeded("there is nothing to render before reset()")
        tables = self.tables[:, None]
        return rendering.render(self.render_mode, self.scenario, tables, np.full(tables.shape, self._done))[0]

    def _observation(self) -> Observation:
        assert self.scenario is not None
        hashes = self.scenario.hashes[0]
        before = self._block("before", hashes, self.scenario.before[0])
        return {**before, **self._block("after", hashes, self.scenario.after[0])}

    def _block(self, half: str, hashes: NDArray[np.uint64], present: NDArray[np.bool_]) -> Observation:
        """What one half may be computed from: its own set, packed into slots, and the size."""
        size = self.task.entries
        columns = self._columns(present[None])
        here = columns >= 0
        features = [here]
        if self.task.features in ("all", "offsets"):
            features += [(hashes[columns, k] % np.uint64(size)).astype(int) / size * here for k in range(HASHES)]
        block: Observation = {
            half: np.stack(features, axis=1).astype(np.float32).ravel(),
            f"{half}_mask": here.astype(np.int8),
        }
        if self.task.features in ("all", "hashes"):
            block[f"{half}_scores"] = (stratified_scores(hashes[columns], size) * here[:, None]).ravel()
        return block

    def _columns(self, present: NDArray[np.bool_]) -> NDArray[np.int64]:
        return slot_columns(present, self.task.slots, self.task.is_roster)[0]

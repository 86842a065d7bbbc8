"""The lookup table as a sequential decision problem: one table at a time, and N tables at once."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from envs import rendering
from envs.errors import RequestError
from envs.features import feature_names, slot_columns
from envs.hash_scores import stratified_scores, uniform_scores
from envs.lookup_table_vector import LookupTableVectorEnv
from envs.scenarios import ScenarioBatch
from envs.scoring import optimal_change
from envs.task import Observation, TableTask

__all__ = ["LookupTableEnv", "LookupTableVectorEnv"]


class LookupTableEnv(gym.Env[Observation, np.int64]):
    """Builds the lookup table of a load balancer for a set of backends, then again after the set has changed.

    ## Description
    A stateless load balancer sends a packet to `table[hash(packet) % size]`. When backends leave or join, the table is
    built anew, and each entry that changes its backend without need breaks the connections behind it. An episode
    draws a scenario (a set *before* and a set *after*, one within the other), builds the table for the first, then for
    the second, an entry a step, entry 0 first: `2 * size` steps. Good tables are valid, even, and stable.

    What the actor sees (all but "privileged") is, with `information="stateless"`, a function of the present set, the
    size and the entries of this table given so far, and of nothing else: no phase, no other set, no first table. Two
    load balancers that never talk then agree. "privileged" is for a critic in training alone.

    With `order="pairs"` the policy chooses which entry is next, too: a slot is given *its entry*, the free one at which
    it has the highest stratified score (an absent slot the lowest free one): an action names a (backend, entry) pair.
    The policy that takes the highest of these scores then builds the tables of balanced stratified rendezvous.

    ## Action Space
    `Discrete(M)`, M being `max_backends`: the slot that gets the entry. Slot i is the i-th present backend by
    `str(uuid)` (universe any-hash), or the i-th backend of the roster (universe roster). An action whose mask bit is 0
    leaves the entry without a backend, as an absent slot does (`validity="penalty"`): it is -1, and counts as invalid.

    ## Observation Space
    A `Dict`; F and G are the numbers of features that `envs.features` documents.

    | Key           | Shape       | Type    | Range     | Content                                                      |
    |---------------|-------------|---------|-----------|--------------------------------------------------------------|
    | `backends`    | `(M * F,)`  | float32 | [0, size] | F features of slot 0, then of slot 1, ...: reshape to (M, F) |
    | `globals`     | `(G,)`      | float32 | [0, 1]    | how far the table is, how many backends, ceilings left       |
    | `action_mask` | `(M,)`      | int8    | {0, 1}    | 1: the slot may get the entry                                |
    | `privileged`  | `(7 + 2M,)` | float32 | [0, 1]    | phase (0 before, 1 after); backends of the other set / M; 1  |
    |               |             |         |           | if the entry's former owner left (any move is forced), with  |
    |               |             |         |           | pairs the share of such entries among those to come; the     |
    |               |             |         |           | optimum; imbalance, excess and invalid so far; then by slot: |
    |               |             |         |           | 1 if it had its entry before; 1 if it is in the other set    |

    With `balance="mask"` a slot is legal while it has fewer than `size // n` entries, or exactly so many and fewer than
    `size % n` backends have more: the table ends perfectly even. The last observation of an episode has a full table:
    its features are those of entry 0, its mask the present slots.

    ## Rewards
    The score of an episode is `-(w_evenness * imbalance + w_stability * excess + w_validity * invalid)`, imbalance and
    invalid being means over the two tables, all of them shares of entries (`envs.scoring`). "terminal" pays it at the
    last step; "dense" pays, each step, the score of the partial tables now minus before. The undiscounted return is
    the score either way.

    ## Starting State
    Both tables empty, a scenario of the notebook's distribution, drawn from the stream of `purpose`.
    `reset(options={"scenarios": batch})` takes a `ScenarioBatch` instead, of one scenario for each table.

    ## Episode End
    Terminates after `2 * size` steps, never truncates. The last `info` has `score`, `imbalance` and `invalid` (means of
    the two tables), `changed`, `forced`, `excess`, `optimum` and `regret`.

    ## Arguments

    | Argument       | Values                        | Default      | Meaning                                          |
    |----------------|-------------------------------|--------------|--------------------------------------------------|
    | `size`         | int >= 2                      | 47           | entries of a table                               |
    | `scenario`     | `ScenarioConfig` or a mapping | the notebook | which sets before and after                      |
    | `universe`     | "any-hash", "roster"          | "any-hash"   | fresh UUIDs each episode, or subsets of a roster |
    | `roster`       | int or list of UUIDs          | None         | the roster, or the size of the lab's own         |
    | `information`  | "stateless", "stateful"       | "stateless"  | stateful adds what the table in force tells      |
    | `balance`      | "mask", "reward"              | "mask"       | quotas in the action mask, or reward alone       |
    | `validity`     | "mask", "penalty"             | "mask"       | absent slots are masked, or legal and invalid    |
    | `order`        | "entries", "pairs"            | "entries"    | entry 0 first, or the policy's choice of pairs   |
    | `reward`       | "dense", "terminal"           | "dense"      | see above                                        |
    | `w_evenness`   | float >= 0                    | 1.0          | weight of imbalance                              |
    | `w_stability`  | float >= 0                    | 1.0          | weight of excess                                 |
    | `w_validity`   | float >= 0                    | 1.0          | weight of invalid                                |
    | `features`     | "all", "offsets", "hashes"    | "all"        | which features of a backend's hashes are seen    |
    | `max_backends` | int                           | scenario's   | slots, if there should be more                   |
    | `purpose`      | "train", "validation", "test" | "train"      | whose random stream scenarios come from          |

        >>> import gymnasium as gym
        >>> env = gym.make("envs:LookupTable-v0", size=7, scenario={"n_before": (3, 3), "n_after": (2, 2)})
        >>> observation, info = env.reset(seed=1)
        >>> observation["action_mask"]
        array([1, 1, 1], dtype=int8)

    Raises:
        RequestError: for an unknown argument or a wrong value, naming the nearest right one.

    References:
        Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016): the task.
        Mirhoseini et al., "A graph placement methodology for fast chip design" (Nature 2021): the terminal reward.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's)

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        self.task = TableTask.parse(options)
        self.render_mode = rendering.checked_mode(render_mode)
        self.observation_space = self.task.observation_space()
        self.action_space = spaces.Discrete(self.task.slots)
        self.scenario: ScenarioBatch | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode; `options={"scenarios": batch}` gives its scenario (a batch of one)."""
        seed, generator = self.task.generator(seed, self._np_random)
        super().reset(seed=seed)
        self._np_random = generator
        self.scenario = self.task.scenarios(options, 1, generator)
        self.tables = np.full((2, self.task.entries), -1, dtype=np.int32)
        self._sets = (self.scenario.before[0], self.scenario.after[0])
        self._uneven, self._invalid, self._excess = [0, 0], [0, 0], 0
        self._optimum = float(optimal_change(self.scenario.before, self.scenario.after, self.task.entries)[0])
        self._phase = 0
        self._begin_table()
        return self._observation(), {}

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Gives the next entry to a slot."""
        if self.scenario is None or self._phase == 2:
            raise ResetNeeded("the episode is over or was never begun: call reset() before step()")
        if not self.action_space.contains(action):
            raise RequestError(f"an action must be a slot in [0, {self.task.slots}), but got {action!r}")
        score = self._score()
        self._give(int(action))
        self._entry += 1
        self._choose_entries()
        if self._entry == self.task.entries:
            self._phase += 1
            if self._phase == 1:
                self._begin_table()
        done = self._phase == 2
        paid = self._score() if done else 0.0
        reward = self._score() - score if self.task.reward == "dense" else paid
        return self._observation(), reward, done, False, self._scores() if done else {}

    def render(self) -> Any:
        """Both tables so far, entries coloured by owner, what moved and what had to."""
        if self.scenario is None:
            raise ResetNeeded("there is nothing to render before reset()")
        # The second table's turn: the first is full. Once both are, nothing is free.
        given = np.stack(
            [~self._free, np.zeros_like(self._free)] if self._phase == 0 else [np.ones_like(self._free), ~self._free]
        )
        return rendering.render(self.render_mode, self.scenario, self.tables[:, None], given[:, None])[0]

    def _begin_table(self) -> None:
        assert self.scenario is not None
        present = self._sets[self._phase]
        self._entry = 0
        self._columns = slot_columns(present[None], self.task.slots, self.task.is_roster)[0]
        self._present = self._columns >= 0
        self._hashes = self.scenario.hashes[0][self._columns]
        self._load = np.zeros(self.task.slots, dtype=np.int64)
        self._floor, self._ceilings = divmod(self.task.entries, int(self._present.sum()))
        self._stratified = stratified_scores(self._hashes, self.task.entries) * self._present[:, None]
        self._highest = self._stratified.argmax(axis=0)
        self._free = np.ones(self.task.entries, dtype=np.bool_)
        self._choose_entries()

    def _choose_entries(self) -> None:
        """Finds the entry of each slot: the one that it would be given now; of a full table, 0."""
        if self.task.order == "entries" or not self._free.any():
            self._entries = np.full(self.task.slots, self._entry % self.task.entries)
        else:
            self._entries = np.where(self._free, self._stratified, -1).argmax(axis=1)

    def _give(self, slot: int) -> None:
        legal = bool(self._mask()[slot] and self._present[slot])
        entry = int(self._entries[slot])
        self._free[entry] = False
        column = int(self._columns[slot]) if legal else -1
        if legal:
            self._uneven[self._phase] += not (self._below_floor()[slot] or self._takes_ceiling()[slot])
            self._load[slot] += 1
        else:
            self._invalid[self._phase] += 1
        self.tables[self._phase, entry] = column
        if self._phase == 1:
            before, after = self._sets
            former = self.tables[0, entry]
            left = former >= 0 and not after[former]
            joined = column >= 0 and not before[column]
            self._excess += bool(former != column and not left and not joined)

    def _ceilings_left(self) -> int:
        return max(0, self._ceilings - int((self._load > self._floor).sum()))

    def _below_floor(self) -> NDArray[np.bool_]:
        return self._present & (self._load < self._floor)

    def _takes_ceiling(self) -> NDArray[np.bool_]:
        return self._present & (self._load == self._floor) & (self._ceilings_left() > 0)

    def _mask(self) -> NDArray[np.bool_]:
        full = self._entry == self.task.entries
        quotas = self.task.balance == "mask" and not full
        legal = self._below_floor() | self._takes_ceiling() if quotas else self._present
        return legal | ~self._present if self.task.validity == "penalty" else legal

    def _observation(self) -> Observation:
        size, n = self.task.entries, int(self._present.sum())
        slots, entries = np.arange(self.task.slots), self._entries
        ceiling = self._floor + (self._ceilings > 0)
        # Who scores highest first, at each entry; a slot's own place at its own entry.
        places = np.argsort(np.argsort(-self._stratified, axis=0, kind="stable"), axis=0)
        to_come = np.bincount(self._highest[self._free], minlength=self.task.slots)
        stateful = self.task.information == "stateful"
        in_force = stateful and self._phase > 0
        was_present = np.isin(self._columns, np.flatnonzero(self._sets[0]))
        feature = {
            "present": self._present,
            "load": self._load / ceiling,
            "below_floor": self._below_floor(),
            "takes_ceiling": self._takes_ceiling(),
            **{f"offset_{k}": (entries - (self._hashes[:, k] % size).astype(int)) % size / size for k in range(4)},
            "uniform": uniform_scores(self._hashes, entries),
            "stratified": self._stratified[slots, entries],
            "rank": places[slots, entries] / n,
            "demand": to_come / ceiling,
            "owned_entry": in_force & (self._columns == self.tables[0, entries]),
            "was_present": in_force & was_present,
        }
        names = feature_names(self.task.features, self.task.information)
        backends = np.stack([feature[name] * self._present for name in names], axis=1)
        of_table = [self._entry / size, n / self.task.slots, self._ceilings / n, self._ceilings_left() / n]
        of_table += [self._invalid[min(self._phase, 1)] / size, *([float(in_force)] if stateful else [])]
        return {
            "backends": backends.astype(np.float32).ravel(),
            "globals": np.array(of_table, dtype=np.float32),
            "action_mask": self._mask().astype(np.int8),
            "privileged": self._privileged(),
        }

    def _privileged(self) -> NDArray[np.float32]:
        after = min(self._phase, 1)
        other = self._sets[1 - after]
        former = self.tables[0] if after else np.full_like(self.tables[0], -1)
        if self.task.order == "entries":
            ahead = former[self._entries[:1]]
        else:
            ahead = former[self._free] if self._free.any() else former
        free = np.mean((ahead >= 0) & ~self._sets[1][ahead])
        values = [after, other.sum() / self.task.slots, free, self._optimum, *self._terms()]
        owner = self._present & (self._columns == former[self._entries])
        return np.concatenate([values, owner, self._present & other[self._columns]]).astype(np.float32)

    def _terms(self) -> tuple[float, float, float]:
        size = self.task.entries
        return sum(self._uneven) / (2 * size), self._excess / size, sum(self._invalid) / (2 * size)

    def _score(self) -> float:
        return self.task.score(*self._terms())

    def _scores(self) -> dict[str, float]:
        assert self.scenario is not None
        scores = self.task.final_scores(self.scenario, self.tables[:, None])
        return {name: float(values[0]) for name, values in scores.items()}

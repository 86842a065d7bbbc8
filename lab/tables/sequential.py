"""Tables built by a learned sequential policy: step by step an entry goes to the backend that it scores highest.

The policy reads what `envs.features.PartialTables` shows the environment's actor, bit for bit. It is evaluated in
float64 and its scores are compared on a fixed grid, ties to the first slot, so that neither the batch a set stands in
nor the machine decides an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from envs.features import (
    GLOBALS,
    TABLES,
    Balance,
    FeatureGroups,
    Information,
    Order,
    Validity,
    feature_names,
    global_names,
)
from lab.config import Config
from lab.errors import RequestError
from lab.tables.policy_networks import Network, PolicyOptions, make_policy

__all__ = ["SequentialOptions", "SequentialTables", "sequential_options", "table_of_sequential"]

_GRID = 2.0**20
"""Scores are rounded to multiples of 1 / _GRID: far above float64's error, far below what training tells apart."""

_ROWS = 512
"""Tables that are built at once: their features stay in the cache."""

_N = GLOBALS.index("n")


class SequentialOptions(Config):
    """What the artefact of a sequential policy says beside its weights.

    Attributes:
        policy: the shape of the network.
        features: the per-backend features it reads (`envs.features`).
        balance: `mask` holds every load at floor or ceiling, `reward` leaves the loads to the policy.
        validity: `mask` forbids absent backends, `penalty` lets the policy name them (entry -1).
        order: `entries` from the first to the last, or `pairs`, the policy's choice.
        information: `stateful` policies also read the table in force.
    """

    policy: PolicyOptions
    features: FeatureGroups = "all"
    balance: Balance = "mask"
    validity: Validity = "mask"
    order: Order = "entries"
    information: Information = "stateless"


class SequentialTables:
    """A table function: a network of `lab.tables.policy_networks`, taken deterministically.

    It has no weights until `load_state_dict` has given it some.

    Attributes:
        options: the network and what its environment held it to.
        exact: whether the mask alone makes loads differ by at most one.
        stateless: False where the policy reads the table in force, which `rebuild` is told.
    """

    def __init__(self, options: SequentialOptions) -> None:
        self.options = options
        self.exact = options.balance == "mask" and options.validity == "mask"
        self.stateless = options.information == "stateless"
        if not self.stateless:
            self.rebuild = self._rebuild
        # On the meta device no weights are drawn: building tables leaves torch's generator alone.
        with torch.device("meta"):
            self._network = make_policy(options.policy).double().requires_grad_(False)

    def state_dict(self) -> Mapping[str, Tensor]:
        """The weights by name, float64."""
        return self._network.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Takes the weights of a trained policy.

        Raises:
            RuntimeError: they are of another network (torch's own message).
        """
        self._network.load_state_dict({name: tensor.double() for name, tensor in state_dict.items()}, assign=True)

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError where the network cannot build a table of `size` entries for `n_backends`."""
        policy = self.options.policy
        if policy.network == "mlp" and n_backends > policy.slots:
            raise RequestError(f"expected at most {policy.slots} backends for this network, but got {n_backends}")

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Builds a table for each row.

        Args:
            hashes: uint64 (B, N, 4), columns in the order of identity.
            present: bool (B, N), at least one a row.
            size: number of entries.

        Returns:
            int32 (B, size) of columns.
        """
        return self._in_parts(hashes, present, size)

    def _rebuild(
        self,
        tables: NDArray[np.int32],
        hashes: NDArray[np.uint64],
        before: NDArray[np.bool_],
        after: NDArray[np.bool_],
    ) -> NDArray[np.int32]:
        """`lab.tables.registry.Builder.rebuild`."""
        return self._in_parts(hashes, after, tables.shape[1], in_force=tables, in_force_set=before)

    def _in_parts(
        self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, **in_force: Any
    ) -> NDArray[np.int32]:
        n = present.sum(axis=1)
        tables = np.empty((len(present), size), dtype=np.int32)
        # Rows of like size together: slots beyond the largest set of a part need not be computed.
        order = np.argsort(n, kind="stable")
        for start, stop in pairwise([*range(0, len(order), _ROWS), len(order)]):
            rows = order[start:stop]
            part = {name: values[rows] for name, values in in_force.items()}
            tables[rows] = self._build(hashes[rows], present[rows], size, int(n[rows].max()), part)
        return tables

    def _build(
        self,
        hashes: NDArray[np.uint64],
        present: NDArray[np.bool_],
        size: int,
        slots: int,
        in_force: Mapping[str, Any],
    ) -> NDArray[np.int32]:
        options = self.options
        if options.validity == "penalty":
            # An absent slot is an action here: there must be as many of them as there were in training.
            slots = max(slots, size)
        tables = TABLES[options.order](
            hashes,
            present,
            size,
            slots=slots,
            features=options.features,
            balance=options.balance,
            validity=options.validity,
            information=options.information,
            **in_force,
        )
        while tables.entry < size:
            tables.give(self.choose(tables.observe(), size))
        return tables.table

    def choose(self, observation: Mapping[str, NDArray[Any]], size: int) -> NDArray[np.int64]:
        """The policy's action for each observation of `PartialTables.observe`: int64 (B,) of slots."""
        legal = observation["action_mask"] != 0
        rows, slots = legal.shape
        global_features = observation["globals"]
        # The environment has a slot for each of `size` backends, and n is counted in slots.
        n = global_features[:, _N].astype(np.float64) * slots
        global_features[:, _N] = np.round(n) / size
        with torch.inference_mode():
            scores, _ = self._network(
                torch.from_numpy(observation["backends"].reshape(rows, slots, -1)).double(),
                torch.from_numpy(global_features).double(),
                torch.from_numpy(legal),
            )
        # NumPy's argmax, unlike torch's, promises the first of equals.
        return np.where(legal, np.round(scores.numpy() * _GRID), -np.inf).argmax(axis=1)


def table_of_sequential(options: Mapping[str, Any]) -> SequentialTables:
    """The table function of an artefact of the architecture `sequential`, still without weights.

    Raises:
        RequestError: options that describe no sequential policy.
    """
    try:
        return SequentialTables(SequentialOptions.model_validate(dict(options)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"expected the options of a sequential policy, but {where}: {first['msg']}") from None


def sequential_options(
    size: int,
    *,
    network: Network,
    width: int,
    attention: int,
    sharpness: float,
    features: FeatureGroups,
    balance: Balance,
    validity: Validity,
    order: Order = "entries",
    information: Information = "stateless",
) -> SequentialOptions:
    """Options of a policy for the environment at `size`, which has a slot for each of `size` backends."""
    policy = PolicyOptions(
        network=network,
        backend_features=len(feature_names(features, information)),
        global_features=len(global_names(information)),
        width=width,
        attention=attention,
        sharpness=sharpness,
        slots=size,
    )
    return SequentialOptions(
        policy=policy, features=features, balance=balance, validity=validity, order=order, information=information
    )

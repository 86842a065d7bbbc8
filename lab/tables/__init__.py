"""Lookup tables: the classical builders, the learned ones, and one way to call them all.

Builders are stateless: a table depends on the set of backends that are present and on nothing else. Not here, because
their tables depend on the history or the order of removals, are AnchorHash (Mendelson et al., 2020), MementoHash
(Coluzzi et al., 2023) and Jump (Lamping and Veach, 2014) with its family. `stateful` has the one stateful table that
serves as a yardstick.
"""

from lab.tables import balanced, maglev, modulo, preset, rendezvous, ring, stateful
from lab.tables.greedy import assign_batch
from lab.tables.registry import (
    Builder,
    build,
    build_batch,
    describe,
    get,
    names,
    register,
    register_family,
    spectrum,
)
from lab.tables.stateful import least_moves, least_moves_batch

__all__ = [
    "Builder",
    "assign_batch",
    "balanced",
    "build",
    "build_batch",
    "describe",
    "get",
    "least_moves",
    "least_moves_batch",
    "maglev",
    "modulo",
    "names",
    "preset",
    "register",
    "register_family",
    "rendezvous",
    "ring",
    "spectrum",
    "stateful",
]

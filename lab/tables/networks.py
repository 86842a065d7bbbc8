"""Two networks that score every pair of an entry and a slot, behind one interface.

A *slot* holds one backend of the present set, in the order of identity; slots behind the last backend are empty, their
hashes are 0. Columns of the union of two sets never reach a network: what it says is a function of one set and a size.

`NotebookNetwork` is the network of the seed notebook as it stands there. `EquivariantScorer` shares its weights over
backends and entries: whichever backends stand in whichever slots, a backend's scores go with it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from lab.config import Config
from lab.errors import RequestError
from lab.tables.hashing import stratified_scores, stratum_bits
from lab.tables.layers import linear, score, silu

__all__ = ["Decoder", "EquivariantOptions", "EquivariantScorer", "NotebookNetwork", "NotebookOptions", "Scorer"]

HASHES = 4

PAIRS = 1 << 20
"""The largest table that the equivariant scorer takes, in backends x entries: bounds memory at about a gigabyte."""

Decoder = Literal["argmax", "ranking", "balanced"]
"""How scores become a table; see `lab.tables.scored`."""


class NotebookOptions(Config):
    """The shape of a `NotebookNetwork`; it stands in the artefact.

    Attributes:
        size: m, entries of the tables; it fixes every layer.
        decoder: how its scores become a table.
    """

    size: int = Field(ge=1, le=512)
    decoder: Decoder = "argmax"

    @model_validator(mode="after")
    def _sees_the_set(self) -> NotebookOptions:
        if self.decoder == "ranking":
            raise ValueError("decoder 'ranking' is for scores that do not see the set, and the notebook's network does")
        return self


class EquivariantOptions(Config):
    """The shape of an `EquivariantScorer`; it stands in the artefact.

    Attributes:
        width: units of each hidden layer.
        depth: residual layers.
        frequencies: Fourier features (pairs of cosine and sine) of each of the four ring offsets.
        strata: how many stratified draws of the pair it reads, each of other hashes.
        sees_set: whether a pair's score depends on the other backends, through pooled context.
        decoder: how its scores become a table.
    """

    width: int = Field(default=16, ge=1, le=512)
    depth: int = Field(default=2, ge=0, le=16)
    frequencies: int = Field(default=2, ge=0, le=64)
    strata: int = Field(default=2, ge=0, le=HASHES)
    sees_set: bool = False
    decoder: Decoder = "balanced"

    @model_validator(mode="after")
    def _consistent(self) -> EquivariantOptions:
        if self.decoder == "ranking" and self.sees_set:
            raise ValueError("decoder 'ranking' is for scores that do not see the set: expected sees_set=false")
        if not self.frequencies and not self.strata:
            raise ValueError("a scorer needs something to read: expected frequencies or strata above 0")
        return self


class Scorer(nn.Module, ABC):
    """Scores of all pairs: `scorer(scorer.features(hashes, present, size), present)`.

    The features hold no parameters and are made in NumPy once; `forward` is a pure function of them and of the
    parameters, without Python branches on values, so that `torch.func` can stack and map many networks.
    """

    @abstractmethod
    def features(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
        """What `forward` reads.

        Args:
            hashes: uint64 (B, S, 4), a backend a slot; 0 in empty slots.
            present: bool (B, S), False in empty slots, which come last.
            size: entries of the table.

        Returns:
            float64 (B, ...).
        """

    @abstractmethod
    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Scores, higher is better.

        Args:
            features: float (B, ...), as `features` makes them.
            present: bool (B, S).

        Returns:
            float (B, size, S): logits, also of empty slots.
        """

    @abstractmethod
    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError where there are no scores."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draws all weights anew: uniform within 1/sqrt(fan in), as `torch.nn.Linear` does."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = 1.0 / math.sqrt(layer.in_features)
                for parameter in layer.parameters():
                    nn.init.uniform_(parameter, -bound, bound, generator=generator)


class NotebookNetwork(Scorer):
    """The notebook's network: an MLP 4m -> m -> m -> m*m over four hashes mod m of each backend, zero-padded to m.

    Row i of the output, through a softmax, is the notebook's distribution over slots for entry i.
    """

    def __init__(self, options: NotebookOptions) -> None:
        super().__init__()
        self.options = options
        m = options.size
        self.layers = nn.Sequential(
            nn.Linear(HASHES * m, m), nn.ReLU(), nn.Linear(m, m), nn.ReLU(), nn.Linear(m, m * m)
        )

    def features(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
        """float64 (B, 4m): the hashes mod m, four of a slot side by side."""
        rows, slots = present.shape
        self.check(size, slots)
        values = np.zeros((rows, size, HASHES))
        values[:, :slots] = np.where(present[..., None], hashes % np.uint64(size), 0)
        return values.reshape(rows, -1)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """float (B, m, S), as `Scorer.forward`."""
        m = self.options.size
        return self.layers(features).unflatten(-1, (m, m))[..., : present.shape[-1]]

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError unless the table has the size it was made for, and a slot for each backend."""
        if size != self.options.size:
            raise RequestError(f"expected size {self.options.size}, which this network was made for, but got {size}")
        if n_backends > size:
            raise RequestError(f"expected at most {size} backends, a slot each, but got {n_backends}")


class EquivariantScorer(Scorer):
    """A scorer of pairs that is equivariant to permutations of the backends.

    It reads of a pair (entry, backend): the ring offsets `(entry - hash_k) mod size` as Fourier features, and up to
    four stratified draws (`lab.tables.hashing.stratified_scores`) as normal quantiles. Entries differ in nothing
    else, so a backend's scores are a deterministic function of its hashes, as in rendezvous hashing; training finds
    which function. With `sees_set`, the means over the present backends (for each entry) and over the entries (for
    each backend) join in at each layer: an exchangeable matrix layer (Hartford et al., ICML 2018).

    No layer has a bias that a softmax over slots cancels: the head has none.
    """

    def __init__(self, options: EquivariantOptions) -> None:
        super().__init__()
        self.options = options
        width, context = options.width, options.sees_set
        # One more: whether the slot holds a backend; with the set in view, two figures of the set.
        self.embed = nn.Linear(2 * HASHES * options.frequencies + options.strata + 1 + 2 * context, width)
        layers = range(options.depth)
        self.pairs = nn.ModuleList(nn.Linear(width, width) for _ in layers)
        self.over_backends = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in layers if context)
        self.over_entries = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in layers if context)
        self.head = nn.Linear(width, 1, bias=False)

    def features(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
        """float64 (B, size, S, F): offsets, strata, presence and, with the set in view, n / size and 1 / n."""
        rows, slots = present.shape
        self.check(size, slots)
        options = self.options
        read = np.zeros((rows, size, slots, self.embed.in_features))
        of_offsets = 2 * HASHES * options.frequencies
        if options.frequencies:
            keys = (hashes % np.uint64(size)).astype(np.int32)
            offsets = (np.arange(size, dtype=np.int32)[:, None, None] - keys[:, None]) % size
            # One turn of the ring is one period, so the angles are few: look them up.
            turns = np.arange(1, options.frequencies + 1)
            angles = 2 * math.pi / size * (np.arange(size)[:, None] * turns % size)
            waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
            # `take` is ten times as fast as an index.
            read[..., :of_offsets] = waves.take(offsets, axis=0).reshape(rows, size, slots, of_offsets)
        for k in range(options.strata):
            read[..., of_offsets + k] = _normal_quantiles(np.roll(hashes, -k, axis=-1), size)
        read[..., of_offsets + options.strata] = 1.0
        read.swapaxes(1, 2)[~present] = 0.0
        if options.sees_set:
            n = np.maximum(present.sum(axis=1), 1)
            read[..., -2:] = np.stack([n / size, 1.0 / n], axis=-1)[:, None, None]
        return read

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """float (B, size, S), as `Scorer.forward`."""
        share = present.to(features.dtype)
        share = share / share.sum(dim=-1, keepdim=True).clamp(min=1.0)
        hidden = linear(self.embed, features)
        for k, pairs in enumerate(self.pairs):
            active = silu(hidden)
            step = linear(pairs, active)
            if self.options.sees_set:
                step = (
                    step
                    + linear(self.over_backends[k], torch.einsum("...esw,...s->...ew", active, share))[..., None, :]
                )
                step = step + linear(self.over_entries[k], active.mean(dim=-3))[..., None, :, :]
            hidden = hidden + step
        return score(self.head, silu(hidden))

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError for a table too large to be scored, and for `argmax` with more backends than slots."""
        if size * n_backends > PAIRS:
            raise RequestError(f"expected at most {PAIRS} pairs of backends and entries, but got {n_backends} x {size}")
        if self.options.decoder == "argmax" and n_backends > size:
            raise RequestError(f"expected at most {size} backends, a slot each, but got {n_backends}")


def _normal_quantiles(hashes: NDArray[np.uint64], size: int) -> NDArray[np.float64]:
    """Stratified draws of each pair as standard normal values: hashes (B, S, 4) -> float64 (B, size, S)."""
    bits = stratum_bits(size)
    # stratified_scores has the stratum in its highest bits; 11 bits fewer are exact in float64.
    uniform = (stratified_scores(hashes, size) >> np.uint64(11)).astype(np.float64) * 2.0 ** (bits - 53) / size
    quantiles = torch.special.ndtri(torch.from_numpy(uniform.clip(1e-6, 1.0 - 1e-6))).numpy()
    return np.moveaxis(quantiles, -1, 1)

"""Policies over whole tables: draws, and their log-probabilities with gradients.

Plackett-Luce over pairs: of the (entry, backend) pairs that are legal, one is drawn by the softmax of the scores and
given, then the next, until the table is full; legal is an entry that is free and a backend that has room under floor
and ceiling. A draw is the walk of balanced rendezvous over scores with Gumbel noise (Yellott, 1977). Once a pair is
illegal it stays so: the normalisers of all steps are one cumulated sum over the pairs by the step that closes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Draw", "draw_independent", "draw_plackett_luce", "needless"]


@dataclass(frozen=True)
class Draw:
    """R tables.

    Attributes:
        table: int64 (R, size), slots.
        log_probability: float (R, size), of each entry's choice given those before; its sum is that of the table.
    """

    table: Tensor
    log_probability: Tensor


def draw_independent(scores: Tensor, present: Tensor, noise: Tensor) -> Draw:
    """Each entry by itself, by the softmax over present slots.

    Args:
        scores: float (R, size, S), divided by the temperature.
        present: bool (R, S).
        noise: float (R, size, S), standard Gumbel.
    """
    scores = scores.masked_fill(~present[:, None], -torch.inf)
    table = (scores.detach() + noise).argmax(dim=2)
    return Draw(table, torch.log_softmax(scores, dim=2).gather(2, table[..., None])[..., 0])


def draw_plackett_luce(scores: Tensor, present: Tensor, noise: Tensor) -> Draw:
    """Plackett-Luce over pairs, under floor and ceiling; loads differ by at most one.

    Args:
        scores: float (R, size, S), divided by the temperature. Float64, or what is far from the best is lost.
        present: bool (R, S), at least one a row.
        noise: float (R, size, S), standard Gumbel.
    """
    rows, size, _ = scores.shape
    table, order, legal_for = _walk(scores.detach() + noise, present)
    scores = scores.masked_fill(~present[:, None], -torch.inf)
    best = scores.detach().amax(dim=(1, 2), keepdim=True)
    mass = torch.zeros(rows, size + 1, dtype=scores.dtype, device=scores.device)
    mass = mass.scatter_add(1, legal_for.flatten(1), (scores - best).exp().flatten(1))
    # At step t those count that are legal for more than t steps.
    normaliser = mass.flip(1).cumsum(1).flip(1)[:, 1:].log()
    chosen = (scores - best).gather(2, table[..., None])[..., 0]
    return Draw(table, chosen - normaliser.gather(1, order))


@torch.no_grad()
def _walk(keys: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best legal pair first.

    Returns:
        The tables int64 (R, size); for each entry the step that gave it, int64 (R, size); for each pair for how many
        steps it was legal, int64 (R, size, S).
    """
    rows, size, slots = keys.shape
    n = present.sum(dim=1)
    floor, ceilings = size // n, size % n
    keys = keys.masked_fill(~present[:, None], -torch.inf)
    row = torch.arange(rows, device=keys.device)
    table = torch.zeros(rows, size, dtype=torch.int64, device=keys.device)
    order = torch.zeros_like(table)
    closed_at = torch.where(present, size, 0)
    loads = torch.zeros_like(closed_at)
    for step in range(size):
        pair = keys.flatten(1).argmax(dim=1)
        entry, slot = pair // slots, pair % slots
        table[row, entry], order[row, entry] = slot, step
        ceilings = ceilings - (loads[row, slot] == floor).long()
        loads[row, slot] += 1
        full = (loads > floor[:, None]) | ((loads == floor[:, None]) & (ceilings == 0)[:, None])
        closed_at = torch.where(full & (closed_at == size), step + 1, closed_at)
        keys[row, entry] = -torch.inf
        keys.masked_fill_(full[:, None], -torch.inf)
    return table, order, torch.minimum(order[..., None] + 1, closed_at[:, None])


def needless(before: Tensor, after: Tensor, same: Tensor, there_after: Tensor) -> Tensor:
    """Which entries move though their owner stays and their new one does not join: bool (R, size).

    Args:
        before, after: int64 (R, size), slots.
        same: int64 (R, S), for each slot before the slot in which that backend stands after, -1 if it left.
        there_after: bool (R, S), slots that hold a backend after.
    """
    former = same.gather(1, before)
    joined = there_after.clone()
    rows, slots = torch.nonzero(same >= 0, as_tuple=True)
    joined[rows, same[rows, slots]] = False
    return (former != after) & (former >= 0) & ~joined.gather(1, after)

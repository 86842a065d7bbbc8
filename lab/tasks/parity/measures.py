"""Accuracies of what is handed out, when nothing is lost and when something is.

- `accuracy` (A_a): of what is handed out with nothing lost, against the true labels.
- `degraded_accuracy` (A_d): of rebuilt predictions, against the true labels, over every way to lose answers. The
  reference's files call this one "overall".
- `overall`: `(1 - f) A_a + f A_d` for a loss rate f.
- `reconstruction`: of rebuilt predictions, against what the base model says.

`degraded_topN` and `reconstruction_topN` count what is among the N largest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lab.tasks.parity.codes import Erasure, Scheme
from lab.tasks.parity.data import Dataset, Part
from lab.tasks.parity.groups import fixed_groups

__all__ = ["TOPS", "Tally", "batches", "measure"]

TOPS = (1, 2, 5, 10, 20)
"""Top-N accuracies, where there are as many classes."""

_QUERIES = 1024
"""Most queries at a time."""


def measure(
    scheme: Scheme, data: Dataset, part: Part, predictions: Tensor, loss_rate: float, groupings: int = 1
) -> dict[str, float]:
    """The measures of a scheme on a part of the data.

    Args:
        scheme: in evaluation mode.
        data, part: the samples.
        predictions: float (N, n), the base model's, on the device on which the scheme is.
        loss_rate: f.
        groupings: in how many orders samples are grouped (`lab.tasks.parity.groups.fixed_groups`).

    Returns:
        The measures by name, and `degraded_accuracy/<erasure>` and `reconstruction/<erasure>` for each way to lose
        answers.
    """
    tally = Tally(scheme.erasures, data.classes)
    with torch.no_grad():
        for places, count, queries in batches(data, part, scheme.k, groupings, predictions.device):
            own = predictions[places]
            answers = scheme.answers(queries, own)
            handed_out = scheme.rebuild(answers, [True] * answers.shape[1])
            rebuilt = [scheme.rebuild(answers, erasure.arrived)[None] for erasure in scheme.erasures]
            tally.add(handed_out[None], rebuilt, own[None], part.labels[places.cpu()], count)
    return tally.rows([loss_rate])[0]


def batches(
    data: Dataset, part: Part, k: int, groupings: int, device: torch.device, most: int = _QUERIES
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The groups in which a part is measured, `most` queries at a time.

    Yields:
        Places of samples, int64 (B, k), which of them count, bool (B, k), and their queries, float32 (B, k, C, H, W),
        all on `device`.
    """
    groups, counts = (torch.from_numpy(array) for array in fixed_groups(len(part), k, groupings))
    size = max(1, most // k)
    for places, count in zip(groups.split(size), counts.split(size), strict=True):
        yield places.to(device), count.to(device), data.scaled(part.inputs[places].to(device))


class Tally:
    """What members rebuilt rightly, counted batch by batch; a scheme alone is one member.

    Args:
        erasures: every way to lose answers.
        classes: how many there are.
    """

    def __init__(self, erasures: Sequence[Erasure], classes: int) -> None:
        self.erasures, self.tops = list(erasures), [n for n in TOPS if n <= classes]
        self._right: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._samples: list[Tensor] = []

    def add(self, handed_out: Tensor, rebuilt: Sequence[Tensor], own: Tensor, labels: Tensor, count: Tensor) -> None:
        """Counts a batch of groups.

        Args:
            handed_out: float (M, B, k, n), with nothing lost.
            rebuilt: likewise for each way to lose answers.
            own: float (M, B, k, n), the base models' predictions.
            labels: int64 (B, k).
            count: bool (B, k), which samples count.
        """
        labels = labels.to(own.device)
        said = own.argmax(-1)
        self._right.append(((handed_out.argmax(-1) == labels) & count).sum((-1, -2)))
        self._samples.append(count.sum())
        hits, counts = [], []
        for erasure, estimates in zip(self.erasures, rebuilt, strict=True):
            lost = torch.tensor(erasure.rebuilt, device=count.device) & count
            largest = estimates.topk(self.tops[-1]).indices
            for wanted in (labels.expand_as(said), said):
                found = (largest == wanted[..., None]) & lost[..., None]
                # Of the N largest at most one is the wanted class.
                hits.append(found.sum((1, 2)).cumsum(-1)[:, [n - 1 for n in self.tops]])
            counts.append(lost.sum())
        self._hits.append(torch.stack(hits))
        self._counts.append(torch.stack(counts))

    def rows(self, loss_rates: Sequence[float]) -> list[dict[str, float]]:
        """The measures of each member, at its own loss rate."""
        right, samples = torch.stack(self._right).sum(0).cpu(), torch.stack(self._samples).sum().cpu()
        # (against labels or the base model, ways to lose answers, members, N largest)
        hits = torch.stack(self._hits).sum(0).cpu().unflatten(0, (len(self.erasures), 2)).transpose(0, 1)
        counts = torch.stack(self._counts).sum(0).cpu()
        shares = (hits.sum(1) / counts.sum()).tolist()
        by_erasure = (hits[..., 0] / counts[:, None]).tolist()
        return [
            self._row(rate, float(right[member] / samples), [of[member] for of in shares], by_erasure, member)
            for member, rate in enumerate(loss_rates)
        ]

    def _row(
        self,
        loss_rate: float,
        accuracy: float,
        shares: list[list[float]],
        by_erasure: list[list[list[float]]],
        member: int,
    ) -> dict[str, float]:
        (degraded, *degraded_tops), (reconstruction, *reconstruction_tops) = shares
        found = {
            "accuracy": accuracy,
            "degraded_accuracy": degraded,
            "overall": (1 - loss_rate) * accuracy + loss_rate * degraded,
            "reconstruction": reconstruction,
        }
        for n, against_labels, against_base in zip(self.tops[1:], degraded_tops, reconstruction_tops, strict=True):
            found[f"degraded_top{n}"], found[f"reconstruction_top{n}"] = against_labels, against_base
        for place, erasure in enumerate(self.erasures):
            found[f"degraded_accuracy/{erasure.name}"] = by_erasure[0][place][member]
            found[f"reconstruction/{erasure.name}"] = by_erasure[1][place][member]
        return found

"""Accuracies of what is handed out, when nothing is lost and when something is.

- `accuracy` (A_a): of what is handed out with nothing lost, against the true labels.
- `degraded_accuracy` (A_d): of rebuilt predictions, against the true labels, over every way to lose answers. The
  reference's files call this one "overall".
- `overall`: `(1 - f) A_a + f A_d` for a loss rate f.
- `reconstruction`: of rebuilt predictions, against what the base model says.

`degraded_topN` and `reconstruction_topN` count what is among the N largest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lab.tasks.parity.codes import Scheme
from lab.tasks.parity.data import Dataset, Part
from lab.tasks.parity.groups import fixed_groups

__all__ = ["TOPS", "measure"]

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
    tops = [n for n in TOPS if n <= data.classes]
    device = predictions.device
    groups, counts = (torch.from_numpy(array) for array in fixed_groups(len(part), scheme.k, groupings))
    right = torch.zeros((), dtype=torch.int64)
    hits = torch.zeros(2, len(scheme.erasures), len(tops), dtype=torch.int64)
    rebuilt_count = torch.zeros(len(scheme.erasures), dtype=torch.int64)
    with torch.no_grad():
        size = max(1, _QUERIES // scheme.k)
        for places, count in zip(groups.split(size), counts.split(size), strict=True):
            queries = data.scaled(part.inputs[places].to(device))
            labels, own = part.labels[places].to(device), predictions[places.to(device)]
            answers = scheme.answers(queries, own)
            handed_out = scheme.rebuild(answers, [True] * answers.shape[1])
            right += ((handed_out.argmax(-1) == labels) & count.to(device)).sum().cpu()
            for place, erasure in enumerate(scheme.erasures):
                lost = torch.tensor(erasure.rebuilt) & count
                largest = scheme.rebuild(answers, erasure.arrived).topk(tops[-1]).indices.cpu()
                for against, wanted in enumerate((labels, own.argmax(-1))):
                    found = (largest == wanted.cpu()[..., None]) & lost[..., None]
                    hits[against, place] += torch.stack([found[..., :n].any(-1).sum() for n in tops])
                rebuilt_count[place] += lost.sum()
    shares = hits.sum(1) / rebuilt_count.sum()
    by_erasure = hits[..., 0] / rebuilt_count
    accuracy, degraded = float(right / counts.sum()), float(shares[0, 0])
    found_measures = {
        "accuracy": accuracy,
        "degraded_accuracy": degraded,
        "overall": (1 - loss_rate) * accuracy + loss_rate * degraded,
        "reconstruction": float(shares[1, 0]),
    }
    for place, n in enumerate(tops[1:], start=1):
        found_measures[f"degraded_top{n}"] = float(shares[0, place])
        found_measures[f"reconstruction_top{n}"] = float(shares[1, place])
    for place, erasure in enumerate(scheme.erasures):
        found_measures[f"degraded_accuracy/{erasure.name}"] = float(by_erasure[0, place])
        found_measures[f"reconstruction/{erasure.name}"] = float(by_erasure[1, place])
    return found_measures

"""What held-out queries say of a code: who is right, sample by sample, for every way to lose answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lab.compare.parity.load import Loaded
from lab.errors import RequestError
from lab.tasks.parity.data import Part
from lab.tasks.parity.groups import fixed_groups
from lab.threads import torch_threads

__all__ = ["Answers", "Question", "answers_of", "refuse_another"]

_LEAST, _MOST, _ENOUGH = 2, 8, 20_000
"""Orders in which test samples are grouped, and how many queries are enough: which of them share a group is chance,
and averages out the sooner the more samples there are."""

_QUERIES = 1024
"""Most queries at a time."""

_TOLERANCE = 0.01
"""By which accuracies of one network may differ between machines: near ties fall either way."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """What all methods of a setting are asked.

    Attributes:
        count: of test samples at most; None for all.
        groupings: orders in which they are grouped; by default from eight, for few samples, to two, for many.

    Raises:
        RequestError: too few samples for a group of any size that there is.
    """

    count: int | None = None
    groupings: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 16:
            raise RequestError(f"expected at least 16 test samples, the largest k, but got {self.count}")

    def samples(self, whole: int) -> int:
        """Of a test part of `whole` samples, how many are asked about."""
        return whole if self.count is None else min(whole, self.count)

    def orders(self, samples: int) -> int:
        """In how many orders so many samples are grouped."""
        return min(_MOST, max(_LEAST, _ENOUGH // samples)) if self.groupings is None else self.groupings

    def label(self, dataset: str) -> str:
        """How a reading is noted in a run."""
        return f"parity-{dataset}" + ("" if self.count is None else f"[:{self.count}]")


@dataclass(frozen=True)
class Answers:
    """What N test samples of n classes say of one network; P ways to lose answers.

    Attributes:
        base: whether the base model is right, 0 or 1, (N,).
        accuracy: the share of groups in which what is handed out with nothing lost is right, (N,).
        degraded: the share of rebuilt predictions that are right, (N,): over groups and ways to lose answers.
        agreement: the share of them that agree with the base model, (N,).
        right: how often a rebuilt prediction was right, (P, N).
        asked: how often there was one, (P, N).
        patterns: what is lost, P names.
        confusion: true class and rebuilt class, how often, (n, n).
        base_confusion: true class and the base model's, (n, n).
        extra: servers beside the k of the queries.
        first: the share of rebuilt predictions that are right in the first order, in which trainings are measured.
    """

    base: Floats
    accuracy: Floats
    degraded: Floats
    agreement: Floats
    right: Floats
    asked: Floats
    patterns: tuple[str, ...]
    confusion: Counts
    base_confusion: Counts
    extra: int
    first: float


def answers_of(loaded: Loaded, question: Question) -> Answers:
    """Asks the models of a trial about test samples, on the threads that its configuration allows."""
    with torch_threads(loaded.config.threads):
        return _answers(loaded, question)


@torch.no_grad()
def _answers(loaded: Loaded, question: Question) -> Answers:
    scheme, data = loaded.scheme, loaded.data
    samples, k = question.samples(len(data.test)), scheme.k
    orders = question.orders(samples)
    inputs, labels = data.test.inputs[:samples], data.test.labels[:samples]
    own = loaded.predictions(Part(inputs, labels))
    said = own.argmax(-1)
    groups, counts = (torch.from_numpy(array) for array in fixed_groups(samples, k, orders))
    shape = (len(scheme.erasures), samples)
    right, asked = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    agreed, handed_out = torch.zeros(shape[1], dtype=torch.int64), torch.zeros(shape[1], dtype=torch.int64)
    confusion = torch.zeros(data.classes * data.classes, dtype=torch.int64)
    first = None
    size = max(1, _QUERIES // k)
    # The first order ends a batch of its own, so that it can be told from the others.
    batches = [part for order in torch.arange(len(groups)).chunk(orders) for part in order.split(size)]
    for places in batches:
        if first is None and int(places[0]) * k >= samples:
            first = float(right.sum() / asked.sum())
        some, count = groups[places], counts[places]
        answers = scheme.answers(data.scaled(inputs[some]), own[some])
        whole = scheme.rebuild(answers, [True] * answers.shape[1]).argmax(-1)
        handed_out.index_add_(0, some[count], (whole == labels[some])[count].long())
        for place, erasure in enumerate(scheme.erasures):
            lost = torch.tensor(erasure.rebuilt) & count
            found, rebuilt = some[lost], scheme.rebuild(answers, erasure.arrived).argmax(-1)[lost]
            asked[place].index_add_(0, found, torch.ones_like(found))
            right[place].index_add_(0, found, (rebuilt == labels[found]).long())
            agreed.index_add_(0, found, (rebuilt == said[found]).long())
            confusion += torch.bincount(labels[found] * data.classes + rebuilt, minlength=len(confusion))
    total = asked.sum(0)
    return Answers(
        base=_array(said == labels),
        accuracy=_array(handed_out / orders),
        degraded=_array(right.sum(0) / total),
        agreement=_array(agreed / total),
        right=_array(right),
        asked=_array(asked),
        patterns=tuple(erasure.name for erasure in scheme.erasures),
        confusion=confusion.view(data.classes, -1).numpy(),
        base_confusion=torch.bincount(labels * data.classes + said, minlength=len(confusion))
        .view(data.classes, -1)
        .numpy(),
        extra=scheme.extra,
        first=float(right.sum() / asked.sum()) if first is None else first,
    )


def _array(found: torch.Tensor) -> Floats:
    return np.asarray(found.numpy(), dtype=np.float64)


def refuse_another(name: str, loaded: Loaded, found: Answers) -> None:
    """Raises RequestError if models are not as right as the training of `name` reported: then they are others.

    Nothing is said where only some of the test samples were asked about.
    """
    if len(found.base) != len(loaded.data.test):
        return
    pairs = {
        "base/test_accuracy": ("the base model", float(found.base.mean())),
        "best/test/degraded_accuracy": ("what is rebuilt", found.first),
    }
    for metric, (words, value) in pairs.items():
        recorded = loaded.recorded.get(metric)
        if recorded is not None and abs(recorded - value) > _TOLERANCE:
            raise RequestError(
                f"expected {words} to be right on {100 * recorded:.1f} % of test samples, as {name} reported, but it "
                f"is on {100 * value:.1f} %: has its data or a model beside its checkpoint changed?"
            )

"""What a task hands over so that hundreds of its models can be trained as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from lab.config import Config

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = ["SCHEDULE", "CheckpointedTask", "MemberState", "Members", "Model", "PopulationTask"]

SCHEDULE = ("iterations", "steps", "device", "threads", "checkpoint_every")
"""Config fields that members have in common, besides what `PopulationTask.key` says."""


class Model(Protocol):
    """A network with the weights of one member; a mapped one where members are trained as one."""

    def __call__(self, *inputs: Any) -> Any: ...


class Members(Protocol):
    """The members of a population as `PopulationTask.evaluate` sees them.

    Attributes:
        configs: one for each member.
        device: where their weights are.
    """

    configs: Sequence[Config]
    device: torch.device

    def map(self, function: Callable[..., Any], *inputs: Any, carry: Any = None) -> Any:
        """`function(model, *inputs)`, or `function(model, *inputs, carry)`, for every member, without gradients.

        Args:
            function: returns a tensor, or tuples and dicts of tensors. Where the task is `replayable` it is known again
                by its identity: a function of a module, not one that is made anew for each call.
            *inputs: tensors, or tuples and dicts of them, the same for all members.
            carry: likewise, with the members as first axis: what another call returned.

        Returns:
            What the function returns, each tensor with the members as a new first axis, (M, ...).
        """
        ...

    def modules(self) -> Iterator[nn.Module]:
        """A plain network for each member in turn, on the CPU; it is overwritten by the next one's weights."""
        ...


class PopulationTask(Protocol):
    """A task of which many models of one architecture train as one (`lab.sweep.population`).

    Configurations have the fields `seed`, `iterations`, `steps` (gradient steps in an iteration), `device`, `threads`
    and `checkpoint_every`.

    Attributes:
        objective: key of the metric that is the objective, `validation/<name>`.
        mode: whether a good objective is small (`min`) or large (`max`).
        betas: of Adam.
        replayable: whether `loss`, and each function that `evaluate` maps, do the same operations whatever the tensors
            hold: they are then recorded once and done again from the record (`lab.sweep.replay`), many times faster.
    """

    objective: str
    mode: Literal["min", "max"]
    betas: tuple[float, float]
    replayable: bool

    def key(self, config: Any) -> Hashable | None:
        """Equal for configurations whose weights and batches have the same shapes, and whose `loss` and `evaluate` make
        the same choices in Python; None for one that can only be trained alone."""
        ...

    def init(self, config: Any) -> nn.Module:
        """A network on the CPU, its weights drawn from a generator seeded with `config.seed`."""
        ...

    def stream(self, config: Any) -> Hashable:
        """What the batches depend on besides the iteration: members with equal streams share them."""
        ...

    def blocks(self, config: Any, iteration: int) -> Iterator[Mapping[str, Tensor]]:
        """The `config.steps` batches of an iteration, counted from 0, in blocks of consecutive ones.

        A pure function of stream and iteration. Each tensor of a block has its batches as first axis, (n, ...). As few
        blocks as memory allows: each costs a call a member.
        """
        ...

    def knobs(self, config: Any, steps: NDArray[np.int64]) -> Mapping[str, float | NDArray[np.float64]]:
        """The scalars of some gradient steps (n,), counted from 0 over the whole training: (n,) each, or one for all.

        `learning_rate`, `weight_decay` (decoupled: Loshchilov and Hutter, ICLR 2019), `max_gradient_norm` (infinite
        for none) and, where a task has it, `l2` (times the weights is added to their gradients, as in
        `torch.optim.Adam`) are for the optimiser; `loss` gets all of them.
        """
        ...

    def loss(
        self, config: Any, model: Model, batch: Mapping[str, Tensor], knobs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one member on one batch, a scalar, and further scalars to report.

        Pure. Of `config` it reads only what `key` holds; what differs between members comes in as knobs.
        """
        ...

    def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
        """The metrics of each member after `iteration` iterations (0: before the first), the objective among them."""
        ...

    def save(
        self,
        config: Any,
        directory: Path,
        *,
        best: dict[str, Tensor],
        untrained: dict[str, Tensor],
        best_objective: float,
        untrained_objective: float,
    ) -> None:
        """Writes the artefact of the best network into `directory`: `lab.runs.ARTEFACT`."""
        ...


@dataclass(frozen=True)
class MemberState:
    """A member between two iterations; tensors are on the CPU, by the names of the parameters, in their order.

    Attributes:
        iteration: iterations done.
        seconds: its share of the time so far.
        current, best: weights.
        exp_avg, exp_avg_sq: Adam's moments.
        best_metrics: of the best network, as `CheckpointedTask.of_best` had them.
    """

    iteration: int
    seconds: float
    current: dict[str, Tensor]
    best: dict[str, Tensor]
    exp_avg: dict[str, Tensor]
    exp_avg_sq: dict[str, Tensor]
    best_metrics: dict[str, float]


@runtime_checkable
class CheckpointedTask(PopulationTask, Protocol):
    """A task that has a training loop and checkpoints of its own, which members leave, too.

    Attributes:
        latest_of_equals: whether the later of two equally good networks is the better one.
    """

    latest_of_equals: bool

    @property
    def sketch(self) -> PopulationTask:
        """A task with the same shapes, for which nothing is trained beforehand, and on the CPU."""
        ...

    def introduce(self, configs: Sequence[Any]) -> None:
        """Says on standard error what there is to know of some members before they train together."""
        ...

    def of_best(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """What of the metrics of an iteration is reported for the best network ever after, under its names there."""
        ...

    def save_checkpoint(self, config: Any, directory: Path, state: MemberState) -> None:
        """Writes a checkpoint into the empty directory `directory`, from which a lone training goes on."""
        ...

"""The state of a training on disk: safetensors and JSON, nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from lab.errors import RequestError
from lab.files import read_json, sha256, write_bytes, write_json
from lab.tables import learned
from lab.tables.networks import Scorer

__all__ = ["Training"]

_STATE, _PROGRESS = "state.safetensors", "state.json"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Training:
    """A training between two iterations. Training scenarios have a stream for each step, so no generator is in it.

    Attributes:
        scorer: the network as it is now.
        optimizer: its Adam.
        untrained: the weights before the first step, on the CPU.
        untrained_objective: what those reach on the validation scenarios.
        best: the best weights by validation so far, on the CPU.
        best_objective: what those reach; infinite before the first iteration.
        iteration: iterations done.
        seconds: wall time spent on them.
    """

    scorer: Scorer
    optimizer: torch.optim.Adam
    untrained: dict[str, Tensor]
    untrained_objective: float
    best: dict[str, Tensor] = field(default_factory=dict)
    best_objective: float = float("inf")
    iteration: int = 0
    seconds: float = 0.0

    def weights(self) -> dict[str, Tensor]:
        """A copy of the present weights, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.scorer.state_dict().items()}

    def save(self, directory: Path, architecture: str, options: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Writes the latest state, and the artefact of the best network, into `directory`."""
        tensors = {f"weights/{name}": value for name, value in self.weights().items()}
        for name, parameter in self.scorer.named_parameters():
            for moment, value in self.optimizer.state[parameter].items():
                tensors[f"{moment}/{name}"] = value.detach().to("cpu", copy=True)
        write_bytes(directory / _STATE, dump_tensors(tensors))
        progress = {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "best_objective": self.best_objective,
            "untrained_objective": self.untrained_objective,
            "sha256": sha256(directory / _STATE),
        }
        write_json(directory / _PROGRESS, progress)
        learned.save(directory, architecture, options, self.best, meta, untrained=self.untrained)

    def restore(self, directory: Path) -> None:
        """Takes up what `save` wrote; the network must have the same shape.

        Raises:
            RequestError: files that are missing, truncated, corrupt, or of another network.
        """
        directory = Path(directory)
        progress = read_json(directory / _PROGRESS, "training state")
        path = directory / _STATE
        try:
            if sha256(path) != progress["sha256"]:
                raise RequestError(
                    f"expected at {path} the tensors that {_PROGRESS} names, but the SHA-256 differs: truncated?"
                )
            tensors = load_tensors(path.read_bytes())
            self.best, self.untrained = (
                load_tensors((directory / n).read_bytes()) for n in (learned.MODEL, learned.UNTRAINED)
            )
            self.iteration, self.seconds = int(progress["iteration"]), float(progress["seconds"])
            self.best_objective = float(progress["best_objective"])
            self.untrained_objective = float(progress["untrained_objective"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, RequestError):
                raise
            raise RequestError(
                f"expected a checkpoint of a supervised table at {directory}, but got: {error!r}"
            ) from None
        groups: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = value
        try:
            self.scorer.load_state_dict(groups["weights"])
            moments = {
                index: {moment: groups[moment][name] for moment in _MOMENTS}
                for index, (name, _) in enumerate(self.scorer.named_parameters())
            }
        except (KeyError, RuntimeError) as error:
            got = " ".join(str(error).split())[:200]
            raise RequestError(f"expected at {path} the state of this network, but got: {got}") from None
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})

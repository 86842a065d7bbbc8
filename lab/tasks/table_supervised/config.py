"""The configuration of the supervised table."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from envs.scenarios import ScenarioConfig
from lab.config import Config
from lab.tables.networks import Decoder, EquivariantOptions, EquivariantScorer, NotebookNetwork, NotebookOptions, Scorer

__all__ = ["TableSupervisedConfig"]


class TableSupervisedConfig(Config):
    """What is trained and how. The universe is "any hash", the tables are stateless."""

    seed: int = Field(default=0, ge=0, description="seed of the weights and of the training scenarios")
    iterations: int = Field(
        default=40, ge=1, description="how often results are reported; the schedules span all of them"
    )
    steps: int = Field(default=25, ge=1, description="gradient steps in an iteration")
    device: Literal["cpu", "cuda"] = Field(
        default="cpu", description="where the network is trained; tables are built on the CPU"
    )
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of torch")

    size: int = Field(default=47, ge=2, le=512, description="entries of a table")
    n_before: tuple[int, int] = Field(default=(3, 47), description="least and largest number of backends before")
    n_after: tuple[int, int] = Field(default=(1, 47), description="least and largest number of backends after")
    max_ratio: float = Field(default=1.0, gt=0, le=1, description="largest ratio of the smaller number to the larger")
    max_delta: int = Field(default=10, ge=1, description="largest difference of the two numbers")
    batch_size: int = Field(default=16, ge=1, le=4096, description="scenarios in a gradient step")
    validation_scenarios: int = Field(default=256, ge=1, description="scenarios that each iteration is validated on")

    network: Literal["notebook", "equivariant"] = Field(default="equivariant", description="which network scores pairs")
    decoder: Decoder = Field(default="balanced", description="how scores become a table: argmax, ranking or balanced")
    width: int = Field(default=16, ge=1, le=512, description="equivariant: units of each hidden layer")
    depth: int = Field(default=2, ge=0, le=16, description="equivariant: residual layers")
    frequencies: int = Field(default=2, ge=0, le=64, description="equivariant: Fourier features of each ring offset")
    strata: int = Field(default=2, ge=0, le=4, description="equivariant: stratified draws it reads of each pair")
    sees_set: bool = Field(default=False, description="equivariant: whether a score depends on the other backends")

    learning_rate: float = Field(default=1e-2, gt=0, le=1, description="Adam's, after the warm-up; falls to a tenth")
    max_gradient_norm: float = Field(default=1.0, gt=0, description="longer gradients are scaled down to this norm")
    temperature_start: float = Field(default=0.3, gt=0, le=100, description="temperature of the plan at the first step")
    temperature_end: float = Field(
        default=0.04, gt=0, le=100, description="temperature at the last step, geometrically"
    )
    sinkhorn_iterations: int = Field(default=64, ge=1, le=10_000, description="balanced: most scalings of a plan")
    weight_validity: float = Field(default=1.0, ge=0, description="of the mass on empty slots")
    weight_evenness: float = Field(default=1.0, ge=0, description="of the loads' distance from even ones")
    weight_stability: float = Field(default=1.0, ge=0, description="of the entries that change backend")
    weight_confidence: float = Field(
        default=0.0, ge=0, description="of how far plans are from naming one slot an entry"
    )

    checkpoint_every: int = Field(
        default=1, ge=1, description="iterations between checkpoints; the last has one always"
    )

    @model_validator(mode="after")
    def _consistent(self) -> TableSupervisedConfig:
        scenarios = self.scenarios()  # refuses a rule that no scenario satisfies
        try:
            self.options()
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        if not self.weight_validity + self.weight_evenness + self.weight_stability + self.weight_confidence:
            raise ValueError("at least one weight of a loss must be above 0")
        if max(scenarios.max_backends, 1) > self.size:
            raise ValueError("a table must have an entry for each backend")
        return self

    def scenarios(self) -> ScenarioConfig:
        """The rule of the scenarios."""
        return ScenarioConfig(
            size=self.size,
            n_before=self.n_before,
            n_after=self.n_after,
            max_ratio=self.max_ratio,
            max_delta=self.max_delta,
        )

    def options(self) -> NotebookOptions | EquivariantOptions:
        """The shape of the network, as it stands in the artefact."""
        if self.network == "notebook":
            return NotebookOptions(size=self.size, decoder=self.decoder)
        shape: dict[str, Any] = {name: getattr(self, name) for name in EquivariantOptions.model_fields}
        return EquivariantOptions(**shape)

    def scorer(self) -> Scorer:
        """The network, its weights not drawn yet."""
        options = self.options()
        return NotebookNetwork(options) if isinstance(options, NotebookOptions) else EquivariantScorer(options)

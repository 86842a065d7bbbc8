"""The configuration of a parity model, its base model and the code around them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from lab.config import Config
from lab.errors import unknown_name
from lab.paths import runs_root
from lab.tasks.parity import data, models
from lab.tasks.parity.codes import DECODERS, ENCODERS

__all__ = ["ALIASES", "CODES", "PARTS", "TRAINING_FREE", "ParityConfig", "architecture"]

TRAINING_FREE = ("berrut", "berrut-systematic", "spline", "replication", "cheap-model", "majority")
"""Codes that nothing is trained for, except a cheap model."""

CODES = (
    *(f"{encoder}/{decoder}" for encoder in ENCODERS for decoder in DECODERS if decoder != "selection"),
    "concatenation/selection",
    *TRAINING_FREE,
)
"""The names of all codes."""

ALIASES = {
    "add": "addition",
    "concat": "concatenation",
    "sub": "subtraction",
    "coders.summation.AdditionEncoder": "addition",
    "coders.image.ConcatenationEncoder": "concatenation",
    "coders.mlp.MLPEncoder": "mlp",
    "coders.conv.ConvEncoder": "conv",
    "coders.summation.SubtractionDecoder": "subtraction",
    "coders.mlp.MLPDecoder": "mlp",
}
"""Spellings of the parity-models reference -> name of an encoder or a decoder."""

_LOSSES = {
    "torch.nn.MSELoss": "mse",
    "torch.nn.KLDivLoss": "kl",
    "loss.kldiv.KLDivLoss": "kl",
    "torch.nn.CrossEntropyLoss": "cross-entropy",
}

PARTS = ("encoder", "parity_model", "decoder")
"""What can be trained."""

Part = Literal["encoder", "parity_model", "decoder"]


class ParityConfig(Config):
    """What is coded, with what, and how it is trained."""

    seed: int = Field(default=0, ge=0, description="of all weights, groups and augmentation")
    iterations: int = Field(default=20, ge=1, description="how often results are reported; schedules span all of them")
    epochs: int = Field(default=10, ge=1, le=10_000, description="epochs in an iteration")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where models are trained and run")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of torch")

    dataset: str = Field(default="digits", description=f"one of {', '.join(data.DATASETS)}")
    data_dir: str | None = Field(default=None, description="folder of the data sets that do not come with the lab")
    validation_share: float = Field(
        default=0.1, gt=0, lt=1, description="of the training part, where the data set has no validation part"
    )
    split_seed: int = Field(default=0, ge=0, description="of that split, the same for every seed")
    validation_groupings: int = Field(
        default=4, ge=1, le=1000, description="orders in which validation samples are grouped: less noise in the choice"
    )

    k: int = Field(default=2, ge=2, le=16, description="queries in a group")
    r: int = Field(default=1, ge=1, le=8, description="parity queries, and so answers that may be lost")
    code: str = Field(
        default="addition/subtraction",
        description=f"encoder/decoder of {', '.join(ENCODERS)} / {', '.join(DECODERS)}; or {', '.join(TRAINING_FREE)}",
    )
    model: str = Field(default="mlp", description=f"the base model: one of {', '.join(models.MODELS)}")
    parity_model: str | None = Field(default=None, description="the parity models' architecture [the base model's]")
    parity_width: float = Field(default=1.0, gt=0, le=64, description="factor of the widths of the parity models")
    parity_init: Literal["random", "base"] = Field(
        default="random",
        description="weights that the parity models begin with; base: those of the base model, also in a wider one",
    )
    cheap_model: str = Field(default="linear", description="cheap-model: what answers for lost predictions")
    output: Literal["logits", "probabilities"] = Field(
        default="logits", description="what models hand to the decoder, and parity models learn sums of"
    )
    temperature: float = Field(default=1.0, gt=0, le=100, description="that logits are divided by before a softmax")
    smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="label smoothing of the logits that models hand out: they become the logarithms of probabilities "
        "of which this share is spread evenly over all classes",
    )
    encoder_smoothing: float = Field(default=0.0, ge=0, description="spline: of the curve through the queries")
    decoder_smoothing: float = Field(default=0.0, ge=0, description="spline: of the curve through the answers")

    cache_dir: str | None = Field(default=None, description="where base models are kept [beside all runs]")
    base_epochs: int = Field(default=60, ge=1, le=10_000, description="epochs of the base model")
    base_learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Adam's, for the base model")
    base_weight_decay: float = Field(default=1e-5, ge=0, description="Adam's, for the base model")
    base_batch_size: int = Field(default=64, ge=1, le=65_536, description="samples in a step of the base model")
    base_shift: int = Field(default=0, ge=0, le=64, description="most pixels that its samples are moved by in training")

    train_encoder: bool | None = Field(default=None, description="[if it has weights]")
    train_parity_model: bool = Field(default=True, description="whether the parity models are trained")
    train_decoder: bool | None = Field(default=None, description="[if it has weights]")
    untrained: tuple[Part, ...] = Field(
        default=(), description="parts that are neither trained nor loaded, by intent: they stay as they were drawn"
    )
    loss: Literal["mse", "kl", "cross-entropy"] = Field(
        default="mse",
        description="mse: of parity answers, or of rebuilt predictions where the decoder has weights; kl: from the "
        "base model's to rebuilt predictions; cross-entropy: of rebuilt predictions and true labels",
    )
    optimiser: Literal["adam", "adamw"] = Field(default="adam", description="adamw: weight decay is decoupled")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="of the optimiser, at its highest")
    schedule: Literal["constant", "cosine"] = Field(default="cosine", description="cosine: falls to 0 at the end")
    weight_decay: float = Field(default=1e-5, ge=0, description="of the optimiser")
    batch_groups: int | None = Field(default=None, ge=1, le=65_536, description="groups in a step [64 at k = 2, or 32]")
    shift: int = Field(default=0, ge=0, le=64, description="augmentation: most pixels that a query is moved by")
    flip: bool = Field(default=False, description="augmentation: whether half of the queries are mirrored")
    mix: float = Field(
        default=0.0, ge=0, le=1, description="augmentation: share of queries blended with another; needs distil"
    )
    distil: bool = Field(
        default=False, description="ask the base model about each augmented query, instead of once about the clean one"
    )

    loss_rate: float = Field(default=0.05, ge=0, le=1, description="share of predictions that are lost, for `overall`")
    continue_from: str | None = Field(default=None, description="a checkpoint directory to begin with")
    only_test: bool = Field(default=False, description="measure the best network of `continue_from`, train nothing")
    checkpoint_every: int = Field(default=1, ge=1, description="iterations between checkpoints; the last has one")

    @model_validator(mode="before")
    @classmethod
    def _names(cls, values: Any) -> Any:
        """Other spellings become the lab's names, paths absolute; an unknown name is answered with the nearest."""
        values = dict(values)
        # Trials of a sweep have working directories of their own.
        values["cache_dir"] = str(Path(values.get("cache_dir") or runs_root() / ".parity-base-models").absolute())
        if isinstance(values.get("data_dir"), str):
            values["data_dir"] = str(Path(values["data_dir"]).expanduser().absolute())
        if isinstance(values.get("continue_from"), str) and Path(values["continue_from"]).is_dir():
            values["continue_from"] = str(Path(values["continue_from"]).absolute())
        for field, known, aliases in (
            ("dataset", data.DATASETS, data.ALIASES),
            ("model", models.MODELS, models.ALIASES),
            ("parity_model", models.MODELS, models.ALIASES),
            ("cheap_model", models.MODELS, models.ALIASES),
            ("loss", ("mse", "kl", "cross-entropy"), _LOSSES),
        ):
            if isinstance(values.get(field), str):
                values[field] = _known(field, values[field], known, aliases)
        if isinstance(values.get("code"), str):
            encoder, slash, decoder = values["code"].partition("/")
            if slash:
                encoder = _known("encoder", encoder, ENCODERS, ALIASES)
                values["code"] = f"{encoder}/{_known('decoder', decoder, DECODERS, ALIASES)}"
            else:
                _known("code", encoder, CODES, {})
        return values

    @model_validator(mode="after")
    def _consistent(self) -> ParityConfig:
        if self.r > 1:
            one = [
                name
                for name in ("addition", "concatenation", "subtraction", "selection")
                if name in self.code.split("/")
            ]
            if one:
                raise ValueError(f"{one[0]} has r = 1, expected vandermonde/linear for r = {self.r}")
        if self.decoder == "selection" and self.encoder != "concatenation":
            raise ValueError(
                f"selection needs each query in a place of the parity query: expected concatenation/selection, "
                f"but the code is {self.code}"
            )
        if self.decoder == "selection" and self.parity_init == "base":
            raise ValueError("parity_init base needs parity models of whole images, but selection's see one tile each")
        if self.output == "probabilities" and self.loss != "mse":
            raise ValueError(f"loss {self.loss} is of logits, expected output = logits with it")
        if self.output == "probabilities" and self.smoothing:
            raise ValueError(f"smoothing is of logits, expected output = logits with smoothing = {self.smoothing}")
        if self.mix and not self.distil:
            raise ValueError("mix needs distil: nobody else knows what the base model says of a blend")
        if self.only_test and self.continue_from is None and self.trained:
            raise ValueError("only_test needs continue_from: there is nothing to test otherwise")
        if self.continue_from is not None and not self.weighted:
            raise ValueError(f"continue_from is for codes with weights, but {self.code} has none")
        if self.parity_init == "base" and (self.parity_width < 1 or self.parity_architecture != self.model):
            raise ValueError("parity_init base needs parity models of the base model's architecture, at least as wide")
        for part, asked in (("encoder", self.train_encoder), ("decoder", self.train_decoder)):
            if asked and part not in self.weighted:
                raise ValueError(f"train_{part} is true, but the {part} of {self.code} has no weights")
        for part in self.weighted:
            loaded = self.continue_from is not None or (part == "parity_model" and self.parity_init == "base")
            if part not in self.trained and not loaded and part not in self.untrained:
                raise ValueError(
                    f"the {part} is frozen, but it is not loaded either, and would stay as it was drawn: expected "
                    f"continue_from, {'parity_init = base, ' if part == 'parity_model' else ''}"
                    f"or {part} in `untrained` if that is intended"
                )
        return self

    @property
    def encoder(self) -> str | None:
        """The name of the encoder; None for a code that nothing is trained for."""
        return self.code.partition("/")[0] if "/" in self.code else None

    @property
    def decoder(self) -> str | None:
        """Likewise of the decoder."""
        return self.code.partition("/")[2] or None

    @property
    def parity_architecture(self) -> str:
        """The name of the architecture of the parity models."""
        return self.parity_model or self.model

    @property
    def weighted(self) -> tuple[str, ...]:
        """The parts of the code that have weights."""
        if self.encoder is None:
            return ()
        has = {"encoder": self.encoder in ("mlp", "conv"), "parity_model": True, "decoder": self.decoder == "mlp"}
        return tuple(part for part in PARTS if has[part])

    @property
    def trained(self) -> tuple[str, ...]:
        """The parts that are trained."""
        asked = {
            "encoder": self.train_encoder is not False,
            "parity_model": self.train_parity_model,
            "decoder": self.train_decoder is not False,
        }
        return tuple(part for part in self.weighted if asked[part])

    @property
    def groups_in_batch(self) -> int:
        """Groups in a gradient step, by default as many as the reference has."""
        return self.batch_groups or (64 if self.k == 2 else 32)

    @property
    def samples(self) -> data.Dataset:
        """The data set, read; RequestError where it is missing or wrong."""
        folder = None if self.data_dir is None else Path(self.data_dir)
        return data.load(self.dataset, folder, self.validation_share, self.split_seed)

    @property
    def steps_in_epoch(self) -> int:
        """Gradient steps in an epoch; needs the data set."""
        groups = -(-len(self.samples.train) // self.k)
        return -(-groups // self.groups_in_batch)

    @property
    def steps(self) -> int:
        """Gradient steps in an iteration; needs the data set."""
        return self.epochs * self.steps_in_epoch


def _known(kind: str, value: str, known: Collection[str], aliases: Mapping[str, str]) -> str:
    name = aliases.get(value, value)
    if name not in known:
        raise unknown_name(kind, value, known)
    return name


def architecture(config: ParityConfig) -> dict[str, Any]:
    """What checkpoints have to have in common for one to be loaded under the other's configuration."""
    fields = ("dataset", "split_seed", "validation_share", "k", "r", "code", "model", "parity_width", "output")
    found = {name: getattr(config, name) for name in (*fields, "temperature", "smoothing")}
    return {**found, "parity_model": config.parity_architecture}

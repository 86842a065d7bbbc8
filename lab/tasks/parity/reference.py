"""What the parity-models reference (Thesys-lab/parity-models, `train/`) reads and writes, read and written here.

Its configuration is a JSON file of lists, of which every combination is trained; its results are text files with a line
for each epoch. What its files call "overall" is the degraded-mode accuracy A_d.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import RequestError, unknown_name
from lab.experiment import Grid
from lab.files import read_json
from lab.tasks.parity.measures import TOPS

__all__ = ["read_reference", "result_texts"]

_LISTS = {
    "datasets": "names",
    "models": "names",
    "k_vals": "integers",
    "losses": "names",
    "enc_dec_types": "pairs of an encoder and a decoder",
}
_FLAGS = ("train_encoder", "train_parity_model", "train_decoder")
_KEYS = ("num_epoch", *_LISTS, *_FLAGS)

_PARTS = {"train": "train", "val": "validation", "test": "test"}
_FILES = {"overall": ("degraded_accuracy", "degraded_top"), "reconstruction": ("reconstruction", "reconstruction_top")}


def read_reference(path: Path) -> Grid:
    """Reads a configuration of the reference, in either of its spellings, as a grid over configurations of the lab.

    A report is an epoch, the learning rate is constant, and a parity model that is not trained has the weights of the
    base model, as the reference's documentation has it (its code leaves such a model as it was drawn).

    Raises:
        RequestError: no JSON object, a key that is missing, unknown or of the wrong type, or a value twice.
    """
    raw = read_json(path, "configuration of parity-models")
    if not isinstance(raw, dict):
        raise RequestError(f"expected a JSON object at {path}, but got {_short(raw)}")
    for key in raw:
        if key not in _KEYS:
            raise unknown_name(f"key in {path}", key, _KEYS)
    for key in _KEYS:
        if key not in raw:
            raise RequestError(f"expected the key {key!r} in {path}, but it is missing")
    epochs = raw["num_epoch"]
    if not _integer(epochs) or epochs < 1:
        raise RequestError(f"expected num_epoch of at least 1 in {path}, but got {_short(epochs)}")
    for key in _FLAGS:
        if not isinstance(raw[key], bool):
            raise RequestError(f"expected {key} to be true or false in {path}, but got {_short(raw[key])}")
    values = {key: _list(raw[key], key, path) for key in _LISTS}
    axes = {
        "dataset": values["datasets"],
        "model": values["models"],
        "k": values["k_vals"],
        "loss": values["losses"],
        "code": [f"{encoder}/{decoder}" for encoder, decoder in values["enc_dec_types"]],
    }
    fields = {
        "iterations": epochs,
        "epochs": 1,
        # The reference's settings, whatever the preset has.
        "schedule": "constant",
        "optimiser": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 1e-5,
        "parity_width": 1.0,
        "shift": 0,
        "flip": False,
        "mix": 0.0,
        "distil": False,
        "parity_init": "random" if raw["train_parity_model"] else "base",
        **{key: raw[key] for key in _FLAGS},
    }
    return Grid(fields, axes)


def result_texts(rows: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """The reference's result files for the reports of a trial: a line for each, with a share from 0 to 1.

    `{train,val,test}_{overall,reconstruction}_top{1,2,5,10,20}.txt`, for as many classes as there are. "overall" is the
    accuracy of rebuilt predictions against true labels.
    """
    texts = {}
    for part, ours in _PARTS.items():
        for name, (first, others) in _FILES.items():
            for top in TOPS:
                key = f"{ours}/{first if top == 1 else f'{others}{top}'}"
                lines = [f"{row[key]}\n" for row in rows if key in row]
                if lines:
                    texts[f"{part}_{name}_top{top}.txt"] = "".join(lines)
    return texts


def _list(value: Any, key: str, path: Path) -> list[Any]:
    fits = {"names": _name, "integers": _integer}.get(_LISTS[key], _pair)
    if not isinstance(value, list) or not value or not all(fits(item) for item in value):
        raise RequestError(f"expected {key} to be a list of {_LISTS[key]} in {path}, but got {_short(value)}")
    for place, item in enumerate(value):
        if item in value[:place]:
            raise RequestError(f"expected each of {key} once in {path}, but {_short(item)} is given twice")
    return value


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(value: Any) -> bool:
    return isinstance(value, str)


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

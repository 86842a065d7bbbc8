"""Learned builders: the format of their artefact, and how a name such as `supervised:<run>` becomes one.

An artefact is a directory with two or three files:

- `model.safetensors`: the tensors of the trained network;
- `model.json`: `{"format": 1, "architecture": ..., "options": {...}, "sha256": {file: digest}, ...}`, what is needed to
  make the network anew, and what it was trained for (`size`, `experiment`);
- `untrained.safetensors`: the tensors of the same network before its first step, to compare it with.

Nothing in it is code: the architecture is a name in `ARCHITECTURES`, the tensors are safetensors. What stands behind a
name is a factory `(options) -> TableModel`, imported when it is first asked for.

Names: `supervised:<run>`, `ppo:<run>`, `es:<run>`, `lookahead:<run>` and `rl:<run>` stand for the best trial (by
validation) of a run, `<run>#3` for its trial 3, `learned:<directory>` for an artefact anywhere; a trailing `@untrained`
for the network before training. Paths may hold `@` and `#` themselves. `preset:<name>` is an artefact that comes with
the lab, for what no builder of a fixed name stands for.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as dump_tensors
from torch import Tensor

from lab.errors import RequestError, unknown_name
from lab.files import read_json, sha256, write_bytes, write_json
from lab.paths import MANIFEST, find_run, trial_folder
from lab.tables.preset import PRESETS
from lab.tables.registry import Builder, register_family
from lab.tensor_files import read_tensors

__all__ = [
    "ARCHITECTURES",
    "DESCRIPTION",
    "FAMILIES",
    "MODEL",
    "UNTRAINED",
    "TableModel",
    "family_of",
    "load",
    "model",
    "preset_names",
    "save",
    "split_trial",
    "trial_named",
]

FORMAT = 1
MODEL, UNTRAINED, DESCRIPTION = "model.safetensors", "untrained.safetensors", "model.json"

ARCHITECTURES = {
    "notebook": "lab.tables.scored:table_of_notebook",
    "equivariant": "lab.tables.scored:table_of_equivariant",
    "sequential": "lab.tables.sequential:table_of_sequential",
    "priced": "lab.tables.priced:table_of_priced",
    "rankings": "lab.tables.rankings:table_of_rankings",
    "arm": "lab.tables.arm:table_of_arm",
    "capped": "lab.tables.capped:table_of_capped",
    "lookahead": "lab.tables.lookahead:table_of_lookahead",
}
"""Architecture -> `module:attribute` of the factory of its models. A constant: no name from a file is ever imported."""

FAMILIES = {
    "supervised": ("notebook", "equivariant"),
    "ppo": ("sequential",),
    "es": ("priced",),
    "lookahead": ("lookahead",),
    "rl": ("sequential", "notebook", "equivariant", "arm"),
    "learned": tuple(ARCHITECTURES),
    "preset": tuple(ARCHITECTURES),
}
"""Family of builders -> the architectures that belong to it. Where an artefact is of several, it names its own."""


class TableModel(Protocol):
    """A network with all it takes to build tables: what a factory in `ARCHITECTURES` makes of the options.

    Attributes:
        exact: whether loads differ by at most one, always.

    One whose tables depend on the table in force has a `stateless` of False, and `rebuild` (`Builder.rebuild`).
    """

    exact: bool

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...

    def check(self, size: int, n_backends: int) -> None:
        """Raises RequestError where no table can be built."""

    def build_batch(self, hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int) -> NDArray[np.int32]:
        """Tables as `lab.tables.registry.Builder.build_batch` has them: a pure function, equal on every machine."""


def save(
    directory: Path,
    architecture: str,
    options: Mapping[str, Any],
    state: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    *,
    untrained: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes an artefact.

    Args:
        directory: where its files go; other files there are left alone.
        architecture: a name in `ARCHITECTURES`.
        options: what the factory makes the network of; JSON.
        state: the tensors of the trained network, on any device.
        meta: what else is said of it; JSON. `size` (entries) and `experiment` (a name) belong there.
        untrained: the tensors of the network before its first step.

    Raises:
        RequestError: an unknown architecture.
        WorkError: the directory cannot be written.
    """
    if architecture not in ARCHITECTURES:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    directory = Path(directory)
    digests = {}
    for name, tensors in ((MODEL, state), (UNTRAINED, untrained)):
        if tensors is not None:
            whole = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
            write_bytes(directory / name, dump_tensors(whole))
            digests[name] = sha256(directory / name)
    fixed = {"format": FORMAT, "architecture": architecture, "options": dict(options), "sha256": digests}
    write_json(directory / DESCRIPTION, {**meta, **fixed})


def load(directory: Path, weights: str = MODEL, name: str | None = None) -> Builder:
    """The builder of an artefact.

    Args:
        directory: a directory that `save` wrote.
        weights: `MODEL`, or `UNTRAINED` for the network before training.
        name: what the builder is called; `learned:<directory>` unless said otherwise.

    Raises:
        RequestError: a missing, truncated or corrupt file, files that do not belong together, an unknown format or
            architecture, options or tensors that do not fit it.
    """
    directory = Path(directory)
    description = _description(directory)
    name = name or f"learned:{directory}"
    model = _model(directory, weights, description)

    def build_batch(
        hashes: NDArray[np.uint64], present: NDArray[np.bool_], size: int, given: NDArray[np.float64] | None
    ) -> NDArray[np.int32]:
        if given is not None:
            raise RequestError(f"expected no weights for {name}: learned builders have no weighted form")
        return model.build_batch(hashes, present, size)

    state = "trained" if weights == MODEL else "untrained"
    return Builder(
        name=name,
        version=FORMAT,
        summary=f"{state} {description['architecture']} network of {description.get('experiment', 'an experiment')}",
        build_batch=build_batch,
        stateless=getattr(model, "stateless", True),
        exact=model.exact,
        check=model.check,
        rebuild=getattr(model, "rebuild", None),
    )


def model(directory: Path) -> TableModel:
    """The trained network of an artefact, as `load` reads it."""
    directory = Path(directory)
    return _model(directory, MODEL, _description(directory))


def _description(directory: Path) -> dict[str, Any]:
    path = directory / DESCRIPTION
    description = read_json(path, "description of a learned table")
    known = description.get("format") if isinstance(description, dict) else None
    if known != FORMAT:
        raise RequestError(f"expected a learned table of format {FORMAT} at {path}, but got format {known!r}")
    for key, kind in (("architecture", str), ("options", dict), ("sha256", dict)):
        if not isinstance(description.get(key), kind):
            raise RequestError(f"expected {key!r} of a learned table at {path}, but it is missing or malformed")
    if description["architecture"] not in ARCHITECTURES:
        raise unknown_name(f"architecture at {path}", description["architecture"], ARCHITECTURES)
    return cast(dict[str, Any], description)


def _model(directory: Path, weights: str, description: Mapping[str, Any]) -> TableModel:
    path = directory / weights
    if weights not in description["sha256"]:
        raise RequestError(f"expected the tensors of a learned table at {path}, but there is no such file")
    tensors = read_tensors(path, description["sha256"][weights], DESCRIPTION, "a learned table")
    module, _, attribute = ARCHITECTURES[description["architecture"]].partition(":")
    model = cast(TableModel, getattr(importlib.import_module(module), attribute)(description["options"]))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        kind = description["architecture"]
        raise RequestError(
            f"expected at {path} the tensors of this {kind} network, but got: {_one_line(error)}"
        ) from None
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise RequestError(f"expected finite tensors at {path}, but {key} is not")
    return model


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@functools.lru_cache(maxsize=16)
def _load_once(directory: Path, weights: str, name: str, stamp: tuple[int, ...]) -> Builder:
    return load(directory, weights, name)


def _load_member(family: str, rest: str) -> Builder:
    """The builder `<family>:<rest>`."""
    name = f"{family}:{rest}"
    where, state = _split_state(name, rest)
    if family == "learned":
        directory = Path(where).absolute()
    elif family == "preset":
        directory = _preset(where)
    else:
        directory = trial_named(name, where)
    description = _description(directory)
    if description["architecture"] not in FAMILIES[family]:
        fits = [other for other, members in FAMILIES.items() if description["architecture"] in members]
        raise RequestError(
            f"expected a {' or '.join(FAMILIES[family])} network for {name!r}, but the run trained a "
            f"{description['architecture']} network: try {fits[0]}:{where}"
        )
    weights = UNTRAINED if state == "untrained" else MODEL
    # A run that is trained further keeps its name: what changes on disk is read again.
    stamp = tuple(file.stat().st_mtime_ns for file in (directory / DESCRIPTION, directory / weights) if file.is_file())
    return _load_once(directory, weights, name, stamp)


def family_of(directory: Path) -> str:
    """The family of builders that an artefact belongs to: the one it names, or the first that has its architecture.

    Raises:
        RequestError: no description of a learned table there, or a damaged one.
    """
    description = _description(Path(directory))
    own, architecture = description.get("family"), description["architecture"]
    return next(family for family, members in FAMILIES.items() if architecture in members and own in (None, family))


def split_trial(name: str) -> tuple[str, int | None]:
    """`<run>#<trial>` -> the run and the trial, `<run>` -> the run and None. A path may hold `#` itself.

    Raises:
        RequestError: what follows the last `#` is neither a number nor the rest of a path.
    """
    run, sharp, number = name.rpartition("#")
    if not sharp or "/" in number or (Path(name) / MANIFEST).is_file():
        return name, None
    if not number.isdecimal():
        raise RequestError(f"expected the number of a trial after the # of {name!r}, but got {number!r}")
    return run, int(number)


def _split_state(name: str, rest: str) -> tuple[str, str]:
    """`<where>@untrained` -> where, and the state of the network. A path may hold `@` itself."""
    where, at, state = rest.rpartition("@")
    if at and state in ("trained", "untrained"):
        return where, state
    if at and "/" not in state and not any(Path(path).exists() for path in (rest, rest.rpartition("#")[0] or rest)):
        raise unknown_name(f"state of a network after the @ of {name!r}", state, ("trained", "untrained"))
    return rest, "trained"


def preset_names() -> list[str]:
    """What may stand after `preset:`: artefacts that come with the lab, other than rankings, which need a roster."""
    folders = [path.parent for path in PRESETS.glob(f"*/{DESCRIPTION}")]
    return sorted(folder.name for folder in folders if _description(folder)["architecture"] != "rankings")


def _preset(name: str) -> Path:
    """The folder of an artefact that comes with the lab."""
    if name not in preset_names():
        raise unknown_name("table that comes with the lab", name, preset_names())
    return PRESETS / name


def trial_named(name: str, rest: str) -> Path:
    """The folder of the trial that `rest`, `<run>` or `<run>#<trial>`, names; a run stands for its best trial.

    Raises:
        RequestError: there is none; `name` is what was asked for.
    """
    run_name, number = split_trial(rest)
    if not run_name:
        raise RequestError(f"expected a run, as <run> or <run>#0, in {name!r}")
    run = find_run(run_name)
    if number is not None:
        folder = trial_folder(run, number)
        if not folder.is_dir():
            known = sorted(int(path.name) for path in run.glob("trials/*") if path.name.isdecimal())
            raise RequestError(f"expected a trial of {run_name!r} ({known or 'it has none'}), but got {number}")
        return folder
    manifest = read_json(run / MANIFEST, "run manifest")
    best = manifest.get("best_trial") if isinstance(manifest, dict) else None
    if not isinstance(best, int):
        raise RequestError(
            f"expected a run with a best trial, but {run_name!r} has none yet: finish it (lab resume) "
            f"or name a trial, as {name}#0"
        )
    return trial_folder(run, best)


for _family in FAMILIES:
    register_family(_family, functools.partial(_load_member, _family))

"""Who is compared: trials that differ in their seed alone are one method, whichever runs they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lab.compare.methods import seeds_note
from lab.compare.parity.telling import told_apart
from lab.errors import RequestError
from lab.runs import Run, Trial
from lab.tasks.parity import ParityConfig
from lab.tasks.parity.base_models import BASE_FIELDS
from lab.tasks.parity.fit import OBJECTIVE
from lab.tasks.parity.restore import trained_config
from lab.tasks.parity.scheme_of import data_of

__all__ = ["Kind", "Member", "Method", "Setting", "methods_of"]

Kind = Literal["parity", "interpolation", "replication", "cheap-model", "majority"]

_NOT_OF_THE_METHOD = ("seed", "device", "threads", "checkpoint_every", "cache_dir", "data_dir", "loss_rate")
"""Fields that say which seed, where and how often, but not what is compared."""

_TRAINING_FREE = ("code", "k", "r", "output")
"""All that a code without training reads, but for what `_read` adds."""


@dataclass(frozen=True)
class Setting:
    """What is protected: a base model on a data set.

    Attributes:
        label: `digits, mlp`; unique.
        dataset, model: names.
        digest: of the samples (`lab.tasks.parity.data.Dataset.digest`).
        fields: of the configuration, all that the base model depends on beside its seed.
    """

    label: str
    dataset: str
    model: str
    digest: str
    fields: Mapping[str, Any] = field(compare=False)


@dataclass(frozen=True)
class Member:
    """One training of a method, or one seed of a code that is not trained.

    Attributes:
        run: where it comes from.
        trial: its number there.
        config: its configuration.
    """

    run: Run
    trial: int
    config: ParityConfig


@dataclass(frozen=True, eq=False)
class Method:
    """One line of a comparison.

    Attributes:
        label: the code, and what tells it from others of the same code; unique within a setting, k and r.
        setting: what is protected.
        read: the configuration, as far as it is of the method.
        members: one for each seed, in the order of seeds.
        searched: how many trials the configuration was picked from by validation; 0 where nothing was picked.
        failed: trainings of it that failed, and are in no figure.
        copies: trials that are left out because they repeat a member.
    """

    label: str
    setting: Setting
    read: Mapping[str, Any]
    members: tuple[Member, ...] = ()
    searched: int = 0
    failed: int = 0
    copies: int = 0

    @property
    def config(self) -> ParityConfig:
        """That of its first seed."""
        return self.members[0].config

    @property
    def k(self) -> int:
        return self.config.k

    @property
    def r(self) -> int:
        return self.config.r

    @property
    def kind(self) -> Kind:
        """`parity` is trained, `interpolation` is Berrut's or splines; the others code nothing."""
        code = self.config.code
        if self.config.encoder is not None:
            return "parity"
        for kind in ("replication", "cheap-model", "majority"):
            if code == kind:
                return kind
        return "interpolation"

    @property
    def coded(self) -> bool:
        """Whether answers are rebuilt from those to other queries."""
        return self.kind in ("parity", "interpolation")

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(member.config.seed for member in self.members)

    @property
    def seeds_note(self) -> str:
        """`5 seeds`, `3 seeds: too few for a result`, `one seed: not a result`, and from how many it was picked."""
        return seeds_note(len(self.seeds)) + (f"; best of {self.searched} trials" if self.searched else "")


def methods_of(runs: Sequence[Run], data_dir: Path | None = None) -> list[Method]:
    """The methods of runs of `parity`: by setting, r, k, and the order of the runs.

    Trials of all runs that differ in their seed alone are one method; of two with the same seed, the first stands. Of a
    sweep that is no grid, the configuration with the best validation accuracy stands for each code, k and r.

    Args:
        runs: of `parity`.
        data_dir: where the data sets are now; where each training had them if it is None.

    Raises:
        RequestError: a configuration of another version of the lab, or data that is missing or wrong.
    """
    found: dict[str, Method] = {}
    settings: dict[str, Setting] = {}
    for run in runs:
        for method in _of_run(run, settings, data_dir):
            key = json.dumps([method.setting.label, method.searched and run.name, dict(method.read)], sort_keys=True)
            found[key] = _joined(found[key], method) if key in found else method
    methods = _labelled([each for each in found.values() if each.members], settings)
    order = list(dict.fromkeys(method.setting.label for method in methods))
    return sorted(methods, key=lambda method: (order.index(method.setting.label), method.r, method.k))


def _of_run(run: Run, settings: dict[str, Setting], data_dir: Path | None) -> list[Method]:
    found: dict[str, Method] = {}
    for _, trial in sorted(run.trials.items()):
        if not trial.ended:
            continue
        try:
            config = trained_config(trial, data_dir)
        except RequestError as error:
            raise RequestError(f"expected a run of this version of the lab, but of {run.name}: {error}") from None
        setting, read = _setting(run, config, settings), _read(config)
        key = json.dumps([setting.label, read], sort_keys=True)
        one = Method(
            label=config.code,
            setting=setting,
            read=read,
            members=() if trial.status == "failed" else (Member(run, trial.index, config),),
            failed=int(trial.status == "failed"),
        )
        found[key] = _joined(found[key], one) if key in found else one
    return _picked(run, list(found.values())) if _searches(run) else list(found.values())


def _searches(run: Run) -> bool:
    return run.manifest.kind == "sweep" and run.manifest.plan.search != "grid"


def _picked(run: Run, methods: list[Method]) -> list[Method]:
    """Of the configurations of each code, k and r the best one by validation, over its seeds."""
    groups: dict[tuple[Any, ...], list[Method]] = {}
    for method in methods:
        if method.members:
            groups.setdefault((method.setting.label, method.label, method.k, method.r), []).append(method)
    picked = []
    for group in groups.values():
        best = max(group, key=_validation)
        searched = sum(len(each.members) for each in group)
        picked.append(replace(best, searched=searched) if len(group) > 1 else best)
    return picked


def _validation(method: Method) -> float:
    values = [_trial(member).best(OBJECTIVE, "max") for member in method.members]
    return sum(-1.0 if value is None else value for value in values) / len(values)


def _trial(member: Member) -> Trial:
    return member.run.trials[member.trial]


def _joined(a: Method, b: Method) -> Method:
    """Both as one, each seed once."""
    members = {member.config.seed: member for member in (*b.members, *a.members)}
    return replace(
        a,
        members=tuple(members[seed] for seed in sorted(members)),
        failed=a.failed + b.failed,
        copies=a.copies + b.copies + len(a.members) + len(b.members) - len(members),
    )


def _setting(run: Run, config: ParityConfig, settings: dict[str, Setting]) -> Setting:
    """What `config` protects: one object for all that protect the same."""
    try:
        digest = data_of(config).digest
    except RequestError as error:
        raise RequestError(f"the data of {run.name}: {error}") from None
    fields = {name: getattr(config, name) for name in BASE_FIELDS}
    key = json.dumps([digest, fields], sort_keys=True)
    if key not in settings:
        # Told apart in words when all are known.
        settings[key] = Setting(
            f"{config.dataset}, {config.model} {len(settings)}", config.dataset, config.model, digest, fields
        )
    return settings[key]


def _read(config: ParityConfig) -> dict[str, Any]:
    """What a code reads of its configuration beside its setting: two with the same are one method."""
    if config.encoder is None:
        names = list(_TRAINING_FREE)
        names += ["temperature"] if config.output == "probabilities" else []
        names += ["encoder_smoothing", "decoder_smoothing"] if config.code == "spline" else []
        names += ["cheap_model"] if config.code == "cheap-model" else []
        return {name: getattr(config, name) for name in names}
    skipped = {*BASE_FIELDS, *_NOT_OF_THE_METHOD, "cheap_model", "encoder_smoothing", "decoder_smoothing"}
    if config.output == "logits" and config.loss == "mse":
        skipped.add("temperature")
    found = {name: value for name, value in config.model_dump(mode="json").items() if name not in skipped}
    found |= {"parity_model": config.parity_architecture, "batch_groups": config.groups_in_batch}
    return found | {f"train_{part}": part in config.trained for part in config.weighted}


def _labelled(methods: list[Method], settings: Mapping[str, Setting]) -> list[Method]:
    """Settings and methods with labels that are short and unique."""
    alike: dict[str, list[Setting]] = {}
    used = {method.setting.label for method in methods}
    for setting in settings.values():
        if setting.label in used:
            alike.setdefault(f"{setting.dataset}, {setting.model}", []).append(setting)
    named: dict[str, Setting] = {}
    for plain, group in alike.items():
        suffixes = told_apart([each.fields for each in group], [each.digest[:8] for each in group])
        for each, suffix in zip(group, suffixes, strict=True):
            named[each.label] = replace(each, label=plain + suffix)
    methods = [replace(method, setting=named[method.setting.label]) for method in methods]
    groups: dict[tuple[str, int, str], list[int]] = {}
    for place, method in enumerate(methods):
        groups.setdefault((method.setting.label, method.r, method.label), []).append(place)
    for places in groups.values():
        of_code = [methods[place] for place in places]
        # k is an axis, and the batch follows it.
        read = [
            {name: value for name, value in each.read.items() if name not in ("k", "batch_groups")} for each in of_code
        ]
        presets = [each.members[0].run.manifest.preset for each in of_code]
        ids = [each.members[0].run.folder.name.rpartition("-")[2] for each in of_code]
        for place, suffix in zip(places, told_apart(read, ids, presets, [each.k for each in of_code]), strict=True):
            methods[place] = replace(methods[place], label=methods[place].label + suffix)
    return methods

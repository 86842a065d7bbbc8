"""Who is compared: groups of trials that differ in their seed alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.compare.methods import ENOUGH_SEEDS
from lab.runs import Run, Trial

__all__ = ["NOT_OF_THE_METHOD", "Method", "methods_of", "seeds_note"]

NOT_OF_THE_METHOD = ("seed", "device", "threads", "checkpoint_every")
"""Fields that say which seed, or where and how often, but not what was trained."""


@dataclass(frozen=True)
class Method:
    """One line of a comparison: the trainings of one configuration.

    Attributes:
        label: what the report calls it; unique.
        run: where they come from.
        cell: name of the cell.
        config: the configuration, without the seed.
        trials: the trainings, one a seed, failed ones among them: a seed that failed is a seed that did not succeed.
        searched: how many trials of this cell the configuration was picked from by validation; 0 for a plain training.
        others: all ended trials of this cell in the run, those of `trials` among them.
    """

    label: str
    run: Run = field(compare=False)
    cell: str = ""
    config: dict[str, Any] = field(default_factory=dict, compare=False)
    trials: tuple[int, ...] = ()
    searched: int = 0
    others: tuple[int, ...] = ()

    @property
    def seeds(self) -> int:
        return len(self.trials)

    @property
    def seeds_note(self) -> str:
        """`64 seeds`, `3 seeds: too few for a result`, `one seed: not a result`."""
        return seeds_note(self.seeds)


def seeds_note(seeds: int) -> str:
    """What stands behind a figure: `64 seeds`, `3 seeds: too few for a result`, `one seed: not a result`."""
    if seeds < 2:
        return "one seed: not a result"
    return f"{seeds} seeds" + ("" if seeds >= ENOUGH_SEEDS else ": too few for a result")


def methods_of(runs: Sequence[Run]) -> list[Method]:
    """The methods of runs of `l1_norm`.

    A training over seeds is one method. Of a sweep, the trials of each cell are grouped by configuration, and the group
    whose median validation objective over its seeds is best stands for the cell.
    """
    found: list[Method] = []
    for run in runs:
        ended = [trial for _, trial in sorted(run.trials.items()) if trial.ended]
        for cell in sorted({_cell(trial) for trial in ended}):
            found.append(_best(run, cell, [trial for trial in ended if _cell(trial) == cell]))
    return _labelled(found)


def _cell(trial: Trial) -> str:
    return str(trial.config.get("cell", "cell"))


def _best(run: Run, cell: str, trials: list[Trial]) -> Method:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(json.dumps(_plain(trial), sort_keys=True), []).append(trial)
    metric, mode = run.manifest.metric, run.manifest.mode

    def key(group: list[Trial]) -> tuple[float, int]:
        worst = float("inf")
        values = [trial.best(metric, mode) for trial in group]
        signed = [
            worst if v is None or t.status == "failed" else (v if mode == "min" else -v)
            for v, t in zip(values, group, strict=True)
        ]
        return sorted(signed)[(len(signed) - 1) // 2], group[0].index

    best = min(groups.values(), key=key)
    searched = len(trials) if run.manifest.kind == "sweep" else 0
    return Method(
        label=cell,
        run=run,
        cell=cell,
        config=_plain(best[0]),
        trials=tuple(trial.index for trial in best),
        searched=searched,
        others=tuple(trial.index for trial in trials),
    )


def _plain(trial: Trial) -> dict[str, Any]:
    return {key: value for key, value in trial.config.items() if key not in NOT_OF_THE_METHOD}


def _labelled(methods: list[Method]) -> list[Method]:
    """Short and unique labels: the cell, the preset where it is not the default, and what two of them differ in."""
    plain = [_plain_label(method) for method in methods]
    labels = []
    for method, label in zip(methods, plain, strict=True):
        alike = [other for other, text in zip(methods, plain, strict=True) if text == label]
        labels.append(label + _difference(method, alike))
    return [replace(method, label=label) for method, label in zip(methods, labels, strict=True)]


def _plain_label(method: Method) -> str:
    if method.searched:
        return f"{method.cell}, best of {method.searched} trials"
    preset = method.run.manifest.preset
    return method.cell + ("" if preset == "default" else f" ({preset})")


def _difference(method: Method, alike: list[Method]) -> str:
    """What tells a method from those of the same label: two fields of its configuration at most, or its run's id."""
    if len(alike) < 2:
        return ""
    fields = sorted(
        key for key in method.config if len({json.dumps(other.config.get(key), sort_keys=True) for other in alike}) > 1
    )
    texts = [", ".join(f"{key} {other.config.get(key)}" for key in fields) for other in alike]
    if 0 < len(fields) <= 2 and len(set(texts)) == len(alike):
        return ", " + ", ".join(f"{key} {method.config.get(key)}" for key in fields)
    return f" {method.run.folder.name.rpartition('-')[2]}"

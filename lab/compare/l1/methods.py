"""Who is compared: groups of trials that differ in their seed alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.compare.methods import seeds_note
from lab.config import parse
from lab.errors import RequestError
from lab.runs import Run, Trial
from lab.tasks.l1_norm import L1NormConfig

__all__ = ["NOT_OF_THE_METHOD", "Method", "methods_of"]

NOT_OF_THE_METHOD = ("seed", "device", "threads", "checkpoint_every")
"""Fields that say which seed, or where and how often, but not what was trained."""


@dataclass(frozen=True)
class Method:
    """One line of a comparison: the trainings of one configuration.

    Attributes:
        label: what the report calls it; unique.
        run: where they come from.
        cell: name of the cell.
        config: the configuration, without the seed; what its cell does not read is left out or at its default.
        trials: the trainings, one a seed, failed ones among them: a seed that failed is a seed that did not succeed.
        searched: how many trials of this cell the configuration was picked from by validation; 0 for a plain training.
        others: all ended trials of this cell in the run, those of `trials` among them.
        copies: trials left out of all that because they repeat one of `others`: they differ from it in fields that
            their cell does not read, and not in the seed.
    """

    label: str
    run: Run = field(compare=False)
    cell: str = ""
    config: dict[str, Any] = field(default_factory=dict, compare=False)
    trials: tuple[int, ...] = ()
    searched: int = 0
    others: tuple[int, ...] = ()
    copies: int = 0

    @property
    def seeds(self) -> int:
        return len(self.trials)

    @property
    def seeds_note(self) -> str:
        """`64 seeds`, `3 seeds: too few for a result`, `one seed: not a result`, `8 seeds; picked on these seeds`."""
        return seeds_note(self.seeds) + ("; picked on these seeds" if self.picked_on_its_seeds else "")

    @property
    def one_of_many(self) -> bool:
        """Whether it is a single seed that a search picked: the best of many is lucky too."""
        return self.searched > 0 and self.seeds == 1

    @property
    def picked_on_its_seeds(self) -> bool:
        """Whether the seeds that stand behind it are those by which a search picked it."""
        return self.searched > self.seeds > 1


def methods_of(runs: Sequence[Run]) -> list[Method]:
    """The methods of runs of `l1_norm`.

    A training over seeds is one method. Of a sweep, the trials of each cell are grouped by configuration, and the group
    whose median validation objective over its seeds is best stands for the cell. Trials that are copies of one another
    count once.
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
    groups = _groups(trials)
    distinct = sorted(trial.index for group in groups for trial in group)
    metric, mode = run.manifest.metric, run.manifest.mode

    def key(group: list[Trial]) -> tuple[float, int]:
        worst = float("inf")
        values = [trial.best(metric, mode) for trial in group]
        signed = [
            worst if v is None or t.status == "failed" else (v if mode == "min" else -v)
            for v, t in zip(values, group, strict=True)
        ]
        return sorted(signed)[(len(signed) - 1) // 2], group[0].index

    best = min(groups, key=key)
    return Method(
        label=cell,
        run=run,
        cell=cell,
        config=_read(best[0]),
        trials=tuple(trial.index for trial in best),
        searched=len(distinct) if run.manifest.kind == "sweep" else 0,
        others=tuple(distinct),
        copies=len(trials) - len(distinct),
    )


_KEPT = ("finished", "stopped", "failed")
"""Of copies the one that got furthest stands for all."""


def _groups(trials: list[Trial]) -> list[list[Trial]]:
    """Trials that differ in their seed alone, each seed once."""
    groups: dict[str, dict[int, Trial]] = {}
    for trial in sorted(trials, key=lambda t: (_KEPT.index(t.status), t.index)):
        group = groups.setdefault(json.dumps(_read(trial), sort_keys=True), {})
        group.setdefault(int(trial.config.get("seed", 0)), trial)
    return [sorted(group.values(), key=lambda trial: trial.index) for group in groups.values()]


def _read(trial: Trial) -> dict[str, Any]:
    """What a training reads of its configuration: two with the same are the same training but for the seed.

    That is all that is in the key of the task and the stream of its batches, and what the schedules are made of.
    """
    found = {key: value for key, value in trial.config.items() if key not in NOT_OF_THE_METHOD}
    try:
        config = parse(L1NormConfig, trial.config)
    except RequestError:
        # A configuration of another version of the lab: all of it counts.
        return found
    found |= config.options().model_dump()
    if config.schedule == "constant":
        found = {key: value for key, value in found.items() if key not in ("hold", "decay")}
    if config.cell != "nau":
        found.pop("regularizer", None)
    return found


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

"""Who is compared: classical builders by name, trained ones by the run they came from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lab.compare.kinds import TABLES, kind_of
from lab.errors import RequestError, unknown_name
from lab.paths import find_run, list_runs
from lab.runs import Run, Trial
from lab.tables.learned import DESCRIPTION, MODEL, family_of, split_trial
from lab.tables.learned import UNTRAINED as UNTRAINED_TENSORS
from lab.tables.registry import Builder, get, spectrum

__all__ = [
    "ENOUGH_SEEDS",
    "FAMILIES",
    "Kind",
    "Method",
    "Training",
    "finished_runs",
    "folders_of_kind",
    "methods",
    "seeds_note",
]

Kind = Literal["classical", "supervised", "ppo", "es", "rl", "learned"]
BASELINE = "maglev"
"""Always compared with: the table that most load balancers use."""

ENOUGH_SEEDS = 5
"""From here on a trained method is said to win or lose: intervals over fewer seeds are far too narrow."""

FAMILIES: tuple[Kind, ...] = ("supervised", "ppo", "es", "rl")
"""The families of builders that are named by their run."""

_STEPS = ("env_steps", "pairs", "samples")


@dataclass(frozen=True)
class Training:
    """What a method cost to train, a number for each seed.

    Attributes:
        run: name of the run.
        folder: its folder.
        trials: the trials that are the seeds.
        seconds: wall time; of trials that trained as one with others, their share of it.
        shared: whether it is a share.
        steps: environment steps, or training pairs; None where the run does not record them.
        steps_name: what `steps` counts: the metric's name.
        searched: trials of the sweep that the best was picked from, 0 for a plain training.
        searched_seconds: wall time of all trials of the run.
        metric: the objective, by which the sweep picked.
    """

    run: str
    folder: Path
    trials: tuple[int, ...]
    seconds: tuple[float, ...]
    shared: bool
    steps: tuple[float, ...] | None
    steps_name: str | None
    searched: int
    searched_seconds: float
    metric: str


@dataclass(frozen=True)
class Method:
    """One line of a comparison.

    Attributes:
        label: what the report calls it; unique.
        kind: `classical`, `supervised`, `ppo`, `es`, `rl`, or `learned` for a network of none of these.
        builders: what `lab.tables` calls it: one name, or one for each seed.
        stateless: whether a table depends on the present set alone; others are shown, not ranked.
        universe: `any hash` or `roster`: what it may know of the backends beforehand.
        summary: one line.
        trained: False for a network as it was before its first step.
        training: what it cost; None where nothing was trained.
        untrained_label: the label of the same network before training; None where there is none.
    """

    label: str
    kind: Kind
    builders: tuple[str, ...]
    stateless: bool = True
    universe: str = "any hash"
    summary: str = ""
    trained: bool = True
    training: Training | None = field(default=None, compare=False)
    untrained_label: str | None = None

    @property
    def seeds(self) -> int:
        """How many trainings stand behind it; 0 where there is nothing random."""
        return 0 if self.kind == "classical" else len(self.builders)

    @property
    def seeds_note(self) -> str:
        """`no seeds`, `one seed: not a result`, `3 seeds: too few for a result`, `5 seeds`."""
        return seeds_note(self.seeds) if self.seeds else "no seeds"

    @property
    def seed_key(self) -> str:
        """Equal for methods whose seeds belong together: a network, and itself before training."""
        return self.label.removesuffix(UNTRAINED)


def seeds_note(seeds: int) -> str:
    """What stands behind a figure: `64 seeds`, `3 seeds: too few for a result`, `one seed: not a result`."""
    if seeds < 2:
        return "one seed: not a result"
    return f"{seeds} seeds" + ("" if seeds >= ENOUGH_SEEDS else ": too few for a result")


UNTRAINED = ", untrained"


def methods(names: Sequence[str], builders: Sequence[str] = ()) -> list[Method]:
    """The methods that `names` stand for.

    Args:
        names: runs (a path, a run id, an experiment's name, `ppo:<run>`) and classical builders, mixed. If there are
            none, the newest finished run of each experiment that trains tables. `<run>#<trial>` is one of its trials.
            A sweep stands for its best trial; a grid over seeds, for each of its other values with all seeds.
        builders: builders beside those; all classical ones, if none is named here or there. Maglev always is.

    Returns:
        Classical ones first, then each trained one followed by its untrained network.

    Raises:
        RequestError: a name that is neither builder nor run, a run that trained no tables, or one without a finished
            trial.
    """
    fixed = {builder.name: builder for builder in spectrum()}
    chosen: dict[str, Method] = {}
    runs: dict[tuple[Path, int | None], Run] = {}
    for name in builders:
        chosen[name] = _fixed(get(name))
    for name in names:
        if name.partition("@")[0] in fixed:
            method = _fixed(get(name))
            chosen[method.label] = method
        else:
            run, trial = _find(name, fixed)
            runs.setdefault((run.folder, trial), run)
    if not names:
        runs = {(run.folder, None): run for run in finished_runs(TABLES)}
    if not chosen:
        chosen = {name: _fixed(builder) for name, builder in fixed.items() if not builder.trained}
    if BASELINE not in chosen:
        chosen = {BASELINE: _fixed(get(BASELINE)), **chosen}
    found = [(run, trial) for (_, trial), run in runs.items()]
    learned = [_learned(*each, label) for each, label in zip(found, _labels(found), strict=True)]
    return [*chosen.values(), *itertools.chain.from_iterable(learned)]


def _fixed(builder: Builder) -> Method:
    kind: Kind = "learned" if builder.trained else "classical"
    return Method(builder.name, kind, (builder.name,), stateless=builder.stateless, summary=builder.summary)


def _find(name: str, fixed: dict[str, Builder]) -> tuple[Run, int | None]:
    """The run (and the trial, where one is named) behind `<run>`, `<run>#<trial>` or `<family>:<run>#<trial>`."""
    plain = name
    for kind in FAMILIES:
        plain = plain.removeprefix(f"{kind}:")
    plain, trial = split_trial(plain)
    try:
        folder = find_run(plain)
    except RequestError as error:
        if plain != name or "fits" in str(error):
            raise
        known = [*fixed, *(f"{path.parent.name}/{path.name}" for path in list_runs())]
        raise unknown_name("table builder or run", name, known) from None
    return Run(folder), trial


def finished_runs(kind: str) -> list[Run]:
    """The newest finished run of each experiment of a kind (`lab.compare.kinds`) that kept a network; runs that cannot
    be read are passed over."""
    newest: dict[str, Run] = {}
    for folder in list_runs():
        try:
            run = Run(folder)
        except RequestError:
            continue
        best = run.manifest.best_trial
        if run.manifest.status == "finished" and best is not None and _has_artefact(run, best) and kind_of(run) == kind:
            newest[run.manifest.experiment] = run
    return list(newest.values())


def folders_of_kind(names: Sequence[str], kind: str, experiments: str) -> list[Path]:
    """The folders of the runs of one kind that `names` stand for, each once.

    Args:
        names: runs; the newest finished one of each experiment of the kind if none.
        kind: `lab.compare.kinds`, and the name of an experiment of it.
        experiments: which experiments are of it, in words.

    Raises:
        RequestError: an unknown run, one of another kind, one trial of a run, or no names and no finished run.
    """
    if not names:
        folders = [run.folder for run in finished_runs(kind)]
        if not folders:
            raise RequestError(f"expected a finished run of {experiments}, but there is none: lab train {kind}")
        return folders
    folders = []
    for name in names:
        plain, trial = split_trial(name)
        if trial is not None:
            raise RequestError(f"expected a run, since one seed is not a result, but got trial {trial} of {plain!r}")
        run = Run(find_run(plain))
        if kind_of(run) != kind:
            raise RequestError(f"expected a run of {experiments}, but got {run.name}")
        folders.append(run.folder)
    return list(dict.fromkeys(folders))


def _labels(found: list[tuple[Run, int | None]]) -> list[str]:
    """Short and unique: `table_ppo`, with the preset where it is not the default, the run's id where two runs agree,
    and the trial where a run appears more than once."""
    runs = {run.folder: run for run, _ in found}
    plain = {
        folder: run.manifest.experiment + ("" if run.manifest.preset == "default" else f" ({run.manifest.preset})")
        for folder, run in runs.items()
    }
    texts = list(plain.values())
    unique = {
        folder: text if texts.count(text) == 1 else f"{text} {folder.name.rpartition('-')[2]}"
        for folder, text in plain.items()
    }
    folders = [run.folder for run, _ in found]
    return [
        unique[run.folder] + ("" if trial is None or folders.count(run.folder) == 1 else f"#{trial}")
        for run, trial in found
    ]


def _learned(run: Run, trial: int | None, label: str) -> list[Method]:
    ended = [t for t in run.trials.values() if t.status in ("finished", "stopped")]
    kept = [t for t in ended if _has_artefact(run, t.index)]
    if ended and not kept:
        raise RequestError(
            f"expected a run that trained tables, but the trials of {run.name} hold no {MODEL} with {DESCRIPTION}"
        )
    if trial is not None:
        if trial not in run.trials:
            raise unknown_name(f"trial of {run.name}", trial, map(str, run.trials))
        kept = [t for t in kept if t.index == trial]
    elif run.manifest.kind == "sweep" and run.manifest.plan.search == "grid" and "seed" in run.manifest.space and kept:
        return _by_seed(run, kept, label)
    elif run.manifest.kind == "sweep":
        best = run.best_trial()
        kept = [t for t in kept if t.index == best]
    if not kept:
        raise RequestError(f"expected a run with a finished trial, but {run.name} has none with a trained network")
    searched = f"best of {len(run.trials)} trials by validation; " if run.manifest.kind == "sweep" else ""
    return _method(run, kept, label, searched)


def _by_seed(run: Run, kept: list[Trial], label: str) -> list[Method]:
    """A grid over seeds and other values: a method for each of those values, none of them picked."""
    fields = [key for key in run.manifest.space if key != "seed"]
    groups: dict[str, list[Trial]] = {}
    for each in sorted(kept, key=lambda t: t.index):
        only = each.config[fields[0]] if len(fields) == 1 else None
        values = [only] if isinstance(only, str) else [f"{key}={each.config[key]}" for key in fields]
        groups.setdefault(", ".join(values) or label, []).append(each)
    found = [_method(run, trials, name, f"{label}: ")[0] for name, trials in groups.items()]
    # As they were before training would double the lines of what is a comparison of its own already.
    return [replace(each, untrained_label=None, training=_unsearched(each.training)) for each in found]


def _unsearched(training: Training | None) -> Training | None:
    """Its own cost: nothing was picked from the other trials of the run."""
    assert training is not None
    return replace(training, searched=0, searched_seconds=sum(training.seconds))


def _method(run: Run, kept: list[Trial], label: str, origin: str) -> list[Method]:
    """The method of some trials as its seeds, and its untrained network where there is one."""
    kept.sort(key=lambda t: t.index)
    # A path, not a name: the run may lie outside the folder of all runs.
    kind, names = _named(run, kept)
    builder = get(names[0])
    universe = str(kept[0].config.get("universe", "any hash")).replace("_", " ")
    before = tuple(f"{name}@untrained" for name in names)
    has_before = all((run.trial_folder(t.index) / UNTRAINED_TENSORS).is_file() for t in kept)
    trained = Method(
        label=label,
        kind=kind,
        builders=names,
        stateless=builder.stateless,
        universe=universe,
        training=_training(run, kept),
        untrained_label=label + UNTRAINED if has_before else None,
    )
    trained = replace(trained, summary=origin + trained.seeds_note)
    if not has_before:
        return [trained]
    return [trained, replace(trained, label=label + UNTRAINED, builders=before, trained=False, untrained_label=None)]


def _named(run: Run, kept: list[Trial]) -> tuple[Kind, tuple[str, ...]]:
    """The kind of a run's networks, by what they are and not by what the run is called, and a builder's name each."""
    family = family_of(run.trial_folder(kept[0].index))
    for kind in FAMILIES:
        if family == kind:
            return kind, tuple(f"{kind}:{run.folder}#{t.index}" for t in kept)
    return "learned", tuple(f"learned:{run.trial_folder(t.index)}" for t in kept)


def _has_artefact(run: Run, trial: int) -> bool:
    return all((run.trial_folder(trial) / name).is_file() for name in (MODEL, DESCRIPTION))


def _training(run: Run, kept: list[Trial]) -> Training:
    def last(trial: Trial, key: str) -> float | None:
        values = [metrics[key] for _, metrics in sorted(trial.results.items()) if key in metrics]
        return values[-1] if values else None

    steps_name = next((key for key in _STEPS if all(last(t, key) is not None for t in kept)), None)
    return Training(
        run=run.name,
        folder=run.folder,
        trials=tuple(t.index for t in kept),
        seconds=tuple(last(t, "seconds") or 0.0 for t in kept),
        shared=any((row.get("members") or 1) > 1 for t in kept for row in t.results.values()),
        steps=tuple(last(t, steps_name) or 0.0 for t in kept) if steps_name else None,
        steps_name=steps_name,
        searched=len(run.trials) if run.manifest.kind == "sweep" else 0,
        searched_seconds=sum(last(t, "seconds") or 0.0 for t in run.trials.values()),
        metric=run.manifest.metric,
    )

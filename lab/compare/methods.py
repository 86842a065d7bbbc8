"""Who is compared: classical builders by name, trained ones by the run they came from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lab.errors import RequestError, unknown_name
from lab.paths import find_run, list_runs
from lab.runs import Run, Trial
from lab.tables.registry import Builder, get, spectrum

__all__ = ["Kind", "Method", "Training", "methods"]

Kind = Literal["classical", "supervised", "ppo"]
BASELINE = "maglev"
"""Always compared with: the table that most load balancers use."""

_STEPS = ("env_steps", "pairs", "samples")


@dataclass(frozen=True)
class Training:
    """What a method cost to train, a number for each seed.

    Attributes:
        run: name of the run.
        folder: its folder.
        trials: the trials that are the seeds.
        seconds: wall time.
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
        kind: `classical`, `supervised` or `ppo`.
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
    def seed_key(self) -> str:
        """Equal for methods whose seeds belong together: a network, and itself before training."""
        return self.label.removesuffix(UNTRAINED)


UNTRAINED = ", untrained"


def methods(names: Sequence[str], builders: Sequence[str] = ()) -> list[Method]:
    """The methods that `names` stand for.

    Args:
        names: runs (a path, a run id, an experiment's name, `ppo:<run>`) and classical builders, mixed. If there are
            none, the newest finished run of each table experiment.
        builders: classical builders beside those; all of them, if none is named here or there. Maglev always is.

    Returns:
        Classical ones first, then each trained one followed by its untrained network.

    Raises:
        RequestError: a name that is neither builder nor run, a run that trained no tables, or one without a finished
            trial.
    """
    fixed = {builder.name: builder for builder in spectrum()}
    chosen: dict[str, Method] = {}
    runs: dict[Path, tuple[Run, int | None]] = {}
    for name in builders:
        chosen[name] = _classical(get(name))
    for name in names:
        if name.partition("@")[0] in fixed:
            method = _classical(get(name))
            chosen[method.label] = method
        else:
            run, trial = _find(name, fixed)
            runs[run.folder] = (run, trial)
    if not names:
        runs = {run.folder: (run, None) for run in _newest()}
    if not chosen:
        chosen = {builder.name: _classical(builder) for builder in fixed.values()}
    if BASELINE not in chosen:
        chosen = {BASELINE: _classical(get(BASELINE)), **chosen}
    found = [(_family(run), run, trial) for run, trial in runs.values()]
    labels = _labels([run for _, run, _ in found])
    learned = [_learned(*each, label) for each, label in zip(found, labels, strict=True)]
    return [*chosen.values(), *itertools.chain.from_iterable(learned)]


def _classical(builder: Builder) -> Method:
    return Method(builder.name, "classical", (builder.name,), stateless=builder.stateless, summary=builder.summary)


def _find(name: str, fixed: dict[str, Builder]) -> tuple[Run, int | None]:
    """The run (and the trial, where one is named) behind `<run>`, `<run>#<trial>` or `<family>:<run>#<trial>`."""
    plain = name
    for kind in ("supervised", "ppo"):
        plain = plain.removeprefix(f"{kind}:")
    plain, hash_, index = plain.partition("#")
    try:
        folder = find_run(plain)
    except RequestError as error:
        if plain != name or "fits" in str(error):
            raise
        known = [*fixed, *(f"{path.parent.name}/{path.name}" for path in list_runs())]
        raise unknown_name("table builder or run", name, known) from None
    if hash_ and not index.isdigit():
        raise RequestError(f"expected a trial's number after '#', but got {name!r}")
    return Run(folder), int(index) if hash_ else None


def _newest() -> list[Run]:
    """The newest finished run of each experiment that trains tables; runs that cannot be read are passed over."""
    newest: dict[str, Run] = {}
    for folder in list_runs():
        if _family_name(folder.parent.name) is None:
            continue
        try:
            run = Run(folder)
        except RequestError:
            continue
        if run.manifest.status == "finished" and run.manifest.best_trial is not None:
            newest[run.manifest.experiment] = run
    return list(newest.values())


def _family_name(experiment: str) -> Kind | None:
    kinds: tuple[Kind, ...] = ("supervised", "ppo")
    return next((kind for kind in kinds if kind in experiment), None)


def _family(run: Run) -> Kind:
    kind = _family_name(run.manifest.experiment)
    if kind is None:
        raise RequestError(f"expected a run that trained tables (supervised or ppo), but {run.name} is of another task")
    return kind


def _labels(runs: list[Run]) -> list[str]:
    """Short and unique: `table-ppo`, with the preset where it is not the default, and the run's id where two agree."""
    plain = [
        run.manifest.experiment + ("" if run.manifest.preset == "default" else f" ({run.manifest.preset})")
        for run in runs
    ]
    ids = [run.folder.name.rpartition("-")[2] for run in runs]
    return [text if plain.count(text) == 1 else f"{text} {tag}" for text, tag in zip(plain, ids, strict=True)]


def _learned(kind: Kind, run: Run, trial: int | None, label: str) -> list[Method]:
    kept = [t for t in run.trials.values() if t.status in ("finished", "stopped") and _has_artefact(run, t)]
    if trial is not None:
        if trial not in run.trials:
            raise unknown_name(f"trial of {run.name}", trial, map(str, run.trials))
        kept = [t for t in kept if t.index == trial]
    elif run.manifest.kind == "sweep":
        best = run.best_trial()
        kept = [t for t in kept if t.index == best]
    if not kept:
        raise RequestError(f"expected a run with a finished trial, but {run.name} has none with a trained network")
    kept.sort(key=lambda t: t.index)
    # A path, not a name: the run may lie outside the folder of all runs.
    names = tuple(f"{kind}:{run.folder}#{t.index}" for t in kept)
    builder = get(names[0])
    universe = str(kept[0].config.get("universe", "any hash")).replace("_", " ")
    summary = f"{len(kept)} seeds" if len(kept) > 1 else "one seed: not a result"
    if run.manifest.kind == "sweep":
        summary = f"best of {len(run.trials)} trials by validation; {summary}"
    before = tuple(f"{name}@untrained" for name in names)
    has_before = all((run.trial_folder(t.index) / "untrained.safetensors").is_file() for t in kept)
    trained = Method(
        label=label,
        kind=kind,
        builders=names,
        stateless=builder.stateless,
        universe=universe,
        summary=summary,
        training=_training(run, kept),
        untrained_label=label + UNTRAINED if has_before else None,
    )
    if not has_before:
        return [trained]
    return [trained, replace(trained, label=label + UNTRAINED, builders=before, trained=False, untrained_label=None)]


def _has_artefact(run: Run, trial: Trial) -> bool:
    return all((run.trial_folder(trial.index) / name).is_file() for name in ("model.safetensors", "model.json"))


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
        steps=tuple(last(t, steps_name) or 0.0 for t in kept) if steps_name else None,
        steps_name=steps_name,
        searched=len(run.trials) if run.manifest.kind == "sweep" else 0,
        searched_seconds=sum(last(t, "seconds") or 0.0 for t in run.trials.values()),
        metric=run.manifest.metric,
    )

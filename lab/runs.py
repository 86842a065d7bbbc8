"""Run folders: a manifest, a journal that survives a kill, and what each trial leaves."""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.errors import RequestError, WorkError
from lab.experiment import Experiment
from lab.files import atomic_path, read_json, replace_directory, sha256, write_bytes, write_files, write_json
from lab.journal import End, Journal, Trial, TrialStatus
from lab.paths import CHECKPOINT, MANIFEST, find_run, list_runs, runs_root, trial_folder
from lab.timing import check_tree

__all__ = [
    "ARTEFACT",
    "End",
    "Manifest",
    "Plan",
    "Reading",
    "Run",
    "RunStatus",
    "Trial",
    "TrialStatus",
    "find_run",
    "list_runs",
]

ARTEFACT = ("model.safetensors", "model.json", "untrained.safetensors")
"""The files of a network, after training and before; what is in them is for the task to say."""

_TIMING = "timing.json"

_PACKAGES = ("lookup-lab", "ray", "torch", "gymnasium", "numpy", "pandas", "optuna", "mlflow", "safetensors")

RunStatus = Literal["running", "interrupted", "finished", "failed"]


class Plan(BaseModel):
    """What a run set out to do; `lab resume` carries it on.

    The fields are the options of `lab.sweep.make_plan`; `fuse` says whether trials train as one, `shard_memory` is in
    GiB, and `axes` are those of a grid that a file asked for, in place of the experiment's space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    search: str = "list"
    scheduler: str = "none"
    max_concurrent: int = 1
    seed: int = 0
    grid_points: int | None = None
    storage: str | None = None
    address: str | None = None
    max_failures: int = 2
    fuse: bool = False
    shard_memory: float = 2.0
    axes: dict[str, list[Any]] | None = None


class Reading(BaseModel):
    """One reading of a held-out suite by a comparison: suites are scored once for each released preset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    trial: int
    when: str


class Manifest(BaseModel):
    """`run.json`: everything needed to say where a figure came from."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    kind: Literal["train", "sweep"]
    experiment: str
    status: RunStatus = "running"
    created: str
    command: list[str]
    preset: str
    config: dict[str, Any]
    space: dict[str, str] = Field(default_factory=dict)
    metric: str
    mode: Literal["min", "max"]
    seed: int
    plan: Plan
    versions: dict[str, str]
    machine: str
    commit: str | None
    best_trial: int | None = None
    artefacts: dict[str, str] = Field(default_factory=dict)
    readings: list[Reading] = Field(default_factory=list)


class Run(Journal):
    """A run folder, open for reading; `claim` opens it for writing.

    Attributes:
        folder: absolute path.
        manifest: the content of `run.json`.
        trials, history, generation, shards: what the journal says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()
        self.manifest = self._read_manifest()
        self._lock = FileLock(self.folder / ".lock")
        super().__init__(self.folder / "journal.jsonl")

    @classmethod
    def create(
        cls,
        experiment: Experiment,
        *,
        kind: Literal["train", "sweep"],
        preset: str,
        config: Mapping[str, Any],
        plan: Plan,
    ) -> Run:
        """Makes a new run folder under `runs_root()`; it appears with its manifest whole, under its final name.

        Raises:
            RequestError: the folder cannot be written, or the disk is full.
        """
        now = datetime.now(UTC)
        folder = (
            runs_root() / experiment.name / f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z-{secrets.token_hex(3)}"
        )
        manifest = Manifest(
            kind=kind,
            experiment=experiment.name,
            created=now.isoformat(timespec="seconds"),
            command=command_line(),
            preset=preset,
            config=dict(config),
            space={key: describe_domain(domain) for key, domain in experiment.space.items()} if kind == "sweep" else {},
            metric=experiment.metric,
            mode=experiment.mode,
            seed=plan.seed,
            plan=plan,
            versions=versions(),
            machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
            commit=git_commit(),
        )
        part = folder.with_name(f".{folder.name}.part")
        try:
            part.mkdir(parents=True)
            write_json(part / MANIFEST, manifest.model_dump(mode="json"))
            part.rename(folder)
        except (OSError, WorkError) as error:
            shutil.rmtree(part, ignore_errors=True)
            why = error.strerror if isinstance(error, OSError) else error
            raise RequestError(f"expected a folder to write runs into, but {runs_root()}: {why}") from error
        return cls(folder)

    def _read_manifest(self) -> Manifest:
        raw = read_json(self.folder / MANIFEST, "run manifest")
        try:
            return Manifest.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RequestError(
                f"expected a run manifest at {self.folder / MANIFEST}, but {where}: {first['msg']}"
            ) from None

    @property
    def name(self) -> str:
        """`<experiment>/<UTC stamp>-<id>`."""
        return f"{self.manifest.experiment}/{self.folder.name}"

    @property
    def status(self) -> str:
        """The manifest's status; `killed` where it says running and nobody is working on the run."""
        if self.manifest.status != "running" or self._lock.is_locked:
            return self.manifest.status
        try:
            with self._lock.acquire(timeout=0):
                return "killed"
        except (Timeout, OSError):
            return self.manifest.status

    def claim(self) -> None:
        """Takes the run for writing, until this process ends or `release` is called.

        Raises:
            RequestError: another process has it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RequestError(
                f"expected a run that nobody is working on, but {self.name} is in use by another process"
            ) from None
        # What the last writer added after this object was made.
        self.manifest = self._read_manifest()
        self._replay(mend=True)

    def release(self) -> None:
        """Gives the run back."""
        self._lock.release()

    def trial_folder(self, index: int) -> Path:
        """The folder of trial `index`."""
        return trial_folder(self.folder, index)

    # ---- trials: what the journal does not do by itself

    def add_trial(self, index: int, config: Mapping[str, Any]) -> Trial:
        """Records that trial `index` exists, with its whole configuration, before anything runs."""
        write_json(self.trial_folder(index) / "config.json", dict(config))
        return super().add_trial(index, config)

    def add_trials(self, configs: Mapping[int, Mapping[str, Any]]) -> list[Trial]:
        """Records that these trials exist, with their whole configurations, before anything runs."""
        texts = {index: json.dumps(dict(config), indent=2, allow_nan=False) + "\n" for index, config in configs.items()}
        write_files({self.trial_folder(index) / "config.json": text.encode() for index, text in texts.items()})
        return super().add_trials(configs)

    def end_trial(
        self,
        index: int,
        status: TrialStatus,
        reason: str | None = None,
        checkpoint: Path | None = None,
        *,
        timing: Mapping[str, Any] | None = None,
    ) -> None:
        """Records the end of trial `index`, after all that it leaves is in its folder.

        Args:
            index: of the trial.
            status: how it ended.
            reason: in one line why, unless it finished.
            checkpoint: a directory whose artefact is kept, if it has one.
            timing: where its time went, if it is known.
        """
        if checkpoint is not None:
            for name in ARTEFACT:
                if (checkpoint / name).is_file():
                    write_bytes(self.trial_folder(index) / name, (checkpoint / name).read_bytes())
        if self.generation:
            # A population changes configurations on the way.
            write_json(self.trial_folder(index) / "config.json", self.trials[index].config)
        if timing is not None:
            write_json(self.trial_folder(index) / _TIMING, dict(timing))
        self.add_end(index, status, reason)

    def timings(self) -> dict[int, dict[str, Any]]:
        """Trial -> where its time went (`lab.timing`), for the finished trials that left that.

        Raises:
            RequestError: a file is damaged.
        """
        found = {}
        for index, trial in sorted(self.trials.items()):
            path = self.trial_folder(index) / _TIMING
            if trial.status == "finished" and path.is_file():
                tree = read_json(path, "timing tree")
                try:
                    found[index] = check_tree(tree)
                except RequestError as error:
                    raise RequestError(f"{path}: {error}") from None
        return found

    def save_artefacts(self, checkpoints: Mapping[int, Path]) -> None:
        """Copies the artefacts of many trials into their folders, before it is recorded that they ended.

        Args:
            checkpoints: trial -> a directory that holds its artefact, and its own checkpoint if it has one.
        """
        for index, directory in checkpoints.items():
            if (directory / CHECKPOINT).is_dir():
                replace_directory(directory / CHECKPOINT, self.trial_folder(index) / CHECKPOINT)
        found = {
            self.trial_folder(index) / name: directory / name
            for index, directory in checkpoints.items()
            for name in ARTEFACT
            if (directory / name).is_file()
        }
        write_files({target: source.read_bytes() for target, source in found.items()})

    def save_checkpoint(self, index: int, iteration: int, directory: Path) -> Path:
        """Copies the checkpoint `directory` into the trial's folder and records it."""
        target = self.trial_folder(index) / CHECKPOINT
        replace_directory(directory, target)
        self.add_checkpoint(index, iteration, str(target))
        return target

    # ---- the end

    def finish(
        self,
        status: RunStatus,
        texts: Callable[[Sequence[Mapping[str, float]]], Mapping[str, str]] | None = None,
    ) -> None:
        """Writes `metrics.parquet`, the text files of each trial, the hashes of all artefacts and the final manifest.

        Args:
            status: of the run.
            texts: `lab.experiment.Experiment.texts`.
        """
        write_parquet(self.metrics(), self.folder / "metrics.parquet")
        written = {
            self.trial_folder(index) / name: text.encode()
            for index, trial in self.trials.items()
            for name, text in (texts([row for _, row in sorted(trial.results.items())]) if texts else {}).items()
        }
        write_files(written)
        self.manifest.status = status
        self.manifest.best_trial = self.best_trial()
        kept = [
            self.folder / "metrics.parquet",
            *sorted(self.folder.glob("trials/*/*.json")),
            *sorted(self.folder.glob("trials/*/*.safetensors")),
            *sorted(written),
        ]
        self.manifest.artefacts = {str(path.relative_to(self.folder)): sha256(path) for path in kept}
        self.save_manifest()

    def save_manifest(self) -> None:
        """Writes `run.json`, whole or not at all."""
        write_json(self.folder / MANIFEST, self.manifest.model_dump(mode="json"))

    def failure(self) -> WorkError:
        """What to raise for a run of which every trial failed."""
        first = self.trials[min(self.trials)]
        return WorkError(f"all {len(self.trials)} trials of {self.name} failed; the first: {first.reason}")

    def best_trial(self) -> int | None:
        """The index of the trial with the best objective by validation, ties to the first; failed ones do not count.

        Where any trial kept a network, only those that did count: one that was stopped early may have none to load.
        """
        sign = 1 if self.manifest.mode == "min" else -1
        scored = [
            (sign * best, trial.index)
            for trial in self.trials.values()
            if trial.status in ("finished", "stopped")
            and (best := trial.best(self.manifest.metric, self.manifest.mode)) is not None
        ]
        kept = [item for item in scored if (self.trial_folder(item[1]) / ARTEFACT[0]).is_file()]
        return min(kept or scored)[1] if scored else None

    def metrics(self) -> pd.DataFrame:
        """All metrics: a row for each trial and iteration, columns `trial`, `iteration` and one a metric (float64)."""
        rows = [
            {"trial": trial.index, **row, "iteration": iteration}
            for _, trial in sorted(self.trials.items())
            for iteration, row in sorted(trial.results.items())
        ]
        return pd.DataFrame(rows, columns=None if rows else ["trial", "iteration"]).astype(
            {"trial": "int64", "iteration": "int64"}
        )


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Writes `frame` as Parquet, whole or not at all."""
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False)


def describe_domain(domain: Any) -> str:
    """A search-space entry in words: its bounds or choices, how it is drawn, and the step of a quantised one."""
    text = getattr(domain, "domain_str", None)
    if not text:
        return repr(domain)
    words, sampler = [f"{type(domain).__name__}{text}"], domain.get_sampler()
    step = getattr(sampler, "q", None)
    if step is not None:
        sampler = sampler.sampler
    if not hasattr(domain, "categories"):
        words.append(str(sampler).lower())
        words += [f"{name} {value}" for name, value in vars(sampler).items()]
    return ", ".join(words if step is None else [*words, f"step {step}"])


def command_line() -> list[str]:
    """What a person would type to have this process again."""
    program = Path(sys.argv[0])
    # Python names the file of a package that it runs as a module.
    start = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return [*start, *sys.argv[1:]]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the lab's own checkout, with `+` behind it if files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")

"""What `lab list` lists, and a run in a few words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.console import figure
from lab.errors import RequestError
from lab.runs import Run, describe_domain, list_runs

__all__ = ["Section", "listing", "run_record"]


@dataclass(frozen=True)
class Section:
    """One list: the keys that are shown as columns, and the whole records."""

    columns: Sequence[str]
    records: Sequence[dict[str, Any]]

    def rows(self) -> list[tuple[str, ...]]:
        """The columns of every record as text."""
        return [tuple(_text(record[column]) for column in self.columns) for record in self.records]


def listing(sections: Sequence[str]) -> dict[str, Section]:
    """The lists asked for: `experiments`, `tables`, `suites`, `runs`."""
    makers: dict[str, Callable[[], Section]] = {
        "experiments": _experiments,
        "tables": _tables,
        "suites": _suites,
        "runs": _runs,
    }
    return {name: makers[name]() for name in sections}


def run_record(run: Run) -> dict[str, Any]:
    """A run and its trials, for people and for `--json`."""
    manifest = run.manifest
    best = run.best_trial()
    return {
        "run": run.name,
        "folder": str(run.folder),
        "kind": manifest.kind,
        "status": run.status,
        "preset": manifest.preset,
        "metric": manifest.metric,
        "best_trial": best,
        "best": None if best is None else run.trials[best].best(manifest.metric, manifest.mode),
        "trials": [
            {
                "trial": trial.index,
                "status": trial.status,
                "iteration": trial.iteration,
                "best": trial.best(manifest.metric, manifest.mode),
                "reason": trial.reason,
                "config": trial.config,
            }
            for _, trial in sorted(run.trials.items())
        ],
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) or value is None:
        return figure(value)
    if isinstance(value, dict | list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def _experiments() -> Section:
    import experiments  # noqa: F401  (importing the package registers them)
    from lab.experiment import get, names

    records = []
    for experiment in map(get, names()):
        records.append(
            {
                "name": experiment.name,
                "summary": experiment.summary,
                "objective": f"{experiment.mode} {experiment.metric}",
                "presets": {name: dict(values) for name, values in experiment.presets.items()},
                "space": {key: describe_domain(domain) for key, domain in experiment.space.items()},
                "fields": {key: field.description or "" for key, field in experiment.config.model_fields.items()},
            }
        )
    return Section(("name", "summary", "objective", "presets", "space"), records)


def _tables() -> Section:
    from lab.tables import get, spectrum
    from lab.tables.learned import preset_names
    from lab.tables.preset import FOLDER

    # What `learned` stands for is there under that name.
    presets = [get(f"preset:{name}") for name in preset_names() if name != FOLDER.name]
    records = [
        {
            "name": builder.name,
            "version": builder.version,
            "summary": builder.summary,
            "exactly even": builder.exact,
            "weights": builder.weighted,
            "stateless": builder.stateless,
        }
        for builder in (*spectrum(), *presets)
    ]
    records += [
        {
            "name": f"{family}:RUN",
            "version": "–",
            "summary": summary,
            "exactly even": "–",
            "weights": False,
            "stateless": True,
        }
        for family, summary in (
            ("supervised", "a trained table_supervised run"),
            ("ppo", "a trained table_ppo run"),
            ("es", "a trained table_es run"),
            ("lookahead", "a trained table_lookahead run"),
            ("rl", "a trained run of table_dqn, table_one_shot, table_bandit or table_rl_grid"),
        )
    ]
    return Section(("name", "version", "summary", "exactly even", "weights", "stateless"), records)


def _suites() -> Section:
    from lab.compare.suites import SUITES

    return Section(("name", "summary"), [{"name": name, "summary": summary} for name, summary in SUITES.items()])


def _runs() -> Section:
    records = []
    for folder in list_runs():
        try:
            record = run_record(Run(folder))
        except RequestError as error:
            # One broken run must not hide the others.
            record = {
                "run": f"{folder.parent.name}/{folder.name}",
                "kind": "?",
                "status": str(error),
                "preset": "?",
                "trials": [],
                "best": None,
            }
        records.append(
            {**record, "finished": sum(trial["status"] in ("finished", "stopped") for trial in record["trials"])}
        )
    return Section(("run", "kind", "status", "preset", "finished", "best"), records)

"""From runs to what was measured of them: networks are read once, and those of one shape are asked together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.compare.l1.analysis import Row, analyse, succeeded
from lab.compare.l1.evaluate import Question, Scores, cost, load, score
from lab.compare.l1.grid import Grid, grid
from lab.compare.l1.methods import Method, methods_of
from lab.compare.l1.patterns import CONVERGED_AT, Outcome, Study, outcomes, studies
from lab.compare.l1.success import DECIDES
from lab.compare.l1.words import shown_share
from lab.compare.methods import ENOUGH_SEEDS
from lab.compare.quantiles import Floats, seed_quantiles
from lab.compare.statistics import Interval, generator
from lab.errors import RequestError
from lab.runs import ARTEFACT, Run
from lab.tasks.l1_norm.artefact import UNTRAINED
from lab.tasks.l1_norm.cell import Cell
from lab.tasks.l1_norm.cells import CELLS, CellOptions, make

__all__ = ["Measured", "Place", "measure", "of_signs"]

Network = tuple[str, Cell]
Place = tuple[str, int]
"""A trial: the name of its run, and its number."""


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        rows: one for each method, the best first.
        floor: length -> median error of float32 summation of the right numbers.
        grids: one for each sweep that searched two fields or more.
        studies: each study of initial signs with its outcomes.
        read: of which trials held-out sequences were read, and how the reading is called.
        unended: trials that were left out because they have not ended.
    """

    rows: list[Row]
    floor: dict[int, Interval]
    grids: list[Grid]
    studies: list[tuple[Study, list[Outcome]]]
    read: dict[Place, list[str]]
    unended: int


def of_signs(run: Run) -> bool:
    """Whether a run studies initial signs: each of its trials starts from a pattern."""
    return bool(run.trials) and all(trial.config.get("signs") for trial in run.trials.values())


def measure(runs: Sequence[Run], question: Question, progress: Callable[[int, int, str], None]) -> Measured:
    """Asks the networks of all runs.

    Args:
        runs: of methods and of initial signs, mixed.
        question: what the networks of methods are asked; those that a sweep did not pick are asked at `DECIDES` alone,
            and those of initial signs at `CONVERGED_AT`.
        progress: entries read, entries in all, by whom.

    Raises:
        RequestError: a run without a trial that ended, or a network that is missing or damaged.
    """
    for run in runs:
        if not any(trial.ended for trial in run.trials.values()):
            raise RequestError(f"expected a run with a trial that ended, but {run.name} has none")
    methods = methods_of([run for run in runs if not of_signs(run)])
    found_studies = studies([run for run in runs if of_signs(run)])
    chosen = {(m.run.name, t): m.run for m in methods for t in m.trials}
    others = {(m.run.name, t): m.run for m in methods for t in m.others}
    others = {place: run for place, run in others.items() if place not in chosen}
    signs = {(run.name, trial.index): run for study in found_studies for run, trial in study.members}

    groups = [
        (_networks(chosen), question),
        (_networks(others), Question((DECIDES,), question.count, ranges=False)),
        (_networks(signs), Question((CONVERGED_AT,), question.count, ranges=False)),
    ]
    total, done = sum(cost(networks, asked) for networks, asked in groups), 0

    def advance(entries: int, what: str) -> None:
        nonlocal done
        done += entries
        progress(done, total, what)

    scores: dict[Place, Scores | None] = dict.fromkeys([*chosen, *others, *signs])
    read: dict[Place, list[str]] = {}
    for networks, asked in groups:
        scores |= score(networks, asked, advance)
        for place in networks:
            read.setdefault(place, []).append(asked.label)
    rows = [_row(method, scores) for method in methods]
    rows.sort(key=_rank)
    swept = [run for run in runs if run.manifest.kind == "sweep" and not of_signs(run)]
    grids = [
        grid(run, {trial: succeeded(s) for (name, trial), s in scores.items() if name == run.name}) for run in swept
    ]
    return Measured(
        rows=rows,
        floor={length: _floor(length, values) for length, values in question.floor().items()} if rows else {},
        grids=[each for each in grids if each is not None],
        studies=[(study, outcomes(study, scores, _starts(study))) for study in found_studies],
        read=read,
        unended=sum(not trial.ended for run in runs for trial in run.trials.values()),
    )


def _networks(places: dict[Place, Run]) -> dict[Place, Network]:
    """The networks of trials; those that failed have none, nor those that were stopped before they kept one."""
    found = {}
    for place, run in places.items():
        trial, folder = run.trials[place[1]], run.trial_folder(place[1])
        kept = (folder / ARTEFACT[0]).is_file()
        if trial.status == "finished" or (trial.status == "stopped" and kept):
            found[place] = load(folder)
    return found


def _row(method: Method, scores: dict[Place, Scores | None]) -> Row:
    mine = {trial: value for (name, trial), value in scores.items() if name == method.run.name}
    return analyse(method, _within_rule(method.cell), mine)


def _within_rule(cell: str) -> bool:
    return cell in CELLS and make(CellOptions.model_validate({"cell": cell})).within_rule


def _rank(row: Row) -> tuple[bool, float, float, str]:
    """Those with seeds enough for a result first; then more success, then the smaller error."""
    few = row.method.seeds < ENOUGH_SEEDS
    return few, -(shown_share(row).value or 0.0), row.median[DECIDES].value or 0.0, row.method.label


def _floor(length: int, values: Floats) -> Interval:
    # Every sequence is a sample of its own here: there are no seeds.
    interval = seed_quantiles(values[:, None], (0.5,), generator("floor", length))[0]
    return Interval(interval.value, interval.low, interval.high, "sequences")


def _starts(study: Study) -> dict[Place, tuple[float, float]]:
    """Recurrent and input weight of each network before its first step."""
    found = {}
    for run, trial in study.members:
        folder = run.trial_folder(trial.index)
        if (folder / UNTRAINED).is_file():
            scalars = load(folder, UNTRAINED)[1].scalars()
            if {"recurrent", "input"} <= scalars.keys():
                found[run.name, trial.index] = (float(scalars["recurrent"].detach()), float(scalars["input"].detach()))
    return found

"""One comparison of codes that rebuild predictions, from names of runs to a written report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.compare.methods import folders_of_kind
from lab.compare.output import refuse_report, write_report
from lab.compare.parity import words
from lab.compare.parity.analysis import Analysis, Row, analyse
from lab.compare.parity.document import document
from lab.compare.parity.evaluate import Answers, Question, answers_of, refuse_another
from lab.compare.parity.figures import draw
from lab.compare.parity.load import load_member
from lab.compare.parity.methods import Member, Method, methods_of
from lab.compare.parity.report import render
from lab.compare.parity.sentences import RATE, RATES
from lab.compare.provenance import claimed, note_readings, origin, provenance, read_before
from lab.errors import RequestError
from lab.runs import Run
from lab.tasks.parity.fit import OBJECTIVE

__all__ = ["KIND", "Comparison", "compare"]

KIND = "parity"
"""`lab.experiment.Experiment.comparison` of what is compared here."""

Progress = Callable[[int, int, str], None]
_Found = dict[Method, tuple[list[Answers], list[float]]]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found and wrote.

    Attributes:
        analyses: one for each setting: a base model on a data set.
        content: what stands in `report.json`.
        html, json: the report.
        figures: the PNGs.
    """

    analyses: list[Analysis]
    content: dict[str, Any]
    html: Path
    json: Path
    figures: list[Path]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of what is printed."""
        columns = [
            "k",
            "method",
            "A_d, % of rebuilt predictions",
            "to the base model, points",
            "agreement, %",
            f"all answers at {words.percent(RATE).removesuffix('.0')} % lost, %",
            "extra servers for each",
            "seeds",
        ]
        return [
            (
                f"{analysis.setting.label}; base model {words.percent_interval(analysis.base)} of "
                f"{words.samples(analysis)}",
                columns,
                [_cells(row) for row in analysis.rows],
            )
            for analysis in self.analyses
        ]


def _cells(row: Row) -> list[str]:
    return [
        words.group(row.method.r, row.method.k).removeprefix("k = "),
        row.method.label,
        words.percent_interval(row.degraded).replace(" %", ""),
        words.points_interval(row.gap),
        words.percent_interval(row.agreement).replace(" %", ""),
        words.percent_interval(row.overall[RATES.index(RATE)]).replace(" %", ""),
        words.servers(row.servers),
        row.method.seeds_note,
    ]


def compare(
    names: Sequence[str] = (),
    out: Path = Path("report"),
    *,
    data_dir: Path | None = None,
    count: int | None = None,
    force: bool = False,
    progress: Progress = lambda done, total, what: None,
) -> Comparison:
    """Asks the codes of runs of `parity` about test samples, and writes `report.html`, `report.json` and PNGs into the
    folder `out`.

    Args:
        names: runs; the newest finished one if none.
        out: folder of the report.
        data_dir: where the data sets are now that do not come with the lab; where they were in training unless said
            otherwise.
        count: test samples that are asked about, the first ones; all unless said otherwise.
        force: replace a report that is in `out` already.
        progress: told how many networks were asked, of how many, and which is next.

    Raises:
        RequestError: an unknown run, one of another kind, one trial of a run, a run without a trial that left a
            network, data that is missing, a checkpoint that is missing, damaged or of other data, a run that is being
            worked on, a report that is there already, or a folder that cannot be written. Nothing has been written
            then.
        WorkError: the report, the runs' manifests or a base model cannot be written after all, as on a full disk.
    """
    out = Path(out)
    refuse_report(out, force=force)
    question = Question(count)
    with claimed(folders_of_kind([name.removeprefix(f"{KIND}:") for name in names], KIND, "parity")) as runs:
        for run in runs:
            if not any(trial.status in ("finished", "stopped") for trial in run.trials.values()):
                raise RequestError(f"expected a run with a trial that left a network, but {run.name} has none")
        methods = methods_of(runs, data_dir)
        analyses = _measure(methods, question, progress)
        before = {run.name: read_before(run) for run in runs}
        note_readings(_readings(methods, question))
    figures = draw(analyses)
    origins = [_origin(run, before[run.name]) for run in runs]
    content = document(analyses, question, runs, figures, {**provenance(), "runs": origins})
    written = write_report(out, render(content, figures), content, figures)
    return Comparison(analyses, content, written.html, written.json, written.figures)


def _measure(methods: Sequence[Method], question: Question, progress: Progress) -> list[Analysis]:
    """An analysis for each setting, in the order of `methods`, which is by setting."""
    total, done = sum(len(method.members) for method in methods), 0
    found: dict[str, tuple[_Found, int, int]] = {}
    for method in methods:
        answers = []
        whole = classes = 0
        for member in method.members:
            progress(done, total, f"{method.label} on {method.setting.label}, k = {method.k}")
            loaded = load_member(member)
            answers.append(answers_of(loaded, question))
            refuse_another(f"{member.run.name}#{member.trial}", loaded, answers[-1])
            whole, classes = len(loaded.data.test), loaded.data.classes
            done += 1
        group, _, _ = found.setdefault(method.setting.label, ({}, whole, classes))
        group[method] = answers, [_validation(member) for member in method.members]
    progress(done, total, "the report")
    return [analyse(*each) for each in found.values()]


def _validation(member: Member) -> float:
    value = member.run.trials[member.trial].best(OBJECTIVE, "max")
    if value is None:
        raise RequestError(
            f"expected {OBJECTIVE} in the metrics of {member.run.name}#{member.trial}, but it is missing"
        )
    return value


def _readings(methods: Sequence[Method], question: Question) -> Iterator[tuple[Run, str, Sequence[int]]]:
    """What was read of which trials."""
    trials: dict[tuple[Path, str], tuple[Run, list[int]]] = {}
    for method in methods:
        for member in method.members:
            label = question.label(method.setting.dataset)
            found = trials.setdefault((member.run.folder, label), (member.run, []))
            found[1].append(member.trial)
    for (_, label), (run, indices) in trials.items():
        yield run, label, sorted(indices)


def _origin(run: Run, read: int) -> dict[str, Any]:
    more = {"trials": len(run.trials), "machine": run.manifest.machine, "made_by": " ".join(run.manifest.command)}
    return {**origin(run, read), **more}

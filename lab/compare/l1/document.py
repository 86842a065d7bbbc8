"""The content of `report.json`: every figure of the page, and the page is made of nothing else."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lab.compare.drawing import Figure
from lab.compare.l1 import sentences, sign_words, words
from lab.compare.l1.analysis import FUNCTION, Row
from lab.compare.l1.evaluate import RANGE_LENGTH, SEQUENCES, Question
from lab.compare.l1.grid import Grid
from lab.compare.l1.measured import Measured
from lab.compare.l1.patterns import CONVERGED, CONVERGED_AT, Outcome, Study
from lab.compare.l1.success import DECIDES, SUCCESS
from lab.compare.statistics import REPLICATES
from lab.tasks.l1_norm.data import RANGES

__all__ = ["document"]


def document(
    measured: Measured, question: Question, figures: Sequence[Figure], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Plain JSON: intervals are {value, low, high, over}, shares {count, of, value, low, high}. What is infinite or
    never came about is null.

    Args:
        measured: what was measured.
        question: what was asked.
        figures: as drawn.
        provenance: when, by which command, at which commit, from which runs.
    """
    rows, studied = measured.rows, measured.studies
    lead = sentences.lead(rows, measured.floor) if rows else []
    for _, outcomes in studied:
        lead += sign_words.sign_lead(outcomes)
    return {
        "format": 1,
        "lead": lead,
        **provenance,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "replicates": REPLICATES,
        "sequences": question.count,
        "sequences_usually": SEQUENCES,
        "lengths": list(question.lengths),
        "success": {"error": SUCCESS, "length": DECIDES},
        "convergence": {"error": CONVERGED, "length": CONVERGED_AT},
        "range_length": RANGE_LENGTH,
        "unended": measured.unended,
        "summary": [{"heading": heading, "sentences": texts} for heading, texts in sentences.summary(rows)],
        "floor": {str(length): asdict(interval) for length, interval in measured.floor.items()},
        "function": dict(FUNCTION),
        "ranges": {name: each.words for name, each in RANGES.items()},
        "methods": [_row(row) for row in rows],
        "grids": [_grid(each) for each in measured.grids],
        "studies": [_study(study, outcomes) for study, outcomes in studied],
        "figures": [{"name": f.name, "title": f.title, "caption": f.caption, "alt": f.alt} for f in figures],
    }


def _row(row: Row) -> dict[str, Any]:
    method = row.method
    return {
        "method": method.label,
        "cell": method.cell,
        "run": method.run.name,
        "config": method.config,
        "within_rule": row.rule,
        "seeds": method.seeds,
        "seeds_note": method.seeds_note,
        "trials": list(method.trials),
        "searched": method.searched,
        "copies_left_out": method.copies,
        "without_network": row.without,
        "stopped": row.stopped,
        "picked": words.success(row) if method.one_of_many else None,
        "success": asdict(row.success),
        "success_at_the_last_validation": asdict(row.kept),
        "of_cell": None if row.of_cell is None else asdict(row.of_cell),
        "median": {str(length): asdict(interval) for length, interval in row.median.items()},
        "p95": {str(length): asdict(interval) for length, interval in row.p95.items()},
        "median_of_each_seed": {str(length): values for length, values in row.by_seed.items()},
        "validated_at": row.validated_at,
        "steps_between_validations": row.spacing,
        "reached_at_any_validation": asdict(row.reached),
        "solved": asdict(row.solved),
        "steps_to_solve": asdict(row.steps),
        "seconds_to_solve": asdict(row.seconds),
        "seconds_are_shares": row.shared,
        "function": {key: asdict(interval) for key, interval in row.function.items()},
        "ranges": {name: asdict(interval) for name, interval in row.ranges.items()},
    }


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "run": grid.run,
        "row_field": grid.row_field,
        "column_field": grid.column_field,
        "rows": grid.rows,
        "columns": grid.columns,
        "seeds": grid.seeds,
        "shares": [[asdict(share) for share in line] for line in grid.shares],
    }


def _study(study: Study, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    by_pattern: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_pattern.setdefault(outcome.pattern.name, []).append(outcome)
    return {
        "label": study.label,
        "steps": study.steps,
        "steps_between_validations": study.spacing,
        "lead": sign_words.sign_lead(outcomes),
        "activations": study.activations,
        "patterns": [
            {
                "pattern": name,
                "title": sign_words.pattern(found[0].pattern),
                "bias": found[0].pattern.bias,
                "notebook": found[0].pattern.words,
                "notebook_says": sign_words.notebook_says(found[0].pattern),
                "outcomes": [_outcome(outcome) for outcome in found],
            }
            for name, found in by_pattern.items()
        ],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "activation": outcome.activation,
        "activation_in_words": words.activation(outcome.activation),
        "converged": asdict(outcome.converged),
        "converged_at_the_last_validation": asdict(outcome.kept),
        "exact": asdict(outcome.exact),
        "exact_at_the_last_validation": asdict(outcome.exact_last),
        "failed": outcome.failed,
        "steps_to_convergence": asdict(outcome.steps),
        "finding": outcome.finding,
        "speed": outcome.speed,
        "finding_in_words": sign_words.finding(outcome),
        "sentence": sign_words.of_pattern(outcome),
        "paths": [
            {"recurrent": path.recurrent.tolist(), "input": path.input.tolist(), "converged": path.converged}
            for path in outcome.paths
        ],
    }

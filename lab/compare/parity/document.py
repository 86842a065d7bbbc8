"""The content of `report.json`: every figure of the page, and the page is made of nothing else."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lab.compare.drawing import Figure
from lab.compare.methods import ENOUGH_SEEDS
from lab.compare.parity import sentences, words
from lab.compare.parity.analysis import RATES, Analysis, Difference, Row
from lab.compare.parity.evaluate import Floats, Question
from lab.compare.statistics import REPLICATES
from lab.runs import Run

__all__ = ["document"]


def document(
    analyses: Sequence[Analysis],
    question: Question,
    runs: Sequence[Run],
    figures: Sequence[Figure],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Plain JSON: intervals are {value, low, high, over}, shares of 1; what is not defined is null.

    Args:
        analyses: one for each setting.
        question: what was asked.
        runs: all that were compared.
        figures: as drawn.
        provenance: when, by which command, at which commit, from which runs.
    """
    trials = [trial for run in runs for trial in run.trials.values()]
    return {
        "format": 1,
        "lead": sentences.lead(analyses),
        **provenance,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "replicates": REPLICATES,
        "unended": sum(not trial.ended for trial in trials),
        "failed": sum(trial.status == "failed" for trial in trials),
        "loss_rate": sentences.RATE,
        "loss_rates": list(RATES),
        "settings": [_setting(analysis, question) for analysis in analyses],
        "figures": [{"name": f.name, "title": f.title, "caption": f.caption, "alt": f.alt} for f in figures],
    }


def _setting(analysis: Analysis, question: Question) -> dict[str, Any]:
    setting = analysis.setting
    asked, whole = analysis.samples
    return {
        "label": setting.label,
        "dataset": setting.dataset,
        "model": setting.model,
        "base_model": dict(setting.fields),
        "samples": asked,
        "samples_of_the_whole_test_part": whole,
        "orders_of_grouping": question.orders(asked),
        "classes": analysis.classes,
        "base": asdict(analysis.base),
        "base_seeds": analysis.base_seeds,
        "summary": [{"heading": heading, "sentences": texts} for heading, texts in sentences.summary(analysis)],
        "advice": [{"case": case, "choice": choice} for case, choice in sentences.advice(analysis)],
        "groups": [
            {
                "label": words.group(r, k),
                "k": k,
                "r": r,
                "aim": sentences.aim(analysis, r, k),
                "rows": [_row(row, row is analysis.best(r, k)) for row in analysis.at(r, k)],
            }
            for r, k in analysis.places()
        ],
        "differences": [_difference(each) for each in analysis.differences],
    }


def _row(row: Row, best: bool) -> dict[str, Any]:
    method = row.method
    return {
        "method": method.label,
        "kind": method.kind,
        "code": method.config.code,
        "best_code": best,
        "config": dict(method.read),
        "seeds": list(method.seeds),
        "seeds_note": method.seeds_note,
        "seeds_in_short": words.short_seeds(method),
        "trials": [f"{member.run.name}#{member.trial}" for member in method.members],
        "searched": method.searched,
        "failed": method.failed,
        "copies_left_out": method.copies,
        "extra_servers": row.servers * method.k,
        "extra_servers_for_each": row.servers,
        "base": asdict(row.base),
        "accuracy": asdict(row.accuracy),
        "degraded_accuracy": asdict(row.degraded),
        "degraded_accuracy_of_each_seed": row.by_seed,
        "validation_degraded_accuracy": row.validation,
        "to_the_base_model": asdict(row.gap),
        "with_nothing_lost_to_the_base_model": asdict(row.cost),
        "agreement": asdict(row.agreement),
        "overall": [asdict(interval) for interval in row.overall],
        "overall_at_the_loss_rate": asdict(row.overall[RATES.index(sentences.RATE)]),
        "depends_on_what_is_lost": row.uneven,
        "by_what_is_lost": [
            {"lost": name, "words": sentences.lost(name), "degraded_accuracy": asdict(interval)}
            for name, interval in row.patterns.items()
        ],
        "confusion": _matrix(row.confusion),
        "confusion_of_the_base_model": _matrix(row.base_confusion),
    }


def _matrix(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in line] for line in values]


def _difference(difference: Difference) -> dict[str, Any]:
    best, other = difference.best.method, difference.other.method
    return {
        "group": words.group(best.r, best.k),
        "best": best.label,
        "other": other.label,
        "degraded_accuracy": asdict(difference.degraded),
        "paired_seeds": difference.seeds,
        "verdict": difference.verdict,
        "least_seeds": difference.least_seeds,
        "shown": difference.verdict != "no difference shown" and difference.least_seeds >= ENOUGH_SEEDS,
        "words": words.certainty(difference),
    }

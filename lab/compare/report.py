"""`report.json` with every figure, and `report.html` rendered from it and from nothing else."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from lab.compare import answer, words
from lab.compare.analysis import Analysis, Difference, Row
from lab.compare.curves import Curve, Passing, passing
from lab.compare.explain import SHARES, Explanation
from lab.compare.explain_figures import sentences
from lab.compare.figures import Figure
from lab.compare.front import Fronts
from lab.compare.methods import Method
from lab.compare.page import lookup, render_page
from lab.compare.statistics import REPLICATES

__all__ = ["FORMATS", "document", "lookup", "render"]

FORMATS: dict[str, Callable[[Any], str]] = {
    "percent": lambda value: f"{100 * value:.1f}",
    "points": lambda value: f"{100 * value:+.1f}",
    "ratio": lambda value: f"{value:.2f}",
    "signed": lambda value: f"{value:+.2f}",
    "whole": lambda value: f"{value:,.0f}",
    "duration": words.duration,
    "text": str,
}
"""How a number of report.json stands in the page: a `data-format` names its entry, a `data-path` the number."""


def document(
    analyses: list[Analysis],
    methods: list[Method],
    curves: list[Curve],
    levels: Mapping[str, float],
    explanations: list[Explanation],
    figures: list[Figure],
    provenance: Mapping[str, Any],
    skipped: list[dict[str, str]],
) -> dict[str, Any]:
    """The content of `report.json`: plain JSON, intervals as {value, low, high, over}.

    Args:
        analyses: one for each suite, the main one first.
        methods: all that were compared.
        curves: learning curves.
        levels: builder -> the churn ratio over that of Maglev.
        explanations: what was learned.
        figures: as drawn.
        provenance: when, by which command, at which commit, from which runs.
        skipped: what could not be scored: {method, suite, reason}.
    """
    return {
        "format": 1,
        "lead": answer.lead(analyses),
        "answer": [asdict(row) for row in answer.answer_rows(analyses)],
        **provenance,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch threads: {torch.get_num_threads()}",
        "replicates": REPLICATES,
        "reduced": any(a.suite.count < a.suite.full for a in analyses),
        "summary": [{"heading": heading, "sentences": texts} for heading, texts in words.summary(analyses)],
        "advice": [{"case": case, "choice": choice} for case, choice in answer.advice(analyses)],
        "methods": {method.label: _method(method) for method in methods},
        "suites": [_suite(analysis) for analysis in analyses],
        "curves": [_curve(curve) for curve in curves],
        "curve_levels": dict(levels),
        "passing": [_passing(each) for each in passing(curves)],
        "explanations": [_explanation(explanation) for explanation in explanations],
        "figures": [{"name": f.name, "title": f.title, "caption": f.caption, "alt": f.alt} for f in figures],
        "skipped": skipped,
    }


def _method(method: Method) -> dict[str, Any]:
    training = method.training if method.trained else None
    return {
        "kind": method.kind,
        "builders": list(method.builders),
        "seeds": method.seeds,
        "seeds_note": method.seeds_note,
        "stateless": method.stateless,
        "universe": method.universe,
        "summary": method.summary,
        "trained": method.trained,
        "training": None
        if training is None
        else {
            "run": training.run,
            "trials": list(training.trials),
            "seconds": list(training.seconds),
            "seconds_are_shares": training.shared,
            "mean_seconds": sum(training.seconds) / len(training.seconds),
            "steps": None if training.steps is None else list(training.steps),
            "mean_steps": None if training.steps is None else sum(training.steps) / len(training.steps),
            "steps_name": training.steps_name,
            "trials_searched": training.searched,
            "seconds_of_all_trials": training.searched_seconds,
        },
    }


def _suite(analysis: Analysis) -> dict[str, Any]:
    suite = analysis.suite
    return {
        "name": suite.name,
        "label": suite.label,
        "title": suite.title,
        "summary": suite.summary,
        "size": suite.size,
        "universe": suite.universe,
        "pairs_of_each_group": suite.count,
        "pairs_of_the_whole_suite": suite.full,
        "groups": list(suite.groups),
        "by_n": suite.by_n,
        "digest": suite.digest,
        "headline": analysis.headline,
        "best_exact_classical": analysis.best_exact,
        "best_classical": analysis.best_classical,
        "parts": [{"heading": heading, "rows": [_row(row) for row in rows]} for heading, rows in analysis.ordered()],
        "differences": [_difference(index, each) for index, each in enumerate(analysis.differences)],
        "fronts": None if analysis.fronts is None else _fronts(analysis.fronts),
    }


def _fronts(both: Fronts) -> dict[str, Any]:
    return {
        "largest_load": both.corner[0],
        "most_excess": both.corner[1],
        "lead": both.lead,
        "behind": both.behind,
        **{
            side: {"methods": list(front.labels), "points": front.points.tolist(), "area": asdict(front.area)}
            for side, front in (("classical", both.classical), ("learned", both.learned))
        },
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "method": row.method.label,
        "exactly_even": row.exact,
        "on_front": row.on_front,
        "ranked": row.ranked,
        "largest_spread": row.spread,
        "scores": {name: asdict(interval) for name, interval in row.scores.items()},
        "by_group": {
            group: {name: asdict(interval) for name, interval in scores.items()}
            for group, scores in row.by_group.items()
        },
        "single_seconds": row.single_seconds,
        "batch_seconds": row.batch_seconds,
    }


def _difference(index: int, difference: Difference) -> dict[str, Any]:
    return {
        "index": index,
        **{
            name: getattr(difference, name)
            for name in ("method", "baseline", "against", "headline", "verdict", "seeds", "baseline_seeds")
        },
        "too_few_seeds": difference.too_few_seeds,
        "says": words.says(difference),
        "equally_even": difference.equally_even,
        "excess": asdict(difference.excess),
        "churn_ratio": asdict(difference.churn_ratio),
        "imbalance": asdict(difference.imbalance),
        "excess_by_group": {group: asdict(interval) for group, interval in difference.by_group.items()},
        "words": words.by_how_much(difference),
        "sides": words.sides(difference),
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "method": curve.method,
        "axis": curve.axis,
        "size": curve.size,
        "over_maglev_on_its_own_scenarios": curve.own,
        "seeds": [{"x": x.tolist(), "churn_ratio_over_maglevs": y.tolist()} for x, y in curve.lines],
        "band_x": curve.band_x.tolist(),
        "band": [asdict(interval) for interval in curve.band],
    }


def _passing(each: Passing) -> dict[str, Any]:
    return {
        "method": each.method,
        "seeds": each.seeds,
        "passed": each.passed,
        **{axis: asdict(interval) for axis, interval in each.at.items()},
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    dispersion = explanation.dispersion
    return {
        "method": explanation.method,
        "kind": explanation.kind,
        "seeds": explanation.seeds,
        "sentences": sentences(explanation),
        "churn_ratio": explanation.churn_ratio,
        "importance": [{"feature": each.feature, "rise": asdict(each.rise)} for each in explanation.importance],
        "dispersion": dispersion and {"best_share_of_pairs": SHARES.tolist(), **asdict(dispersion)},
        "prices": None if explanation.prices is None else explanation.prices.tolist(),
    }


def render(content: dict[str, Any], figures: list[Figure]) -> str:
    """The page: self-contained, every number in it read from `content`."""
    paths = {
        (s, row["method"]): f"/suites/{s}/parts/{p}/rows/{r}"
        for s, each in enumerate(content["suites"])
        for p, part in enumerate(each["parts"])
        for r, row in enumerate(part["rows"])
    }
    return render_page("report.html.j2", (), content, figures, FORMATS, axes=words.AXES, paths=paths)

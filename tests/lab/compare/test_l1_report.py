"""The page on the L1 norm as a person gets it: in a real browser, on a screen and on a phone."""

from __future__ import annotations

import re

import pytest

from lab.compare import compare_runs
from lab.compare.l1 import comparison
from lab.compare.l1.report import FORMATS
from lab.compare.page import lookup
from lab.files import read_json
from lab.tasks.l1_norm.signs import PATTERNS

from .chromium import SIZES, browser_test, contrast, launched, opened
from .l1_standin import NORM, SIGNS, make_run, register, seeds


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report with all there is: seeds, failures, one seed, a sweep, every pattern of signs."""
    folder = tmp_path_factory.mktemp("l1_report")
    sweep = [
        ({"cell": cell, "learning_rate": 10 ** (-1 - k / 3), "width": 2}, 1.0 if k else 0.9)
        for cell in ("relu", "tanh")
        for k in range(7)
    ]
    pairs = [(pattern, activation) for pattern in PATTERNS.values() for activation in ("relu", "leaky")]
    signs = [
        (
            {"cell": "notebook", "signs": pattern.name, "activation": activation, "seed": seed},
            1.0 if (pattern.finding != "not") == (seed > 0) else 0.5,
        )
        for pattern, activation in pairs
        for seed in range(2)
    ]
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        patch.setenv("LAB_RUNS", str(folder / "runs"))
        patch.setattr(comparison, "LENGTHS", (10, 100, 1000, 10_000))
        runs = [
            make_run(NORM, seeds(6, [1.0, 1 + 1e-6], cell="relu")),
            make_run(NORM, seeds(5, [1.0, 0.99, None], cell="notebook"), preset="notebook"),
            make_run(NORM, sweep, kind="sweep", preset="quick", space=("cell", "learning_rate")),
            make_run(SIGNS, signs, kind="sweep", iterations=6),
        ]
        compare_runs([str(run.folder) for run in runs], out=folder / "out", count=20)
    return folder / "out"


@pytest.fixture(scope="module")
def browser():
    with launched() as chromium:
        yield chromium


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def page(request, report, browser):
    with opened(browser, report / "report.html", request.param) as page:
        yield page


@browser_test
def test_the_page_needs_nothing_but_itself_and_is_no_wider_than_the_screen(page, report):
    assert [url for url in page.requests if not url.startswith("data:")] == [(report / "report.html").as_uri()]
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.closest('.box'))")


@browser_test
def test_every_image_is_there_is_described_and_is_drawn_for_the_screen(page):
    images = page.evaluate(
        "[...document.images].map(i => [i.naturalWidth, i.alt.length, i.complete, i.naturalHeight / i.naturalWidth])"
    )
    # Two of methods, one of the search, the patterns, and the ways of two activations with and without biases.
    assert len(images) == 8
    assert all(width > 300 and alt > 40 and complete for width, alt, complete, _ in images)
    narrow = page.viewport_size["width"] < 640
    assert page.evaluate("[...document.images].every(i => i.naturalWidth === 975)") == narrow


@browser_test
def test_every_number_and_sentence_is_that_of_the_json(page, report):
    stored = read_json(report / "report.json", "report")
    shown = page.evaluate(
        "[...document.querySelectorAll('[data-path]')].map(e => [e.dataset.path, e.dataset.format, e.textContent])"
    )
    assert len(shown) > 500
    for path, form, text in shown:
        expected = FORMATS[form](lookup(stored, path))
        assert " ".join(text.split()) == " ".join(expected.split()), path


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(report, browser, scheme):
    # WCAG 2.2, 1.4.3: a contrast of 4.5 for running text.
    assert contrast(browser, report / "report.html", scheme) >= 4.5


def test_the_page_holds_no_address_of_anything_outside(report):
    text = (report / "report.html").read_text()
    assert not re.search(r"(?:src|href|srcset|action)=\"(?!data:|#)", text)
    assert not re.search(r"url\(|@import|<script", text)


def test_the_page_says_what_a_row_is(report):
    text = (report / "report.html").read_text()
    for words in (
        "one seed: not a result",
        "never: this is the first reading",
        "A reduced look",
        "best of 7 trials",
        "a share of the population",
        "within the rule",
        "does not converge",
        "The finding is undecided",
        "trainings 1 (figures that are not finite) left no network",
        "one picked of 7",
        "shown beside, not judged",
        "at the last validation",
        "float32 summation itself",
    ):
        assert words in text


def test_every_pattern_stands_in_the_json_with_its_counts_and_paths(report):
    (study,) = read_json(report / "report.json", "report")["studies"]
    assert [pattern["pattern"] for pattern in study["patterns"]] == list(PATTERNS)
    for pattern in study["patterns"]:
        for outcome in pattern["outcomes"]:
            assert outcome["converged"]["of"] == len(outcome["paths"]) == 2

"""The page as a person gets it: in a real browser, on a screen and on a phone."""

from __future__ import annotations

import re

import pytest

from lab.compare import compare
from lab.compare.report import FORMATS, lookup
from lab.files import read_json

from .chromium import SIZES, browser_test, contrast, launched, opened
from .standin import make_run, pair_run, register


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report with all there is: seeds, a single seed, env steps, uneven and stateful tables."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        patch.setenv("LAB_RUNS", str(folder / "runs"))
        runs = [
            make_run("table_supervised", (0.001, 0.002, 0.0015)),
            make_run("table_ppo", (0.02,), steps="env_steps", kind="sweep"),
            pair_run(-2, experiment="a_scorer"),
        ]
        builders = ["maglev", "balanced-stratified", "rendezvous", "stateful-optimum"]
        names = [str(run.folder) for run in runs]
        compare(names, ["churn-47", "scenarios-47"], folder / "out", builders=builders, count=20)
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
def test_the_page_needs_nothing_but_itself(page, report):
    assert [url for url in page.requests if not url.startswith("data:")] == [(report / "report.html").as_uri()]
    assert page.complaints == []


@browser_test
def test_the_page_is_no_wider_than_the_screen(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.closest('.box'))")


@browser_test
def test_every_image_is_there_and_is_described(page):
    images = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt.length, i.complete])")
    assert len(images) == 7
    assert all(width > 300 and alt > 40 and complete for width, alt, complete in images)


@browser_test
def test_the_first_figure_is_the_pareto_plot(page):
    assert page.evaluate("document.querySelector('figure').id") == "pareto-churn-47"


@browser_test
def test_the_first_screen_answers(browser, report):
    with opened(browser, report / "report.html", (1280, 900)) as page:
        ends = page.evaluate(
            "['.lead', '.answer', '.cases'].map(s => document.querySelector(s).getBoundingClientRect().bottom)"
        )
        assert ends == sorted(ends)
        assert ends[-1] < 900
        assert page.evaluate("document.querySelector('h1').textContent") == "Does learning beat Maglev?"
        table = page.evaluate("(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.answer'))")
        assert table[0] <= table[1]


@browser_test
def test_the_animation_and_what_was_learned_are_in_the_page(page):
    assert page.evaluate("document.querySelector('#fleet img').currentSrc").startswith("data:image/webp")
    assert page.evaluate("document.querySelectorAll('#learned figure').length") == 1
    assert "Its scores are stratified" in page.evaluate("document.querySelector('#learned').textContent")


@browser_test
def test_a_phone_gets_figures_drawn_for_it(page):
    narrow = page.viewport_size["width"] < 640
    shapes = page.evaluate("[...document.images].map(i => i.naturalHeight / i.naturalWidth)")
    assert all((shape > 1) == narrow for shape in shapes)


@browser_test
def test_every_number_and_sentence_is_that_of_the_json(page, report):
    stored = read_json(report / "report.json", "report")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    shown = page.evaluate(
        "[...document.querySelectorAll('[data-path]')].map(e => [e.dataset.path, e.dataset.format, e.textContent])"
    )
    assert len(shown) > 200
    for path, form, text in shown:
        expected = FORMATS[form](lookup(stored, path))
        assert " ".join(text.split()) == " ".join(expected.split()), path


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(report, browser, scheme):
    # WCAG 2.2, 1.4.3: a contrast of 4.5 for running text.
    assert contrast(browser, report / "report.html", scheme) >= 4.5


def test_the_page_says_what_a_row_is(report):
    text = (report / "report.html").read_text()
    for words in (
        "one seed: not a result",
        "present set (stateless)",
        "table in force (stateful)",
        "any hash",
        "A reduced look",
        "first reading of its suites",
        "interquartile mean",
    ):
        assert words in text


def test_the_page_holds_no_address_of_anything_outside(report):
    text = (report / "report.html").read_text()
    assert not re.search(r"(?:src|href|srcset|action)=\"(?!data:|#)", text)
    assert not re.search(r"url\(|@import|<script", text)


def test_no_label_of_a_plot_covers_another():
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from lab.compare.labels import Label, place

    figure = Figure(figsize=(8, 5), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    points = np.array([(1, 1), (1.2, 1.1), (1.1, 1.3), (5, 5), (5.1, 5.0), (9.8, 9.8)])
    labels = [Label(f"a long name {i}", x, y, "black") for i, (x, y) in enumerate(points)]
    place(axes, labels, points, 9, line=np.empty((0, 2)))
    boxes = [text.get_window_extent() for text in axes.texts]
    frame = axes.get_window_extent()
    for i, box in enumerate(boxes):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])

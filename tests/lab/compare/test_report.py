"""The page as a person gets it: in a real browser, on a screen and on a phone."""

from __future__ import annotations

import re
import shutil

import pytest

from lab.compare import compare
from lab.compare.report import FORMATS, lookup
from lab.files import read_json

from .standin import make_run, register

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

CONTRAST = """() => {
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= .03928 * 255 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = color => { const [r, g, b] = numbers(color).map(linear); return .2126 * r + .7152 * g + .0722 * b };
  const back = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (numbers(color)[3] !== 0) return color;
    }
    return getComputedStyle(document.documentElement).colorScheme === 'dark' ? 'rgb(0,0,0)' : 'rgb(255,255,255)';
  };
  const texts = document.querySelectorAll('p, li, th, td, dd, dt, a, span, figcaption, summary, code, h1, h2, h3');
  return Math.min(...[...texts].map(element => {
    const [a, b] = [light(getComputedStyle(element).color), light(back(element))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
}"""

browser_test = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


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
        ]
        builders = ["maglev", "balanced-stratified", "rendezvous", "stateful-optimum"]
        names = [str(run.folder) for run in runs]
        compare(names, ["churn-47", "scenarios-47"], folder / "out", builders=builders, count=20)
    return folder / "out"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture(params=[(1200, 900), (390, 844)], ids=["screen", "phone"])
def page(request, report, browser):
    """The page, with everything it asked for and complained of."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.goto((report / "report.html").as_uri())
    page.wait_for_load_state("networkidle")
    yield page
    context.close()


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
    assert len(images) == 5
    assert all(width > 300 and alt > 40 and complete for width, alt, complete in images)


@browser_test
def test_the_first_figure_is_the_pareto_plot(page):
    assert page.evaluate("document.querySelector('figure').id") == "pareto-churn-47"


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
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto((report / "report.html").as_uri())
    # WCAG 2.2, 1.4.3: a contrast of 4.5 for running text.
    worst = page.evaluate(CONTRAST)
    context.close()
    assert worst >= 4.5


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

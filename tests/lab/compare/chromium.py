"""A page in a real browser, with everything it asked for and complained of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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

SIZES = {"screen": (1200, 900), "phone": (390, 844)}


@contextmanager
def launched() -> Iterator[Any]:
    """A browser that talks to nobody."""
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


@contextmanager
def opened(browser: Any, path: Path, size: tuple[int, int]) -> Iterator[Any]:
    """The page at `path`; `complaints` and `requests` are what its console said and what it fetched."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda asked: page.requests.append(asked.url))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    yield page
    context.close()


def contrast(browser: Any, path: Path, scheme: str) -> float:
    """The least contrast of any text with its background."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(path.as_uri())
    worst = page.evaluate(CONTRAST)
    context.close()
    return float(worst)

"""Report pages in a browser: `./run browser`.  Screenshots are in build/browser."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.chromium import SHOTS, WIDTHS, browser, shot, show
from tests.report.runs import KINDS, ReportPage, page

__all__ = ["browser"]

pytestmark = pytest.mark.browser

SCHEMES = ("light", "dark")


@pytest.fixture(scope="module", params=KINDS)
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> ReportPage:
    return page(request.param, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_page_at_widths_and_schemes(browser, made, width, scheme):
    browser.get_log("browser")
    show(browser, made.path.as_uri(), width, scheme)
    shot(browser, SHOTS / f"{made.kind}-{width}-{scheme}.png")
    assert browser.get_log("browser") == []
    sizes = browser.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])"
    )
    assert len(sizes) >= made.pictures
    assert all(complete and natural > 0 and shown > 0 for complete, natural, shown in sizes)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    small = browser.execute_script(
        "return [...document.querySelectorAll('p, td, th, dd, li, small, figcaption')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0


def test_page_makes_no_requests(browser, made):
    show(browser, made.path.as_uri(), 1280, "light")
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


def test_text_contrast(browser, made):
    for scheme in SCHEMES:
        show(browser, made.path.as_uri(), 1280, scheme)
        colours = browser.execute_script(
            "const s = getComputedStyle(document.body);"
            "const soft = getComputedStyle(document.querySelector('.soft'));"
            "return [s.color, s.backgroundColor, soft.color]"
        )
        ink, paper, soft = (luminance(c) for c in colours)
        assert contrast(ink, paper) >= 7 and contrast(soft, paper) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of a colour as rgb(r, g, b)."""
    parts = [int(c) / 255 for c in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_print_layout(browser, made):
    show(browser, made.path.as_uri(), 1280, "light", media="print")
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27})["data"])
    (SHOTS / f"{made.kind}.pdf").write_bytes(printed)
    assert printed.startswith(b"%PDF") and 2 <= printed.count(b"/Type /Page\n") <= 30

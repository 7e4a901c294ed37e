"""The page of a run in a browser: `./run browser`.  Screenshots are in build/browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.runs import KINDS, Made, page

pytestmark = pytest.mark.browser

SHOTS = Path(__file__).parents[2] / "build" / "browser"
WIDTHS = (375, 1280)  #: a telephone, a desk
SCHEMES = ("light", "dark")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-component-update "
    "--disable-background-networking --disable-sync --disable-dev-shm-usage --hide-scrollbars"
).split()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a screen and without a network."""
    from selenium import webdriver

    program = shutil.which("chromium")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail("chromium and chromium-driver are not installed: ./run browser installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module", params=KINDS)
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return page(request.param, tmp_path_factory.mktemp("run"))


def show(browser: Any, made: Made, width: int, scheme: str, *, media: str = "screen") -> None:
    """The page at a width, in a colour scheme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 2 if width < 500 else 1, "mobile": width < 500},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.get(made.path.as_uri())


def shot(browser: Any, path: Path) -> None:
    import base64

    taken = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(taken["data"]))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_whole_at_every_width_and_in_both_schemes(browser, made, width, scheme):
    browser.get_log("browser")
    show(browser, made, width, scheme)
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


def test_the_page_asks_nobody_for_anything(browser, made):
    show(browser, made, 1280, "light")
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


def test_text_can_be_read_on_its_ground_in_both_schemes(browser, made):
    for scheme in SCHEMES:
        show(browser, made, 1280, scheme)
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


def test_it_prints_on_pages(browser, made):
    import base64

    show(browser, made, 1280, "light", media="print")
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27})["data"])
    (SHOTS / f"{made.kind}.pdf").write_bytes(printed)
    assert printed.startswith(b"%PDF") and 2 <= printed.count(b"/Type /Page\n") <= 30

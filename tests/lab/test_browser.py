"""The page of `equilif lab` in Chromium: `./run browser`.  Screenshots are in build/browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from equilif.lab import build
from equilif.training.storage import saved
from equilif.training.storage.history import digest
from equilif.training.storage.pretrained import Card, model_path
from tests.chromium import SHOTS, browser, shot, show
from tests.cli import run

__all__ = ["browser"]

pytestmark = pytest.mark.browser

PAGE = Path(__file__).parents[2] / "build" / "lab" / "index.html"
WIDTHS = (400, 1280, 1600)
LIMIT = 120.0  #: of a wait, seconds; the machine may be busy
#: digits as lines through points of the pad, in percent of its side
LINES = {
    0: ["50 10  30 25  25 50  30 75  50 90  70 75  75 50  70 25  50 10"],
    3: ["30 15  55 10  68 25  60 42  45 48  65 55  70 72  55 90  30 85"],
    4: ["55 10  30 55  75 55", "62 35  60 92"],
}
Stroke = list[tuple[float, float]]


def stroke(line: str) -> Stroke:
    values = [int(v) / 100 for v in line.split()]
    return list(zip(values[::2], values[1::2], strict=True))


STROKES = {digit: [stroke(line) for line in lines] for digit, lines in LINES.items()}


def until(browser: Any, script: str, limit: float = LIMIT) -> Any:
    """Value of a script as soon as it is true."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found = browser.execute_script(f"return {script}")
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{script} is not true after {limit} s")


@pytest.fixture
def opened(browser: Any) -> Any:
    """The page with its first answer; at the end nothing may stand in the console."""
    if not PAGE.exists():
        pytest.skip(f"{PAGE} is not there: ./run lab builds it with Emscripten")
    browser.get_log("browser")
    show(browser, PAGE.as_uri(), 1280)
    until(browser, "lab.answer !== null")
    yield browser
    assert browser.get_log("browser") == []


def text(browser: Any, name: str) -> str:
    return str(browser.execute_script("return document.getElementById(arguments[0]).textContent", name))


def click(browser: Any, name: str) -> None:
    browser.execute_script("document.getElementById(arguments[0]).click()", name)


def choose(browser: Any, name: str, value: str) -> None:
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('change'))",
        name,
        value,
    )


def draw(browser: Any, strokes: list[Stroke]) -> None:
    """Draw with the pointer."""
    from selenium.webdriver.common.action_chains import ActionChains

    click(browser, "clear")
    pad = browser.find_element("id", "pad")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
    width, height = pad.size["width"], pad.size["height"]
    for line in strokes:
        actions = ActionChains(browser, duration=10)
        for k, (x, y) in enumerate(line):
            actions.move_to_element_with_offset(pad, int((x - 0.5) * width), int((y - 0.5) * height))
            if k == 0:
                actions.click_and_hold()
        actions.release().perform()
    until(browser, "!lab.inferring && lab.answer !== null")


def press(browser: Any, keys: list[str]) -> None:
    """Keys on the pad."""
    pad = browser.find_element("id", "pad")
    for key in keys:
        pad.send_keys(key)
    until(browser, "!lab.inferring")


def upload(browser: Any, path: Path) -> str:
    before = text(browser, "kept")
    browser.find_element("id", "upload").send_keys(str(path))
    until(browser, f"document.getElementById('kept').textContent !== {before!r}")
    return text(browser, "kept")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_at_widths_and_schemes(opened, width, scheme):
    show(opened, PAGE.as_uri(), width, scheme)
    until(opened, "lab.answer !== null")
    click(opened, "trace-learn")
    until(opened, "!document.getElementById('inside-view').hidden")
    time.sleep(0.5)
    shot(opened, SHOTS / f"lab-{width}-{scheme}.png")
    assert opened.execute_script("return document.documentElement.scrollWidth") == width
    small = "[...document.querySelectorAll('p, td, th, dd, dt, li, button, select')]"
    assert not opened.execute_script(
        f"return {small}.filter(e => parseFloat(getComputedStyle(e).fontSize) < 11.5).length"
    )
    unnamed = (
        "[...document.querySelectorAll('button, select, input, canvas, svg')].filter(e => !(e.ariaLabel || "
        "e.labels?.length || e.textContent.trim())).map(e => e.id)"
    )
    assert opened.execute_script(f"return {unnamed}") == []


def test_first_answer_without_requests(opened):
    ready = opened.execute_script(
        "return [performance.getEntriesByType('resource').map(e => e.name), document.getElementById('answer')"
        ".textContent]"
    )
    assert [name for name in ready[0] if not name.startswith("blob:")] == []
    assert ready[1].isdecimal() and PAGE.stat().st_size < 2e6


@pytest.mark.parametrize("network", ["0/trained", "1/trained"], ids=build.MODELS)
def test_drawn_digits(opened, network):
    choose(opened, "network", network)
    until(opened, f"lab.network === {network[0]}")
    found = {}
    for digit, strokes in STROKES.items():
        draw(opened, strokes)
        found[digit] = int(text(opened, "answer"))
    assert found == {digit: digit for digit in STROKES}


def test_drawing_by_keys(opened):
    from selenium.webdriver.common.keys import Keys

    press(opened, [Keys.ESCAPE, " ", *[Keys.ARROW_DOWN] * 12, " "])
    assert text(opened, "answer") == "1"
    press(opened, [Keys.BACKSPACE])
    assert text(opened, "answer") == "-"


def test_teaching_changes_the_answer(opened):
    draw(opened, STROKES[4])
    opened.execute_script("document.querySelectorAll('#labels button')[9].click()")
    click(opened, "repeat")
    until(opened, "document.getElementById('taught').textContent")
    assert text(opened, "answer") == "9"
    click(opened, "trace-learn")  # spikes that are shown are those that the engine counts
    until(opened, "!document.getElementById('inside-view').hidden")


def test_own_classes_from_nothing(opened):
    click(opened, "own")
    until(opened, "lab.own")
    shapes = {0: [[(0.1, 0.5), (0.9, 0.5)]], 1: [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]}
    for k in range(5):
        for label, strokes in shapes.items():
            opened.execute_script(f"document.querySelectorAll('#labels button')[{label}].click()")
            draw(opened, [[(x, y + 0.02 * k) for x, y in line] for line in strokes])
            click(opened, "learn")
    click(opened, "learn-all")
    until(opened, "document.getElementById('taught').textContent.startsWith('10 of 10')")
    draw(opened, shapes[1])
    assert text(opened, "answer") == "B"


def test_epoch_equals_golden_model(opened):
    click(opened, "start")
    began = time.monotonic()
    row = until(opened, "document.querySelector('#epochs tr[data-digest]')?.dataset.digest")
    print(f"an epoch of digits: {time.monotonic() - began:.1f} s, {text(opened, 'speed')} cycles/s")
    assert row == opened.execute_script(
        "return JSON.parse(document.getElementById('facts').textContent).golden[0].digest"
    )
    assert "equal" in text(opened, "epochs")
    click(opened, "start")  # pause
    until(opened, "document.getElementById('start').textContent === 'Resume'")
    click(opened, "reset")
    until(opened, "document.getElementById('epochs').rows.length === 0")


def test_files(opened, tmp_path):
    """A download is a network of equilif; damaged uploads leave the network as it is."""
    opened.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    click(opened, "download")
    path = tmp_path / "network.npz"
    end = time.monotonic() + LIMIT
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
    found = saved.read(path)
    assert digest(found.weights) == Card.all()[build.MODELS[0]].digest
    assert "98.06" in run("evaluate", path)  # of 360 test samples, as the pretrained network
    bad = tmp_path / "bad.npz"
    bad.write_bytes(path.read_bytes()[:-500])
    assert "cannot be used" in upload(opened, bad)
    assert "cannot be used" in upload(opened, model_path("vowels"))
    assert "784-64-10" in upload(opened, model_path("mnist-64"))
    assert opened.execute_script("return lab.network") == 1


def test_closed_worker(opened):
    opened.execute_script("lab.client.worker.terminate()")
    click(opened, "example")
    until(opened, "!document.getElementById('alert').hidden")
    click(opened, "restart")
    until(opened, "document.getElementById('alert').hidden")
    until(opened, "!lab.inferring && lab.answer !== null")


def test_browser_without_webassembly(opened):
    script = opened.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete globalThis.WebAssembly"}
    )
    try:
        show(opened, PAGE.as_uri(), 1280)
        until(opened, "!document.getElementById('alert').hidden")
        assert "WebAssembly" in text(opened, "alert")
    finally:
        opened.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)

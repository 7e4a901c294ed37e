"""The documentation site, built as by ``./run docs``: complete, without external resources."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import pytest
import typer

import equilif
import equilif.cli
from tests.chromium import SHOTS, WIDTHS, browser, shot, show
from tests.programs import program

__all__ = ["browser"]

ROOT = Path(__file__).parents[2]

pytest.importorskip("mkdocstrings", reason="extra docs")
pytestmark = pytest.mark.regress  # ./run docs builds the site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built in strict mode (broken links and anchors are errors)."""
    folder = tmp_path_factory.mktemp("site")
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder)
    program(*build, cwd=ROOT, NO_MKDOCS_2_WARNING="1")
    return folder


def ids(page: Path) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', page.read_text()))


def test_command_reference_is_complete(site):
    page = site / "reference" / "commands.html"
    text = re.sub(r"<[^>]+>", "", page.read_text())
    for name, command in typer.main.get_command(equilif.cli.app).commands.items():
        assert f"equilif-{name}" in ids(page)
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option == "--help" or option in html.unescape(text), f"{name} {option}"


def test_api_reference_is_complete(site):
    folder = site / "reference" / "python"
    modules = ("equilif.data.own", "equilif_golden.engine.chip", "equilif_hdl.engine.engine")
    for module, name in (*equilif.WHERE.values(), *((module, "") for module in modules)):
        page = folder / f"{module}.html"  # of a package; a module is on that of its package
        page = page if page.exists() else folder / f"{module.rpartition('.')[0]}.html"
        assert f"{module}.{name}".rstrip(".") in ids(page)


def test_no_page_needs_the_network(site):
    """Scripts, styles, fonts and pictures are local files that exist."""
    for page in site.rglob("*.html"):
        found = re.findall(r'<(?:script|img|source)\b[^>]*\bsrc="([^"]+)"', page.read_text())
        found += re.findall(r'<link\b[^>]*rel="(?:stylesheet|icon|preconnect)"[^>]*>', page.read_text())
        for item in found:
            target = re.sub(r'.*href="([^"]+)".*', r"\1", item)
            assert not re.match(r"(?:https?:)?//", target), f"{page.name}: {target}"
            if not target.startswith("data:") and page.name != "404.html":
                assert (page.parent / html.unescape(target)).resolve().exists(), f"{page.name}: {target}"
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", style.read_text())


@pytest.mark.parametrize("there", [True, False])
def test_first_page_leads_to_the_engine(there, tmp_path):
    """If the site has the page of `equilif lab`, its first page and the guide link to it."""
    from mkdocs.config import load_config
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.pages import Page

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    hook = config.plugins.events["page_markdown"][-1]
    page = File("lab/index.html", str(tmp_path), str(tmp_path), use_directory_urls=False)
    for name, target in (
        ("README.md", "lab/index.html"),
        ("how_to/engine_in_a_browser.md", "../lab/index.html"),
    ):
        file = File(name, str(ROOT / "docs"), str(tmp_path), use_directory_urls=False)
        text = hook(
            (ROOT / "docs" / name).read_text(),
            page=Page(None, file, config),
            config=config,
            files=Files([page] if there else []),
        )
        assert (f"]({target})" in text) == there


@pytest.mark.browser
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "page",
    [
        "index",
        "tutorials/first_hour",
        "explanation/paper",
        "reference/boards",
        "reference/continual_learning",
        "explanation/attention",
        "reference/commands",
    ],
)
def test_site_in_browser(site, browser, page, width):
    browser.get_log("browser")
    show(browser, (site / f"{page}.html").as_uri(), width)
    shot(browser, SHOTS / f"site-{page.replace('/', '-')}-{width}.png")
    assert browser.get_log("browser") == []
    pictures = browser.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth)")
    assert all(pictures) and (pictures or page != "explanation/attention")
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    hidden = (
        "[...document.querySelectorAll('.md-typeset__scrollwrap')].map(t => t.scrollWidth - t.clientWidth)"
    )
    assert width < 1280 or not any(browser.execute_script(f"return {hidden}"))
    addresses = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(address.startswith("file:") for address in addresses)


@pytest.mark.browser
def test_search_without_server(site, browser):
    from selenium.webdriver.support.wait import WebDriverWait

    for word, page in (("membrane", "glossary.html"), ("dither_position", "equilif_golden.engine.html")):
        show(browser, f"{(site / 'index.html').as_uri()}?q={word}", 1280)
        found = "return [...document.querySelectorAll('.md-search-result__link')].map(a => a.href).join()"
        WebDriverWait(browser, 20).until(lambda b, f=found, p=page: p in b.execute_script(f))

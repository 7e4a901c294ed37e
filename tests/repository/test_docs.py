"""Links, files, names, commands and examples of README and docs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

import equilif.cli
from benchmarks.__main__ import NAMES as BENCHMARKS
from benchmarks.__main__ import parser_of
from equilif_golden.extras import MissingExtra

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]
SOURCES = sorted(
    path
    for folder in ("equilif", "golden", "hdl", "sim", "boards", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
DOCS = ROOT / "docs"
WIDTH = 110
#: a command line: launcher, command, arguments
COMMAND = r"(?<![\w./'-])(?<!from )(?:equilif|\./run) ([a-z]+(?:-[a-z]+)*)\b([^;|&]*)"
#: files of users in examples
NEW = r"\bnew `[^`]+`"

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def code(text: str) -> Iterator[str]:
    """Lines of code blocks without comments, and code spans."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"^    .*$", text, re.M)
    for line in "\n".join([*fenced, *indented]).splitlines():
        yield re.sub(r"\s#.*", "", line).strip()
    for span in re.findall(r"`([^`]+)`", text):
        yield " ".join(span.split())


def heading(text: str) -> str:
    """GitHub anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"`|\*", "", text).strip().lower()).replace(" ", "-")


def headings(page: Path) -> set[str]:
    return {heading(h) for h in re.findall(r"^#+ (.+)$", page.read_text(), re.M)}


def docs_pages() -> list[str]:
    """Paths below docs/ of the pages in the tree."""
    return [str(p.relative_to(DOCS)) for p in PAGES if p.is_relative_to(DOCS)]


@every_page
def test_links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name}: there is no {target}"
        if page.is_relative_to(DOCS):
            assert path.resolve().is_relative_to(DOCS), f"{page.name}: the site has no {target}"
        if anchor:
            assert anchor in headings(path), f"{page.name}: {path.name} has no heading {anchor}"


def test_page_list_is_complete():
    links = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "README.md").read_text()))
    notes = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "notes" / "README.md").read_text())
    assert links | {f"notes/{name}" for name in notes} == set(docs_pages()) - {"README.md"}


def test_site_navigation_is_complete():
    """The navigation of mkdocs.yml has all pages, and the generated ones."""
    entries = re.findall(r"^ +- (?:[^:\n]+: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(entries) == sorted([*docs_pages(), "reference/commands.md"])


@every_page
def test_named_files_exist(page):
    folders = r"(?:boards|golden|hdl|sim|equilif|tests|benchmarks|docs|examples)"
    text = re.sub(NEW + r"|\]\([^)]+\)", "", page.read_text())  # test_links follows links
    for name in re.findall(rf"(?<![\w/.-]){folders}/[\w/.-]*\w", text):
        assert (ROOT / name).exists(), f"there is no {name}"
    known = {p.name for p in SOURCES} | {p.name for p in (ROOT / "docs").glob("*.py")}
    for name in re.findall(r"`(\w+\.py)`", text):
        assert name in known, f"no folder has a {name}"


def located(name: str) -> bool:
    """True for a dotted name that can be imported or reached by attributes."""
    first, *rest = name.split(".")
    found: object = importlib.import_module(first)
    at = first
    for part in rest:
        at = f"{at}.{part}"
        try:
            found = importlib.import_module(at)
        except MissingExtra:  # there, for those who have its package
            return True
        except ModuleNotFoundError:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
    return True


@every_page
def test_dotted_names_exist(page):
    names = set(re.findall(r"\bequilif(?:_golden|_hdl|_sim|_boards)?(?:\.[A-Za-z_]\w*)+", page.read_text()))
    assert not [n for n in sorted(names) if not located(n)]


@cache
def members() -> dict[str, set[str]]:
    """Fields, methods and properties of every class of the project and of its bases, by the name of the
    class.
    """
    found: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                own = found.setdefault(node.name, set())
                bases.setdefault(node.name, set()).update(b.id for b in node.bases if isinstance(b, ast.Name))
                for item in node.body:
                    if isinstance(item, ast.FunctionDef):
                        own.add(item.name)
                    elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                        own.add(item.target.id)
                    elif isinstance(item, ast.Assign):
                        own |= {t.id for t in item.targets if isinstance(t, ast.Name)}
    for name, own in found.items():
        for base in bases[name]:
            own |= found.get(base, set())
    return found


@every_page
def test_class_members_exist(page):
    for span in code(page.read_text()):
        for name, member in re.findall(r"(?<![\w.])([A-Z][a-z]\w*)\.([a-z]\w*)", span):
            assert member in members().get(name, ()), f"{name} has no {member}"


@cache
def commands() -> dict[str, set[str]]:
    """Options of every command of ``equilif``."""
    group = typer.main.get_command(equilif.cli.app)
    return {
        name: {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        for name, command in group.commands.items()
    }


@every_page
def test_named_commands_exist(page):
    steps = re.findall(r"^    ([\w-]+)\)$", (ROOT / "run").read_text(), re.M)
    for line in code(page.read_text()):
        for name, rest in re.findall(COMMAND, line):
            if line.startswith("./run") and name in steps:
                continue
            assert name in commands(), f"equilif has no command {name}: {line}"
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest):
                assert option in commands()[name], f"equilif {name} has no {option}"


def test_options_have_help():
    group = typer.main.get_command(equilif.cli.app)
    silent = [(name, p.name) for name, c in group.commands.items() for p in c.params if not p.help]
    assert not silent


def test_commands_are_documented():
    text = "\n".join(page.read_text() for page in PAGES)
    assert not [name for name in commands() if f"equilif {name}" not in text and f"`{name}`" not in text]


def options_of(benchmark: str) -> str:
    """Help with the options of a benchmark."""
    module = pytest.importorskip(f"benchmarks.{benchmark}", exc_type=ImportError)
    return parser_of(benchmark, module).format_help()


@every_page
def test_named_modules_have_options(page):
    text = page.read_text()
    for line in code(text):
        for module, rest in re.findall(r"python -m ([\w.]+)([^;|&]*)", line):
            if module.startswith("benchmarks."):  # a trial that ended
                assert re.search(r"at\s+commit", text), (
                    f"python -m benchmarks NAME, or the commit of {module}"
                )
                continue
            if module == "benchmarks":
                name = next(iter(rest.split()), "")
                assert name in BENCHMARKS or not name, f"there is no benchmark {name}"
                source = options_of(name) if name else ""
            else:
                spec = importlib.util.find_spec(module)
                assert spec is not None, f"there is no {module}"
                source = Path(spec.origin).read_text()
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest):
                assert option in source, f"{module} has no {option}"


@every_page
def test_named_tests_exist(page):
    for line in code(page.read_text()):
        for name, word in re.findall(r"pytest .*?(tests/[\w/]+\.py)(?: -k (\w+))?", line):
            assert word in (ROOT / name).read_text(), line


@every_page
def test_line_length(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    wide = [
        line for line in text.splitlines() if len(line) > WIDTH and not line.startswith(("|", "    ", "!["))
    ]
    assert not wide


def examples() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), block)
        for page in PAGES
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    ]


@pytest.mark.parametrize("page, example", examples(), ids=[name for name, _ in examples()])
def test_python_blocks_run(page, example, tmp_path, monkeypatch, capsys):
    """Python code blocks run as they are."""
    monkeypatch.chdir(tmp_path)
    exec(compile(example, page, "exec"), {"__name__": "__main__"})
    if page == "README.md":
        assert float(capsys.readouterr().out) > 0.95

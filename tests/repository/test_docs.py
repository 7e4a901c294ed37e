"""Links, files, names, commands and examples of README and docs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import typer

import equilif.cli
from benchmarks.__main__ import parser_of
from benchmarks.registry import BENCHMARKS, Benchmark
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
#: lines of a page
MAX_LINES = 250
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


def options_of(benchmark: Benchmark) -> str:
    """Help with the options of a benchmark."""
    module = pytest.importorskip(f"benchmarks.{benchmark.name}", exc_type=ImportError)
    return parser_of(benchmark, module).format_help()


@every_page
def test_named_modules_have_options(page):
    text = page.read_text()
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    for line in code(text):
        for module, rest in re.findall(r"python -m ([\w.]+)([^;|&]*)", line):
            if module.startswith("benchmarks."):  # a trial that ended
                assert re.search(r"at\s+commit", text), (
                    f"python -m benchmarks NAME, or the commit of {module}"
                )
                continue
            if module == "benchmarks":
                name = next(iter(rest.split()), "")
                assert name in known or not name, f"there is no benchmark {name}"
                source = options_of(known[name]) if name else ""
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
def test_page_length(page):
    """A longer page is two pages; the change log is a list."""
    assert page.name == "CHANGELOG.md" or len(page.read_text().splitlines()) <= MAX_LINES


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


def test_glossary_terms_are_used():
    pages = {page: re.sub(r"\s+", " ", page.read_text()).lower() for page in PAGES}
    text = " ".join(content for page, content in pages.items() if page.name != "glossary.md")
    terms = re.findall(r"^\* (.*?):", (DOCS / "reference" / "glossary.md").read_text(), re.M)
    names = [name for term in terms for name in re.findall(r"\*\*([^*]+)\*\*", term)]
    assert len(names) >= 30 and len(set(names)) == len(names)
    assert not [name for name in names if not re.search(rf"\b{re.escape(name.lower())}", text)]


def test_concept_table_files_exist():
    """docs/explanation/architecture.md: each column names files below one folder."""
    folders = ("golden/equilif_golden", "hdl/equilif_hdl", "sim/equilif_sim", "tests")
    text = (DOCS / "explanation" / "architecture.md").read_text()
    body = text.split("| concept | golden | hdl | sim (bench) | test |\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in body.replace("|  ", "| -  ").splitlines()[1:]]
    cells = [(f, cell) for row in rows for f, cell in zip(folders, row[1:], strict=True)]
    named = [ROOT / folder / name for folder, cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert len(rows) > 20 and not [str(path) for path in named if not path.is_file()]
    own = {
        p
        for folder in folders[:2]
        for part in ("blocks", "engine", "front_end", "link")
        for p in (ROOT / folder / part).glob("*.py")
    }
    boards = pytest.importorskip("equilif_boards").BOARDS
    transports = {link.kind for board in boards.values() for link in board.links}
    assert not {p for p in own if p.name != "__init__.py" and p.stem not in transports} - set(named)


#: maximum number of Python files of an extension, by page and section
MAX_FILES = {
    ("new_board", "Add a board to equilif"): 2,
    ("add_a_data_format", "Files"): 3,
    ("add_a_command", "Files"): 4,
    ("add_an_operation", "An operation, as an engine option"): 16,
    ("add_a_sensor_front_end", "Files"): 20,
}


def section_of(page: str, title: str) -> str:
    return (DOCS / "how_to" / f"{page}.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("page, title", MAX_FILES)
def test_number_of_files_to_change(page, title):
    listed = re.findall(r"^\| (?:new )?`([\w/]+\.py)`", section_of(page, title), re.M)
    assert 0 < len(listed) <= MAX_FILES[page, title]


@pytest.mark.parametrize("name", sorted({page for page, _ in MAX_FILES} | {"add_a_synapse_type"}))
def test_files_to_change_exist_and_new_ones_do_not(name):
    """Lists of files in the how-to guides for extensions."""
    text = (DOCS / "how_to" / f"{name}.md").read_text()
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S):
        cells = re.findall(r"\|.*", body)
        files = [f for row in cells for f in re.findall(r"(new )?`([\w./]+\.(?:py|md|json|toml|yml))`", row)]
        for new, path in files:
            assert (ROOT / path).exists() != bool(new), f"{title}: {path}"
        paths = [path for _, path in files if "/" in path]
        assert len(set(paths)) == len(paths), f"{title} names a file twice"


#: names of an extension in the code, by page and section of its list of files
EXTENSIONS = {
    ("add_a_data_format", "Files"): {"Cifar", '"formats.cifar.Cifar"'},
    ("add_a_sensor_front_end", "Files"): {"Adc", "AdcReader", "AdcFrontEnd", "adc_front_end", "has_adc"},
    ("add_a_synapse_type", "Engine"): {"CONVOLVE", "convolution", "kernel_rows"},
    ("add_an_operation", "An operation, as an engine option"): {"early_exit", "WATCH", "RateChange"},
    ("add_an_operation", "A link"): {"UdpLine", "UdpLink", "UdpPort", "UdpFrameHost", "_connected_by_udp"},
}


@pytest.mark.parametrize("page, title", EXTENSIONS)
def test_files_to_change_are_complete(page, title):
    """Every file of the packages that names an extension is in its list; boards that have it are not."""
    listed = set(re.findall(r"^\| `([\w/]+\.py)`", section_of(page, title), re.M))
    found = set()
    for folder in ("golden", "hdl", "sim", "boards", "equilif"):
        for path in (ROOT / folder).rglob("*.py"):
            with path.open("rb") as f:
                words = {token.string for token in tokenize.tokenize(f.readline)}
            board = path.parent.name == "equilif_boards" and path.stem != "link"
            if words & EXTENSIONS[page, title] and not board:
                found.add(str(path.relative_to(ROOT)))
    assert len(found) > 1 and not found - listed


@cache
def layout() -> ModuleType:
    spec = importlib.util.spec_from_file_location("layout", ROOT / "docs" / "layout.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def edges() -> dict[tuple[str, str], int]:
    return layout().edges()


def test_layout_picture_is_current():
    """After a change of the imports:  python docs/layout.py"""
    module = layout()
    drawn = re.findall(r'id="(equilif[\w.]*):(equilif[\w.]*)"', (ROOT / "docs" / "layout.svg").read_text())
    assert sorted(drawn) == sorted(module.direct(edges()))


def test_imports_between_packages():
    """Order: golden, hdl, sim and boards, equilif."""
    floor = {"equilif_golden": 0, "equilif_hdl": 1, "equilif_sim": 2, "equilif_boards": 2, "equilif": 3}
    module = layout()
    for start, to in edges():
        a, b = start.split(".")[0], to.split(".")[0]
        assert a == b or floor[b] < floor[a], f"{start} imports {to}"
    module.floors(edges())  # ValueError where folders import each other in a circle

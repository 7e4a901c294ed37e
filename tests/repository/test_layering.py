"""Dependencies, layers and names of the packages."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import equilif_golden
from tests.programs import python

HEAVY = {
    "amaranth",
    "cocotb",
    "torch",
    "sklearn",
    "matplotlib",
    "typer",
    "equilif",
    "equilif_hdl",
    "equilif_sim",
    "equilif_boards",
}
ROOT = Path(equilif_golden.__file__).parent
MODULES = sorted(
    ".".join(p.relative_to(ROOT.parent).with_suffix("").parts)
    for p in ROOT.rglob("*.py")
    if p.stem != "__init__"
)
PLAIN = [m for m in MODULES if ".real." not in m]

# imports the given modules with the forbidden ones blocked, and prints the forbidden ones that were loaded
CODE = """
import importlib, sys
forbidden, modules = set(sys.argv[1].split(",")), sys.argv[2:]
for name in forbidden:
    sys.modules[name] = None
for module in modules:
    importlib.import_module(module)
print(len(modules), *(m for m in forbidden if sys.modules[m] is not None))
"""


def imported(forbidden: set[str], modules: list[str]) -> str:
    return python(CODE, ",".join(sorted(forbidden)), *modules, cwd=ROOT.parent).stdout.strip()


def test_golden_needs_numpy_and_numba_only():
    assert {"equilif_golden.reference", "equilif_golden.kernel", "equilif_golden.engine.model"} <= set(PLAIN)
    assert imported(HEAVY, PLAIN) == str(len(PLAIN))


def test_reference_needs_no_numba():
    """All modules except compiled ones need only NumPy."""
    compiled = ("kernel", "executor", "vectors", "compiled", "front_end.compiled")
    modules = [m for m in PLAIN if m.removeprefix("equilif_golden.") not in compiled]
    assert imported(HEAVY | {"numba"}, modules) == str(len(modules))


# -- cycles ----------------------------------------------------------------------------------------
PACKAGES = {
    "equilif_golden": "golden/equilif_golden",
    "equilif_hdl": "hdl/equilif_hdl",
    "equilif_sim": "sim/equilif_sim",
    "equilif_boards": "boards/equilif_boards",
    "equilif": "equilif",
    "benchmarks": "benchmarks",
    "tests": "tests",
}


def without_expressions(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes below a node, without expressions, which are most of a module and contain no imports."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from without_expressions(child)


@functools.cache
def import_graph(root: Path) -> dict[str, set[str]]:
    """Imports of each module, also in functions and under TYPE_CHECKING."""
    paths = {}
    for package, folder in PACKAGES.items():
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root / folder).with_suffix("").parts
            paths[".".join((package, *(p for p in parts if p != "__init__")))] = path
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for node in without_expressions(ast.parse(path.read_text())):
            found: set[str] = set()
            if isinstance(node, ast.Import):
                found = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found = {f"{node.module}.{alias.name}" for alias in node.names}
                if not found <= paths.keys():
                    found.add(node.module)
            graph[name] |= found & paths.keys() - {name}
    return graph


def in_cycles(graph: dict[str, set[str]]) -> set[str]:
    """Modules in cycles: repeatedly removes modules without imports or importers."""
    rest = {name: set(found) for name, found in graph.items()}
    while True:
        imported_by_rest = set().union(*rest.values()) if rest else set()
        ends = {name for name, found in rest.items() if not found or name not in imported_by_rest}
        if not ends:
            return set(rest)
        rest = {name: found - ends for name, found in rest.items() if name not in ends}


def test_no_import_cycles():
    graph = import_graph(ROOT.parent.parent)
    assert len(graph) > 300
    assert not in_cycles(graph)


def test_import_cycle_detection():
    assert in_cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


#: layers of the package equilif; each imports only those to its left
ORDER = (
    ("interrupts", "results", "info", "convolutions"),
    ("data",),
    ("nir_layers", "nir", "training", "listening", "lesson"),
    ("hardware", "host"),
    ("bench", "classifier", "stream", "river"),
    ("show",),
    ("report", "demo", "lab"),
    ("commands",),
    ("cli", "__main__"),
)


def test_layers():
    """Modules of one layer may import each other, without cycles (tested above)."""
    layer = {part: k for k, parts in enumerate(ORDER) for part in parts}
    for name, found in import_graph(ROOT.parent.parent).items():
        package, _, rest = name.partition(".")
        if package != "equilif" or not rest:
            continue
        for other in found:
            if other.startswith("equilif."):
                a = rest.partition(".")[0]
                b = other.split(".")[1]
                assert layer[b] <= layer[a], f"{name} imports {other}"


def test_imports_between_packages():
    floor = {"equilif_golden": 0, "equilif_hdl": 1, "equilif_sim": 2, "equilif_boards": 2, "equilif": 3}
    for name, found in import_graph(ROOT.parent.parent).items():
        package = name.partition(".")[0]
        for other in {other.partition(".")[0] for other in found} - {package}:
            assert package not in floor or floor.get(other, 9) < floor[package], f"{name} imports {other}"


def test_helpers_are_not_in_test_files():
    """Tests and benchmarks import helper modules, no file that holds tests."""
    for name, found in import_graph(ROOT.parent.parent).items():
        tests = {other for other in found if other.rpartition(".")[2].startswith("test_")}
        assert not tests or not name.startswith(("tests.", "benchmarks.")), f"{name} imports {tests}"


# -- names -----------------------------------------------------------------------------------------
#: specification, RTL and bench give one concept one name, in files of one name or in these cases
ONE_CONCEPT = {"Engine", "Lif", "Relay", "State"}
#: interfaces of wiring.Signature
INTERFACES = {"Members", "Pins"}


def shared_names(root: Path, folders: Iterable[str]) -> dict[str, set[str]]:
    """Class names that two files have, and their files, without one concept in golden, hdl and sim."""
    files: dict[str, set[Path]] = {}
    for path in (path for folder in folders for path in (root / folder).rglob("*.py")):
        for node in without_expressions(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name not in INTERFACES:
                files.setdefault(node.name, set()).add(path.relative_to(root))
    return {
        name: {str(path) for path in found}
        for name, found in files.items()
        if len(found) > 1
        and not (
            {path.parts[0] for path in found} <= {"golden", "hdl", "sim"}
            and (len({path.name for path in found}) == 1 or name in ONE_CONCEPT)
        )
    }


def test_a_class_name_is_one_concept():
    assert not shared_names(ROOT.parent.parent, [*PACKAGES.values(), "examples"])


def test_shared_names(tmp_path):
    for file, name in (
        ("golden/lif.py", "Lif"),
        ("hdl/lif.py", "Lif"),
        ("golden/a.py", "Report"),
        ("hdl/b.py", "Report"),
        ("golden/c.py", "Row"),
        ("equilif/c.py", "Row"),
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(f"if True:\n    class {name}: ...\n")
    assert shared_names(tmp_path, ("golden", "hdl", "equilif")).keys() == {"Report", "Row"}

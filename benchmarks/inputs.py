"""Inputs of each record, and their digests.

A result depends on four kinds of inputs.

rtl      RTLIL of its designs, without source locations; in place of the modules of equilif_hdl, and of
         equilif_golden unless the result compares both: the default tests prove that the model is the RTL
results  what its networks compute for a few samples; in place of equilif_golden and equilif
code     the modules that compute it and all modules that they import, without comments and docstrings, and
         without those that define boards
boards   in their place, engine, clock, links and memories of the boards that it names and does not build

A record has the digest of each (:func:`digest`).  It is current as long as they are equal to those of the
tree.  INPUTS is the table of all records, CLAIMS that of claims.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "records" / "digests.json"
#: packages of the project, and their folders
FOLDERS = {
    "benchmarks": "benchmarks",
    "equilif": "equilif",
    "equilif_boards": "boards/equilif_boards",
    "equilif_golden": "golden/equilif_golden",
    "equilif_hdl": "hdl/equilif_hdl",
    "equilif_sim": "sim/equilif_sim",
    "tests": "tests",
}
HARDWARE = ("equilif_golden", "equilif_hdl", "equilif_boards")  #: packages that designs come from
#: modules that another one loads by name, and files that it reads
LOADED = {
    "equilif.commands": "equilif/commands/*.py",
    "equilif.data": "equilif/data/sets/*.py",
    "equilif.hardware.driver": "equilif/hardware/driver/driver.*",
    "equilif.training.settings.presets": "equilif/presets/**/*.toml",
    "equilif.training.storage.pretrained": "equilif/models/*.*",
    "equilif_hdl": "hdl/equilif_hdl/*.v",
    "equilif_sim": "sim/equilif_sim/*.v",
}
WRITERS = {"board_pages", "evidence", "explained", "literature", "pages", "records"}
#: modules that write and show records: no result depends on them
BOOKKEEPING = {f"benchmarks.{name}" for name in WRITERS | {"claims", "inputs", "registry"}} | {
    "benchmarks",
    "equilif.show.console",
}
#: what a result depends on of a board that it does not build
BOARD_DATA = "clock_hz config frame_bytes link max_samples network other_links sdram state_ram".split()
NO_CODE = {"ctx", "kind", "returns", "type_comment"}  #: fields of a syntax tree
LENGTH = 12  #: hexadecimal digits of a digest


class RecordInputs(NamedTuple):
    """Inputs of a result.

    ``code``: patterns of files.  ``designs``: functions that return RTLIL or files of a build.  ``results``:
    functions whose return value is compared.  ``compares``: RTL with the golden model.  ``boards``: names of
    boards that ``code`` takes from the table of all boards and does not build.
    """

    code: Sequence[str] = ()
    designs: Sequence[Callable[[], str]] = ()
    results: Sequence[Callable[[], Any]] = ()
    compares: bool = False
    boards: Sequence[str] = ()


# -- code ------------------------------------------------------------------------------------------
def _path(module: str) -> Path | None:
    """File of a module of the project."""
    top, *rest = module.split(".")
    if top not in FOLDERS:
        return None
    place = (ROOT / FOLDERS[top]).joinpath(*rest)
    found = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in found if path.is_file()), None)


def _module(path: Path) -> str:
    """Inverse of :func:`_path`."""
    for package, folder in FOLDERS.items():
        if path.is_relative_to(ROOT / folder):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            return ".".join((package, *(part for part in parts if part != "__init__")))
    raise ValueError(f"{path} is in no package of {', '.join(FOLDERS)}")


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_for_types(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in ("__future__", "collections.abc", "typing")
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def content(node: Any) -> Any:
    """Syntax tree in lists, without docstrings, positions, types of parameters and imports for types."""
    if isinstance(node, list):
        return [content(item) for item in node if not (_is_docstring(item) or _is_for_types(item))]
    if not isinstance(node, ast.AST):
        return repr(node)
    left_out = NO_CODE | ({"annotation"} if isinstance(node, ast.arg) else set())
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return [type(node).__name__, *((name, content(value)) for name, value in fields if name not in left_out)]


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if _is_for_types(child):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from _imports(child)


class Module(NamedTuple):
    """``digest``: of its code and of the files that it reads; ``imports``: modules of the project."""

    digest: str
    imports: frozenset[str]


@cache
def _read(module: str) -> Module | None:
    """A module; None for one that is not of the project."""
    path = _path(module)
    if path is None:
        return None
    tree = ast.parse(path.read_text())
    found = {name for name in _imports(tree) if _path(name)}
    parts = module.split(".")
    found |= {".".join(parts[:n]) for n in range(1, len(parts))}
    loaded = sorted(ROOT.glob(LOADED[module])) if module in LOADED else []
    found |= {_module(file) for file in loaded if file.suffix == ".py"}
    others = [file.read_bytes().hex() for file in loaded if file.suffix != ".py"]
    return Module(_hash(json.dumps([content(tree), others])), frozenset(found))


@cache
def _board_definitions() -> frozenset[str]:
    """Modules that define boards: those that the table of all boards imports."""
    table = _read("equilif_boards")
    assert table is not None
    found = {name for name in table.imports if name.startswith("equilif_boards.")}
    return frozenset(found - {"equilif_boards.board"})


def imported(roots: Iterable[str], without: tuple[str, ...] = ()) -> dict[str, Module]:
    """``roots`` and all modules that they import, except those of the packages ``without`` and those that
    define boards.
    """
    found: dict[str, Module] = {}
    left = list(roots)
    while left:
        name = left.pop()
        is_root = name in roots
        left_out = name in BOOKKEEPING | _board_definitions() or name.partition(".")[0] in without
        if name in found or left_out and not is_root:
            continue
        module = _read(name)
        if module is not None:
            found[name] = module
            left += () if left_out else module.imports
    return found


def code(patterns: Iterable[str], without: tuple[str, ...] = ()) -> str:
    """Digest of modules and of all that they import; ValueError for a pattern without a file."""
    roots = set()
    for pattern in patterns:
        files = sorted(ROOT.glob(pattern))
        if not files:
            raise ValueError(f"no file {pattern}: correct benchmarks/inputs.py")
        roots |= {_module(file) for file in files}
    modules = imported(roots, without)
    return _hash(json.dumps(sorted((name, module.digest) for name, module in modules.items())))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


# -- designs ---------------------------------------------------------------------------------------
def _benchmark(name: str) -> Any:
    """A module of benchmarks, which imports this one."""
    return import_module(f"benchmarks.{name}")


def rtlil(make: Callable[[], Any]) -> str:
    """RTLIL of a design without source locations."""
    return str(import_module("amaranth.back.rtlil").convert(make(), name="top", emit_src=False))


def engine(config: Any, kind: str = "engine.engine.Engine") -> str:
    """Digest of the RTLIL of an engine."""
    module, _, name = kind.rpartition(".")
    make = partial(getattr(import_module(f"equilif_hdl.{module}"), name), config)
    return str(stored(f"{kind}: {config}", HARDWARE, lambda: _hash(rtlil(make))))


def board(name: str, front_end: str = "", *, sdram: bool = False) -> str:
    """Digest of the files from which the tools build a board."""

    def files() -> str:
        found = import_module("equilif_boards").BOARDS[name]
        if front_end:
            found = found.with_front_end(front_end)
        if sdram:
            found = found.with_sdram()
        return _hash(json.dumps(import_module("equilif_boards.build").BuildPlan.of(found).files))

    return str(stored(f"board: {name} {front_end}{'sdram' * sdram}", HARDWARE, files))


def _board_data(name: str) -> str:
    board = import_module("equilif_boards").BOARDS[name]
    return repr({field: getattr(board, field) for field in BOARD_DATA})


def _engines(name: str) -> list[Callable[[], str]]:
    """Designs of a table of engines in the campaign."""
    return [partial(engine, config) for config in getattr(_benchmark("campaign"), name).values()]


# -- the table -------------------------------------------------------------------------------------
def _few_samples(*commands: str) -> list[Callable[[], Any]]:
    """Results of the networks that commands train."""
    return [partial(_benchmark("training").few_samples, command) for command in commands]


def _accuracy(name: str) -> RecordInputs:
    command = _benchmark("claims").NETWORKS[name].command
    return RecordInputs([_benchmark("training").loader(command)], results=_few_samples(command))


def _board(name: str, *code: str) -> RecordInputs:
    """A build, and cycles of a network that has learned MNIST."""
    sizes = import_module("equilif_boards").BOARDS[name].network[1:-1]
    command = "equilif train mnist" + "".join(f" --hidden {size}" for size in sizes)
    return RecordInputs(
        [*code, "golden/equilif_golden/link/*.py"], [partial(board, name)], _few_samples(command)
    )


def _few(module: str, *code: str) -> Callable[[str], RecordInputs]:
    """A benchmark with a function that learns a few samples."""
    return lambda entry: RecordInputs(
        [f"benchmarks/{module}.py", *code], results=[partial(_benchmark(module).few_samples, entry)]
    )


def _synthesised(module: str) -> Callable[[str], RecordInputs]:
    """A benchmark with a function that returns its designs."""
    return lambda _: RecordInputs([f"benchmarks/{module}.py"], _benchmark(module).designs())


def _target(name: str) -> RecordInputs:
    """A target of mutation testing, how its mutants are made, and how they are proven equivalent."""
    found = _bench(name)
    makes = ["sim/equilif_sim/mutate.py", "sim/equilif_sim/equivalence.py", "sim/equilif_sim/forked.py"]
    return found._replace(code=[*makes, *found.code])


def _bench(name: str) -> RecordInputs:
    """Design and bench of a target of mutation testing."""
    target = _benchmark("mutants").TARGETS[name]
    if target.trials:
        first = target.trials[0]
        bench = getattr(first, "func", first).__module__.replace(".", "/") + ".py"
    elif target.bench:
        bench = f"sim/equilif_sim/{target.bench.replace('.', '/')}.py"
    else:
        bench = "benchmarks/mutant_programs.py"
    is_engine = not (target.bench or target.trials)
    return RecordInputs(
        [bench], [partial(engine, target.config) if is_engine else partial(rtlil, target.make)]
    )


def _covered(name: str) -> RecordInputs:
    if name in _benchmark("coverage").ENGINES:
        return RecordInputs(["benchmarks/campaign.py"], _target(f"engine {name}").designs)
    return _bench(name)


def _code(*patterns: str, boards: Sequence[str] = ()) -> Callable[[], RecordInputs]:
    return lambda: RecordInputs(patterns, boards=boards)


def _trained(command: str, *patterns: str) -> Callable[[], RecordInputs]:
    return lambda: RecordInputs(patterns, results=_few_samples(command))


def _on_engines() -> RecordInputs:
    return RecordInputs(["tests/engine/test_engine.py"], _engines("PLAIN"), compares=True)


_MNIST = ("equilif/bench/*.py", "equilif/data/sets/images.py")
_GRADIENT = ("equilif/training/analysis/gradient.py", "golden/equilif_golden/real/*.py")
CLAIMS: dict[str, Callable[[], RecordInputs]] = {
    "random-programs": _on_engines,
    "same-bits": _on_engines,
    "cycles": _on_engines,
    "kernel": _code("tests/test_kernel.py"),
    "accumulators": _code("tests/test_kernel.py"),
    "blocks": _code("tests/blocks/test_*.py"),
    "primitives-proven": _code("tests/formal/test_*.py"),
    "proofs-long": _code("tests/formal/test_*.py"),
    "netlists-proven": _code("tests/formal/test_netlist.py"),
    "netlist-ice40": _code("tests/engine/test_netlist.py", boards=["icebreaker"]),
    "netlist-ecp5": _code("tests/engine/test_netlist.py"),
    "netlist-gowin": _code("tests/engine/test_netlist.py", boards=["tang-nano-9k", "tang-nano-20k"]),
    "bad-frames": _code("tests/link/test_host.py"),
    "checker": _code("tests/engine/test_checker.py"),
    "bus": _code("tests/link/test_bus.py"),
    "sdram": _code("tests/test_sdram.py"),
    "power-cuts": _code("tests/link/test_standalone_rtl.py"),
    "resets": _code("tests/engine/test_faults.py"),
    "bad-line": _code("tests/host/test_simulated.py", boards=["icebreaker"]),
    "bad-port": _code("tests/host/test_hostile_host.py", boards=["icebreaker"]),
    "pages": _code("tests/repository/test_docs.py"),
    "digits": _trained("equilif train digits"),
    "digits-rtl": _code("equilif/hardware/verify.py", "equilif/data/sets/images.py"),
    "gradient": _trained("equilif train digits", *_GRADIENT),
    "methods": _trained("equilif train digits --hidden 64 --hidden 32", *_GRADIENT),
    "cost-of-learning": _code("benchmarks/paper.py"),
    "recall": _code("equilif/training/analysis/recall.py"),
    "rates": _code("equilif/training/backends/rates.py", "equilif/training/settings/presets.py"),
    "fine-tuning": _code("benchmarks/fine_tuning.py"),
    "against-backpropagation": _trained("equilif train digits", *_MNIST),
    "against-backpropagation-deep": _trained(
        "equilif train digits --hidden 64 --hidden 32 --hidden 16", *_MNIST
    ),
    "against-backpropagation-maps": _trained(
        "equilif train digits --hidden conv:16 --hidden conv:32 --epochs 8", *_MNIST
    ),
    "rate-convergence": _code("benchmarks/paper.py"),
    "state-memory": _code("benchmarks/paper.py"),
    "embedding-table": _code("benchmarks/tables.py", boards=["ulx3s-85f"]),
    "rates-of-self-attention": _code("benchmarks/self_attention.py", boards=["ulx3s-85f-maps"]),
    "energy": _code("equilif/hardware/energy.py", "equilif/hardware/verify.py"),
    "interchange": _code("benchmarks/interchange.py"),
    "speed": _code(*_MNIST),
    "speed-compiled": _code(*_MNIST),
    "bitstream": lambda: RecordInputs(["boards/equilif_boards/build.py"], [partial(board, "icebreaker")]),
}

INPUTS: dict[str, Callable[[str], RecordInputs]] = {
    "accuracy": _accuracy,
    "standalone": lambda name: _board(name, "benchmarks/standalone.py", "equilif/host/store.py"),
    "amd": _synthesised("amd"),
    "area": _synthesised("area"),
    "boards": lambda name: _board(name, "benchmarks/boards.py", "boards/equilif_boards/build.py"),
    "campaign": lambda _: RecordInputs(["benchmarks/campaign.py"], _engines("ENGINES"), compares=True),
    "claims": lambda name: CLAIMS[name](),
    "continual": _few("continual", "equilif/bench/compiled_backpropagation.py"),
    "coverage": _covered,
    "front end": lambda name: RecordInputs(["boards/equilif_boards/build.py"], [partial(board, name, "pdm")]),
    "flips": lambda _: RecordInputs(["benchmarks/flips.py"], results=_few_samples("equilif train digits")),
    "streams": _few("streams"),
    "endurance": lambda _: RecordInputs(
        ["benchmarks/endurance.py"], results=_few_samples("equilif train digits")
    ),
    "updates": lambda _: RecordInputs(["benchmarks/updates.py"], boards=_benchmark("updates").BOARDS),
    "mutants": _target,
    "sdram": lambda _: RecordInputs(
        ["benchmarks/sdram.py"], _benchmark("sdram").designs(), boards=_benchmark("sdram").TRAINED
    ),
    "sdram boards": lambda name: RecordInputs(
        ["boards/equilif_boards/build.py"], [partial(board, name, sdram=True)]
    ),
    "sdram maps": lambda _: RecordInputs(
        ["benchmarks/sdram.py"],
        [partial(engine, _benchmark("sdram").maps_board().config)],
        _few_samples(_benchmark("sdram").MAPS_COMMAND),
        boards=["ulx3s-85f-maps"],
    ),
    "sdram samples": lambda name: _board(
        name, "benchmarks/standalone.py", "hdl/equilif_hdl/link/flash_cache.py", "hdl/equilif_hdl/sdram.py"
    ),
    "proofs": lambda name: CLAIMS[name](),
}


# -- digests ---------------------------------------------------------------------------------------
def computed(record: str, entry: str) -> dict[str, str]:
    """Digest of each kind of inputs of an entry."""
    found = INPUTS[record](entry)
    out = {}
    if found.designs:
        out["rtl"] = _hash(json.dumps([_hash(design()) for design in found.designs]))
    if found.results:
        out["results"] = _hash(json.dumps([result() for result in found.results]))
    if found.boards:
        out["boards"] = _hash(json.dumps([_board_data(name) for name in found.boards]))
    if found.code:
        without = ("equilif_hdl",) * bool(found.designs)
        without += ("equilif_golden",) * bool(found.results or found.designs and not found.compares)
        without += ("equilif",) * bool(found.results)
        out["code"] = code(found.code, without)
    return out


@cache
def tree(packages: Iterable[str]) -> str:
    """Digest of all files of packages that a digest may depend on."""
    h = hashlib.sha256()
    left_out = {ROOT / "benchmarks" / f"{name}.py" for name in WRITERS}
    for path in sorted(path for package in packages for path in (ROOT / FOLDERS[package]).rglob("*")):
        if path.suffix not in {".json", ".md", ".pyc"} and path not in left_out and path.is_file():
            h.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return h.hexdigest()


@cache
def _known() -> dict[str, list[Any]]:
    """Tree and result of each name."""
    try:
        known: dict[str, list[Any]] = json.loads(CACHE.read_text())
    except (OSError, ValueError):
        return {}
    return known


def stored(name: str, packages: Iterable[str], compute: Callable[[], Any]) -> Any:
    """A result of ``compute``, once for a state of the packages."""
    known = _known()
    now = tree(tuple(packages))
    if known.get(name, [""])[0] != now:
        known[name] = [now, compute()]
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        CACHE.write_text(json.dumps(known))
    return known[name][1]


def digest(record: str, entry: str = "") -> dict[str, str]:
    """Digest of each kind of inputs of an entry."""
    found: dict[str, str] = stored(f"{record}: {entry}", FOLDERS, partial(computed, record, entry))
    return found

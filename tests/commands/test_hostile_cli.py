"""Every command with bad options, damaged files and hostile environments.

Property: within a time limit a command ends with exit code 0 and a result, or with exit code 2, one line on
standard error and no file written.  Cases are generated from the commands: a new option is tested by its
type, a new command needs an entry in BASES.

Slow tools (Yosys, Verilator, place and route) are hidden, so a command that would call them ends with an
error.  Other tests cover what happens after that.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import itertools
import json
import os
import pty
import random
import shutil
import signal
import string
import subprocess
import sys
import threading
import traceback
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equilif import cli
from equilif.commands.options import FileUse
from equilif.training.settings.presets import FOLDER
from equilif_golden import network
from equilif_sim import verilated
from tests.data_files import write_random
from tests.files import content
from tests.hostile import spoil
from tests.runs import sweep_in_process

LIMIT = 60.0  #: time limit of a case in seconds
SOON = 2.0  #: seconds until a long run is interrupted


# -- outcome of a case -----------------------------------------------------------------------------
class Hang(BaseException):
    """A case exceeded its time limit."""


@dataclass
class CommandExit:
    """Exit of a command; ``crash``: traceback of an unexpected exception."""

    code: int
    out: str
    err: str
    crash: str = ""


def call(arguments: Sequence[str], *, limit: float = LIMIT, interrupt: float | None = None) -> CommandExit:
    """Run a command in this process; send Ctrl-C after ``interrupt`` seconds."""

    def alarm(*_: object) -> None:
        raise KeyboardInterrupt if interrupt else Hang

    out = io.StringIO()
    err = io.StringIO()
    code = 0
    crash = ""
    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, interrupt or limit)
    try:
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
                warnings.simplefilter("default")  # printed as a user sees them
                warnings.showwarning = _print_warning
                cli.app(list(arguments))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)  # a later alarm would end the tests
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except Hang:
        crash = f"it took longer than {limit} s"
    except BaseException:
        crash = traceback.format_exc()
    finally:
        signal.signal(signal.SIGALRM, before)
    return CommandExit(code, out.getvalue(), err.getvalue(), crash)


def _print_warning(message: Any, category: type[Warning], *_: object, **__: object) -> None:
    """Print numerical warnings (division by zero, overflow), not those of packages about their code."""
    if not issubclass(category, DeprecationWarning | PendingDeprecationWarning | FutureWarning):
        print(f"{category.__name__}: {message}", file=sys.stderr)


def judge(
    arguments: Sequence[str], folder: Path, *, codes: Sequence[int] = (0,), interrupt: float | None = None
) -> CommandExit:
    """Check the property for a case; ``codes``: exit codes of success."""
    before = content(folder)
    printed = folder / "printed.json"
    done = call([*arguments, "--json", str(printed)], interrupt=interrupt)
    report = f"equilif {' '.join(map(repr, arguments))}\n{done.code}\n{done.out}\n{done.err}\n{done.crash}"
    assert not done.crash, report
    assert "Traceback" not in done.err, report
    if interrupt is not None and done.code == 130:
        assert done.err == "error: interrupted\n", report
        return done
    if done.code == 2:
        lines = done.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) > 12, report
        assert not [w for w in ("[Errno", ".part", "weights_only", "allow_pickle") if w in done.err], report
        assert content(folder) == before, report
        return done
    assert done.code in codes and not done.err, report
    found = json.loads(printed.read_text())
    assert found["command"] == arguments[0], report
    for name in found.get("files") or ():  # promised files exist
        assert (folder / found.get("out", arguments[1]) / name).is_file() or Path(name).is_file(), report
    assert not list(folder.rglob("*.part")), report
    return done


# -- the commands ----------------------------------------------------------------------------------
@dataclass
class Parameter:
    """An argument or option of a command, as declared."""

    name: str
    option: str  #: empty: an argument
    kind: type
    use: str  #: of the file that it names: input, output, changed, or empty
    limits: tuple[float | None, float | None]


#: fast arguments, by command and parameter; files are those of the fixture ``template``
BASES: dict[str, dict[str, str | None]] = {
    "inspect": {"path": "table.csv", "--label": "kind", "--out": "out"},
    "train": {"data": "digits", "--epochs": "1", "--hidden": "4", "--out": "out"},
    "evaluate": {"network": "net.npz", "data": "digits"},
    "verify": {"data": "digits", "--samples": "2"},
    "init": {"data": "digits", "--out": "new.toml"},
    "show": {"network": "net.toml", "data": "digits", "--out": "net.md"},
    "recall": {"data": "digits", "--stored": "8", "--steps": "2", "--out": "out"},
    "attention": {"network": "net.npz"},
    "gradient": {"data": "digits", "--epochs": "1", "--samples": "4"},
    "report": {"run": "run", "--out": "out.html"},
    "listen": {"network": "net.npz"},
    "stream": {"source": "table.csv", "--label": "kind", "--hidden": "4", "--out": "out.jsonl"},
    "train-rates": {
        "data": "digits",
        "--hidden": "4",
        "--epochs": "1",
        "--set": "rates.batch_size=512",
        "--out": "out",
    },
    "train-text": {
        "texts": "letters.txt",
        "--layers": "1",
        "--positions": "4",
        "--features": "4",
        "--heads": "2",
        "--hidden": "4",
        "--epochs": "1",
        "--set": "text.steps=2",
        "--out": "out",
    },
    "generate": {"network": "letters/network.npz", "--length": "3"},
    "deploy": {"run": "rates", "--steps": "4", "--samples": "2"},
    "energy": {"data": "digits", "--samples": "1"},
    "models": {},
    "program": {"network": "net.npz"},
    "boards": {},
    "build": {"board": "icebreaker"},
    "flash": {"board": "icebreaker", "--bitstream": "text.txt"},
    "simulate": {"board": "icebreaker"},
    "ports": {},
    "identify": {"--port": "text.txt"},
    "check": {"--port": "text.txt"},
    "save": {"out": "saved.npz", "--like": "net.npz", "--port": "text.txt"},
    "restore": {"network": "net.npz", "--port": "text.txt"},
    "upload": {"data": "digits", "--hidden": "4", "--out": "begin.npz", "--port": "text.txt"},
    "standalone": {"--port": "text.txt"},
    "export": {"out": "out", "--lanes": "2", "--tiles": "4"},
    "demo": {"--epochs": "1", "--samples": "1", "--skip-bitstream": None, "--out": "out"},
    "info": {},
    "bench": {"part": "others", "--out": "out"},
    "lab": {"--out": "lab.html"},
    "convert": {"source": "net.npz", "target": "out.nir"},
    "sweep": {"grid": "grid.toml", "--out": "out"},
}
#: commands that end where they call a tool or a board
HIDDEN = {
    *("attention", "listen", "verify", "energy", "build", "flash", "simulate", "identify", "check", "save"),
    *("restore", "export", "upload", "standalone", "lab"),
}
#: commands that report failures with exit code 1
PARTIAL = {"demo", "sweep"}
#: options that set the length of a run
ENDLESS = {"--epochs", "--every"}


def callbacks() -> dict[str, Callable[..., Any]]:
    """The function of every command."""
    found = {}
    for command in cli.load():
        assert command.callback is not None
        found[command.name or command.callback.__name__.rstrip("_").replace("_", "-")] = command.callback
    return found


def parameters(callback: Callable[..., Any]) -> list[Parameter]:
    found = []
    for name, parameter in inspect.signature(callback, eval_str=True).parameters.items():
        hint = parameter.annotation
        kind, *metadata = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        info = metadata[0] if metadata else None
        option = ""
        if type(info).__name__ != "ArgumentInfo":
            declared = [d for d in getattr(info, "param_decls", None) or () if d.startswith("--")]
            option = declared[0].partition("/")[0] if declared else f"--{name.replace('_', '-')}"
        assert parameter.kind is not parameter.VAR_POSITIONAL
        use = next((m.kind for m in metadata if isinstance(m, FileUse)), "")
        limits = (getattr(info, "min", None), getattr(info, "max", None))
        found.append(Parameter(name, option, _plain(kind), use, limits))
    return found


def _plain(kind: Any) -> type:
    """int of ``int | None`` and ``list[int]``."""
    while typing.get_args(kind):
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    assert isinstance(kind, type)
    return kind


COMMANDS = {name: parameters(callback) for name, callback in callbacks().items()}


def words(command: str, chosen: dict[str, str | None]) -> list[str]:
    """A command line: arguments, then options."""
    line = [command]
    for p in COMMANDS[command]:
        if not p.option and p.name in chosen:
            line.append(str(chosen[p.name]))
    for name, value in chosen.items():
        if name.startswith("-"):
            line += [name] if value is None else [f"{name}={value}"]
    return line


# -- values ----------------------------------------------------------------------------------------
LONG = "x" * 300
WHOLE = (
    *("-1", "0", "1.5", "", "x", "nan", "inf", "1e3", "-2147483649", "2147483648", "9" * 25),
    *("٣", "0x10", "3"),
)
REAL = ("-1", "0", "nan", "inf", "-inf", "1e308", "1e-308", "-0.0", "", "x", "1,5", "1e9999", "0.3")
TEXT = (
    *("", " ", "x", "[/x]", "[bold]x", "a\nb", "\x1b[31m", "ü✓", LONG, "-", "../..", "%s{0}"),
    *("0-0", "64-5-10"),
)
CHOICE = ("", "x", "DIGITS", "[/x]", "digits\n", "-1")
INPUT = (
    *"nowhere nowhere/x folder empty text.txt picture.png half.npz binary loop dangling text.txt/x".split(),
    *"/dev/null /proc/self/mem / . [/x] ü✓ net.nir net.npz run rates mnist grid.toml table.csv".split(),
    *("net.toml", "", " ", "a\nb", LONG),
)
OUTPUT = (
    *"folder text.txt text.txt/x loop loop/x dangling net.npz new/new/new".split(),
    *"/proc/x /proc/x/y /dev/null /dev/null/x . [/x] [bold]x ü✓".split(),
    *("", "a\nb", LONG),
)


def values(p: Parameter) -> tuple[str, ...]:
    if p.kind is bool:
        return ()
    if issubclass(p.kind, Enum):
        return CHOICE
    if p.use and p.kind is str:  # a name, or a path
        return (*CHOICE, *INPUT)
    if p.kind is Path:
        return INPUT if p.use == "input" else OUTPUT
    return {int: WHOLE, float: REAL, str: TEXT}[p.kind]


#: values outside of limits that depend on other options, by parameter
BEYOND = {
    "lanes": ("0", "3", "64"),
    "weights": ("0", "9" * 9),
    "clock": ("0", "inf", "23.9"),
    "baud": ("0", "9" * 12),
    "seed": ("9" * 20,),
    "retries": ("9" * 9,),
}


def refused(p: Parameter) -> list[str]:
    """Values of a number that its type or limits refuse, one step outside of each limit among them."""
    if p.kind not in (int, float):
        return ["x"] if issubclass(p.kind, Enum) else []
    steps = [limit + way for limit, way in zip(p.limits, (-1, 1), strict=True) if limit is not None]
    return [*map(str, steps), "-1", "x", "", "nan", *["1.5"] * (p.kind is int), *BEYOND.get(p.name, ())]


@dataclass(frozen=True)
class CommandCase:
    command: str
    changed: tuple[tuple[str, str | None], ...]

    def __str__(self) -> str:
        return " ".join([self.command, *(f"{n}={v!r}"[:40] for n, v in self.changed)])


def every_case() -> list[CommandCase]:
    """One bad value per case, for every parameter of every command."""
    return [
        CommandCase(command, ((p.option or p.name, value),))
        for command, found in COMMANDS.items()
        for p in found
        if p.name != "json"
        for value in values(p)
    ]


def some_cases() -> list[CommandCase]:
    """One case for every parameter; its values rotate."""
    some = []
    for _, group in itertools.groupby(every_case(), lambda c: (c.command, c.changed[0][0])):
        cases = list(group)
        some.append(cases[(7 * len(some)) % len(cases)])
    return some


# -- files -----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file of every kind that commands read."""
    folder = tmp_path_factory.mktemp("template")
    net = network.Network.chain(64, 8, 10)
    network.save(folder / "net.npz", net, net.initial_weights())
    (folder / "letters.txt").write_text(string.ascii_letters * 20)
    with contextlib.chdir(folder):
        for line in (
            " ".join(words("train-text", BASES["train-text"] | {"--out": "letters"})),
            "train digits --epochs 1 --hidden 4 --out run",
            "train-rates digits --epochs 1 --hidden 4 --set rates.batch_size=512 --out rates",
            "convert net.npz net.nir",
            "evaluate net.npz digits",  # compiles the kernel
        ):
            done = call(line.split(), limit=300)
            assert done.code == 0 and not done.crash, f"{line}: {done.err}{done.crash}"
    write_random(folder / "mnist" / "MNIST" / "raw", 28, 20, 10)
    (folder / "folder" / "within").mkdir(parents=True)
    (folder / "empty").write_bytes(b"")
    (folder / "text.txt").write_text("hello\n")
    rows = "".join(f"{k},{k % 3 - 1.5},{'xy'[k % 2]}\n" for k in range(12))
    (folder / "table.csv").write_text(f"a,b,kind\n{rows}")
    (folder / "binary").write_bytes(np.random.default_rng(0).bytes(3000))
    (folder / "picture.png").write_bytes((folder / "run" / "learning_curve.png").read_bytes())
    (folder / "half.npz").write_bytes((folder / "net.npz").read_bytes()[:-300])
    (folder / "grid.toml").write_text("hidden = [4]\nepochs = 1\nsamples = 2\nlanes = [2]\n")
    shutil.copy(FOLDER / "digits.toml", folder / "net.toml")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("not/here")
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template as working folder; tools are hidden, sweeps run in this process."""
    shutil.copytree(template, tmp_path / "w", symlinks=True)
    monkeypatch.chdir(tmp_path / "w")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    # and no cached engine
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(verilated, "_build", verilated._build.__wrapped__)
    for tool in ("YOSYS", "NEXTPNR_ICE40", "NEXTPNR_ECP5", "OPENFPGALOADER"):
        monkeypatch.setenv(tool, "no-such-tool")
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "system")
    monkeypatch.setenv("COLUMNS", "100")
    sweep_in_process(monkeypatch)
    return tmp_path / "w"


def renew(folder: Path, template: Path) -> None:
    """Undo what a case has changed."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True)


# -- options ---------------------------------------------------------------------------------------
def test_all_commands_are_covered():
    assert set(BASES) == set(COMMANDS), "a new command needs a base, to be tried with bad values"
    assert len(some_cases()) >= 130 and len(every_case()) >= 1000


@pytest.mark.parametrize("command", BASES)
def test_base_command_works(command, folder):
    done = judge(words(command, BASES[command]), folder, codes=(0, 1) if command in PARTIAL else (0,))
    assert (done.code == 2) == (command in HIDDEN), done


def check(case: CommandCase, folder: Path) -> None:
    changed = dict(case.changed)
    line = words(case.command, {**BASES[case.command], **changed})
    long = SOON if ENDLESS & set(changed) else None
    judge(line, folder, codes=(0, 1) if case.command in PARTIAL else (0,), interrupt=long)


@pytest.mark.parametrize("command", [c for c, found in COMMANDS.items() if any(map(refused, found))])
def test_declared_limits(command, folder):
    """Refused, with the name of the option, before anything else happens."""
    before = content(folder)
    for p in COMMANDS[command]:
        for value in refused(p):
            done = call(words(command, BASES[command] | {p.option or p.name: value}))
            named = p.name in done.err.replace("-", "_") or p.option in done.err
            assert (done.code, done.crash) == (2, "") and (
                named or "MHz" in done.err or command == "listen"
            ), (p.option, value, done)
            assert done.err.startswith("error: ") and done.err.count("\n") == 1, (p.option, value, done)
    assert content(folder) == before


@pytest.mark.sampled(90)
@pytest.mark.parametrize("case", some_cases(), ids=str)
def test_bad_value_sample(case, folder):
    check(case, folder)


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_every_bad_value(command, folder, template):
    for case in every_case():
        if case.command == command:
            check(case, folder)
            renew(folder, template)


# -- files -----------------------------------------------------------------------------------------
STRANGE = (None, True, -1, 1.5, 1e308, 2**70, "", "[/x]", "\udcff", LONG, [], {"x": 1}, [[[]]])


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all nodes of a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from nodes(below, (*path, key))


def spoil_value(value: Any, rng: random.Random) -> Any:
    """Replace, remove or add a node."""
    *path, last = rng.choice(list(nodes(value))) or (None,)
    if last is None:
        return rng.choice(STRANGE)
    at = functools.reduce(lambda inner, key: inner[key], path, value)
    what = rng.random()
    if what < 0.2:
        del at[last]
    elif what < 0.3 and isinstance(at, dict):
        at[rng.choice(("x", "", "size", "data"))] = rng.choice(STRANGE)
    else:
        at[last] = rng.choice(STRANGE)
    return value


def spoil_bytes(path: Path, rng: random.Random) -> None:
    path.write_bytes(spoil(path.read_bytes(), rng))


def spoil_json(path: Path, rng: random.Random) -> None:
    text = json.dumps(spoil_value(json.loads(path.read_bytes()), rng))
    path.write_bytes(rng.choice((text.encode(), text.encode(), text.encode("utf-16"), b"[" * 200_000)))


def spoil_npz(path: Path, rng: random.Random) -> None:
    """A network file with another array or description."""
    with np.load(path) as saved:
        arrays = dict(saved)
    name = rng.choice([n for n in arrays if arrays[n].dtype.kind != "U"])
    w = arrays[name]
    described = json.dumps(spoil_value(json.loads(str(arrays["network"])), rng))
    changes: tuple[dict[str, Any], ...] = (
        *({name: w.astype(kind)} for kind in (np.float16, bool, np.complex64, "S8", object)),
        *({name: a} for a in (w / 4096, w.astype(int) + 40_000, w.T, w[:-1], w[..., None], np.array(0))),
        *({"network": np.array(text)} for text in ("{}", 7, ["a", "b"], *[described] * 5)),
        {"more": w},
    )
    np.savez_compressed(path, **arrays | rng.choice(changes))


def spoil_toml(path: Path, rng: random.Random) -> None:
    """A value replaced, or a line removed, repeated or moved."""
    lines = path.read_text().splitlines()
    k = rng.choice([n for n, line in enumerate(lines) if line and not line.startswith("#")])
    key = lines[k].partition("=")[0]
    strange = """ "" "x" [] [[]] -1 0 1.5 nan inf true 1979-05-27 {x=1} [1,'a'] 99999999999999999999999 = """
    value = f"{key} = {rng.choice(strange.split())}"
    spoilt: tuple[list[str], ...] = ([value], [value], [], [lines[k]] * 2, [lines[k], "x = 1"], ["[phases]"])
    path.write_text("\n".join([*lines[:k], *rng.choice(spoilt), *lines[k + 1 :]]))


RAW = "mnist/MNIST/raw"
RECALL = "recall mnist --data mnist --stored 5 --steps 1 --out out"
TRAIN = "train mnist --data mnist --epochs 1 --hidden 4 --out out"
#: a file, what spoils it, and a command that reads it
READERS: tuple[tuple[str, Callable[[Path, random.Random], None], str], ...] = (
    ("net.npz", spoil_npz, "evaluate net.npz digits"),
    ("net.npz", spoil_npz, "verify digits --network net.npz --samples 1"),
    ("net.npz", spoil_npz, "attention net.npz"),
    ("net.npz", spoil_npz, "restore net.npz --port text.txt"),
    ("run/network.npz", spoil_npz, "train digits --resume --epochs 2 --out run"),
    ("run/history.json", spoil_json, "train digits --resume --epochs 2 --out run"),
    ("run/history.json", spoil_json, "evaluate run/network.npz"),
    ("run/history.json", spoil_json, "report run --out out.html"),
    ("rates/history.json", spoil_json, "report rates --out out.html"),
    ("rates/history.json", spoil_json, "train-rates digits --resume --epochs 2 --out rates"),
    ("rates/rates.pt", spoil_bytes, "train-rates digits --resume --epochs 2 --out rates"),
    ("rates/rates.pt", spoil_bytes, "deploy rates --steps 4 --samples 2"),
    ("letters/history.json", spoil_json, "train-text --resume --epochs 2 --out letters"),
    ("letters/network.npz", spoil_npz, "generate letters --length 2"),
    ("net.nir", spoil_bytes, "convert net.nir out.npz"),
    (f"{RAW}/train-images-idx3-ubyte", spoil_bytes, RECALL),
    (f"{RAW}/train-labels-idx1-ubyte", spoil_bytes, TRAIN),
    ("grid.toml", spoil_toml, "sweep grid.toml --out out"),
    ("net.toml", spoil_toml, "show net.toml digits"),
    ("net.toml", spoil_toml, "train digits --config net.toml --epochs 1 --out out"),
    ("net.npz", spoil_npz, "show net.npz --out net.md"),
    ("swept/points/*.json", spoil_json, "sweep grid.toml --out swept"),
)
NAMES = [f"{file} {line.split()[0]}" for file, _, line in READERS]


def check_spoilt(reader: int, seed: int, folder: Path) -> None:
    file, spoil, line = READERS[reader]
    if file.startswith("swept"):  # a point that could not be measured, as the tools are hidden
        call(line.split())
    (path,) = folder.glob(file)
    if seed % 2:
        spoil = spoil_bytes
    spoil(path, random.Random(f"{reader} {seed}"))
    judge(line.split(), folder, codes=(0, 1) if line.startswith("sweep") else (0,))


@pytest.mark.sampled(30)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("reader", range(len(READERS)), ids=NAMES)
def test_damaged_file(reader, seed, folder):
    check_spoilt(reader, seed, folder)


@pytest.mark.long
@pytest.mark.parametrize("reader", range(len(READERS)), ids=NAMES)
def test_many_damaged_files(reader, folder, template):
    for seed in range(100, 130):
        check_spoilt(reader, seed, folder)
        renew(folder, template)


# -- environments ----------------------------------------------------------------------------------
#: what a shell does before the command, and what it changes
ENVIRONMENTS = {
    "an ASCII locale": "export LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
    "no environment": "export -n $(env | cut -d= -f1 | grep -vE '^(PATH|PYTHONPATH|_)$')",
    "no home": "unset HOME XDG_CACHE_HOME",
    "a home that is not there": "export HOME=/nonexistent XDG_CACHE_HOME=/nonexistent/cache",
    "a cache that is a file": "export XDG_CACHE_HOME=$PWD/text.txt NUMBA_CACHE_DIR=$PWD/text.txt",
    "a folder for temporary files that is not there": "export TMPDIR=/nonexistent",
    "a terminal of no width": "export COLUMNS=0 LINES=0",
    "a terminal of one column": "export COLUMNS=1",
    "a terminal of a width that is none": "export COLUMNS=abc TERMINAL_WIDTH=-1",
    "a terminal of no kind": "unset TERM",
    "a dumb terminal": "export TERM=dumb",
    "colours where there are none": "export FORCE_COLOR=1",
    "no standard input": "exec <&-",
    "no standard error": "exec 2>&-",
    "a folder that is gone": "cd $(mktemp -d) && rmdir $PWD",
    "a folder that takes no files": "cd /proc/self",
    "no file may be larger than nothing": "ulimit -f 0",
    "few open files": "ulimit -n 24",
    "little memory": "ulimit -v 3000000",
}


#: a command, and output of its success
ANYWHERE = {
    "train --epochs 1 --hidden 4": b"test accuracy",
    "evaluate {folder}/net.npz digits": b"of 360 test samples",
    "gradient digits --epochs 1 --samples 4": b"",
    "inspect table.csv --label kind --out out": b"",
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("line", ANYWHERE)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_bad_environment(environment, line, folder, monkeypatch):
    monkeypatch.undo()
    check_environment(environment, line.format(folder=folder), ANYWHERE[line], folder)


def check_environment(environment: str, line: str, expected: bytes, folder: Path) -> None:
    """Run in a separate process; ``expected``: output of success."""
    before = content(folder)
    command = f"{sys.executable} -m equilif {line}"
    done = subprocess.run(
        ["bash", "-c", f"cd {folder} && {ENVIRONMENTS[environment]} && exec {command}"],
        capture_output=True,
        timeout=6 * LIMIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    report = f"{command}\n{done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    assert b"Traceback" not in done.stderr and done.returncode in (0, 2), report
    if done.returncode == 2 and "2>&-" not in ENVIRONMENTS[environment]:
        assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(b"error: "), report
        assert content(folder) == before, report
    if done.returncode == 0:
        assert expected in done.stdout, report


def test_endless_port(folder):
    """A device that sends other data forever, such as a GPS receiver."""
    leader, follower = pty.openpty()
    stop = threading.Event()

    def talk() -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.005):
                os.write(leader, b"$GPGGA,\xc0")

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        done = judge(["identify", "--port", os.ttyname(follower)], folder)
        assert done.code == 2
    finally:
        stop.set()
        os.close(leader)
        talker.join()
        os.close(follower)

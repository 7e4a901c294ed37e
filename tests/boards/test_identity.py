"""Build ID: what it depends on, and that placement does not depend on it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from amaranth import Elaboratable, Module, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from equilif_boards import identity
from equilif_boards.device import ECP5, GOWIN, ICE40
from equilif_golden.engine.config import EngineConfig, ExternalWeights
from equilif_golden.link.protocol import Identity
from equilif_hdl.link.identity import BIT, IdentityRom
from tests.netlists import identity_luts

FAMILIES = {"ice40": ICE40, "ecp5": ECP5, "gowin": GOWIN}
BUILD_ID = 0x89AB_CDEF
EXTERNAL = EngineConfig(external=ExternalWeights(chip_name="EM638325", hz=90_000_000, tiles=40_000))


def netlist(family):
    return {"modules": {"top": {"attributes": {"top": "1"}, "cells": identity_luts(family)}}}


def test_build_id_depends_on_all_inputs():
    made_of = {
        "netlist": {"a": 1},
        "files": {"x.pcf": "a"},
        "commands": [["nextpnr"]],
        "versions": {"n": "1"},
    }
    others = {"netlist": {"a": 2}, "files": {"x.pcf": "b"}, "commands": [["nextpnr", "-x"]], "versions": {}}
    same = identity.digest(**made_of)
    ids = {identity.build_id(same, seed) for seed in range(3)}
    ids |= {identity.build_id(identity.digest(**{**made_of, k: v}), 0) for k, v in others.items()}
    assert len(ids) == 3 + len(others)
    assert all(0 <= each < 1 << 32 for each in ids)
    assert identity.digest(**json.loads(json.dumps(made_of))) == same


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_build_id_is_replaced(family):
    once = netlist(family)
    identity.stamp(once, family, BUILD_ID)
    twice = netlist(family)
    identity.stamp(twice, family, 0x1234_5678)
    assert twice != once
    identity.stamp(twice, family, BUILD_ID)
    assert twice == once


def test_missing_identity_luts():
    content = netlist(ICE40)
    content["modules"]["top"]["cells"].popitem()
    with pytest.raises(ValueError, match="31 of 32"):
        identity.stamp(content, ICE40, BUILD_ID)


class IdentityDesign(wiring.Component):
    """A design that outputs the words of an identity in turn."""

    def __init__(self, known, family):
        self.rom = IdentityRom(known, family.lookup)
        super().__init__({"word": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.identity = self.rom
        index = Signal.like(self.rom.index)
        m.d.sync += [index.eq(index + 1), self.word.eq(self.rom.word)]
        m.d.comb += self.rom.index.eq(index)
        return m


def synthesised(folder, design: Elaboratable, passes: str):
    (folder / "rtl.il").write_text(rtlil.convert(design, name="rtl", emit_src=False))
    script = f"read_rtlil rtl.il; {passes} -top rtl; write_json rtl.json"
    subprocess.run(["yosys", "-q", "-p", script], cwd=folder, check=True)
    return json.loads((folder / "rtl.json").read_text())


@pytest.mark.skipif(not shutil.which("yosys"), reason="needs Yosys")
@pytest.mark.parametrize(
    "family, passes, config",
    [
        (ICE40, "synth_ice40", EngineConfig()),
        (ECP5, "synth_ecp5", EngineConfig()),
        (ECP5, "synth_ecp5", EXTERNAL),
    ],
    ids=["ice40", "ecp5", "external weights"],
)
def test_stamped_netlist_identity(family, passes, config, tmp_path):
    known = Identity(config, BUILD_ID)
    content = synthesised(tmp_path, IdentityDesign(Identity(config, 0), family), passes)
    identity.stamp(content, family, BUILD_ID)
    module = content["modules"]["rtl"]
    index = module["netnames"]["identity.index"]["bits"]
    packed = known.pack()
    for cell in module["cells"].values():
        if BIT not in cell["attributes"]:
            continue
        bit = int(cell["attributes"][BIT], 2)
        inputs = [cell["connections"][name][0] for name in family.lookup.inputs]
        assert inputs == (index if config.external else [*index, "0"])
        contents = cell["parameters"][family.lookup.contents]
        for word in range(len(packed) // 4):
            value = int.from_bytes(packed[4 * word : 4 * word + 4], "little")
            assert contents[-1 - word] == str(value >> bit & 1), (word, bit)


@pytest.mark.skipif(not shutil.which("nextpnr-ice40"), reason="needs nextpnr-ice40")
def test_build_id_does_not_change_placement(tmp_path):
    """The two bitstreams differ in LUT bits only."""
    content = synthesised(tmp_path, IdentityDesign(Identity(EngineConfig(), 0), ICE40), "synth_ice40")
    found = []
    for build_id in (BUILD_ID, ~BUILD_ID & 0xFFFF_FFFF):
        identity.stamp(content, ICE40, build_id)
        (tmp_path / "top.json").write_text(json.dumps(content))
        command = "nextpnr-ice40 --quiet --up5k --package sg48 --json top.json --asc top.asc --report top.rpt"
        subprocess.run([*command.split(), "--seed", "1"], cwd=tmp_path, check=True)
        found.append(((tmp_path / "top.asc").read_text(), json.loads((tmp_path / "top.rpt").read_text())))
    (first, timing), (second, again) = found
    assert timing == again
    assert sum(a != b for a, b in zip(bits_of(first), bits_of(second), strict=True)) == 32
    assert outside(first) == outside(second)


#: columns of LUT bits in a logic tile
TABLES = slice(36, 46)


def rows(asc: str) -> list[tuple[bool, str]]:
    """Lines of a bitstream as text; true for bits of a logic tile."""
    out = []
    logic = False
    for line in asc.splitlines():
        if line.startswith("."):
            logic = line.startswith(".logic_tile")
        out.append((logic and re.fullmatch("[01]+", line) is not None, line))
    return out


def bits_of(asc: str) -> str:
    return "".join(line[TABLES] for logic, line in rows(asc) if logic)


def outside(asc: str) -> list[str]:
    return [line[: TABLES.start] + line[TABLES.stop :] if logic else line for logic, line in rows(asc)]

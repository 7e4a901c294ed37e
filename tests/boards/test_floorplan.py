"""Floorplans: regions of banks and multipliers; register duplication keeps the function."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections import Counter

import pytest
from amaranth.back import rtlil

from equilif_boards.device import LFE5U_85F
from equilif_boards.floorplan import Grid, Regions, Sites, floorplan
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_hdl.engine.engine import Engine
from tests.netlists import ECP5

SITES = Sites(
    blocks=Grid(rows=(5, 9, 20), columns=tuple(range(2, 30, 2)), kinds=("EBR0", "EBR1", "EBR2", "EBR3")),
    multipliers=Grid(rows=(3, 7), columns=tuple(range(2, 30)), kinds=("MULT18_0", "MULT18_1")),
)
BLOCKS = LFE5U_85F.sites.blocks
#: 2,048 and 1,024 words per bank
CONFIG = EngineConfig(
    lanes=4, tiles=768, value_groups=128, state_groups=16, pipeline=Pipeline.DEEP, attention=False
)


#: for handwritten netlists
REGIONS = Regions(
    {f"top.lanes.lane{k}": k for k in range(3)}, {f"top.weights.bank{k}_0_0": k for k in range(3)}
)
RTLIL = rtlil.convert(Engine(CONFIG), name="rtl", emit_src=False)


def test_regions_of_a_design():
    regions = Regions.of(RTLIL)
    assert regions.lanes == {f"lanes.lane{k}": k for k in range(CONFIG.lanes)}
    assert sorted(regions.banks.values()) == sorted(3 * list(range(CONFIG.lanes)))
    assert regions.lane("lanes.lane3.lif.v_TRELLIS_FF_Q_3") == "lanes.lane3"
    assert regions.bank("lanes.weights.bank2_1_0.0.0") == "lanes.weights.bank2_1_0"
    assert regions.number("lanes.lane3.x") == 3 and regions.number("lanes.weights.bank2_1_0.0.0") == 2
    assert regions.number("lanes.lane30.x") is None and regions.lane("lanes.weights.x") is None


@pytest.mark.parametrize("mark", [r"\lane", r"\lane 2", r"\bank", r"\bank 3"])
def test_missing_marks(mark):
    with pytest.raises(ValueError, match="lanes"):
        Regions.of(RTLIL.replace(f"attribute {mark}", r"attribute \other"))


@pytest.mark.parametrize(
    "banks, blocks, height",
    [(16, 12, 1), (32, 6, 1), (16, 6, 1), (8, 26, 1), (6, 27, 2), (13, 16, 4), (12, 17, 1)],
)
def test_bank_regions(banks, blocks, height):
    places = BLOCKS.rectangles(banks, blocks)
    assert len(places) == banks and {len(place) for place in places} == {blocks}
    found = [site for place in places for site in place]
    assert len(set(found)) == len(found), "nothing is used twice"
    assert len(set(BLOCKS.all())) == LFE5U_85F.blocks and set(found) <= set(BLOCKS.all())
    for place in places:
        rows = {BLOCKS.rows.index(site.y) for site in place}
        columns = {BLOCKS.columns.index(site.x) for site in place}
        assert len(rows) == height and max(rows) - min(rows) == height - 1
        assert max(columns) - min(columns) == len(columns) - 1 == -(-blocks // height) - 1


def test_spare_columns_are_central():
    used = {site for place in BLOCKS.rectangles(32, 6) for site in place}
    free = {BLOCKS.site(row, column) for row in range(4) for column in range(24, 28)}
    assert used | free == set(BLOCKS.all()) and not used & free


@pytest.mark.parametrize("banks, blocks", [(17, 13), (2, 105), (300, 1)])
def test_banks_that_do_not_fit(banks, blocks):
    assert BLOCKS.rectangles(banks, blocks) is None


def test_site_names():
    assert BLOCKS.site(0, 0).name == "X4/Y22/EBR0"
    assert BLOCKS.site(3, 28).name == "X69/Y82/EBR0"
    assert BLOCKS.site(1, 51).name == "X120/Y46/EBR3"
    multipliers = LFE5U_85F.sites.multipliers
    assert len(set(multipliers.all())) == LFE5U_85F.multipliers
    assert multipliers.site(0, 2).name == "X8/Y10/MULT18_4"
    assert multipliers.site(2, 51).name == "X119/Y58/MULT18_5"


def by_hand(parameters=(), attributes=()):
    """A register read by a block RAM of each of two banks."""
    register = {
        "type": "TRELLIS_FF",
        "parameters": dict(parameters),
        "attributes": dict(attributes),
        "port_directions": {"DI": "input", "Q": "output"},
        "connections": {"DI": [2], "Q": [3]},
    }
    block = {
        "type": "DP16KD",
        "parameters": {},
        "attributes": {},
        "port_directions": {"ADA0": "input"},
        "connections": {"ADA0": [3]},
    }
    blocks = {f"top.weights.bank{bank}_0_0.0.0": copy.deepcopy(block) for bank in range(2)}
    top = {"attributes": {"top": "1"}, "ports": {}, "cells": {"word": register, **blocks}}
    return {"modules": {"top": top}}


def test_register_duplication():
    content = by_hand()
    assert floorplan(content, REGIONS, SITES) == {
        "block RAMs placed": 2,
        "multipliers placed": 0,
        "constants added": 0,
        "registers copied": 1,
        "LUTs copied": 0,
    }
    cells = content["modules"]["top"]["cells"]
    assert cells["word$bank1"]["connections"] == {"DI": [2], "Q": [4]}
    assert [cells[f"top.weights.bank{bank}_0_0.0.0"]["connections"]["ADA0"] for bank in range(2)] == [
        [3],
        [4],
    ]
    assert cells["top.weights.bank0_0_0.0.0"]["attributes"] == {"BEL": "X2/Y5/EBR0"}


@pytest.mark.parametrize("lanes, host", [(2, False), (3, False), (2, True)])
def test_lut_and_register_duplication(monkeypatch, lanes, host):
    """Duplicated from three regions on; the host is one if many banks are placed."""
    monkeypatch.setattr("equilif_boards.floorplan.OUTSIDE_BANKS", 2)

    def cell(kind, out, into):
        directions = dict.fromkeys(into, "input") | dict.fromkeys(out, "output")
        return {
            "type": kind,
            "parameters": {},
            "attributes": {},
            "port_directions": directions,
            "connections": {port: [bit] for port, bit in {**out, **into}.items()},
        }

    cells = {
        "told": cell("TRELLIS_FF", {"Q": 2}, {"DI": 9}),
        "before": cell("TRELLIS_FF", {"Q": 9}, {"DI": "1"}),
        "table": cell("LUT4", {"Z": 3}, {"A": 2}),
    }
    for k in range(lanes):
        cells[f"top.weights.bank{k}_0_0.0.0"] = cell("DP16KD", {}, {})
        cells[f"top.lanes.lane{k}.x"] = cell("TRELLIS_FF", {"Q": 10 + k}, {"DI": 3})
    readers = [f"top.lanes.lane{k}.x" for k in range(lanes)]
    if host:
        readers.append("host.word")
        cells["host.word"] = cell("TRELLIS_FF", {"Q": 20}, {"DI": 3})
    content = {"modules": {"top": {"attributes": {"top": "1"}, "ports": {}, "cells": cells}}}
    counts = floorplan(content, REGIONS, SITES if host else None)
    copies = (len(readers) - 1) * (len(readers) > 2)
    assert (counts["registers copied"], counts["LUTs copied"]) == (copies, copies)
    sources = set()
    for reader in readers:
        (read,) = cells[reader]["connections"]["DI"]
        (table,) = [each for each in cells.values() if each["connections"].get("Z") == [read]]
        sources.add(table["connections"]["A"][0])
    assert len(sources) == 1 + copies


def test_no_sites_no_placement():
    content = by_hand()
    counts = floorplan(content, REGIONS)
    assert counts["block RAMs placed"] == counts["multipliers placed"] == 0
    assert counts["registers copied"] == 1
    assert all("BEL" not in cell["attributes"] for cell in content["modules"]["top"]["cells"].values())


def test_multiplier_placement():
    content = by_hand()
    cells = content["modules"]["top"]["cells"]
    multiplier = {"type": "MULT18X18D", "attributes": {}, "port_directions": {}, "connections": {}}
    for lane in (0, 1):
        for name in ("gain", "product"):
            cells[f"top.lanes.lane{lane}.{name}"] = copy.deepcopy(multiplier)
    cells["top.geometry"] = copy.deepcopy(multiplier)
    assert floorplan(content, REGIONS, SITES)["multipliers placed"] == 4
    where = {name.rpartition(".lanes.")[2]: cell["attributes"].get("BEL") for name, cell in cells.items()}
    assert where["top.weights.bank0_0_0.0.0"] == "X2/Y5/EBR0"
    assert (where["lane0.gain"], where["lane0.product"]) == ("X2/Y3/MULT18_0", "X3/Y3/MULT18_1")
    assert where["top.weights.bank1_0_0.0.0"] == "X2/Y9/EBR0"
    assert (where["lane1.gain"], where["lane1.product"]) == ("X2/Y7/MULT18_0", "X3/Y7/MULT18_1")
    assert cells["top.geometry"]["attributes"] == {}


@pytest.mark.parametrize("register", [{"parameters": {"SRMODE": "ASYNC"}}, {"attributes": {"keep": "1"}}])
def test_synchronizer_is_not_duplicated(register):
    content = by_hand(**register)
    assert floorplan(content, REGIONS, SITES)["registers copied"] == 0
    assert len(content["modules"]["top"]["cells"]) == 3


@pytest.fixture(scope="module")
def netlist(tmp_path_factory):
    """Netlist of an engine before and after the pass."""
    folder = tmp_path_factory.mktemp("netlist")
    engine = Engine(CONFIG, state_ram=ECP5.state_ram)
    text = rtlil.convert(engine, name="rtl", emit_src=False)
    (folder / "rtl.il").write_text(text)
    passes = "; ".join(each.format(top="rtl") for each in ECP5.passes)
    subprocess.run(
        ["yosys", "-q", "-p", f"read_rtlil rtl.il; {passes}; write_json rtl.json"], cwd=folder, check=True
    )
    before = json.loads((folder / "rtl.json").read_text())
    after = copy.deepcopy(before)
    counts = floorplan(after, Regions.of(text), SITES)
    return before, after, counts


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("yosys"), reason="needs Yosys")
def test_duplicates_are_removed_without_floorplan(netlist):
    before, after, counts = netlist
    was = before["modules"]["rtl"]["cells"]
    cells = copy.deepcopy(after["modules"]["rtl"]["cells"])
    constants = [name for name in cells if name.endswith((".constant0", ".constant1"))]
    assert len(constants) == counts["constants added"] == 2 * CONFIG.lanes
    copies = [name for name in cells if name not in was and name not in constants]
    added = Counter(cells[name]["type"] for name in copies)
    assert added["TRELLIS_FF"] == counts["registers copied"] and added["LUT4"] == counts["LUTs copied"]
    assert counts["LUTs copied"] and any(name.endswith(".ALUT") for name in copies)
    assert all(any(f"${what}" in name for name in copies) for what in ("bank", "lane", "region"))
    nets = {bit for cell in was.values() for bits in cell["connections"].values() for bit in bits}
    merged = {}
    for name in constants:
        cell = cells.pop(name)
        (own,) = cell["connections"]["Z"]
        assert cell["parameters"]["INIT"] == 16 * name[-1] and own not in nets
        merged[own] = name[-1]
    for name in copies:
        cell = cells[name]
        output = "Q" if cell["type"] == "TRELLIS_FF" else "Z"
        (own,) = cell["connections"][output]
        assert own not in merged and own not in nets
        merged[own] = original_of(name, was)["connections"][output][0]
    for cell in cells.values():
        cell["attributes"].pop("BEL", None)
        for port, bits in cell["connections"].items():
            cell["connections"][port] = [merged.get(bit, bit) for bit in bits]
    for name in copies:
        assert cells.pop(name) == original_of(name, was)
    assert cells == was


def original_of(name, was):
    """Name of the original of a duplicated cell."""
    while name not in was:
        name, _, added = name.rpartition("$")
        if added.endswith(("ALUT", "BLUT")):
            bit = original_of(name, was)["connections"][added.rpartition(".")[2]][0]
            return next(cell for cell in was.values() if cell["connections"].get("Z") == [bit])
    return was[name]

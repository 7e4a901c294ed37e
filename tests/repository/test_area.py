"""Cell counts of the RTL equal benchmarks/summaries/area.json."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks import area, records
from equilif_boards.build import MissingTool
from equilif_golden.engine.config import EngineConfig, Pipeline

ORDINARY = EngineConfig().pipeline  #: others take a minute


@pytest.fixture(scope="module")
def table():
    return records.read(area.TABLE)


@pytest.fixture
def same_yosys(table):
    """Skip without the Yosys version of the record."""
    try:
        here = area.yosys()
    except MissingTool as e:
        pytest.skip(str(e))
    if here != table["yosys"]:
        pytest.skip(f"versions of Yosys differ in cells: the table is of {table['yosys']}, here is {here}")


@pytest.mark.parametrize(
    "pipeline",
    [pytest.param(p, marks=pytest.mark.regress if p is ORDINARY else pytest.mark.long) for p in Pipeline],
)
def test_block_areas(pipeline, table, same_yosys):
    changed = area.differences(table["pipelines"][pipeline]["blocks"], area.measure(pipeline))
    assert not changed, "\n".join([*changed, "if that is meant: python -m benchmarks area --write"])


def test_area_table_is_complete(table):
    assert set(table["pipelines"]) == set(Pipeline)
    for found in table["pipelines"].values():
        leaves = {name.rpartition(".")[2] for name in found["blocks"]}
        assert leaves >= {"lane", "lif", "measure", "relay", "plasticity", "softmax", "weights", "scanner"}
        assert leaves >= {"walker", "sequencer", "checker", "host"}
        assert sum(found["blocks"]["all"].values()) > 5000


# -- comparison ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "kind, was, there, changed",
    [
        ("LUT", 1000, 1030, False),
        ("LUT", 1000, 1031, True),
        ("LUT", 1000, 969, True),
        ("FF", 10, 14, False),
        ("FF", 10, 15, True),
        ("block RAM", 50, 51, True),
        ("multiplier", 2, 1, True),
    ],
)
def test_area_tolerance(kind, was, there, changed):
    found = area.differences({"lane": {kind: was}}, {"lane": {kind: there}})
    assert bool(found) == changed
    assert not changed or found == [f"lane: {there:,} {kind}, recorded {was:,}"]


def test_added_and_removed_blocks():
    known = {"scanner": {"LUT": 100}}
    now = {"scanner2": {"LUT": 120}}
    assert area.differences(known, now) == ["scanner: 0 LUT, recorded 100", "scanner2: 120 LUT, recorded 0"]


def test_instances_are_one_row():
    def module(**cells):
        return {"num_cells_by_type": cells}

    found = area.blocks(
        {
            "modules": {
                "\\top": module(LUT4=1, **{"\\top.engine": 1}),
                "\\top.engine": module(LUT4=5, TRELLIS_FF=3, PFUMX=2),
                "\\top.engine.argmax$129": module(CCU2C=4),
                "\\top.engine.lanes.lane0": module(LUT4=10, MULT18X18D=1),
                "\\top.engine.lanes.lane1": module(LUT4=11, MULT18X18D=1),
                "\\top.engine.state": module(SB_DFFER=2, SB_DFFSR=3, SB_RAM40_4K=4),
            }
        }
    )
    assert found["engine.lanes.lane"] == {"LUT": 11, "multiplier": 1}
    assert found["engine.argmax"] == {"carry": 4} and found["top"] == {"LUT": 1}
    assert found["engine.state"] == {"FF": 5, "block RAM": 4}
    assert found["all"] == {"FF": 8, "LUT": 27, "block RAM": 4, "carry": 4, "multiplier": 2, "mux": 2}


def test_area_command(monkeypatch, capsys, table, tmp_path):
    blocks = table["pipelines"]["spram"]["blocks"]
    grown = {**blocks, "engine.walker": {**blocks["engine.walker"], "block RAM": 1}}
    monkeypatch.setattr(area, "measure", lambda pipeline: blocks if pipeline is Pipeline.DEEP else grown)
    monkeypatch.setattr(area, "TABLE", tmp_path / "area.json")
    same = {str(p): {"family": "ecp5", "blocks": blocks} for p in Pipeline}
    area.TABLE.write_text(json.dumps({**table, "pipelines": same}))
    assert area.main(only=["deep"]) == 0 and "no changes" in capsys.readouterr().out
    assert area.main(only=["spram"]) == 1
    assert "spram, engine.walker: 1 block RAM, recorded 0" in capsys.readouterr().out


def test_yosys_errors(monkeypatch):
    def refused(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no such thing")

    monkeypatch.setattr(area, "executable", lambda tool: tool)
    monkeypatch.setattr(area, "LANES", 2)
    monkeypatch.setattr(subprocess, "run", refused)
    with pytest.raises(area.ToolFailed, match="spram: ERROR"):
        area.measure(Pipeline.SPRAM)

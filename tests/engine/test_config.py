"""Sizes and options of an engine, and its records."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

import equilif_boards
from equilif_golden.engine.config import EngineConfig, ExternalWeights, Pipeline, Registers
from equilif_golden.engine.features import EVERYTHING, OPTIONS
from equilif_golden.fixed import Numerics

SDRAM = ExternalWeights(chip_name="IS42S16160", hz=90_000_000, tiles=40_000)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"value_groups": 48}, "value_groups"),
        ({"state_groups": 512}, "state_groups"),
        ({"numerics": {"fraction": 12}}, "numerics"),
        ({"external": {"tiles": 8}}, "external"),
        ({"external": SDRAM, "pipeline": Pipeline.SPRAM}, "external"),
        ({"external": SDRAM, "tiles": 1 << 15}, "65536"),
        ({"external": replace(SDRAM, tables=True), "attention": False}, "tables"),
        ({"external": replace(SDRAM, chip_name="EM638325", tables=True), "lanes": 2}, "tables"),
        ({"external": replace(SDRAM, chip_name="M12L64322A"), "lanes": 32}, "fit M12L64322A"),
    ],
)
def test_invalid_configurations(wrong, message):
    """tests/test_hostile_tables.py has invalid values of each field."""
    with pytest.raises(ValueError, match=message):
        EngineConfig(**wrong)


def test_numpy_numbers_become_python():
    config = EngineConfig(lanes=np.int64(8), tiles=np.int32(20), **dict.fromkeys(OPTIONS, np.bool_(True)))
    assert json.loads(json.dumps(asdict(config))) == asdict(EngineConfig(lanes=8, tiles=20, **EVERYTHING))


def test_pipeline_registers():
    assert EngineConfig(pipeline=Pipeline.SPRAM).registers == Registers()
    few, registers, many = (EngineConfig(lanes=lanes).registers for lanes in (4, 16, 32))
    assert registers.weight_read == 3 and all(vars(registers).values()), "every place has one"
    assert all(getattr(few, name) <= n for name, n in vars(registers).items())
    assert many == replace(registers, butterfly=2, neuron=2, host=2)


@pytest.mark.parametrize("pipeline", Pipeline)
def test_json_round_trip(pipeline):
    config = EngineConfig(
        lanes=8, tiles=96, pipeline=pipeline, counters=True, numerics=Numerics(charge_width=20)
    )
    assert EngineConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config
    if pipeline is Pipeline.DEEP:
        config = replace(config, external=SDRAM)
        raw = json.loads(json.dumps(asdict(config)))
        assert EngineConfig.from_dict(raw) == config
        del raw["external"]["tables"]
        assert EngineConfig.from_dict(raw) == config
        with pytest.raises(ValueError, match="chip_name"):
            EngineConfig.from_dict(raw | {"external": {"tiles": 5}})


@pytest.mark.parametrize(
    "wrong",
    [{"chip_name": "DDR"}, {"hz": 1}, {"hz": 9.5e7}, {"tiles": 0}, {"tiles": (1 << 16) + 1}, {"tables": 1}],
)
def test_invalid_external_weights(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SDRAM, **wrong)


def test_boards_of_pipelines():
    """The docstring of Pipeline names all boards."""
    paragraph = " ".join(Pipeline.__doc__.split("Boards: ")[1].split())
    named = {}
    for part in paragraph.removesuffix(".").split("; "):
        pipeline, boards = part.split(" ", 1)
        named |= dict.fromkeys(boards.split(", "), Pipeline[pipeline])
    for board in equilif_boards.BOARDS.values():
        assert [p for name, p in named.items() if board.title.startswith(name)] == [board.config.pipeline]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"lane": 4, "rows": 2}, "lane, rows"),
        ({"single_port": False, "weight_stages": 2}, "single_port, weight_stages"),
        ({"pipeline": "forwarding"}, "forwarding"),
        ({"numerics": {"width": 4}}, "width"),
    ],
)
def test_invalid_records(wrong, message):
    with pytest.raises(ValueError, match=message):
        EngineConfig.from_dict(wrong)


def test_replace_by_pipeline_name():
    assert replace(EngineConfig(), pipeline="spram").pipeline is Pipeline.SPRAM

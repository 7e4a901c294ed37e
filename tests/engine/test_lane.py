"""RTL of a lane in every pipeline, and the table of its stages."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_hdl.engine.lane import Lane
from equilif_hdl.engine.stages import Timing
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE, NARROW, WIDE, thoroughness

LANES = {
    "SPRAM": (dataclasses.replace(ENGINE, pipeline=Pipeline.SPRAM, numerics=NARROW), 2),
    "SPRAM-all": (dataclasses.replace(ENGINE, pipeline=Pipeline.SPRAM, **EVERYTHING), 1),
    "DEEP-without-attention": (dataclasses.replace(ENGINE, attention=False), 3),
    "DEEP": (WIDE, 11),
}


@thoroughness
@pytest.mark.parametrize("name", LANES)
def test_rtl(name, thorough, tmp_path):
    """Every output of a lane, in every pipeline."""
    config, index = LANES[name]
    assert {config.pipeline for config, _ in LANES.values()} == set(Pipeline)
    assert simulate(
        Lane(config, index),
        "equilif_sim.engine.lane",
        tmp_path,
        config={"engine": dataclasses.asdict(config), "index": index},
        simulator="icarus",
        thorough=thorough,
    )


def test_documented_pipeline_stages():
    """The table of the docstring, for every pipeline."""
    text = inspect.getdoc(Timing) or ""
    table = [line.split() for line in text.splitlines() if re.match(r"\w+ +-?\d", line)]
    header = re.search(r"^ +(SPRAM.*)$", text, flags=re.MULTILINE)[1]
    for column, name in enumerate(re.split(" {2,}", header), 1):
        pipeline, _, lanes = name.partition(" ")
        for p in (lanes or "2, 4").split(", "):
            timing = vars(Timing(EngineConfig(pipeline=Pipeline[pipeline], lanes=int(p))))
            assert {row[0]: int(row[column]) for row in table} == {
                name: stage for name, stage in timing.items() if name != "added"
            }

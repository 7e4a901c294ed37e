"""The engine on AXI equals the golden bus model in all responses and memories."""

import dataclasses

import pytest

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_hdl.link.bus import AxiEngine
from equilif_sim.tools.run import simulate
from tests.engines import visible

SMALL = EngineConfig(lanes=4, tiles=24, value_groups=16, state_groups=8, program_words=128)
CONFIGS = {
    "P4-single-port": (dataclasses.replace(SMALL, pipeline=Pipeline.SPRAM), "icarus", 8, 300),
    "P8-deep": (
        dataclasses.replace(SMALL, lanes=8, tiles=16, pipeline=Pipeline.DEEP, counters=True),
        "verilator",
        12,
        400,
    ),
}


def bench(name, tmp_path, times):
    """``times``: of the programs and accesses of the regression."""
    config, simulator, programs, accesses = CONFIGS[name]
    assert (
        simulate(
            AxiEngine(config, build_id=0xC0FFEE),
            "equilif_sim.link.bus",
            tmp_path,
            simulator=simulator,
            visible=visible("axiengine *", "*state *_memory", "*sequencer busy"),
            config={
                "engine": dataclasses.asdict(config),
                "seed": 1,
                "programs": int(times * programs),
                "accesses": int(times * accesses),
            },
            thorough=times >= 1,
        )
        == 7
    )


@pytest.mark.parametrize(
    "name, times",
    [("P4-single-port", 0.25), *(pytest.param(name, 1, marks=pytest.mark.regress) for name in CONFIGS)],
)
def test_bus(name, times, tmp_path):
    """Programs of the engine test, random and partial accesses, errors during a run; throughput."""
    bench(name, tmp_path, times)


@pytest.mark.long
def test_bus_longer(tmp_path):
    bench("P8-deep", tmp_path, times=20)

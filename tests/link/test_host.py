"""RTL of the host link against equilif_golden.link.device."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_golden.engine.config import ExternalWeights
from equilif_golden.link.protocol import MAX_SAMPLES
from equilif_sim.link.engine_stub import HostBench
from equilif_sim.tools import verilator
from equilif_sim.tools.run import simulate
from tests.engines import EVEN, ODD, thoroughness

BUILD_ID = 0xDBC0_1234  # with both special bytes of SLIP
#: weights in an SDRAM of 32 bits, which are written in pairs
PAIRS = dataclasses.replace(
    ODD, counters=False, external=ExternalWeights(chip_name="EM638325", hz=90_000_000, tiles=40)
)


def run(
    tmp_path,
    config,
    *,
    n_bad,
    simulator="icarus",
    seed=0,
    frame_bytes=160,
    max_samples=MAX_SAMPLES,
    only=None,
    thorough=False,
):
    bench = HostBench(config, build_id=BUILD_ID, frame_bytes=frame_bytes, max_samples=max_samples)
    return simulate(
        bench,
        "equilif_sim.link.host",
        tmp_path,
        simulator=simulator,
        seed=seed,
        only=only,
        thorough=thorough,
        config={
            "engine": dataclasses.asdict(config),
            "n_bad": n_bad,
            "frame_bytes": frame_bytes,
            "max_samples": max_samples,
            "build_id": BUILD_ID,
        },
    )


@thoroughness
@pytest.mark.sampled(1)
@pytest.mark.parametrize("config", [ODD, EVEN], ids=["odd", "even"])
def test_host(config, thorough, tmp_path):
    """All commands and errors; bad frames do not change the engine."""
    assert run(tmp_path, config, n_bad=100, thorough=thorough) == (11 if thorough else 9)


def test_longest_programs_and_frames(tmp_path):
    """340 instructions in 4,096 bytes."""
    assert (
        run(
            tmp_path,
            dataclasses.replace(ODD, program_words=1020),
            n_bad=0,
            frame_bytes=4096,
            only="good_frames.*never.*never",
        )
        == 1
    )


def test_writes_within_a_word_of_the_sdram(tmp_path):
    assert run(tmp_path, PAIRS, n_bad=200, only="bad_frames") == 1


@pytest.mark.long
def test_ten_thousand_bad_frames(tmp_path):
    try:
        verilator.environment()
    except verilator.MissingVerilator as e:
        pytest.skip(str(e))
    assert run(tmp_path, ODD, n_bad=10_000, simulator="verilator", seed=1, thorough=True) == 11

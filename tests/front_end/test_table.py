"""Table of the live controller, and boards with a microphone."""

from __future__ import annotations

import numpy as np
import pytest

from equilif_boards import BOARDS
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.front_end import live
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.sensor import ChannelScaling
from equilif_golden.front_end.tokens import POSITIONS, TOKENS, Scaling
from equilif_golden.network import Network
from equilif_hdl.front_end.listener import MIN_CLOCK_HZ, Microphone

WIDTH = BANDS + POSITIONS
SCALING = Scaling(np.arange(BANDS) * 200, np.arange(BANDS) * 200 + 1)
NETWORK = Network.attention(TOKENS, WIDTH, 1, 16, 3)


def test_table_has_addresses_and_scaling():
    config = EngineConfig(lanes=4, tiles=256, value_groups=128, state_groups=32, program_words=512)
    engine = EngineModel(config)
    live.Table(NETWORK, SCALING).load(engine)
    live.set_label(engine, 2)
    found = engine.read(Region.VALUE, live.table_first(config), live.TABLE_BYTES) & 0xFF
    compiled = Compiled(NETWORK, config)
    assert (found[0], found[live.CLASSES], found[live.LABEL]) == (live.MAGIC, 3, 2)
    assert found[live.TILE] + 256 * found[live.TILE + 1] == compiled.tokens_first // 16
    assert found[live.ADDRESS] + 256 * found[live.ADDRESS + 1] == compiled.sample_first
    for band in range(BANDS):
        low, middle, high = found[live.SCALING + 3 * band :][:3]
        both = int(low) + 256 * int(middle) + 65536 * int(high)
        assert (both & 0xFFF, both >> 12) == (SCALING.center[band], SCALING.scale[band])


CHANNELS = ChannelScaling(np.arange(6), np.arange(6) + 1)
WIDE = ChannelScaling(np.zeros(32, np.int64), np.ones(32, np.int64))


@pytest.mark.parametrize(
    "table, error, named",
    [
        (live.Table(Network.chain(8, 3), SCALING), ValueError, "36 values"),
        (live.Table(Network.attention(TOKENS - 1, WIDTH, 1, 16, 3), SCALING), ValueError, "36 values"),
        (live.Table(Network.attention(TOKENS, WIDTH, 1, 16, 101), SCALING), ValueError, "101"),
        (live.Table(Network.attention(TOKENS, WIDTH, 2, 16, 3), SCALING), CapacityError, "200 values"),
        (live.Table(Network.chain(13, 16, 3), CHANNELS, 12), ValueError, "12 inputs"),
        (live.Table(Network.chain(12, 16, 101), CHANNELS, 12), ValueError, "101"),
        (live.Table(Network.chain(12, 180, 20), CHANNELS, 12), CapacityError, "236 values"),
        (live.Table(Network.chain(64, 16, 3), WIDE, 64), ValueError, "15"),
    ],
)
def test_networks_without_a_table(table, error, named):
    config = EngineConfig(lanes=4, tiles=1024, value_groups=64, state_groups=64, program_words=512)
    with pytest.raises(error, match=named):
        table.content(config)


@pytest.mark.parametrize("name", ["ulx3s-25f", "orangecrab", "colorlight-i5"])
def test_boards_with_a_microphone(name):
    """The front end excludes the trainer, and leaves the board as it is."""
    board = BOARDS[name]
    hears = board.with_front_end("i2s")
    assert hears.microphone == Microphone("i2s", int(board.clock_hz)) and not hears.standalone
    assert hears.config.tiles < board.config.tiles and board.microphone is None
    # the network of the manual
    live.Table(Network.attention(TOKENS, WIDTH, 6, 128, 10), SCALING).content(hears.config)


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: BOARDS["icebreaker"].with_front_end("pdm"), "iCEBreaker"),
        (lambda: BOARDS["ulx3s-25f"].with_front_end("usb"), "usb"),
        (lambda: Microphone("pdm", MIN_CLOCK_HZ - 1), "10,239,999"),
    ],
)
def test_boards_without_a_microphone(make, named):
    with pytest.raises(ValueError, match=named):
        make()

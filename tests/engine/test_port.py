"""Engine port: accesses of the model, the bus model and the link model; errors out of range."""

from __future__ import annotations

import numpy as np
import pytest

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Groups, Op
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, dither_position, updates_at
from equilif_golden.fixed import Numerics
from equilif_golden.link.bus import BusError, BusModel
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import READ_HEADER, WRITE_HEADER, Command, Identity, seal
from equilif_golden.link.registers import REGISTERS, constants

CONFIG = EngineConfig(lanes=4, tiles=8, value_groups=16, state_groups=8, program_words=48)
NARROW = EngineConfig(
    lanes=4,
    tiles=8,
    value_groups=16,
    state_groups=8,
    numerics=Numerics(fraction=8, weight_width=10, accumulator_width=20, charge_width=15),
)


def test_region_round_trip():
    engine, rng = EngineModel(CONFIG), np.random.default_rng(0)
    weights = rng.integers(-(1 << 15), 1 << 15, 7)
    engine.write(Region.WEIGHT, 5, weights)
    assert engine.read(Region.WEIGHT, 4, 9).tolist() == [0, *weights, 0]
    values = rng.integers(0, 256, 6)
    engine.write(Region.VALUE, 58, values)
    assert engine.read(Region.VALUE, 57, 7).tolist() == [0, *(values * 0x101)]
    engine.write(Region.COUNTER, 0, np.array([dither_position(77)]))
    assert engine.counter == 77 and engine.read(Region.COUNTER, 0, 1) == 77 * DITHER_UPDATE & DITHER_MASK
    for nothing in (Region.WEIGHT, Region.VALUE, Region.COUNTER):
        engine.write(nothing, 1, np.zeros(0, int))
        assert engine.read(nothing, 1, 0).tolist() == []


def test_dither_region():
    for updates in (0, 1, 1000, DITHER_MASK):
        assert updates_at(dither_position(updates)) == updates


@pytest.mark.parametrize(
    "region, first, data, message",
    [
        (Region.WEIGHT, 0, [0.5], "weights"),
        (Region.WEIGHT, 0, [1 << 15], "weights"),
        (Region.WEIGHT, 0, [[1, 2]], "dimension, not 2"),
        (Region.WEIGHT, 0, 3, "dimension, not 0"),
        (Region.WEIGHT, -1, [1], "WEIGHT"),
        (Region.WEIGHT, 127, [1, 2], "WEIGHT"),
        (Region.WEIGHT, 1.0, [1], "first"),
        (Region.VALUE, 0, [256], "values"),
        (Region.VALUE, 0, [-1], "values"),
        (Region.VALUE, 0, [True, False], "values"),
        (Region.COUNTER, 0, [1 << 18], "positions"),
        (Region.COUNTER, 0, [1, 2], "COUNTER"),
        (Region.PROGRAM, 0, [0, 0, 0], "program"),
    ],
)
def test_write_out_of_range(region, first, data, message):
    engine = EngineModel(CONFIG)
    with pytest.raises(ValueError, match=message):
        engine.write(region, first, data)
    assert not engine.w.any() and not engine.plus.any() and not engine.counter


@pytest.mark.parametrize(
    "region, first, n, message",
    [
        (Region.VALUE, -1, 2, "VALUE"),
        (Region.VALUE, 60, 5, "VALUE"),
        (Region.VALUE, 0, -1, "elements"),
        (Region.VALUE, 0, 1.5, "elements"),
        (Region.PROGRAM, 0, 1, "program"),
    ],
)
def test_read_out_of_range(region, first, n, message):
    with pytest.raises(ValueError, match=message):
        EngineModel(CONFIG).read(region, first, n)


def test_run_with_write_and_read():
    engine = EngineModel(CONFIG, [Op.ARGMAX(Groups(0, 2)), Op.HALT()])
    run = engine.run(learn=False, write=(2, np.array([1, 9, 3])), read=(1, 4))
    assert (run.prediction, run.values.tolist()) == (3, [0, 0x101, 0x909, 0x303])
    with pytest.raises(ValueError, match="VALUE"):
        engine.run(learn=False, write=(0, np.array([7])), read=(63, 2))
    assert engine.plus[0, 0] == 0, "nothing was written"


def test_run_without_program():
    with pytest.raises(ValueError, match="program"):
        EngineModel(CONFIG).run(learn=False)
    with pytest.raises(ValueError, match="learn"):
        EngineModel(CONFIG, [Op.HALT()]).run(learn=1)  # type: ignore[arg-type]


# -- the bus ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "offset, word, strobe, message",
    [
        (REGISTERS["ADDRESS"].offset, -1, 15, "word"),
        (REGISTERS["ADDRESS"].offset, 1.5, 15, "word"),
        (REGISTERS["DATA"].offset, 1 << 32, 15, "word"),
        (REGISTERS["DATA"].offset, True, 15, "word"),
        (REGISTERS["DATA"].offset, 1, 16, "strobe"),
        (256, 1, 15, "offset"),
        (-4, 1, 15, "offset"),
    ],
)
def test_bus_words(offset, word, strobe, message):
    """Regression: address -1 was accepted and DATA went to the last weight."""
    bus = BusModel(CONFIG)
    with pytest.raises(ValueError, match=message):
        bus.write(offset, word, strobe)
    assert bus.address == 0 and not bus.engine.w.any()


def test_bus_offsets():
    with pytest.raises(ValueError, match="offset"):
        BusModel(CONFIG).read(4.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "word, keep, last, message", [(-1, 15, True, "word"), (0, 16, True, "keep"), (0, 15, 1, "last")]
)
def test_stream_words(word, keep, last, message):
    with pytest.raises(ValueError, match=message):
        BusModel(CONFIG).beat(word, keep, last=last)


def test_bus_reports_faulty_instruction():
    bus = BusModel(CONFIG)
    for n, rejected in ((0, 0), (2, 1), (99, 1)):
        bus.staged[:6] = [0x6, 0, 1 << 10, 0x2, 0, 0]  # MARK, then NEXT
        with pytest.raises(BusError):
            bus.write(REGISTERS["LOAD"].offset, n)
        assert bus.read(REGISTERS["REJECTED"].offset) == rejected


# -- the link --------------------------------------------------------------------------------------
def test_narrow_weights_are_truncated():
    """As in hardware, whose memory does not hold the upper bits."""
    device = Device(NARROW)
    frame = seal(Command.WRITE, 1, WRITE_HEADER.pack(Region.WEIGHT, 0) + (0x1234).to_bytes(2, "little"))
    device.reply(frame)
    reply = device.reply(seal(Command.READ, 2, READ_HEADER.pack(Region.WEIGHT, 0, 1)))
    kept = (0x1234 + 512) % 1024 - 512
    assert int.from_bytes(reply[2:4], "little", signed=True) == kept == device.engine.w[0, 0]


@pytest.mark.parametrize("frame_bytes", [31, 4097, 100.0, True])
def test_frame_size_of_device(frame_bytes):
    with pytest.raises(ValueError, match="frame_bytes"):
        Device(CONFIG, frame_bytes=frame_bytes)


@pytest.mark.parametrize("build_id", [-1, 1 << 32, 0.5])
def test_build_id_width(build_id):
    for make in (Device, BusModel):
        with pytest.raises(ValueError, match="build_id"):
            make(CONFIG, build_id=build_id)  # type: ignore[operator]
    with pytest.raises(ValueError, match="build_id"):
        Identity(CONFIG, build_id)
    with pytest.raises(ValueError, match="build_id"):
        constants(CONFIG, build_id)

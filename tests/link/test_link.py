"""The complete device in RTL, driven by the client, learns as the reference."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.sim import Simulator

from equilif.host.client import Client, DeviceError
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_golden.engine.port import Region, updates_at
from equilif_golden.link.protocol import Identity, Status
from equilif_golden.network import Network
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_hdl.engine.engine import Engine
from equilif_hdl.link.host import Host
from equilif_hdl.link.transport import RECEIVED
from equilif_hdl.link.uart import Uart
from equilif_hdl.top import Top

CONFIG = EngineConfig(lanes=4, tiles=32, value_groups=32, state_groups=8, program_words=192)


class Board(wiring.Component):
    """Engine and host link; with a divisor the complete design with UARTs at both ends."""

    def __init__(self, divisor: int | None):
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(RECEIVED)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        if self.divisor is None:
            m.submodules.engine = engine = Engine(CONFIG)
            m.submodules.host = host = Host(CONFIG, build_id=7)
            connect(m, flipped(self.i), host.i)
            connect(m, host.o, flipped(self.o))
            connect(m, host.engine, engine.host)
        else:
            uart = Uart(self.divisor)
            m.submodules.top = top = Top(CONFIG, transport=uart, build_id=7)
            m.submodules.far = far = uart.line()
            m.d.comb += [
                far.i.payload.eq(self.i.p.data),
                far.i.valid.eq(self.i.valid),
                self.i.ready.eq(far.i.ready),
                top.pins.rx.eq(far.pins.tx),
                far.pins.rx.eq(top.pins.tx),
                self.o.payload.eq(far.o.p.data),
                self.o.valid.eq(far.o.valid),
                far.o.ready.eq(self.o.ready),
            ]
        return m


class SimulatedPort:
    """A serial port connected to a simulation, which advances during reads."""

    step = 500  #: cycles

    def __init__(self, dut):
        self.dut, self.sent, self.received, self.cycles = dut, bytearray(), bytearray(), 0
        self.simulator = Simulator(dut)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._line, background=True)

    async def _line(self, ctx):
        d = self.dut
        ctx.set(d.o.ready, 1)
        while True:
            ctx.set(d.i.valid, bool(self.sent))
            if self.sent:
                ctx.set(d.i.p.data, self.sent[0])
            _, _, taken, arrived, byte = await ctx.tick().sample(
                d.i.valid & d.i.ready, d.o.valid, d.o.payload
            )
            if taken:
                del self.sent[0]
            if arrived:
                self.received.append(byte)

    def write(self, data):
        self.sent += data
        return len(data)

    def read(self, size=1):
        for _ in range(200):
            if self.received:
                break
            self.cycles += self.step
            self.simulator.run_until(self.cycles * 1e-6)
        out, self.received = bytes(self.received[:size]), self.received[size:]
        return out


@pytest.mark.regress  # by default: the boards in Verilator, tests/host/test_simulated.py
def test_learning_on_device():
    network = Network.chain(6, 5, 3, schedule=Schedule(free=8, nudged=8, window=4))
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (3, 6)), one_hot(rng.integers(0, 3, 3), 3)
    client = Client(SimulatedPort(Board(None)), timeout=0.01)
    assert client.identify() == Identity(CONFIG, 7)
    chip, reference = (
        Chip(client, network, learning_rate=0.05, counter=9),
        Reference(network, learning_rate=0.05, counter=9),
    )
    for a, b in zip(x, y, strict=True):
        want, got = reference.train(a[None], b[None]), chip.sample(a, b, read=chip.outputs)
        assert (
            (got.prediction, got.spikes) == (want.prediction[0], want.spikes)
            and got.spikes > 0
            and got.cycles > 500
        )
        np.testing.assert_array_equal(got.values & 255, want.plus["output"][0])
        np.testing.assert_array_equal(got.values >> 8, want.minus["output"][0])
    changed = 0
    for name, w in chip.weights.items():
        np.testing.assert_array_equal(w, reference.weights[name])
        changed += (w != network.initial_weights()[name]).sum()
    assert changed > 20 and updates_at(int(client.read(Region.COUNTER, 0, 1)[0])) == reference.counter
    assert chip.sample(x[0]).prediction == reference.infer(x[:1]).prediction[0]


@pytest.mark.regress
@pytest.mark.parametrize("divisor", [4, 7])
def test_learning_through_pins(divisor):
    client = Client(SimulatedPort(Board(divisor)), timeout=0.01)
    assert client.identify() == Identity(CONFIG, 7)
    with pytest.raises(DeviceError) as e:
        client.run(learn=False)
    assert e.value.status == Status.NO_PROGRAM
    client.load([Op.HALT()])
    got = client.run(learn=True, write=(3, np.array([192, 219, 255])), read=(2, 5))
    assert got.values.tolist() == [257 * v for v in (0, 192, 219, 255, 0)] and got.spikes == 0

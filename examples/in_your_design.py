"""The engine inside an Amaranth design of your own: no computer, no bus, no processor.

    python examples/in_your_design.py

A read-only memory holds orders: write a word, run, or begin again. A small state machine carries them out: it
loads program and weights into the engine once, then shows it one sample after the other for ever. Four LEDs
show the class. Everything is simulated here with Amaranth's own simulator and compared with the golden model.

    orders ──► state machine ──► engine ──► prediction ──► LEDs
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from equilif import Kernel, Network
from equilif.data import images
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import assemble
from equilif_golden.engine.port import Region
from equilif_hdl.engine.engine import Engine

CONFIG = EngineConfig(lanes=4, tiles=32, value_groups=16, state_groups=8, program_words=128, attention=False)
NETWORK = Network.chain(16, 12, 10)

#: an order, as the memory holds it: ``run`` alone, ``again`` alone, or ``data`` to an element of a region
ORDER = data.StructLayout({"run": 1, "again": 1, "region": 2, "address": 16, "data": 32})


def write(region: Region, first: int, values: np.ndarray) -> Iterator[dict[str, int]]:
    for k, value in enumerate(values.ravel()):
        yield {"region": int(region), "address": first + k, "data": int(value) & 0xFFFFFFFF}


def orders(weights: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[list[dict[str, int]], int]:
    """All orders for the samples (n, inputs), and the place of the first sample's."""
    compiled = Compiled(NETWORK, CONFIG)
    first_constant, constants = compiled.constants()
    load = [
        *write(Region.PROGRAM, 0, np.array(assemble(compiled.program(0.0)))),
        *write(Region.WEIGHT, 0, compiled.weight_words(dict(weights))),
        # a value has two halves, for the two nudged phases: inputs and constants are the same in both
        *write(Region.VALUE, first_constant, constants * 257),
    ]
    show = []
    for sample in x:
        show += [*write(Region.VALUE, compiled.sample_first, compiled.sample(sample) * 257), {"run": 1}]
    return [*load, *show, {"again": 1}], len(load)


class Classifier(wiring.Component):
    """Members
    -------
    leds : Out(4)
        Class of the last sample.
    shown : Out(1)
        For one cycle: a new class.
    """

    leds: Signal
    shown: Signal

    def __init__(self, weights: Mapping[str, np.ndarray], x: np.ndarray):
        super().__init__({"leds": Out(4), "shown": Out(1)})
        self.orders, self.first_sample = orders(weights, x)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.engine = engine = Engine(CONFIG)
        m.submodules.orders = memory = Memory(shape=ORDER, depth=len(self.orders), init=self.orders)
        read = memory.read_port()
        order = read.data
        host = engine.host
        at = Signal(range(len(self.orders)))
        m.d.comb += [
            read.addr.eq(at),
            host.mem_region.eq(order.region),
            host.mem_addr.eq(order.address),
            host.mem_wdata.eq(order.data),
        ]
        with m.FSM():
            with m.State("fetch"):
                m.next = "carry out"
            with m.State("carry out"):
                m.d.sync += at.eq(at + 1)
                m.next = "fetch"
                with m.If(order.again):
                    m.d.sync += at.eq(self.first_sample)
                with m.Elif(order.run):
                    m.d.comb += host.start.eq(1)
                    m.next = "begun"
                with m.Else():
                    m.d.comb += host.mem_write.eq(1)
            with m.State("begun"):  # busy from this cycle on
                m.next = "runs"
            with m.State("runs"):
                with m.If(~host.busy):
                    m.d.comb += self.shown.eq(1)
                    m.d.sync += self.leds.eq(host.prediction)
                    m.next = "fetch"
        return m


def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The digits in 4 x 4 pixels: each the mean of four."""
    digits = images.digits()
    small = [
        x.reshape(-1, 4, 2, 4, 2).mean((2, 4)).astype(np.uint8).reshape(len(x), 16)
        for x in (digits.x_train, digits.x_test)
    ]
    return small[0], digits.y_train, small[1], digits.y_test


def trained() -> Kernel:
    x, y, _, _ = samples()
    golden = Kernel(NETWORK, learning_rate=0.05)
    for _ in range(5):
        golden.train(x, y)
    return golden


def simulate(design: Classifier, count: int) -> list[int]:
    """The next ``count`` classes on the LEDs."""
    found: list[int] = []

    async def watch(ctx: Any) -> None:
        while len(found) < count:
            await ctx.tick().until(design.shown)
            await ctx.tick()
            found.append(ctx.get(design.leds))

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(watch)
    simulator.run()
    return found


def main(count: int = 6) -> tuple[list[int], list[int]]:
    golden = trained()
    _, _, x, y = samples()
    design = Classifier(golden.weights, x[: count - 1])  # then the first one comes again
    expected = [int(c) for c in golden.predict(x[: count - 1])]
    expected.append(expected[0])
    found = simulate(design, count)
    print(f"{golden.accuracy(x, y):.1%} of the test digits, by the golden model")
    print(f"the LEDs show {found}; the golden model says {expected}")
    return found, expected


if __name__ == "__main__":
    main()

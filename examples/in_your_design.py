"""Use the engine in an Amaranth design: no host, no bus, no processor.

    python examples/in_your_design.py

A ROM holds commands: write a word, run, or repeat. A state machine executes them: it loads program and
weights into the engine once, then shows it the samples in an endless loop. Four LEDs show the class. The
design runs in Amaranth's simulator and is compared with the golden model.

    ROM ──► state machine ──► engine ──► prediction ──► LEDs
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
from equilif.data.sets import images
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import assemble
from equilif_golden.engine.port import Region
from equilif_hdl.engine.engine import Engine

CONFIG = EngineConfig(lanes=4, tiles=32, value_groups=16, state_groups=8, program_words=128, attention=False)
NETWORK = Network.chain(16, 12, 10)

#: a command in the ROM: ``run``, ``repeat``, or a write of ``data`` to an element of a region
COMMAND = data.StructLayout({"run": 1, "repeat": 1, "region": 2, "address": 16, "data": 32})


def write(region: Region, first: int, values: np.ndarray) -> Iterator[dict[str, int]]:
    for k, value in enumerate(values.ravel()):
        yield {"region": int(region), "address": first + k, "data": int(value) & 0xFFFFFFFF}


def commands(weights: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[list[dict[str, int]], int]:
    """All commands for the samples (n, inputs), and the address of the first sample."""
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
    return [*load, *show, {"repeat": 1}], len(load)


class RomClassifier(wiring.Component):
    """Members
    -------
    leds : Out(4)
        Class of the last sample.
    shown : Out(1)
        High for one cycle when there is a new class.
    """

    leds: Signal
    shown: Signal

    def __init__(self, weights: Mapping[str, np.ndarray], x: np.ndarray):
        super().__init__({"leds": Out(4), "shown": Out(1)})
        self.commands, self.first_sample = commands(weights, x)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.engine = engine = Engine(CONFIG)
        m.submodules.rom = memory = Memory(shape=COMMAND, depth=len(self.commands), init=self.commands)
        read = memory.read_port()
        command = read.data
        host = engine.host
        address = Signal(range(len(self.commands)))
        m.d.comb += [
            read.addr.eq(address),
            host.mem_region.eq(command.region),
            host.mem_addr.eq(command.address),
            host.mem_wdata.eq(command.data),
        ]
        with m.FSM():
            with m.State("fetch"):
                m.next = "execute"
            with m.State("execute"):
                m.d.sync += address.eq(address + 1)
                m.next = "fetch"
                with m.If(command.repeat):
                    m.d.sync += address.eq(self.first_sample)
                with m.Elif(command.run):
                    m.d.comb += host.start.eq(1)
                    m.next = "started"
                with m.Else():
                    m.d.comb += host.mem_write.eq(1)
            with m.State("started"):  # busy from the next cycle on
                m.next = "running"
            with m.State("running"):
                with m.If(~host.busy):
                    m.d.comb += self.shown.eq(1)
                    m.d.sync += self.leds.eq(host.prediction)
                    m.next = "fetch"
        return m


def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The digits with 4 x 4 pixels, each the mean of four."""
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


def simulate(design: RomClassifier, count: int) -> list[int]:
    """The first ``count`` classes on the LEDs."""
    classes: list[int] = []

    async def watch(ctx: Any) -> None:
        while len(classes) < count:
            await ctx.tick().until(design.shown)
            await ctx.tick()
            classes.append(ctx.get(design.leds))

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(watch)
    simulator.run()
    return classes


def main(count: int = 6) -> tuple[list[int], list[int]]:
    golden = trained()
    _, _, x, y = samples()
    design = RomClassifier(golden.weights, x[: count - 1])  # then the first sample repeats
    expected = [int(c) for c in golden.predict(x[: count - 1])]
    expected.append(expected[0])
    shown = simulate(design, count)
    print(f"{golden.accuracy(x, y):.1%} of the test digits, golden model")
    print(f"LEDs {shown}; golden model {expected}")
    return shown, expected


if __name__ == "__main__":
    main()

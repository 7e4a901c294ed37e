"""Plain front end: means and energies of windows of several channels; bit-exact with
equilif_golden.front_end.channels.

    channel, sample --> sum, distance, reference <--> [ memory, a word a channel ]
                        at the end of a window: means, then distances --> Log2 --> energies --> index, value

    IDLE -> READ -> STEP -> UPDATE     at the end of a window:  MEAN <-> MEAN OUT, ENERGY -> LOG -> ENERGY OUT

Latency: 4 cycles a sample; 2 cycles a mean and 5 an energy at the end of a window.  Throughput: a sample of a
channel in 4 cycles, the last one of a window in 4 + 7 channels.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.fixed import check_int
from equilif_golden.front_end.channels import MAX_CHANNELS, MAX_WINDOW, MAX_WINDOWS
from equilif_hdl.fixed import ram
from equilif_hdl.front_end.log2 import Log2
from equilif_hdl.front_end.pdm import SAMPLE


class Channels(wiring.Component):
    """Members
    -------
    valid, sample : In(1), In(signed(16))
        Strobe and sample; the channels in turn.
    o_valid, index, value : Out(1), Out, Out(8)
        Strobe, place in the sample of the network, and value.
    done : Out(1)
        Strobe in the cycle after the last value of a sample of the network.

    ``channels``; ``window``: log2 of samples; ``windows`` of a sample of the network.
    """

    valid: Signal
    sample: Signal
    o_valid: Signal
    index: Signal
    value: Signal
    done: Signal

    def __init__(self, channels: int, window: int, windows: int):
        self.channels = check_int(channels, "channels", 1, MAX_CHANNELS)
        self.window = check_int(window, "window", 0, MAX_WINDOW)
        self.windows = check_int(windows, "windows", 1, MAX_WINDOWS)
        self.size = 2 * channels * windows
        super().__init__(
            {
                "valid": In(1),
                "sample": In(signed(SAMPLE)),
                "o_valid": Out(1),
                "index": Out(range(self.size)),
                "value": Out(8),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        k = self.window
        total_bits = SAMPLE + k
        distance_bits = SAMPLE + 1 + k
        words = m.submodules.words = ram(total_bits + distance_bits + SAMPLE, self.channels, None)
        write = words.write_port()
        read = words.read_port()
        total = read.data[:total_bits].as_signed()
        distance = read.data[total_bits : total_bits + distance_bits]
        reference = read.data[total_bits + distance_bits :].as_signed()
        mean = total >> k

        channel = Signal(range(self.channels))
        count = Signal(range(1 << k))  # samples of this window
        first = Signal(init=1)  # no window is complete
        held = Signal(signed(SAMPLE))
        last = channel == self.channels - 1
        ended = count == (1 << k) - 1
        wait = Signal(range(Log2.latency))
        log = m.submodules.log = Log2(SAMPLE + 1)
        base = Signal(signed(SAMPLE))
        step = Signal(signed(SAMPLE + 1))
        magnitude = Signal(SAMPLE + 1)  # of the step
        beginning = count == 0
        m.d.comb += [
            base.eq(Mux(first & beginning, held, reference)),
            step.eq(held - base),
            log.a.eq(distance >> k),
            read.addr.eq(channel),
            read.en.eq(0),
            write.addr.eq(channel),
            write.data.eq(
                Cat(
                    (Mux(beginning, 0, total) + held)[:total_bits],
                    (Mux(beginning, 0, distance) + magnitude)[:distance_bits],
                    base,
                )
            ),
        ]
        m.d.sync += [self.o_valid.eq(0), self.done.eq(self.o_valid & (self.index == self.size - 1))]
        with m.If(self.o_valid):
            m.d.sync += self.index.eq(Mux(self.index == self.size - 1, 0, self.index + 1))
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += held.eq(self.sample)
                with m.If(self.valid):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += read.en.eq(1)
                m.next = "STEP"
            with m.State("STEP"):
                m.d.sync += magnitude.eq(Mux(step < 0, -step, step))
                m.next = "UPDATE"
            with m.State("UPDATE"):
                m.d.comb += write.en.eq(1)
                m.d.sync += channel.eq(Mux(last, 0, channel + 1))
                m.next = "IDLE"
                with m.If(last):
                    m.d.sync += count.eq(count + 1)
                    with m.If(ended):
                        m.d.sync += count.eq(0)
                        m.next = "MEAN"
            with m.State("MEAN"):
                m.d.comb += read.en.eq(1)
                m.next = "MEAN OUT"
            with m.State("MEAN OUT"):
                m.d.sync += [
                    self.o_valid.eq(1),
                    self.value.eq((mean >> 8) + 128),
                    channel.eq(Mux(last, 0, channel + 1)),
                ]
                m.next = "MEAN"
                with m.If(last):
                    m.next = "ENERGY"
            with m.State("ENERGY"):
                m.d.comb += read.en.eq(1)
                m.next = "LOG"
            with m.State("LOG"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == Log2.latency - 1):
                    m.d.sync += wait.eq(0)
                    m.next = "ENERGY OUT"
            with m.State("ENERGY OUT"):  # the mean is the next reference
                m.d.comb += [write.en.eq(1), write.data[total_bits + distance_bits :].eq(mean)]
                m.d.sync += [
                    self.o_valid.eq(1),
                    self.value.eq(Mux(log.code[8:].any(), 255, log.code)),
                    channel.eq(Mux(last, 0, channel + 1)),
                ]
                m.next = "ENERGY"
                with m.If(last):
                    m.d.sync += first.eq(0)
                    m.next = "IDLE"
        return m

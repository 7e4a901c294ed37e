"""Reader of an SPI ADC of the family MCP3004, MCP3008, MCP3204, MCP3208: its channels one after the other.

    csn  ~~|_______________________________________________________________|~~~~~
    mosi        start  single  d2  d1  d0   -    -    -  ...
    miso                                        null  b11 ...  b0

``sck`` idles low.  Both sides change their pin at the falling edge of sck, and sample the other at the rising
edge.

Latency: FRAME_BITS periods of sck from ``csn`` low to ``valid``.  Throughput: a reading of one channel in
FRAME_BITS + 1 periods.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.fixed import check_int
from equilif_hdl.front_end.divider import FractionalDivider

COMMAND_BITS = 5  #: start, single-ended, three bits of the channel
SAMPLING_BITS = 2  #: periods in which the ADC samples, and sends a null bit
MAX_CHANNELS = 8
WIDTHS = (10, 12)  #: bits of a reading


class AdcReader(wiring.Component):
    """Members
    -------
    csn, sck, mosi : Out(1), miso : In(1)
        Pins.  ``miso`` is asynchronous.
    start : In(1)
        Strobe: read all channels once.  Ignored during a reading.
    valid, channel, o : Out(1), Out, Out(width)
        Strobe, number and reading of a channel, as the ADC sends it: unsigned.

    ``clock_hz``, ``sck_hz``: of the design and of the ADC.
    """

    csn: Signal
    sck: Signal
    mosi: Signal
    miso: Signal
    start: Signal
    valid: Signal
    channel: Signal
    o: Signal

    def __init__(self, clock_hz: int, sck_hz: int, *, channels: int, width: int = 12):
        self.channels = check_int(channels, "channels", 1, MAX_CHANNELS)
        if width not in WIDTHS:
            raise ValueError(f"width must be one of {WIDTHS} bits, not {width}")
        self.divider = FractionalDivider(clock_hz, sck_hz)
        self.frame_bits = COMMAND_BITS + SAMPLING_BITS + width
        super().__init__(
            {
                "csn": Out(1),
                "sck": Out(1),
                "mosi": Out(1),
                "miso": In(1),
                "start": In(1),
                "valid": Out(1),
                "channel": Out(range(MAX_CHANNELS)),
                "o": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.divider = divider = self.divider
        miso = Signal()
        m.submodules.synchronizer = cdc.FFSynchronizer(self.miso, miso)
        place = Signal(range(self.frame_bits + 1))  # periods of this frame so far
        active = Signal()
        selected = Signal()
        done = Signal()
        command = Signal(COMMAND_BITS)
        m.d.comb += [self.csn.eq(~selected), self.sck.eq(divider.clock & selected), self.valid.eq(done)]
        m.d.comb += self.mosi.eq(command[-1])
        m.d.sync += done.eq(0)
        with m.If(self.start & ~active):
            m.d.sync += [active.eq(1), self.channel.eq(0)]
        # a frame begins and ends at a falling edge, so that sck has no short pulse
        with m.If(divider.fall & active & ~selected):
            m.d.sync += [
                selected.eq(1),
                place.eq(0),
                command.eq(Cat(self.channel, Const(0b11, 2))),
            ]
        with m.If(divider.rise & selected):
            m.d.sync += [self.o.eq(Cat(miso, self.o[:-1])), place.eq(place + 1)]
        with m.If(divider.fall & selected):
            m.d.sync += command.eq(command << 1)
            with m.If(place == self.frame_bits):
                m.d.sync += [selected.eq(0), done.eq(1)]
        with m.If(done):
            m.d.sync += self.channel.eq(self.channel + 1)
            with m.If(self.channel == self.channels - 1):
                m.d.sync += active.eq(0)
        return m

"""Clock of a board: oscillator --> PLL --> clock domain `sync`, held in reset until the PLL has locked.

Divider settings are searched within the limits of the data sheets, so a board specifies a frequency only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar

from amaranth import Cat, ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.build import Platform
from amaranth.hdl import Value
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.vendor import GowinPlatform

#: log2 of the cycles between lock and the end of reset; block RAM of iCE40 is not readable for some us after
#: configuration
LOCK_CYCLES_LOG2 = 9


#: search for the nearest possible frequencies: step in Hz, and number of steps
SEARCH_STEP = 0.25e6
MAX_STEPS = 100


class Dividers:
    """Divider settings of a PLL."""

    @classmethod
    def search(cls, f_in: float, f_out: float, also: Sequence[float] = ()) -> Self | None:
        """Settings for f_out, and further outputs ``also``, from f_in; exact and within the data sheet, or
        None.
        """
        raise NotImplementedError

    @classmethod
    def find(cls, f_in: float, f_out: float, also: Sequence[float] = ()) -> Self:
        """Frequency that :meth:`search` finds; ValueError, with the nearest possible frequencies, if
        there is none.
        """
        found = cls.search(f_in, f_out, also)
        if found is None:
            below = [f_out // SEARCH_STEP * SEARCH_STEP - k * SEARCH_STEP for k in range(MAX_STEPS)]
            above = [-(-f_out // SEARCH_STEP) * SEARCH_STEP + k * SEARCH_STEP for k in range(MAX_STEPS)]
            nearest = [
                next((f for f in fs if f > 0 and cls.search(f_in, f, also)), None) for fs in (below, above)
            ]
            possible = " or ".join(f"{f / 1e6:g}" for f in nearest if f)
            others = "".join(f" and {f / 1e6:g}" for f in also)
            raise ValueError(
                f"the PLL cannot generate {f_out / 1e6:g}{others} MHz from {f_in / 1e6:g} MHz"
                + (f"; possible: {possible} MHz" if possible else "")
            )
        return found


@dataclass(frozen=True)
class Ice40Dividers(Dividers):
    """SB_PLL40, simple feedback: f_out = f_in / (r + 1) * (f + 1) / 2**q."""

    r: int
    f: int
    q: int
    filter_range: int

    @classmethod
    def search(cls, f_in: float, f_out: float, also: Sequence[float] = ()) -> Self | None:
        """Lattice FPGA-TN-02052: phase detector 10..133 MHz, VCO 533..1066 MHz, output 16..275 MHz.  One
        output.
        """
        if also:
            return None
        for r in range(16):
            for q in range(1, 7):
                f = round(f_out * 2**q * (r + 1) / f_in) - 1
                reference = f_in / (r + 1)
                vco = reference * (f + 1)
                legal = (
                    10e6 <= reference <= 133e6
                    and 533e6 <= vco <= 1066e6
                    and 0 <= f < 128
                    and 16e6 <= f_out <= 275e6
                )
                if legal and vco / 2**q == f_out:
                    limits = (17e6, 26e6, 44e6, 66e6, 101e6, 133e6)
                    return cls(r, f, q, 1 + next(k for k, limit in enumerate(limits) if reference <= limit))
        return None


@dataclass(frozen=True)
class Ecp5Dividers(Dividers):
    """EHXPLLL, feedback from CLKOP: f_out = f_in / i * fb, VCO = f_out * op; ``also``: dividers of the VCO
    for further outputs.
    """

    i: int
    fb: int
    op: int
    also: tuple[int, ...] = ()

    @classmethod
    def search(cls, f_in: float, f_out: float, also: Sequence[float] = ()) -> Self | None:
        """Lattice FPGA-TN-02200: phase detector 3.125..400 MHz, VCO 400..800 MHz, preferably near 600."""
        found = [
            (abs(f_out * op - 600e6), i, fb, op)
            for i in range(1, 129)
            for op in range(1, 129)
            if 400e6 <= f_out * op <= 800e6 and f_in / i >= 3.125e6
            if all((f_out * op) % f == 0 for f in also)
            for fb in [round(f_out * i / f_in)]
            if 1 <= fb <= 80 and f_in / i * fb == f_out
        ]
        if not found:
            return None
        _, i, fb, op = min(found)
        return cls(i, fb, op, tuple(int(f_out * op // f) for f in also))


@dataclass(frozen=True)
class GowinDividers(Dividers):
    """rPLL: f_out = f_in / i * fb, VCO = f_out * od."""

    i: int
    fb: int
    od: int

    @classmethod
    def search(cls, f_in: float, f_out: float, also: Sequence[float] = ()) -> Self | None:
        """Gowin UG286; DS117 and DS226, GW1NR-9 and GW2AR-18: phase detector 3..400, VCO 500..1200 MHz.  One
        output is used.
        """
        if also:
            return None
        for i in range(1, 65):
            fb = round(f_out * i / f_in)
            if 1 <= fb <= 64 and f_in / i >= 3e6 and f_in / i * fb == f_out:
                for od in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
                    if 500e6 <= f_out * od <= 1200e6:
                        return cls(i, fb, od)
        return None


D = TypeVar("D", bound=Dividers)


class Pll(Elaboratable, Generic[D]):
    """Drives domain `sync` and the domains of ``also`` (Hz by name), which the parent module defines.

    The oscillator frequency is the only constraint: nextpnr derives the others.
    """

    dividers: type[D]

    def __init__(self, hz: float, also: Mapping[str, float] = MappingProxyType({})):
        self.hz = hz
        self.also = also

    @staticmethod
    def nextpnr_opts(hz: float) -> str:
        """nextpnr options for the clock constraint, if nextpnr does not derive it."""
        return ""

    def elaborate(self, platform: Platform) -> Module:
        m = Module()
        m.domains.lock = ClockDomain("lock", local=True, reset_less=True)
        clks = Signal(1 + len(self.also))
        locked = Signal()
        pin = platform.request(platform.default_clk, dir="-")
        dividers = self.dividers.find(platform.default_clk_frequency, self.hz, tuple(self.also.values()))
        self.instance(m, platform, pin, clks, locked, dividers)
        m.d.comb += [ClockSignal("sync").eq(clks[0]), ClockSignal("lock").eq(clks[0])]
        # the lock output is asynchronous: two flip-flops, then a counter that restarts when it drops
        seen = Signal(2)
        timer = Signal(LOCK_CYCLES_LOG2 + 1)
        m.d.lock += seen.eq(Cat(locked, seen[0]))
        with m.If(~seen[1]):
            m.d.lock += timer.eq(0)
        with m.Elif(~timer[-1]):
            m.d.lock += timer.eq(timer + 1)
        self.reset(m, clks[0], ~timer[-1])
        for k, domain in enumerate(self.also, 1):
            m.d.comb += ClockSignal(domain).eq(clks[k])
            m.submodules[f"{domain}_reset"] = ResetSynchronizer(~timer[-1], domain=domain)
        return m

    def reset(self, m: Module, clk: Value, active: Value) -> None:
        """Drive the reset of domain `sync` while ``active``."""
        m.submodules.reset = ResetSynchronizer(active, domain="sync")

    def instance(
        self, m: Module, platform: Platform, pin: io.SingleEndedPort, clks: Signal, locked: Signal, div: D
    ) -> None:
        """Instantiate the PLL: oscillator pin to clocks and lock signal."""
        raise NotImplementedError


class Ice40Pll(Pll[Ice40Dividers]):
    """SB_PLL40_PAD: the oscillator must be on the dedicated pin of the PLL."""

    dividers = Ice40Dividers

    def instance(
        self,
        m: Module,
        platform: Platform,
        pin: io.SingleEndedPort,
        clks: Signal,
        locked: Signal,
        div: Ice40Dividers,
    ) -> None:
        m.submodules.pll = Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_PLLOUT_SELECT="GENCLK",
            p_DIVR=Const(div.r, 4),
            p_DIVF=Const(div.f, 7),
            p_DIVQ=Const(div.q, 3),
            p_FILTER_RANGE=Const(div.filter_range, 3),
            i_PACKAGEPIN=pin.io,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clks,
            o_LOCK=locked,
        )


class Ecp5Pll(Pll[Ecp5Dividers]):
    """EHXPLLL, feedback from its own output.  All outputs have the same phase."""

    dividers = Ecp5Dividers
    outputs = ("CLKOS", "CLKOS2", "CLKOS3")  #: beside CLKOP

    def instance(
        self,
        m: Module,
        platform: Platform,
        pin: io.SingleEndedPort,
        clks: Signal,
        locked: Signal,
        div: Ecp5Dividers,
    ) -> None:
        m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, pin)
        more: dict[str, Any] = {}
        for k, (name, divider) in enumerate(zip(self.outputs, div.also, strict=False), 1):
            more |= {
                f"p_{name}_ENABLE": "ENABLED",
                f"p_{name}_DIV": divider,
                f"p_{name}_CPHASE": div.op // 2,
                f"p_{name}_FPHASE": 0,
                f"i_EN{name}": Const(0),
                f"o_{name}": clks[k],
            }
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_CLKI_DIV=div.i,
            p_CLKFB_DIV=div.fb,
            p_CLKOP_DIV=div.op,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=div.op // 2,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            p_OUTDIVIDER_MUXA="DIVA",
            p_PLLRST_ENA="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            i_CLKI=buffer.i,
            i_CLKFB=clks[0],
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clks[0],
            o_LOCK=locked,
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            **more,
        )


class Ecp5GlobalReset(Ecp5Pll):
    """The reset is on a clock network, too.

    On general wires the reset of thousands of flip-flops congests a full device.
    """

    def reset(self, m: Module, clk: Value, active: Value) -> None:
        m.domains.local_reset = ClockDomain("local_reset", local=True)
        m.d.comb += ClockSignal("local_reset").eq(clk)
        m.submodules.reset = ResetSynchronizer(active, domain="local_reset")
        m.submodules.reset_buffer = Instance(
            "DCCA", i_CLKI=ResetSignal("local_reset"), i_CE=Const(1), o_CLKO=ResetSignal("sync")
        )


class GowinPll(Pll[GowinDividers]):
    """rPLL, feedback inside.  nextpnr does not derive the frequency of its output."""

    dividers = GowinDividers

    @staticmethod
    def nextpnr_opts(hz: float) -> str:
        return f"--freq {hz / 1e6:g}"

    def instance(
        self,
        m: Module,
        platform: Platform,
        pin: io.SingleEndedPort,
        clks: Signal,
        locked: Signal,
        div: GowinDividers,
    ) -> None:
        assert isinstance(platform, GowinPlatform)
        m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, pin)
        m.submodules.pll = Instance(
            "rPLL",
            p_DEVICE=platform.family,
            p_FCLKIN=f"{platform.default_clk_frequency / 1e6:g}",
            p_IDIV_SEL=div.i - 1,
            p_FBDIV_SEL=div.fb - 1,
            p_ODIV_SEL=div.od,
            p_CLKFB_SEL="internal",
            i_CLKIN=buffer.i,
            i_CLKFB=Const(0),
            i_RESET=Const(0),
            i_RESET_P=Const(0),
            i_FBDSEL=Const(0, 6),
            i_IDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4),
            i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
            o_CLKOUT=clks,
            o_LOCK=locked,
        )

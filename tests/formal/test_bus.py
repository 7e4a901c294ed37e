"""AXI bus: stable responses, none lost or repeated, no starvation.

Engine and checker have free outputs, except that an engine is busy after a start, so the proofs hold for
every engine.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from amaranth import Const, DomainRenamer, Module, Shape, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.link import bus
from equilif_hdl.link.bus import AxiEngine
from tests.engines import ENGINE
from tests.formal.prove import Proof, needs_prover

# replaced by a free checker
pytestmark = [needs_prover, pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")]
BUS = "equilif_hdl.link.bus"
SMALLEST = replace(ENGINE, tiles=4, value_groups=4, state_groups=4, program_words=6, lanes=4)
#: channels that a master holds until ready
CHANNELS = {
    "s_axi_aw": ("addr",),
    "s_axi_w": ("data", "strb"),
    "s_axi_ar": ("addr",),
    "s_axis_t": ("data", "keep", "last"),
}
#: response channels
ANSWERS = {"s_axi_b": ("resp",), "s_axi_r": ("resp", "data"), "m_axis_t": ("data", "last")}


def stands(p: Proof, axi: AxiEngine, channel: str, payload: tuple[str, ...]) -> object:
    """An offer that was not accepted is stable."""
    valid, ready = (getattr(axi, channel + name) for name in ("valid", "ready"))
    offered = p.before(valid & ~ready)
    same = Const(1)
    for name in payload:
        signal = getattr(axi, channel + name)
        same = same & (signal == p.before(signal))
    return ~offered | valid & same


def anything(p: Proof, monkeypatch) -> tuple[AxiEngine, Signal]:
    """A bus with free engine and checker; whether the engine is busy."""
    busy = Signal()

    says: dict[str, Value] = {}  # free signals exist before elaboration
    for name, member in EnginePort(SMALLEST).members.items():
        if member.flow is wiring.In:
            says[name] = p.any(Shape.cast(member.shape).width, f"engine_{name}")
    index = Checker(SMALLEST).index
    judges = {name: p.any(1, f"checker_{name}") for name in ("busy", "fault", "closed")}
    judges["index"] = p.any(index.shape(), "checker_index")

    class FreeEngine(wiring.Component):
        def __init__(self, config, *, state_ram=None):
            super().__init__({"host": In(EnginePort(config))})

        def elaborate(self, platform):
            m = Module()
            m.d.comb += [
                Value.cast(getattr(self.host, name)).eq(value)
                for name, value in says.items()
                if name != "busy"
            ]
            m.d.sync += self.host.busy.eq(self.host.start | self.host.busy & says["busy"])
            m.d.comb += busy.eq(self.host.busy)
            return m

    class FreeChecker(Checker):
        def elaborate(self, platform):
            m = Module()
            m.d.comb += [getattr(self, name).eq(value) for name, value in judges.items()]
            return m

    monkeypatch.setattr(bus, "Engine", FreeEngine)
    monkeypatch.setattr(bus, "Checker", FreeChecker)
    axi = AxiEngine(SMALLEST)
    p.m.submodules.block = DomainRenamer("axi")(axi)
    for path, member, value in axi.signature.flatten(axi):
        name = str(path[0])
        if member.flow is wiring.In and name not in ("aclk", "aresetn"):
            p.m.d.comb += value.eq(p.any(len(value), name))
    p.m.d.comb += [axi.aclk.eq(p.ports["clk"]), axi.aresetn.eq(1)]
    for channel, payload in CHANNELS.items():
        p.assume("valid is held", stands(p, axi, channel, payload))
    return axi, busy


def test_answers(monkeypatch):
    p = Proof("one response per access, held until it is accepted", BUS)
    axi, busy = anything(p, monkeypatch)
    for channel, payload in ANSWERS.items():
        p.claim(f"{channel} stands", stands(p, axi, channel, payload))
    p.claim("address and data together", axi.s_axi_awready == axi.s_axi_wready)
    p.claim("no write without both", ~axi.s_axi_awready | axi.s_axi_awvalid & axi.s_axi_wvalid)
    for name, request, answer in (
        ("write", axi.s_axi_awvalid & axi.s_axi_awready, (axi.s_axi_bvalid, axi.s_axi_bready)),
        ("read", axi.s_axi_arvalid & axi.s_axi_arready, (axi.s_axi_rvalid, axi.s_axi_rready)),
    ):
        owed = Signal(name=f"{name}_owed")
        valid, ready = answer
        with p.m.If(valid & ready):
            p.m.d.sync += owed.eq(0)
        with p.m.If(request):
            p.m.d.sync += owed.eq(1)
        p.claim(f"{name}: no response without request", ~valid | owed)
        p.claim(f"{name}: no second one before the answer", ~request | ~owed)
        p.cover(f"a {name} is answered", valid & ready & p.before(valid & ~ready))
    p.cover("a prediction", axi.m_axis_tvalid & axi.m_axis_tready)
    p.reached(reach=32)


def waits(p: Proof, name: str, waiting: Signal, others: Signal, most: int) -> None:
    """A request is overtaken at most ``most`` times."""
    passed = Signal(range(most + 2), name=f"passed_{name}")
    with p.m.If(~waiting):
        p.m.d.sync += passed.eq(0)
    with p.m.Elif(others & (passed <= most)):
        p.m.d.sync += passed.eq(passed + 1)
    p.claim(f"{name}: overtaken at most {most} times", passed <= most)
    p.cover(f"{name}: overtaken {most} times", passed == most)


def test_fairness(monkeypatch):
    p = Proof("reads, writes and the stream are served in turn", BUS)
    axi, busy = anything(p, monkeypatch)
    write, read, beat = (
        valid & ready
        for valid, ready in (
            (axi.s_axi_awvalid, axi.s_axi_awready),
            (axi.s_axi_arvalid, axi.s_axi_arready),
            (axi.s_axis_tvalid, axi.s_axis_tready),
        )
    )
    wants_write = axi.s_axi_awvalid & axi.s_axi_wvalid & ~axi.s_axi_bvalid
    wants_read = axi.s_axi_arvalid & ~axi.s_axi_rvalid
    at_rest = ~busy & ~p.before(busy) & ~axi.m_axis_tvalid
    waits(p, "read", wants_read & ~read, write | beat, 2)
    waits(p, "write", wants_write & ~write, read | beat, 3)
    waits(p, "stream", axi.s_axis_tvalid & at_rest & ~beat, write | read, 1)
    p.claim("one at a time", ~(write & read) & ~(write & beat) & ~(read & beat))
    p.cover("a beat", beat & p.before(read, 2))
    p.reached(reach=30)

"""Netlists of blocks equal their RTL from reset on: iCE40, ECP5 and Gowin.

Synthesis uses the scripts of the boards; cells behave as their simulation models.  Both designs get the same
inputs and resets.

Not proven (no result within two minutes): Plasticity, with a product in a DSP block or adder tree; Framer,
with a block RAM; Sequencer on Gowin, with a program in an 18 Kbit block RAM.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import pytest
from amaranth.hdl import Value
from amaranth.lib import wiring

from equilif_boards.ecp5 import pack_registers
from equilif_golden.fixed import DEFAULT
from equilif_hdl.blocks.lif import Lif
from equilif_hdl.blocks.rate import Measure, RateChange
from equilif_hdl.blocks.relay import Relay
from equilif_hdl.blocks.softmax import Reciprocal, Softmax
from equilif_hdl.engine.access import Access
from equilif_hdl.engine.argmax import Argmax
from equilif_hdl.engine.dispatch import Dispatcher
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.sequencer import Sequencer
from equilif_hdl.engine.walk import Walker
from equilif_hdl.link.slip import SlipDecoder, SlipEncoder
from equilif_hdl.link.uart import UartReceiver, UartTransmitter
from equilif_sim.verilated import Synthesis
from tests.engines import ENGINE
from tests.formal.prove import NotProven, Proof, Proven, needs_prover
from tests.netlists import ECP5, GOWIN, ICE40

pytestmark = needs_prover
#: a block has no lanes for a floorplan
FAMILIES = {
    "iCE40": ICE40,
    "ECP5": replace(ECP5, after=lambda netlist, _: pack_registers(netlist)),
    "Gowin": GOWIN,
}
#: cycles until the slowest block, a receiver at four cycles per bit, outputs a byte
REACH = 48


class Block(NamedTuple):
    make: Callable[[], wiring.Component]
    #: proven in seconds
    quick: bool = False
    #: families where the proof does not finish
    without: tuple[str, ...] = ()


BLOCKS = {
    "SlipEncoder": Block(SlipEncoder, quick=True),
    "SlipDecoder": Block(SlipDecoder),
    "UartReceiver": Block(partial(UartReceiver, 4)),
    "UartTransmitter": Block(partial(UartTransmitter, 4)),
    "RateChange": Block(RateChange, quick=True),
    "Measure": Block(partial(Measure, DEFAULT)),
    "Lif": Block(partial(Lif, DEFAULT)),
    "Lif, registered": Block(partial(Lif, DEFAULT, registered=True)),
    "Relay": Block(partial(Relay, DEFAULT)),
    "Reciprocal": Block(partial(Reciprocal, 16)),
    "Softmax": Block(partial(Softmax, ENGINE)),
    "Access": Block(partial(Access, ENGINE)),
    "Argmax": Block(partial(Argmax, ENGINE), quick=True),
    "Dispatcher": Block(partial(Dispatcher, ENGINE)),
    "Scanner": Block(partial(Scanner, ENGINE)),
    "Sequencer": Block(partial(Sequencer, ENGINE), without=("Gowin",)),
    "Walker": Block(partial(Walker, ENGINE)),
}


def prove(block: wiring.Component, synthesis: Synthesis, family: str, name: str) -> Proven:
    """Prove that all outputs agree; cover: each output is high at some time."""
    place = type(block).__module__
    p = Proof(f"netlist = RTL ({family}): {name}", place, resets=True)
    p.free(block)
    for port, got in p.netlist(block, synthesis).items():
        p.claim(port, got == Value.cast(attrgetter(port.replace("__", "."))(block)))
        p.cover(f"{port} is not 0", got.any())
    return p.corresponds(reach=REACH)


def cases() -> list[Any]:
    """Fast cases of the iCE40 by default, the others with the long tests."""
    out = []
    for family in FAMILIES:
        for name, block in BLOCKS.items():
            if family in block.without:
                continue
            marks = [] if block.quick and family == "iCE40" else [pytest.mark.long]
            if FAMILIES[family].yosys != "yosys":
                there = shutil.which(FAMILIES[family].yosys)
                marks.append(pytest.mark.skipif(not there, reason="needs the Yosys of the Gowin boards"))
            out.append(pytest.param(family, name, marks=marks, id=f"{family}-{name}"))
    return out


@pytest.mark.parametrize("family, name", cases())
def test_netlist_equals_rtl(family, name):
    prove(BLOCKS[name].make(), FAMILIES[family], family, name)


def test_wrong_cell_is_found():
    """All bits of a LUT are inverted, since a single bit may be unreachable."""
    spoilt = []

    def spoil(content: dict[str, Any], rtlil: str) -> None:
        (module,) = (m for m in content["modules"].values() if int(m["attributes"].get("top", "0"), 2))
        luts = [cell["parameters"] for cell in module["cells"].values() if cell["type"] == "SB_LUT4"]
        table = random.Random(1).choice(luts)
        table["LUT_INIT"] = table["LUT_INIT"].translate(str.maketrans("01", "10"))
        spoilt.append(table)

    with pytest.raises(NotProven, match="begins of changed"):
        prove(RateChange(), replace(ICE40, after=spoil), "iCE40", "RateChange")
    assert spoilt

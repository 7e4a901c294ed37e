"""Annotations of ports and fields for mypy equal the Signatures and layouts of Amaranth."""

import dataclasses
import importlib
import itertools

import pytest
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from equilif_boards import BOARDS
from equilif_golden.engine.config import EngineConfig, ExternalWeights, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.link.flash import Area
from equilif_golden.sdram import CHIPS, ClockedSdram
from equilif_hdl.engine.control import LaneControl
from equilif_hdl.engine.external import RowPort
from equilif_hdl.engine.isa import INSTRUCTION, Event, Instruction, LaneCommand, command, event
from equilif_hdl.engine.port import EnginePort, LanesPort, ScanPort
from equilif_hdl.engine.stages import LaneProgress, LaneStatus
from equilif_hdl.front_end.listener import KINDS, Microphone
from equilif_hdl.front_end.sensor import Adc
from equilif_hdl.link.bus import AxiEngine
from equilif_hdl.link.slip import DECODED, ITEM, Decoded, Item
from equilif_hdl.link.transport import RECEIVED, Line, Received
from equilif_hdl.memory_test import MemoryTest
from equilif_hdl.sdram import Burst, SdramController, SdramPins, SdramPort, burst
from equilif_hdl.top import Top

#: all options on
CONFIG = EngineConfig(lanes=4, tiles=8, value_groups=4, state_groups=4, pipeline=Pipeline.SPRAM, **EVERYTHING)
CHIP = CHIPS["IS42S16160"]
#: every transport, and the modules of their lines
TRANSPORTS = {k.kind: k.transport(board.clock_hz) for board in BOARDS.values() for k in board.links}
LINES = [importlib.import_module(f"equilif_hdl.link.{kind}") for kind in TRANSPORTS]
#: with all optional ports
DEEP = dataclasses.replace(CONFIG, pipeline=Pipeline.DEEP, lanes=16)
EXTERNAL = dataclasses.replace(
    DEEP, external=ExternalWeights(chip_name=CHIP.name, hz=90_000_000, tiles=8, tables=True)
)
#: members of either pipeline
CONTROL = wiring.Signature({**LaneControl(CONFIG).members, **LaneControl(DEEP).members})


@pytest.mark.parametrize(
    "declared, made",
    [
        (Instruction, INSTRUCTION),
        (Event, event(CONFIG)),
        (LaneCommand, command(CONFIG)),
        (EnginePort.Members, EnginePort(EXTERNAL)),
        (RowPort.Members, RowPort(EXTERNAL)),
        (LanesPort.Members, LanesPort(DEEP)),
        (ScanPort.Members, ScanPort(DEEP)),
        (LaneControl.Members, CONTROL),
        (LaneStatus.Members, LaneStatus(CONFIG)),
        (LaneProgress.Members, LaneProgress(DEEP)),
        *((module.Pins, module.PINS) for module in LINES),
        (Burst, burst(CHIP)),
        (SdramPort.Members, SdramPort(CHIP)),
        (SdramPins.Members, SdramPins(CHIP)),
        (Received, RECEIVED),
        (Item, ITEM),
        (Decoded, DECODED),
    ],
    ids=lambda x: getattr(x, "__qualname__", ""),
)
def test_members_are_annotated(declared, made):
    assert all_annotations(declared) == set(made.members)


def all_annotations(kind: type) -> set[str]:
    """Annotations of a class and its bases."""
    return {name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})}


def below(kind: type) -> set[type]:
    """Subclasses within the design."""
    near = set(kind.__subclasses__())
    ours = {k for k in near if k.__module__.startswith("equilif_hdl.")}
    return ours.union(*map(below, near))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_ports_are_annotated(monkeypatch):
    components = {}
    make = wiring.Component.__init__

    def seen(self, *args, **kwargs):
        make(self, *args, **kwargs)
        components.setdefault(type(self), set()).update(self.signature.members)

    monkeypatch.setattr(wiring.Component, "__init__", seen)
    designs = [Top(CONFIG, transport=transport) for transport in TRANSPORTS.values()]
    designs += [Top(DEEP, transport=TRANSPORTS["uart"], flash=Area(1, 2)), AxiEngine(DEEP)]
    wide = dataclasses.replace(CONFIG, value_groups=64)
    designs += [
        Top(wide, transport=TRANSPORTS["uart"], front_end=Microphone(k, 16_000_000), flash=flash)
        for k, flash in itertools.product(KINDS, (None, Area(1, 2)))
    ]
    adc = Adc(channels=8, window=4, windows=2, rate_hz=100, sck_hz=1_000_000, clock_hz=16_000_000)
    designs += [Top(wide, transport=TRANSPORTS["uart"], front_end=adc)]
    designs += [SdramController(CHIP, CHIP.timing(90_000_000)), MemoryTest(CHIP, retention=2)]
    designs += [Top(EXTERNAL, transport=TRANSPORTS["uart"])]
    sdram = ClockedSdram(CHIP.name, 90_000_000)
    designs += [Top(DEEP, transport=TRANSPORTS["uart"], flash=Area(1, 2), sdram=sdram)]
    for design in designs:
        Fragment.get(design, None)
    ours = below(wiring.Component) - {Line}
    for kind in ours:
        assert all_annotations(kind) == components[kind], kind

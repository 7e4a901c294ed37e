"""FPGAs: available resources, and a lower bound of those that an engine needs, before synthesis.

Multipliers and blocks of weights are exact.  Logic is an estimate, a base and a part for each lane: on
ECP5 a line through builds of 8 and 16 lanes, on Gowin of 4 and 8 (docs/reference/boards.md); iCE40 was
built with 4 lanes only, so how its logic divides is assumed.  All numbers are cells that nextpnr packs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from equilif_boards import ecp5
from equilif_boards.floorplan import Grid, Sites
from equilif_golden.engine.config import EngineConfig
from equilif_hdl.link.identity import LutPrimitive


@dataclass(frozen=True, kw_only=True)
class Family:
    """``*_name``: nextpnr's names of the cells.

    ``block_words``: words of 16 bits in a block that holds weights.  ``ram_name``, ``ram_shapes``: block RAM
    of the other memories, and its shapes (words, bits); ``ram_bits``: smallest memory that Yosys puts there.

    ``engine``: (base, each lane) of logic, host link included; ``attention``: what softmax, relay and
    learning from errors add to that; ``standalone``: what a standalone trainer with its FIFO and flash
    controller adds.

    ``preamble``: bytes near the beginning of every bitstream of the family.  ``lookup``: its LUT primitive.

    ``pack_registers``: netlist pass of equilif_boards.ecp5; None if Yosys packs registers into blocks.
    ``floorplan``: apply equilif_boards.floorplan to netlists.
    """

    logic_name: str
    block_name: str
    block_words: int
    ram_name: str
    ram_shapes: tuple[tuple[int, int], ...]
    ram_bits: int
    multiplier_name: str
    engine: tuple[int, int]
    attention: tuple[int, int]
    standalone: int
    preamble: bytes
    lookup: LutPrimitive
    pack_registers: Callable[[dict[str, Any]], dict[str, int]] | None = None
    floorplan: bool = False


@dataclass(frozen=True, kw_only=True)
class Fpga:
    """Number of cells of each kind; ``rams``: block RAMs, if weights are in others.

    ``sites``: sites of block RAMs and multipliers, if the floorplan places them.
    """

    family: Family
    logic: int
    blocks: int
    multipliers: int
    rams: int | None = None
    sites: Sites | None = None

    def needs(self, config: EngineConfig, *, standalone: bool = False) -> dict[str, tuple[int, int]]:
        """Kind of cell: at least needed, there.  ``standalone``: with a standalone trainer."""
        f = self.family
        parts = (f.engine, f.attention) if config.attention else (f.engine,)
        return {
            f.logic_name: (
                sum(base + lane * config.lanes for base, lane in parts) + standalone * f.standalone,
                self.logic,
            ),
            f.block_name: (config.lanes * -(-config.tiles * config.lanes // f.block_words), self.blocks),
            f.multiplier_name: (2 * config.lanes, self.multipliers),
        }

    def shortage(self, config: EngineConfig, *, standalone: bool = False) -> dict[str, tuple[int, int]]:
        """The entries of :meth:`needs` that exceed the device."""
        needs = self.needs(config, standalone=standalone)
        return {name: (need, there) for name, (need, there) in needs.items() if need > there}


#: of a block RAM of 16 Kbit, or 18 Kbit with parity
SHAPES_16K = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))

ICE40 = Family(
    logic_name="ICESTORM_LC",
    block_name="ICESTORM_SPRAM",
    block_words=16384,
    ram_name="ICESTORM_RAM",
    ram_shapes=((256, 16), (512, 8), (1024, 4), (2048, 2)),
    ram_bits=512,
    multiplier_name="ICESTORM_DSP",
    engine=(2500, 670),
    attention=(1160, 138),
    standalone=2412,
    preamble=b"\x7e\xaa\x99\x7e",  # project IceStorm, "Bitstream Format"
    lookup=LutPrimitive("SB_LUT4", ("I0", "I1", "I2", "I3"), "O", "LUT_INIT"),
)
ECP5 = Family(
    logic_name="TRELLIS_COMB",
    block_name="DP16KD",
    block_words=1024,
    ram_name="DP16KD",
    ram_shapes=SHAPES_16K,
    ram_bits=2048,
    multiplier_name="MULT18X18D",
    engine=(790, 1293),
    attention=(2100, 250),
    standalone=2622,
    preamble=b"\xff\xff\xbd\xb3",  # project Trellis, "Bitstream format"
    lookup=LutPrimitive("LUT4", ("A", "B", "C", "D"), "Z", "INIT"),
    pack_registers=ecp5.pack_registers,
    floorplan=True,
)
GOWIN = Family(
    logic_name="LUT4",
    block_name="BSRAM",
    block_words=1024,
    ram_name="BSRAM",
    ram_shapes=SHAPES_16K,
    ram_bits=2048,
    multiplier_name="MULT18X18",
    engine=(1962, 1066),
    attention=(1018, 240),
    standalone=2544,
    preamble=f"{0xA5C3:b}".encode(),  # project Apicula, "Command structure"; the file holds bits as text
    lookup=LutPrimitive("LUT4", ("I0", "I1", "I2", "I3"), "F", "INIT"),
)

ICE40UP5K = Fpga(family=ICE40, logic=5280, blocks=4, multipliers=8, rams=30)
LFE5U_25F = Fpga(family=ECP5, logic=24288, blocks=56, multipliers=28)
#: first of each nine columns, which have four block RAMs and four multipliers; gaps are clock columns
#: (project Trellis, tile grid)
FIRST_85F = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
LFE5U_85F = Fpga(
    family=ECP5,
    logic=83640,
    blocks=208,
    multipliers=156,
    sites=Sites(
        blocks=Grid(
            rows=(22, 46, 70, 82),
            columns=tuple(first + k for first in FIRST_85F for k in (0, 2, 4, 6)),
            kinds=("EBR0", "EBR1", "EBR2", "EBR3"),
        ),
        multipliers=Grid(
            rows=(10, 34, 58),
            columns=tuple(first + k for first in FIRST_85F for k in (0, 1, 4, 5)),
            kinds=("MULT18_0", "MULT18_1", "MULT18_4", "MULT18_5"),
        ),
    ),
)
GW1NR_9 = Fpga(family=GOWIN, logic=8640, blocks=26, multipliers=20)
GW2AR_18 = Fpga(family=GOWIN, logic=20736, blocks=46, multipliers=48)

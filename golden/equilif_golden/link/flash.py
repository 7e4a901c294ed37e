"""Model of the configuration flash of an FPGA: a serial NOR flash with JEDEC commands.

    bitstream | area of the design: blocks 0 .. blocks - 1
              ^ block ``first`` of the chip

A program changes ones to zeros, an erase sets a block to ones.  The design has only addresses within its
area, so it cannot change the bitstream (:class:`Area`).
"""

from __future__ import annotations

from dataclasses import dataclass

from equilif_golden.fixed import check_int

BLOCK = 1 << 16  #: bytes per erase
SECTOR = 1 << 12  #: bytes of the smallest erase
PAGE = 1 << 8  #: largest number of bytes per program
ERASED = 0xFF

#: JEDEC commands (JESD216): opcode
WRITE_ENABLE = 0x06
READ_STATUS = 0x05
READ_DUAL = 0x3B  #: two bits per clock, after eight dummy clocks; needs no configuration of the chip
PAGE_PROGRAM = 0x02
BLOCK_ERASE = 0xD8
SECTOR_ERASE = 0x20
READ_ID = 0x9F
WAKE = 0xAB  #: release from deep power-down
IN_PROGRESS = 1  #: bit of the status: a program or an erase is under way
ADDRESS_BYTES = 3
W25Q128 = 0xEF4018  #: answer to READ_ID: maker, type, and 2**24 bytes; the iCEBreaker's
MAX_BLOCKS = 1 << 8


@dataclass(frozen=True)
class Area:
    """Blocks of a flash for the design.

    first : int
        First block, after the bitstream.
    blocks : int
        Number of blocks of 64 KiB.
    """

    first: int
    blocks: int

    def __post_init__(self) -> None:
        check_int(self.first, "first", 1, MAX_BLOCKS - 1, "block of the flash")
        check_int(self.blocks, "blocks", 1, MAX_BLOCKS - self.first, "of the flash")

    @property
    def size(self) -> int:
        """Bytes."""
        return self.blocks * BLOCK


class Flash:
    """Content of an area, with programs and erases.  ``chip``: reply to READ_ID."""

    def __init__(self, area: Area, *, chip: int = W25Q128):
        self.area = area
        self.chip = chip
        self.content = bytearray(b"\xff" * area.size)

    def read(self, address: int, n: int) -> bytes:
        """``n`` bytes from ``address`` on; ERASED outside the area."""
        return bytes(self.content[address : address + n]).ljust(n, bytes([ERASED]))

    def program(self, address: int, data: bytes) -> None:
        """Change ones to zeros; page boundaries are not modelled."""
        for at, byte in enumerate(data, address):
            self.content[at] &= byte

    def erase(self, number: int, size: int = BLOCK) -> None:
        """Set a block, or a sector by its ``size``, to ones."""
        self.content[number * size : (number + 1) * size] = bytes([ERASED]) * size

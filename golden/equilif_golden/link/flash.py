"""The flash memory beside an FPGA, as far as the design uses it: a serial NOR flash with JEDEC commands.

    bitstream | area of the design: blocks 0 .. blocks - 1
              ^ block ``first`` of the chip

A program turns ones into zeros, an erase makes a whole block ones again.  The design knows addresses inside
its area alone, so it can never touch the bitstream (:class:`Area`).
"""

from __future__ import annotations

from dataclasses import dataclass

from equilif_golden.fixed import check_int

BLOCK = 1 << 16  #: bytes that one erase makes ones
PAGE = 1 << 8  #: bytes that one program changes at most
ERASED = 0xFF

#: JEDEC commands (JESD216): opcode
WRITE_ENABLE = 0x06
READ_STATUS = 0x05
READ_DUAL = 0x3B  #: two bits a clock, behind eight clocks of nothing; every chip has it as it comes
PAGE_PROGRAM = 0x02
BLOCK_ERASE = 0xD8
READ_ID = 0x9F
WAKE = 0xAB  #: release from deep power-down, in which an FPGA may leave the chip
IN_PROGRESS = 1  #: bit of the status: a program or an erase is under way
ADDRESS_BYTES = 3
W25Q128 = 0xEF4018  #: answer to READ_ID: maker, type, and 2**24 bytes; the iCEBreaker's
MAX_BLOCKS = 1 << 8


@dataclass(frozen=True)
class Area:
    """Blocks of a flash that belong to the design.

    first : int
        Block of the chip where it begins, behind the bitstream.
    blocks : int
        Of 64 KiB.
    """

    first: int
    blocks: int

    def __post_init__(self) -> None:
        check_int(self.first, "first block of the flash", 1, MAX_BLOCKS - 1)
        check_int(self.blocks, "blocks of the flash", 1, MAX_BLOCKS - self.first)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.blocks * BLOCK


class Flash:
    """Content of an area, and what programs and erases make of it.  ``chip``: what it answers to READ_ID."""

    def __init__(self, area: Area, *, chip: int = W25Q128):
        self.area = area
        self.chip = chip
        self.content = bytearray(b"\xff" * area.size)

    def read(self, address: int, n: int) -> bytes:
        """Outside the area all is as if erased."""
        return bytes(self.content[address : address + n]).ljust(n, bytes([ERASED]))

    def program(self, address: int, data: bytes) -> None:
        """Ones become zeros; pages are the controller's affair."""
        for at, byte in enumerate(data, address):
            self.content[at] &= byte

    def erase(self, block: int) -> None:
        self.content[block * BLOCK : (block + 1) * BLOCK] = b"\xff" * BLOCK

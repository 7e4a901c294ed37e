"""What an engine lets a host see: its memories, element by element."""

from __future__ import annotations

from enum import IntEnum

from equilif_golden.engine.config import EngineConfig


class Region(IntEnum):
    """Memories.  Elements are numbered word by word, lane by lane."""

    #: 16-bit signed; address = word * P + bank, layout of equilif_golden.blocks.synapse.to_words
    WEIGHT = 0
    VALUE = 1  #: written as one byte, to plus and minus; read as two, plus then minus
    PROGRAM = 2  #: 32-bit words; written by LOAD only
    #: one 32-bit element: position of the dither, (updates * DITHER_UPDATE) mod 2**DITHER_WIDTH
    COUNTER = 3


WRITE_BYTES = {Region.WEIGHT: 2, Region.VALUE: 1, Region.PROGRAM: 4, Region.COUNTER: 4}  #: of an element
#: the same; LOAD alone sees the program
READ_BYTES = {Region.WEIGHT: 2, Region.VALUE: 2, Region.COUNTER: 4}


def region_size(config: EngineConfig, region: Region) -> int:
    """Elements in a region."""
    return {
        Region.WEIGHT: config.n_weights,
        Region.VALUE: config.value_groups * config.lanes,
        Region.PROGRAM: config.program_words,
        Region.COUNTER: 1,
    }[region]

"""Identity: the words of the answer to IDENTIFY.

    index --> [ 32 LUTs with constant contents ] --> word

Latency: none.  Throughput: a word a cycle.

For a bitstream each bit of a word is a LUT primitive.  A build writes its ID to the contents of these LUTs
after synthesis (equilif_boards.identity), so the ID changes neither structure nor placement of the netlist.
Until then their contents depend on every input, or synthesis would disconnect it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth import Array, Cat, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.protocol import Identity

#: attribute of a primitive: the bit of the word that it drives
BIT = "identity_bit"
#: inputs of a LUT; ``index`` has three bits, or with external weights four
INPUTS = 4
WORDS = Identity.LAYOUT.size // 4
EXTERNAL_WORDS = WORDS + Identity.EXTERNAL_LAYOUT.size // 4
#: bit of the index: whether it has an odd number of ones
PARITY = 0b10010110
#: the word with the build ID
BUILD_ID = WORDS - 1

assert BUILD_ID == 5 and Identity.LAYOUT.size == 4 * WORDS


class LutPrimitive(NamedTuple):
    """LUT primitive of an FPGA family: names of its cell, of its four inputs, least significant first, of its
    output, and of the 16-bit parameter with its contents.
    """

    cell: str
    inputs: tuple[str, str, str, str]
    output: str
    contents: str


class IdentityRom(wiring.Component):
    """Members
    -------
    index : In
        Index of the word.
    word : Out(32)

    ``lookup``: LUT primitive of the bits, for a build ID that is written later; None: constants, as for
    simulation and exported cores.
    """

    index: Signal
    word: Signal

    def __init__(self, identity: Identity, lookup: LutPrimitive | None = None):
        packed = identity.pack()
        self.words = [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed), 4)]
        self.lookup = lookup
        assert len(self.words) in (WORDS, EXTERNAL_WORDS)
        super().__init__({"index": In(3 if len(self.words) == WORDS else 4), "word": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.lookup is None:
            m.d.comb += self.word.eq(Array(Const(word, 32) for word in self.words)[self.index])
            return m
        inputs = Cat(self.index, Const(0, INPUTS - len(self.index)))
        for bit in range(len(self.word)):
            contents = self._contents(bit)
            ports: dict[str, Any] = {f"i_{name}": inputs[k] for k, name in enumerate(self.lookup.inputs)}
            m.submodules[f"bit{bit}"] = Instance(
                self.lookup.cell,
                ("a", BIT, bit),
                ("p", self.lookup.contents, Const(contents, 1 << INPUTS)),
                **ports,
                **{f"o_{self.lookup.output}": self.word[bit]},
            )
        return m

    def _contents(self, bit: int) -> int:
        """A bit of all words, and what makes it depend on every input, where nothing is read."""
        values = [word >> bit & 1 for word in self.words]
        if len(values) == WORDS:
            # words 1 and 5 differ, and 5 and 7, and 6 and 7: by an input each
            values = [*values[:BUILD_ID], 1 - values[1], 1 - values[1], values[1]]
            return sum(value << k for k, value in enumerate(values))
        low = sum(value << k for k, value in enumerate(values))
        # other than the words, whatever the build ID is
        high = PARITY if (low ^ PARITY) & ~(1 << BUILD_ID) else PARITY ^ 0xFF
        return high << len(values) | low

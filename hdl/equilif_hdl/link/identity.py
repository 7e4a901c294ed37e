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
#: inputs of a LUT; ``index`` has three bits
INPUTS = 4
WORDS = Identity.LAYOUT.size // 4
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
    index : In(3)
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
        super().__init__({"index": In(3), "word": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.lookup is None:
            m.d.comb += self.word.eq(Array(Const(word, 32) for word in self.words)[self.index])
            return m
        inputs = Cat(self.index, Const(0, INPUTS - len(self.index)))
        # words 1 and 5 differ, and 5 and 7, and 6 and 7: by an input each.  6 and 7 are never read
        word = self.words[1]
        words = [*self.words[:BUILD_ID], ~word, ~word, word]
        for bit in range(len(self.word)):
            contents = sum((word >> bit & 1) << k for k, word in enumerate(words))
            ports: dict[str, Any] = {f"i_{name}": inputs[k] for k, name in enumerate(self.lookup.inputs)}
            m.submodules[f"bit{bit}"] = Instance(
                self.lookup.cell,
                ("a", BIT, bit),
                ("p", self.lookup.contents, Const(contents, 1 << INPUTS)),
                **ports,
                **{f"o_{self.lookup.output}": self.word[bit]},
            )
        return m

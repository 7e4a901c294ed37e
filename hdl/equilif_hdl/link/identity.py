"""What IDENTIFY answers, a word of 32 bits at a time.

    index --> [ 32 tables of constants ] --> word

Latency: none.  Throughput: a word a cycle.

In a bitstream every bit of a word is a lookup table of the FPGA, instantiated as a primitive.  A build writes
its ID into the contents of these tables after synthesis (equilif_boards.identity), so the ID changes neither
the structure of the netlist nor its placement.  Until then their contents depend on every input, or the
synthesis would disconnect it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth import Array, Cat, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.protocol import Identity

#: attribute of a primitive: which bit of a word it puts out
BIT = "identity_bit"
#: inputs of a lookup table, of which ``index`` has three
INPUTS = 4
WORDS = Identity.LAYOUT.size // 4
#: the word with the build ID
BUILD_ID = WORDS - 1

assert BUILD_ID == 5 and Identity.LAYOUT.size == 4 * WORDS


class LookupTable(NamedTuple):
    """A lookup table of four inputs as a primitive of an FPGA family: names of its cell, its inputs, the
    least significant one first, its output, and the parameter of 16 bits with its contents.
    """

    cell: str
    inputs: tuple[str, str, str, str]
    output: str
    contents: str


class IdentityRom(wiring.Component):
    """Members
    -------
    index : In(3)
        Of the word.
    word : Out(32)

    ``lookup``: the primitive that holds the bits, the build ID to be written later; None in simulation and in
    exported cores, which have constants.
    """

    index: Signal
    word: Signal

    def __init__(self, identity: Identity, lookup: LookupTable | None = None):
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

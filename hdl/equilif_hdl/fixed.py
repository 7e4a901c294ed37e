"""equilif_golden.fixed formats as Amaranth shapes, and the arithmetic that several blocks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amaranth import Array, Cat, Const, Mux, Shape, Signal
from amaranth.hdl import Module, Value
from amaranth.lib import memory

from equilif_golden.fixed import Fixed


def shape(fmt: Fixed) -> Shape:
    return Shape(fmt.width, fmt.signed)


def saturate(value: Value, width: int) -> Value:
    """``value`` in ``width`` signed bits, by looking at the bits above: no comparator."""
    sign = value[-1]
    above = value[width - 1 :]
    fits = above.all() | ~above.any()
    limit = Cat((~sign).replicate(width - 1), sign)
    return Mux(fits, value[:width], limit).as_signed()


def at_least(value: Value, least: int) -> Value:
    """``value >= least``, of a few bits: without a subtraction."""
    found: Value = Const(1, 1)
    for k, bit in enumerate(value):
        found = bit & found if least >> k & 1 else bit | found
    return found


def times_small(value: Value, factor: Value) -> Value:
    """``value * factor`` as shifts and adds: a narrow product leaves the DSP blocks to the lanes."""
    return total(Mux(bit, value << k, 0) for k, bit in enumerate(factor))


def times_index(index: Value, constant: int, width: int) -> Value:
    """``index * constant`` modulo 2**width, for an index of a few bits: a table."""
    return Array(Const(k * constant & ((1 << width) - 1), width) for k in range(1 << len(index)))[index]


def popcount(bits: Value) -> Value:
    """Number of bits that are set."""
    return total(bits)


def total(items: Iterable[Value]) -> Value:
    """All items added, in a tree."""
    terms = list(items)
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], [*terms[1::2], Const(0, 1)], strict=False)]
    return terms[0]


def delayed(m: Module, value: Value, cycles: int, name: str) -> Value:
    """``value`` of so many cycles ago, through registers that no reset clears."""
    for k in range(1, cycles + 1):
        late = Signal(value.shape(), name=f"{name}_{k}_late", reset_less=True)
        m.d.sync += late.eq(value)
        value = late
    return value


def butterfly(m: Module, words: Sequence[Value], across: Value, name: str, first: int = 0) -> list[Value]:
    """``out[j] = words[j ^ (across << first)]``: for every bit a level in which pairs change places, or not.

    Its wires are shorter than those of a rotation, and the same word undoes it.
    """
    p = len(words)
    permuted = list(words)
    for level, bit in enumerate(across, first):
        out = [Signal(len(words[0]), name=f"{name}_{level}_{j}") for j in range(p)]
        for j in range(p):
            m.d.comb += out[j].eq(Mux(bit, permuted[j ^ 1 << level], permuted[j]))
        permuted = list(out)
    return permuted


def lowest_set(mask: Value) -> Value:
    """Index of the lowest set bit (of no meaning when there is none)."""
    index: Value = Const(0, max(1, (len(mask) - 1).bit_length()))
    for k in reversed(range(len(mask))):
        index = Mux(mask[k], k, index)
    return index


def lanes_of(value: Value, n: int) -> list[Value]:
    """A wide word cut into ``n`` equal lanes."""
    return [value.word_select(j, len(value) // n) for j in range(n)]


def domain(registers: int) -> str:
    """Clock domain of statements that lie before a register, where there are registers."""
    return "sync" if registers else "comb"


def ram(shape: int, depth: int, style: str | None, **attributes: int) -> memory.Memory[int, Value]:
    """Memory with a vendor hint: ``block``, ``distributed`` or None for the tool's choice."""
    hint: dict[str, Any] = {"ram_style": style} if style else {}
    return memory.Memory(shape=shape, depth=depth, init=[], attrs=hint | attributes)

"""equilif_golden.fixed formats as Amaranth shapes, and the arithmetic that several blocks share."""

from __future__ import annotations

from amaranth import Array, Cat, Const, Mux, Shape, Signal
from amaranth.hdl import Module, Value
from amaranth.lib import memory

from equilif_golden.fixed import Fixed


def shape(fmt: Fixed) -> Shape:
    return Shape(fmt.width, fmt.signed)


def clip(value: Value, lo: Value | int, hi: Value | int) -> Value:
    return Mux(value > hi, hi, Mux(value < lo, lo, value))


def saturate(value: Value, width: int) -> Value:
    """``value`` in ``width`` signed bits, by looking at the bits above: no comparator."""
    sign, above = value[-1], value[width - 1 :]
    fits = (above.all()) | ~above.any()
    return Mux(fits, value[:width], Cat((~sign).replicate(width - 1), sign)).as_signed()


def times_small(value: Value, factor: Value) -> Value:
    """``value * factor`` as shifts and adds: a narrow product that must not take a DSP block from the lanes."""
    terms = [Mux(bit, value << k, 0) for k, bit in enumerate(factor)]
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], [*terms[1::2], Const(0, 1)], strict=False)]
    return terms[0]


def times_index(index: Value, constant: int, width: int) -> Value:
    """``index * constant`` modulo 2**width, for an index of a few bits: a table."""
    return Array(Const(k * constant & ((1 << width) - 1), width) for k in range(1 << len(index)))[index]


def rotate(m: Module, words: list[Value], amount: Value, name: str, first: int = 0) -> list[Value]:
    """``out[j] = words[(j + (amount << first)) mod P]``: a level of multiplexers a bit."""
    for level, bit in enumerate(amount, first):
        step, n = 1 << level, len(words)
        out = [Signal(len(words[0]), name=f"{name}_{level}_{j}") for j in range(n)]
        for j in range(n):
            m.d.comb += out[j].eq(Mux(bit, words[(j + step) % n], words[j]))
        words = list(out)
    return words


def lowest_set(mask: Value) -> Value:
    """Index of the lowest set bit (of no meaning when there is none)."""
    index: Value = Const(0, max(1, (len(mask) - 1).bit_length()))
    for k in reversed(range(len(mask))):
        index = Mux(mask[k], k, index)
    return index


def popcount(bits: Value) -> Value:
    parts = [bits[k] for k in range(len(bits))]
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], [*parts[1::2], Const(0, 1)], strict=False)]
    return parts[0]


def lanes_of(value: Value, n: int) -> list[Value]:
    """A wide word cut into ``n`` equal lanes."""
    return [value.word_select(j, len(value) // n) for j in range(n)]


def ram(shape: int, depth: int, style: str | None) -> memory.Memory:
    """Memory with a vendor hint: ``block``, ``distributed`` or None for the tool's choice."""
    return memory.Memory(shape=shape, depth=depth, init=[], attrs={"ram_style": style} if style else {})

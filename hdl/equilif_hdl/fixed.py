"""Formats of equilif_golden.fixed as Amaranth shapes, and arithmetic shared by several blocks."""

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
    """``value`` clipped to ``width`` signed bits; tests the upper bits, without a comparator."""
    sign = value[-1]
    above = value[width - 1 :]
    fits = above.all() | ~above.any()
    limit = Cat((~sign).replicate(width - 1), sign)
    return Mux(fits, value[:width], limit).as_signed()


def at_least(value: Value, minimum: int) -> Value:
    """``value >= minimum`` for a narrow value, without a subtractor."""
    result: Value = Const(1, 1)
    for k, bit in enumerate(value):
        result = bit & result if minimum >> k & 1 else bit | result
    return result


def times_small(value: Value, factor: Value) -> Value:
    """``value * factor`` by shifts and adds, for narrow factors: DSP blocks are left to the lanes."""
    return total(Mux(bit, value << k, 0) for k, bit in enumerate(factor))


def times_index(index: Value, constant: int, width: int) -> Value:
    """``index * constant`` modulo 2**width, for a narrow index: a look-up table."""
    return Array(Const(k * constant & ((1 << width) - 1), width) for k in range(1 << len(index)))[index]


def popcount(bits: Value) -> Value:
    """Number of set bits."""
    return total(bits)


def total(items: Iterable[Value]) -> Value:
    """Sum of all items, by an adder tree."""
    terms = list(items)
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], [*terms[1::2], Const(0, 1)], strict=False)]
    return terms[0]


def delayed(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """``value`` delayed by ``cycles``, through registers without a reset.  A strobe that changes a state
    needs one: ``reset_less=False``.
    """
    for k in range(1, cycles + 1):
        late = Signal(value.shape(), name=f"{name}_{k}_late", reset_less=reset_less)
        m.d.sync += late.eq(value)
        value = late
    return value


def butterfly(m: Module, words: Sequence[Value], index: Value, name: str, first: int = 0) -> list[Value]:
    """XOR permutation network: ``out[j] = words[j ^ (index << first)]``, one level for each bit of ``index``.

    Its wires are shorter than those of a rotation, and it is its own inverse.
    """
    p = len(words)
    permuted = list(words)
    for level, bit in enumerate(index, first):
        out = [Signal(len(words[0]), name=f"{name}_{level}_{j}") for j in range(p)]
        for j in range(p):
            m.d.comb += out[j].eq(Mux(bit, permuted[j ^ 1 << level], permuted[j]))
        permuted = list(out)
    return permuted


def lowest_set(mask: Value) -> Value:
    """Index of the lowest set bit; undefined if there is none."""
    index: Value = Const(0, max(1, (len(mask) - 1).bit_length()))
    for k in reversed(range(len(mask))):
        index = Mux(mask[k], k, index)
    return index


def lanes_of(value: Value, n: int) -> list[Value]:
    """A wide word as ``n`` lanes of equal width."""
    return [value.word_select(j, len(value) // n) for j in range(n)]


def domain(registers: int) -> str:
    """Domain of assignments before an optional register: "sync", or "comb" without ``registers``."""
    return "sync" if registers else "comb"


def ram(shape: int, depth: int, style: str | None, **attributes: int) -> memory.Memory[int, Value]:
    """Memory with ``ram_style``: ``block``, ``distributed``, or None for the choice of the tool."""
    hint: dict[str, Any] = {"ram_style": style} if style else {}
    return memory.Memory(shape=shape, depth=depth, init=[], attrs=hint | attributes)

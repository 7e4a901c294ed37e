"""Vector code for Numba: functions that build LLVM code, with operators for integers and vectors of them.

Numba computes with 32-bit numbers in 64 bits, and what it makes of a loop over arrays depends on how it is
written.  A function with :func:`emitted` builds the code of its calls itself.  The code names no processor:
LLVM splits vectors into registers that there are.

Code of an :func:`emitted` function is part of the function that calls it.  Indices are not checked, and a
vector may be read and written back beyond the end of an array, which needs room for ``PADDING`` elements.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: elements that may be read and written back beyond the end of an array
PADDING = 128
CACHE_LINE = 64
#: first version of LLVM with llvm.experimental.vector.compress
COMPRESSING_LLVM = (19, 0, 0)
BIT, INT, LONG = ir.IntType(1), ir.IntType(32), ir.IntType(64)


def new_array(n: int, kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros with room after them, from the start of a cache line."""
    size = np.dtype(kind).itemsize
    buffer = np.zeros((n + PADDING) * size + CACHE_LINE, np.uint8)
    first = -buffer.ctypes.data % CACHE_LINE
    return buffer[first : first + (n + PADDING) * size].view(kind)


class Value:
    """An integer or a vector of integers in compiled code.  Python integers become the other side's type."""

    def __init__(self, builder: ir.IRBuilder, raw: ir.Value):
        self.builder = builder
        self.raw = raw

    @property
    def lanes(self) -> int:
        """Elements of a vector; 0: an integer."""
        return self.raw.type.count if isinstance(self.raw.type, ir.VectorType) else 0

    @property
    def bits(self) -> int:
        kind = self.raw.type
        return int((kind.element if self.lanes else kind).width)

    def _type(self, bits: int) -> ir.Type:
        return ir.VectorType(ir.IntType(bits), self.lanes) if self.lanes else ir.IntType(bits)

    def _new(self, raw: ir.Value) -> Value:
        return Value(self.builder, raw)

    def like(self, other: Value | int) -> Value:
        """``other`` in the type of this value."""
        if not isinstance(other, Value):
            one = int(other)
            return self._new(ir.Constant(self.raw.type, [one] * self.lanes if self.lanes else one))
        if self.lanes and not other.lanes:
            return other.to(self.bits).splat(self.lanes)
        return other.to(self.bits)

    def _operation(self, name: str, other: Value | int) -> Value:
        if isinstance(other, Value) and other.lanes and not self.lanes:
            return other.like(self)._operation(name, other)
        return self._new(getattr(self.builder, name)(self.raw, self.like(other).raw))

    def __add__(self, other: Value | int) -> Value:
        return self._operation("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._operation("sub", other)

    def __rsub__(self, other: int) -> Value:
        return self.like(other) - self

    def __mul__(self, other: Value | int) -> Value:
        return self._operation("mul", other)

    def __floordiv__(self, other: Value | int) -> Value:
        """Of numbers that are not negative."""
        return self._operation("udiv", other)

    def __lshift__(self, other: Value | int) -> Value:
        return self._operation("shl", other)

    def __rlshift__(self, other: int) -> Value:
        return self.like(other) << self

    def __rshift__(self, other: Value | int) -> Value:
        return self._operation("ashr", other)

    def __and__(self, other: Value | int) -> Value:
        return self._operation("and_", other)

    def __or__(self, other: Value | int) -> Value:
        return self._operation("or_", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._operation("xor", other)

    __radd__, __rmul__, __rand__, __ror__ = __add__, __mul__, __and__, __or__

    def _compare(self, how: str, other: Value | int) -> Value:
        if isinstance(other, Value) and other.lanes and not self.lanes:
            return other.like(self)._compare(how, other)
        return self._new(self.builder.icmp_signed(how, self.raw, self.like(other).raw))

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return self._compare("==", other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return self._compare("!=", other)  # type: ignore[arg-type]

    def __lt__(self, other: Value | int) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Value | int) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Value | int) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Value | int) -> Value:
        return self._compare(">=", other)

    __hash__ = None  # type: ignore[assignment]

    def to(self, bits: int) -> Value:
        """With this many bits, signed."""
        name = "trunc" if bits < self.bits else "sext"
        return (
            self if bits == self.bits else self._new(getattr(self.builder, name)(self.raw, self._type(bits)))
        )

    def unsigned(self, bits: int) -> Value:
        """With more bits, the others zero."""
        return self if bits == self.bits else self._new(self.builder.zext(self.raw, self._type(bits)))

    def splat(self, lanes: int) -> Value:
        """A vector of equal elements."""
        kind = ir.VectorType(self.raw.type, lanes)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), self.raw, INT(0))
        mask = ir.Constant(ir.VectorType(INT, lanes), [0] * lanes)
        return self._new(self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask))

    def part(self, lanes: list[int]) -> Value:
        """Some elements of a vector."""
        mask = ir.Constant(ir.VectorType(INT, len(lanes)), lanes)
        return self._new(
            self.builder.shuffle_vector(self.raw, ir.Constant(self.raw.type, ir.Undefined), mask)
        )

    def widened(self, lanes: int, first: int) -> Value:
        """A vector of zeros with these elements from ``first`` on."""
        zeros = ir.Constant(self.raw.type, [0] * self.lanes)
        found = [k - first if 0 <= k - first < self.lanes else self.lanes for k in range(lanes)]
        mask = ir.Constant(ir.VectorType(INT, lanes), found)
        return self._new(self.builder.shuffle_vector(self.raw, zeros, mask))

    def select(self, yes: Value, no: Value | int) -> Value:
        """``yes`` where this is 1, else ``no``."""
        return self._new(self.builder.select(self.raw, yes.raw, yes.like(no).raw))

    def max(self, other: Value | int) -> Value:
        return (self > other).select(self, other)

    def min(self, other: Value | int) -> Value:
        return (self < other).select(self, other)

    def clip(self, lo: Value | int, hi: Value | int) -> Value:
        return self.max(lo).min(hi)

    def mask(self) -> Value:
        """Comparisons as the bits of an integer, element 0 in bit 0."""
        return self._new(self.builder.bitcast(self.raw, ir.IntType(self.lanes)))

    def compressed(self, bits: Value) -> Value:
        """The elements whose bits of an integer are 1, one after the other; the others are undefined."""
        kind = self.raw.type
        mask = self.builder.bitcast(bits.raw, ir.VectorType(BIT, self.lanes))
        name = f"llvm.experimental.vector.compress.v{self.lanes}i{self.bits}"
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, [kind, mask.type, kind]), name
        )
        return self._new(self.builder.call(function, [self.raw, mask, ir.Constant(kind, ir.Undefined)]))

    def high(self, other: Value) -> Value:
        """High half of the product: 16-bit multiply-high."""
        return ((self.to(2 * self.bits) * other.to(2 * self.bits)) >> self.bits).to(self.bits)

    def high_rounded(self, other: Value) -> Value:
        """Product of 16-bit numbers >> 15, rounded to the nearest."""
        twice = (self.to(2 * self.bits) * other.to(2 * self.bits)) >> (self.bits - 2)
        return ((twice + 1) >> 1).to(self.bits)

    def halves(self) -> Value:
        """The same bits as twice as many elements."""
        kind = ir.VectorType(ir.IntType(self.bits // 2), 2 * self.lanes)
        return self._new(self.builder.bitcast(self.raw, kind))

    def pairs(self, other: Value) -> Value:
        """Sums of two neighbouring products, with twice as many bits."""
        products = self.to(2 * self.bits) * other.to(2 * self.bits)
        even, odd = (products.part(list(range(first, self.lanes, 2))) for first in range(2))
        return even + odd

    def folded(self, lanes: int) -> Value:
        """Sums of the elements whose numbers are equal modulo ``lanes``."""
        value = self
        while value.lanes > lanes:
            half = value.lanes // 2
            value = value.part(list(range(half))) + value.part(list(range(half, 2 * half)))
        return value

    def total(self) -> Value:
        """Sum of the elements."""
        return self._new(self.builder.extract_element(self.folded(1).raw, INT(0)))

    def largest(self) -> Value:
        """Largest element."""
        value = self
        while value.lanes > 1:
            half = value.lanes // 2
            value = value.part(list(range(half))).max(value.part(list(range(half, 2 * half))))
        return self._new(self.builder.extract_element(value.raw, INT(0)))

    def _call(self, name: str, *more: ir.Value) -> Value:
        kind = self.raw.type
        function = self.builder.module.declare_intrinsic(
            name, [kind], ir.FunctionType(kind, [kind, *(m.type for m in more)])
        )
        return self._new(self.builder.call(function, [self.raw, *more]))

    def ones(self) -> Value:
        """Number of bits that are 1."""
        return self._call("llvm.ctpop")

    def trailing_zeros(self) -> Value:
        """Number of the lowest bit that is 1; of 0 the number of bits."""
        return self._call("llvm.cttz", ir.Constant(BIT, 0))

    def add_saturated(self, other: Value) -> Value:
        """Sum, at the end of the range where it is beyond it."""
        kind = self.raw.type
        name = f"llvm.sadd.sat.v{self.lanes}i{self.bits}"
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, [kind] * 2), name
        )
        return self._new(self.builder.call(function, [self.raw, other.raw]))

    def below_unsigned(self, other: Value) -> Value:
        return self._new(self.builder.icmp_unsigned("<", self.raw, other.raw))

    def leading_zeros(self) -> Value:
        """Of a number that is not 0."""
        return self._call("llvm.ctlz", ir.Constant(BIT, 1))


def totals(vectors: list[Value]) -> Value:
    """A vector of the sums of the elements of each of four vectors.

    Elements move inside of four neighbours as long as possible, which takes a processor the least time.
    """
    x, y, z, w = vectors
    xy, zw = (_joined(u, v, [0, 0, 1, 1], [2, 2, 3, 3], 1) for u, v in ((x, y), (z, w)))
    return _joined(xy, zw, [0, 1, 0, 1], [2, 3, 2, 3], 2).folded(4)


def _joined(x: Value, y: Value, low: list[int], high: list[int], run: int) -> Value:
    """Sums of two elements of each four neighbours, ``run`` of ``x``, then of ``y``, and so on."""
    builder, n = x.builder, x.lanes
    of_y = [0] * run + [n] * run
    masks = [
        ir.Constant(
            ir.VectorType(INT, n),
            [four + k + (of_y * 4)[i] for four in range(0, n, 4) for i, k in enumerate(places)],
        )
        for places in (low, high)
    ]
    first, second = (Value(builder, builder.shuffle_vector(x.raw, y.raw, mask)) for mask in masks)
    return first + second


class Elements:
    """An array in compiled code, flat.  Elements are read as 32-bit numbers, those of 64 bits as such."""

    def __init__(self, builder: ir.IRBuilder, pointer: ir.Value, bits: int, *, signed: bool):
        self.builder = builder
        self.bits = bits
        self.signed = signed
        self.pointer = builder.bitcast(pointer, ir.IntType(bits).as_pointer())

    def __add__(self, offset: Value | int) -> Elements:
        """The array from an element on."""
        return Elements(self.builder, self._at(offset), self.bits, signed=self.signed)

    def _at(self, index: Value | int, lanes: int = 0) -> ir.Value:
        raw = index.to(64).raw if isinstance(index, Value) else LONG(index)
        at = self.builder.gep(self.pointer, [raw])
        if lanes:
            at = self.builder.bitcast(at, ir.VectorType(ir.IntType(self.bits), lanes).as_pointer())
        return at

    def choose(self, condition: Value, other: Elements) -> Elements:
        """This array if a condition holds, else another one of the same kind."""
        chosen = self.builder.select(condition.raw, self.pointer, other.pointer)
        return Elements(self.builder, chosen, self.bits, signed=self.signed)

    def load(self, index: Value | int, lanes: int = 0, *, bits: int = 0) -> Value:
        """Elements from an index on, extended to ``bits`` if given."""
        found = Value(self.builder, self.builder.load(self._at(index, lanes), align=self.bits // 8))
        if not bits:
            return found
        return found.to(bits) if self.signed else found.unsigned(bits)

    def prefetch(self, index: Value | int) -> None:
        """Bring the cache line of an element into the caches."""
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), INT, INT, INT])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        at = self.builder.bitcast(self._at(index), ir.IntType(8).as_pointer())
        self.builder.call(function, [at, INT(0), INT(3), INT(1)])

    def __getitem__(self, index: Value | int) -> Value:
        return self.load(index, bits=max(32, self.bits))

    def store(self, index: Value | int, value: Value, mask: Value | None = None) -> None:
        """Write elements from an index on; where a mask is 0, what is there is written again."""
        value = value.to(self.bits)
        if mask is not None:
            value = mask.select(value, self.load(index, value.lanes))
        self.builder.store(value.raw, self._at(index, value.lanes), align=self.bits // 8)

    def __setitem__(self, index: Value | int, value: Value | int) -> None:
        if not isinstance(value, Value):
            value = Value(self.builder, ir.IntType(self.bits)(value))
        self.store(index, value)


class Variable:
    """A variable of compiled code."""

    def __init__(self, first: Value):
        self.builder = first.builder
        self.place = cgutils.alloca_once(self.builder, first.raw.type)
        self.set(first)

    def set(self, value: Value) -> None:
        self.builder.store(value.raw, self.place)

    @property
    def now(self) -> Value:
        return Value(self.builder, self.builder.load(self.place))

    def add(self, value: Value | int) -> Self:
        self.set(self.now + value)
        return self


class Struct:
    """A record, or a tuple with names, in compiled code: fields are values, or memories for arrays."""

    def __init__(self, code: Code, kind: types.Type, raw: ir.Value):
        self._code = code
        self._kind = kind
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        builder = self._code.builder
        if isinstance(self._kind, types.Record):
            first = builder.bitcast(self._raw, ir.IntType(8).as_pointer())
            at = builder.gep(first, [LONG(self._kind.offset(name))])
            return Value(builder, builder.load(builder.bitcast(at, LONG.as_pointer())))
        k = self._kind.fields.index(name)
        # where all uses are after it, and once
        with builder.goto_block(self._code.entry):
            found = self._code.wrap(self._kind.types[k], builder.extract_value(self._raw, k))
        self.__dict__[name] = found
        return found


class Code:
    """Where code is built: constants, loops and branches."""

    def __init__(self, context: Any, builder: ir.IRBuilder):
        self.context = context
        self.builder = builder
        self.entry = builder.block
        builder.position_at_end(builder.branch(builder.append_basic_block("emitted")).operands[0])

    def wrap(self, kind: types.Type, raw: ir.Value) -> Any:
        """An argument of a Numba function."""
        if isinstance(kind, types.Array):
            position = self.context.data_model_manager[kind].get_field_position("data")
            data = self.builder.extract_value(raw, position)
            return Elements(self.builder, data, kind.dtype.bitwidth, signed=kind.dtype.signed)
        if isinstance(kind, (types.Record, types.NamedTuple)):
            return Struct(self, kind, raw)
        value = Value(self.builder, raw)
        return value if isinstance(kind, types.Integer) else value.unsigned(64)

    @property
    def compresses(self) -> bool:
        """Whether processor and LLVM have an instruction for :meth:`Value.compressed` of bytes."""
        *_, features = self.context.codegen().magic_tuple()
        return "+avx512vbmi2" in features.split(",") and llvm_version_info >= COMPRESSING_LLVM

    def number(self, value: int, bits: int = 64, lanes: int = 0) -> Value:
        """A constant."""
        kind = ir.IntType(bits)
        if lanes:
            return Value(self.builder, ir.Constant(ir.VectorType(kind, lanes), [value] * lanes))
        return Value(self.builder, kind(value))

    def lanes(self, lanes: int, bits: int = 32) -> Value:
        """Numbers of the elements of a vector."""
        kind = ir.VectorType(ir.IntType(bits), lanes)
        return Value(self.builder, ir.Constant(kind, list(range(lanes))))

    def below(self, n: Value, lanes: int) -> Value:
        """Mask of the first ``n`` elements."""
        return self.lanes(lanes, 512 // lanes) < n.min(lanes).to(512 // lanes)

    @contextmanager
    def range(self, start: Value | int, stop: Value, step: Value | int = 1) -> Iterator[Value]:
        """A loop over 64-bit numbers."""
        builder = self.builder
        stop = stop.to(64)
        first = stop.like(start).raw
        before = builder.block
        body, after = (builder.append_basic_block(name) for name in ("body", "after"))
        builder.cbranch(builder.icmp_signed("<", first, stop.raw), body, after)
        builder.position_at_end(body)
        index = builder.phi(LONG)
        index.add_incoming(first, before)
        yield Value(builder, index)
        following = Value(builder, index) + step
        index.add_incoming(following.raw, builder.block)
        builder.cbranch((following < stop).raw, body, after)
        builder.position_at_end(after)

    @contextmanager
    def set_bits(self, bits: Value) -> Iterator[Value]:
        """A loop over the numbers of the bits of a 64-bit number that are 1."""
        builder = self.builder
        before = builder.block
        body, after = (builder.append_basic_block(name) for name in ("body", "after"))
        builder.cbranch((bits != 0).raw, body, after)
        builder.position_at_end(body)
        left = builder.phi(bits.raw.type)
        left.add_incoming(bits.raw, before)
        now = Value(builder, left)
        yield now.trailing_zeros()
        following = now & (now - 1)
        left.add_incoming(following.raw, builder.block)
        builder.cbranch((following != 0).raw, body, after)
        builder.position_at_end(after)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        with self.builder.if_then(condition.raw):
            yield

    @contextmanager
    def either(self, condition: Value) -> Iterator[tuple[Any, Any]]:
        """Two branches, each a ``with`` block."""
        with self.builder.if_else(condition.raw) as branches:
            yield branches


def emitted(build: Callable[..., Value | None]) -> Callable[..., Any]:
    """A function of Numba code whose code ``build(code, ...)`` makes, of arrays, records, named tuples and
    integers; its value is a 64-bit number.
    """
    names = list(inspect.signature(build).parameters)[1:]

    def definition(typing: Any, *kinds: types.Type) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            code = Code(context, builder)
            found = build(code, *(code.wrap(k, a) for k, a in zip(signature.args, arguments, strict=True)))
            return context.get_dummy_value() if found is None else found.to(64).raw

        returns = types.none if inspect.signature(build).return_annotation == "None" else types.int64
        return returns(*kinds), generate

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(definition, name, getattr(build, name))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    definition.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in ("typing", *names)]
    )
    made: Callable[..., Any] = intrinsic(definition)
    return made

"""Types of interfaces and views, for mypy.

Amaranth creates the ports of a Signature and the fields of a StructLayout at run time, so a type checker does
not see them.  Subclasses of the classes below declare them for the type checker; they are never instantiated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from amaranth import Signal
from amaranth.lib import data, wiring


class Interface(Protocol):
    """Interface of a Signature.  A subclass declares its ports."""

    @property
    def signature(self) -> wiring.Signature: ...


P = TypeVar("P")


class Stream(Interface, Protocol[P]):
    """amaranth.lib.stream.Interface with a payload of type P."""

    payload: P
    p: P
    valid: Signal
    ready: Signal


if TYPE_CHECKING:
    from collections.abc import Mapping

    from amaranth.hdl import Shape, ShapeCastable, ShapeLike, Value, ValueCastable, ValueLike
    from amaranth.hdl._ast import Assign as Assign

    class Fields(ValueCastable):
        """A view.  A subclass declares its fields; other names are errors, unlike with data.View."""

        def as_value(self) -> Value: ...
        def shape(self) -> Shape: ...
        def eq(self, other: ValueLike) -> Assign: ...
        def __getitem__(self, key: str) -> Value: ...

    V = TypeVar("V", bound=Fields)

    class Layout(ShapeCastable[V]):
        """A StructLayout with views of class V."""

        def __init__(self, members: Mapping[str, ShapeLike]) -> None: ...
        def as_shape(self) -> Shape: ...
        def __getitem__(self, key: str) -> data.Field: ...
        def const(self, init: Mapping[str, int]) -> ValueCastable: ...
        def from_bits(self, raw: int) -> Mapping[str, int]: ...

    def signal_of(layout: Layout[V], *, name: str = ..., reset_less: bool = ...) -> V:
        """View of a Signal with this layout."""
else:
    Assign = object
    Fields = data.View
    Layout = data.StructLayout
    signal_of = Signal

"""Types of what Amaranth makes at run time, so that mypy knows its members.

A Signature makes an object with ports, a StructLayout a view with fields.  Amaranth takes both from data, so
a type checker sees none of them.  Subclasses of the classes below declare them once more, for the checker
alone: nothing is ever made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from amaranth import Signal
from amaranth.lib import data, wiring


class Interface(Protocol):
    """What a Signature makes.  A subclass declares its ports."""

    @property
    def signature(self) -> wiring.Signature: ...


P = TypeVar("P")


class Stream(Interface, Protocol[P]):
    """What a stream's Signature makes, with a payload P: amaranth.lib.stream.Interface."""

    payload: P
    p: P
    valid: Signal
    ready: Signal


if TYPE_CHECKING:
    from collections.abc import Mapping

    from amaranth.hdl import Shape, ShapeCastable, ShapeLike, Value, ValueCastable, ValueLike
    from amaranth.hdl._ast import Assign as Assign

    class Fields(ValueCastable):
        """A view.  A subclass declares its fields, and no other is one; data.View lets every name pass."""

        def as_value(self) -> Value: ...
        def shape(self) -> Shape: ...
        def eq(self, other: ValueLike) -> Assign: ...
        def __getitem__(self, key: str) -> Value: ...

    V = TypeVar("V", bound=Fields)

    class Layout(ShapeCastable[V]):
        """A StructLayout whose views are of the class V."""

        def __init__(self, members: Mapping[str, ShapeLike]) -> None: ...
        def as_shape(self) -> Shape: ...
        def __getitem__(self, key: str) -> data.Field: ...
        def const(self, init: Mapping[str, int]) -> ValueCastable: ...
        def from_bits(self, raw: int) -> Mapping[str, int]: ...

    def signal_of(layout: Layout[V], *, name: str = ..., reset_less: bool = ...) -> V:
        """A Signal of a layout: its view."""
else:
    Assign = object
    Fields = data.View
    Layout = data.StructLayout
    signal_of = Signal

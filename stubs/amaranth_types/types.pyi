# amaranth-stubs take these types from amaranth_types, where mypy resolves some of them to Any.
from collections.abc import Iterable
from enum import Enum
from typing import Any, Protocol, TypeAlias, TypeVar

from amaranth.hdl._ast import IOValue, Shape, ShapeCastable, Statement, Value, ValueCastable
from amaranth.hdl._dsl import Module

FlatValueLike: TypeAlias = Value | int | Enum
ValueLike: TypeAlias = Value | int | Enum | ValueCastable
FlatShapeLike: TypeAlias = Shape | int | range | type[Enum]
ShapeLike: TypeAlias = Shape | int | range | type[Enum] | ShapeCastable[Any]
IOValueLike: TypeAlias = IOValue | Value
StatementLike: TypeAlias = Statement | Iterable[StatementLike]
SwitchKey: TypeAlias = str | ValueLike
ModuleLike: TypeAlias = Module

class HasElaborate(Protocol):
    def elaborate(self, platform: Any) -> Any: ...

class AbstractSignature(Protocol):
    @property
    def members(self) -> Any: ...

S = TypeVar("S", covariant=True)

class AbstractInterface(Protocol[S]):
    @property
    def signature(self) -> S: ...

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Elaboratable

class Pins:
    def __init__(
        self,
        names: str,
        *,
        dir: str = ...,
        invert: bool = ...,
        conn: tuple[str, int | str] | None = ...,
        assert_width: int | None = ...,
    ) -> None: ...

class PinsN(Pins): ...

class Subsignal:
    def __init__(self, name: str, *args: Pins | Clock | Attrs) -> None: ...

class Attrs:
    def __init__(self, **attrs: str) -> None: ...

class Clock:
    def __init__(self, frequency: float) -> None: ...

class Resource:
    def __init__(self, name: str, number: int, *args: Pins | Subsignal | Clock | Attrs) -> None: ...

class Connector:
    def __init__(
        self, name: str, number: int, io: str | dict[str, str], *, conn: tuple[str, int | str] | None = ...
    ) -> None: ...

class ResourceError(Exception): ...

class BuildPlan:
    files: dict[str, str | bytes]

class Platform:
    default_clk: str
    resources: Sequence[Resource]
    connectors: Sequence[Connector]

    @property
    def default_clk_frequency(self) -> float: ...
    @property
    def required_tools(self) -> Sequence[str]: ...
    # a port, or a group of ports: the resource says which
    def request(self, name: str, number: int = ..., *, dir: str | None = ...) -> Any: ...
    def prepare(self, elaboratable: Elaboratable, name: str = ..., **kwargs: object) -> BuildPlan: ...

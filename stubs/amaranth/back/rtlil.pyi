from collections.abc import Sequence

from amaranth.hdl import Elaboratable, Signal

def convert(
    elaboratable: Elaboratable,
    name: str = ...,
    platform: object = ...,
    *,
    ports: Sequence[Signal] | None = ...,
    emit_src: bool = ...,
) -> str: ...

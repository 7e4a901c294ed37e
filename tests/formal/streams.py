"""Stream handshake: valid and payload are stable until ready."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Value

from tests.formal.prove import Proof


def stands(p: Proof, stream: Any) -> Value:
    """An offer that was not accepted in the last cycle is stable; true in the first cycle."""
    offered = p.before(stream.valid & ~stream.ready)
    payload = Value.cast(stream.payload)
    return ~offered | stream.valid & (payload == p.before(payload))

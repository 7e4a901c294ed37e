"""What every stream promises: an offer stands as it is until it is taken."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Value

from tests.formal.prove import Proof


def stands(p: Proof, stream: Any) -> Value:
    """What was offered and not taken in the last cycle is still offered; true in the first cycle."""
    offered = p.before(stream.valid & ~stream.ready)
    payload = Value.cast(stream.payload)
    return ~offered | stream.valid & (payload == p.before(payload))

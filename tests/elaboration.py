"""Fast elaboration of large memories.

Amaranth writes initial contents bit by bit, a million bits for the weights of a board.
"""

from __future__ import annotations

from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import _nir

emit_memory = rtlil.ModuleEmitter.emit_memory  #: the original


def emit_zeros_fast(emitter: Any, cell_idx: int, cell: Any) -> None:
    """As the original, with a zero memory written in one step."""
    if any(cell.init):
        emit_memory(emitter, cell_idx, cell)
        return
    n = cell.width * cell.depth
    zeros = f"{n}'{n * '0'}"
    sigspec = emitter.sigspec

    def zeros_or_sigspec(*parts: Any) -> str:
        """Zeros for the constant bits of the content."""
        is_content = bool(parts) and not isinstance(parts[0], _nir.Value)
        return zeros if is_content else sigspec(*parts)

    emitter.sigspec = zeros_or_sigspec
    try:
        emit_memory(emitter, cell_idx, cell)
    finally:
        del emitter.sigspec


def install() -> None:
    rtlil.ModuleEmitter.emit_memory = emit_zeros_fast

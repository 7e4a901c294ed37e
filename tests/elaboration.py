"""Elaboration of large memories, faster: Amaranth writes their initial content bit by bit, a million of them
for the weights of a board.
"""

from __future__ import annotations

from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import _nir

emit_memory = rtlil.ModuleEmitter.emit_memory  #: Amaranth's own


def quick(emitter: Any, cell_idx: int, cell: Any) -> None:
    """As Amaranth's, with the zeros of a memory made at once."""
    if any(cell.init):
        emit_memory(emitter, cell_idx, cell)
        return
    n = cell.width * cell.depth
    zeros = f"{n}'{n * '0'}"
    sigspec = emitter.sigspec

    def at_once(*parts: Any) -> str:
        """Of bits that have yet to be made, the content alone."""
        of_content = bool(parts) and not isinstance(parts[0], _nir.Value)
        return zeros if of_content else sigspec(*parts)

    emitter.sigspec = at_once
    try:
        emit_memory(emitter, cell_idx, cell)
    finally:
        del emitter.sigspec


def install() -> None:
    rtlil.ModuleEmitter.emit_memory = quick

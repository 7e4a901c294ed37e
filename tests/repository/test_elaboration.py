"""The fast elaboration of the tests writes the same RTLIL as Amaranth."""

from __future__ import annotations

import pytest

pytest.importorskip("amaranth")

from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import memory

from tests import elaboration


@pytest.mark.parametrize("init", [[], [0, 5, 255]])
def test_memory_elaboration_equals_amaranth(init, monkeypatch):
    def text():
        m = Module()
        m.submodules.memory = ram = memory.Memory(shape=8, depth=12, init=init)
        read = ram.read_port()
        ram.write_port()
        return rtlil.convert(m, ports=[read.data], emit_src=False)

    monkeypatch.setattr(rtlil.ModuleEmitter, "emit_memory", elaboration.emit_memory)
    slow = text()
    monkeypatch.setattr(rtlil.ModuleEmitter, "emit_memory", elaboration.emit_zeros_fast)
    assert text() == slow and "meminit" in slow

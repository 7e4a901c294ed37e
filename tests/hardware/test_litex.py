"""Ports of the LiteX module; tests/examples/test_examples.py simulates it in a SoC."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("litex", reason="extra litex")

from litex.build.generic_platform import GenericPlatform  # noqa: E402
from migen.fhdl.specials import Instance  # noqa: E402

from equilif.hardware import litex as module  # noqa: E402
from equilif_golden.engine.config import EngineConfig  # noqa: E402
from equilif_golden.link.registers import REGISTERS  # noqa: E402
from equilif_hdl.link.bus import PORTS  # noqa: E402

# a scan of all modules asks this one for an attribute, and it waits for two seconds
sys.modules.pop("litex.soc.interconnect.stream_sim", None)


@pytest.fixture
def platform(monkeypatch):
    """Without the export, which is in tests/hardware/test_export.py."""
    monkeypatch.setattr(module, "export", lambda folder, config, **options: [folder / "equilif.v"])
    return GenericPlatform("device", [])


def test_ports(platform):
    """All ports of the exported module, with their widths and directions."""
    engine = module.EquilifEngine(platform, EngineConfig(), "there")
    (instance,) = (s for s in engine.get_fragment().specials if isinstance(s, Instance))
    ports = {item.name: item for item in instance.items}
    assert set(ports) == set(PORTS)
    for name, member in PORTS.items():
        direction = Instance.Input if member.flow.name == "In" else Instance.Output
        assert isinstance(ports[name], direction), name
        assert len(ports[name].expr) == member.shape, name
    assert ports["irq"].expr is engine.ev.done.trigger
    assert [Path(source).name for source, *_ in platform.sources] == ["equilif.v"]


def test_region_holds_all_registers():
    region = module.EquilifEngine.region()
    assert not region.cached and region.size > max(r.offset for r in REGISTERS.values())

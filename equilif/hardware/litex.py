"""The engine as a peripheral of a LiteX SoC.

::

    self.engine = EquilifEngine(platform, EngineConfig(lanes=4))
    self.bus.add_slave("engine", self.engine.bus, self.engine.region())
    self.irq.add("engine")                 # optional

The address is ``ENGINE_BASE`` in LiteX's generated ``mem.h``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from equilif.hardware.driver import DriverNetwork
from equilif.hardware.export import export
from equilif_golden.engine.config import EngineConfig
from equilif_golden.extras import needs
from equilif_golden.link.registers import OFFSET_BITS

with needs("litex"):
    from litex.gen import LiteXModule
    from litex.soc.integration.soc import SoCRegion
    from litex.soc.interconnect import stream
    from litex.soc.interconnect.axi import AXILiteInterface
    from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
    from migen import ClockSignal, Instance, ResetSignal


class EquilifEngine(LiteXModule):
    """equilif_hdl.link.bus.AxiEngine in the clock domain ``sys``, exported as Verilog.

    Members
    -------
    bus : AXI4-Lite, 32 bits
        Registers and memories, for :func:`region`.
    samples : stream.Endpoint, input
        AXI4-Stream input: ``data`` (32 bits), ``keep`` (4 bits), ``last``.
    predictions : stream.Endpoint, output
        ``data`` (32 bits) and ``last``: the prediction of every run that was started by a packet of samples.
    ev.done : EventSourceLevel
        A run has ended; for ``irq.add``.  INTERRUPT.DONE of the engine enables it.
    """

    def __init__(
        self,
        platform: Any,
        config: EngineConfig,
        folder: Path | str = "build/equilif",
        *,
        network: DriverNetwork | None = None,
        name: str = "equilif",
    ):
        """Write the files of ``equilif export`` to ``folder`` and add the Verilog to ``platform``.

        ``network``: compiled for ``config``; it is written with the C driver.  ``name``: of the module and
        the files; a SoC with two configurations needs two names.  ValueError and OSError as
        equilif.hardware.export.export; ToolFailed without Yosys.
        """
        files = export(Path(folder), config, name=name, network=network)
        platform.add_source(str(next(path for path in files if path.suffix == ".v")))
        self.bus = bus = AXILiteInterface(data_width=32, address_width=32)
        self.samples = samples = stream.Endpoint([("data", 32), ("keep", 4)])
        self.predictions = predictions = stream.Endpoint([("data", 32)])
        self.ev = EventManager()
        self.ev.done = EventSourceLevel(description="A run has ended.")
        self.ev.finalize()
        self.specials += Instance(
            name,
            i_aclk=ClockSignal("sys"),
            i_aresetn=~ResetSignal("sys"),
            i_s_axi_awaddr=bus.aw.addr[:OFFSET_BITS],
            i_s_axi_awvalid=bus.aw.valid,
            o_s_axi_awready=bus.aw.ready,
            i_s_axi_wdata=bus.w.data,
            i_s_axi_wstrb=bus.w.strb,
            i_s_axi_wvalid=bus.w.valid,
            o_s_axi_wready=bus.w.ready,
            o_s_axi_bresp=bus.b.resp,
            o_s_axi_bvalid=bus.b.valid,
            i_s_axi_bready=bus.b.ready,
            i_s_axi_araddr=bus.ar.addr[:OFFSET_BITS],
            i_s_axi_arvalid=bus.ar.valid,
            o_s_axi_arready=bus.ar.ready,
            o_s_axi_rdata=bus.r.data,
            o_s_axi_rresp=bus.r.resp,
            o_s_axi_rvalid=bus.r.valid,
            i_s_axi_rready=bus.r.ready,
            i_s_axis_tdata=samples.data,
            i_s_axis_tkeep=samples.keep,
            i_s_axis_tlast=samples.last,
            i_s_axis_tvalid=samples.valid,
            o_s_axis_tready=samples.ready,
            o_m_axis_tdata=predictions.data,
            o_m_axis_tlast=predictions.last,
            o_m_axis_tvalid=predictions.valid,
            i_m_axis_tready=predictions.ready,
            o_irq=self.ev.done.trigger,
        )

    @staticmethod
    def region() -> Any:
        """Address range of the registers, uncached; LiteX chooses the address."""
        return SoCRegion(size=1 << OFFSET_BITS, cached=False)

"""The engine's port: what a host, whatever it speaks, does with an engine."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region, region_size
from equilif_hdl.engine.activity import COUNTS

WEIGHT_REGION, VALUE_REGION, PROGRAM_REGION, COUNTER_REGION = map(int, Region)


def address_bits(config: EngineConfig) -> int:
    return (max(region_size(config, r) for r in Region) - 1).bit_length()


class EnginePort(wiring.Signature):
    """An engine as the host sees it.

    Members
    -------
    mem_region, mem_addr : Out(2), Out(address_bits)
        equilif_golden.engine.port.Region and element; they stay until a read has been answered.
    mem_write, mem_wdata : Out(1), Out(32)
        Strobe.  WEIGHT: low 16 bits.  VALUE: plus in bits 0-7, minus in bits 8-15.
    mem_read : Out(1); mem_valid, mem_rdata : In(1), In(32)
        Strobe; data with ``mem_valid``, one cycle, later.  One read is outstanding.
    start, learn : Out(1)
        Run the program; ``learn`` goes with the strobe.
    busy : In(1)
        From the cycle after start until HALT.  Memory strobes and start come only while it is low.
    prediction, cycles, spikes, accesses : In
        Of the last run, from HALT on.
    activity : In(equilif_hdl.engine.activity.COUNTS)
        The same, where ``config.counters``.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "mem_region": Out(2),
                "mem_addr": Out(address_bits(config)),
                "mem_wdata": Out(32),
                "mem_write": Out(1),
                "mem_read": Out(1),
                "mem_rdata": In(32),
                "mem_valid": In(1),
                "start": Out(1),
                "learn": Out(1),
                "busy": In(1),
                "prediction": In(14),
                "cycles": In(32),
                "spikes": In(32),
                "accesses": In(32),
                **({"activity": In(COUNTS)} if config.counters else {}),
            }
        )

"""Bench for the C driver on equilif_hdl.link.bus.AxiEngine: a program makes its accesses through pipes.

``command`` of the configuration starts the program.  For each access it writes 9 bytes, R or W, offset and
word; for R it then reads the word.  Its exit code must be 0.
"""

from __future__ import annotations

import subprocess
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from equilif_sim.tools.run import bench_config

PERIOD = 10  #: ns


@cocotb.test()
async def program_through_the_bus(dut: Any) -> None:
    command = bench_config()["command"]
    dut.aresetn.value = 0
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 0
    master = AxiLiteMaster(
        AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, reset_active_level=False
    )
    for interface in (master.write_if, master.read_if):
        interface.log.setLevel("WARNING")
    await Timer(PERIOD, "ns")  # the bus models look at the first edge
    Clock(dut.aclk, PERIOD, unit="ns", impl="gpi").start()
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin and program.stdout
        while request := program.stdout.read(9):
            offset = int.from_bytes(request[1:5], "little")
            answer: Any
            if request[:1] == b"W":
                answer = await master.write(offset, request[5:])
            else:
                answer = await master.read(offset, 4)
                program.stdin.write(answer.data)
                program.stdin.flush()
            assert answer.resp == AxiResp.OKAY, hex(offset)
    assert program.returncode == 0

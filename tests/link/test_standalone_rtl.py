"""RTL of trainer and flash controller against the model; the trials are in tests/standalone_trials.py."""

from __future__ import annotations

import dataclasses
import re
import shutil

import pytest

from equilif.host.client import Client
from equilif_golden.link.flash import Area
from equilif_golden.link.standalone import OWNER_BITS, Fault
from equilif_golden.sdram import ClockedSdram
from equilif_hdl.link.flash import FlashController
from equilif_hdl.link.flash_cache import FlashCache
from equilif_hdl.link.reservoir import WordReservoir
from equilif_sim.board import SimulatedBoard
from equilif_sim.tools.run import simulate
from tests.cache_trials import CACHED, cache_trials
from tests.standalone import AREA, CONFIG, WRITES, client_of, older_version, other_slot, uploaded
from tests.standalone_trials import (
    LIMIT,
    TRIALS,
    compared,
    hostile,
    power_cuts,
    put,
    register_bits,
    same_end,
    worked,
)

verilated = pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")


@pytest.fixture(scope="module")
def rtl():
    return SimulatedBoard(CONFIG, flash=AREA, build_id=0)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.regress] * (k > 0)) for k, name in enumerate(CACHED)],
)
def cached(request):
    return request.param, SimulatedBoard(
        CONFIG, flash=AREA, build_id=0, sdram=ClockedSdram(request.param, 90_000_000)
    )


#: by ./run regress: further cases
MORE = re.compile(
    "damaged-flash-[1357]|many-samples|damaged-slots-[135]|register-bits|long-checkpoint-1|power-cuts"
)


@verilated
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.regress] * bool(MORE.match(n))) for n in TRIALS]
)
def test_rtl_equals_model(rtl, name):
    TRIALS[name](rtl)


@verilated
@pytest.mark.parametrize("cuts", [8, pytest.param(200, marks=pytest.mark.long)])
def test_power_cuts_at_any_cycle(rtl, cuts):
    power_cuts(rtl, cuts)


@verilated
def test_cached_flash(cached):
    """Samples in SDRAM: the trainer, the flash and replies to a host are as without it, and cycles exact."""
    chip, board = cached
    for trial in cache_trials(CACHED[chip]):
        trial(board)
    assert not board.violations


def test_flash_larger_than_the_sdram():
    with pytest.raises(ValueError, match="larger SDRAM"):
        FlashCache(Area(1, 255), ClockedSdram("M12L64322A", 90_000_000))


@verilated
def test_register_bits_are_checked(rtl):
    register_bits(rtl, every=9)


@verilated
@pytest.mark.parametrize("write", WRITES)
def test_rtl_does_not_continue_host_network(rtl, write):
    """As in the model, until the checkpoint is loaded."""
    content = uploaded(1, 1)
    put(rtl, content)
    rtl.work(LIMIT)
    device = worked(content)
    board = Client(rtl, timeout=0.05)
    for client in (board, client_of(device)):
        client.run(learn=False, write=(0, [1, 2]))
        assert client.registers.valid
        WRITES[write](client)
        assert not client.registers.valid
        client.set_registers(dataclasses.replace(client.registers, epoch=0, epochs=1, samples=1))
        client.control_trainer(run=1, save=1)
    rtl.work(LIMIT)
    device.trainer.work()
    assert device.trainer.registers.fault == Fault.FOREIGN
    compared(rtl, device)
    for client in (board, client_of(device)):
        client.control_trainer(run=0, boot=1)
    rtl.work(LIMIT)
    device.trainer.work()
    assert device.trainer.registers.valid
    compared(rtl, device)


@verilated
@pytest.mark.parametrize("flash", [older_version, other_slot])
def test_slot_of_other_upload(rtl, flash):
    assert same_end(rtl, flash(uploaded())).trainer.registers.fault == Fault.FOREIGN


@verilated
def test_owner_bits_are_checked(rtl):
    content = uploaded(1, 1)
    put(rtl, content)
    rtl.work(LIMIT)
    device = worked(content)
    owner = device.trainer.registers.owner
    for bit in range(OWNER_BITS):
        for client in (Client(rtl, timeout=0.05), client_of(device)):
            client.control_trainer(run=0, boot=1)
        rtl.work(LIMIT)
        device.trainer.work()
        for client in (Client(rtl, timeout=0.05), client_of(device)):
            assert client.registers.valid and client.registers.owner == owner
            client.set_registers(dataclasses.replace(client.registers, owner=owner))
            assert client.registers.valid
            client.set_registers(dataclasses.replace(client.registers, owner=owner ^ 1 << bit))
            assert not client.registers.valid
    compared(rtl, device)


@verilated
@pytest.mark.long
def test_ten_thousand_hostile_commands(rtl):
    assert sum(hostile(rtl, 11_000, 2).values()) >= 10_000


# -- flash controller ------------------------------------------------------------------------------


@pytest.mark.parametrize("sectors", [pytest.param(False, marks=pytest.mark.regress), True])
def test_flash_controller(sectors, tmp_path):
    """Reads, programs and erases at the ends of pages and blocks and outside the area; resets; no chip."""
    dut = FlashController(AREA, sectors=sectors)
    assert simulate(dut, "equilif_sim.link.flash", tmp_path, config=dataclasses.asdict(AREA)) == 4


@pytest.mark.parametrize("rooms", [pytest.param(3, marks=pytest.mark.regress), 1])
def test_reservoir(rooms, tmp_path):
    """Places of words, which are chosen as by the model."""
    bench = "equilif_sim.link.reservoir"
    assert simulate(WordReservoir(), bench, tmp_path, config={"rooms": rooms}, simulator="icarus") == 1

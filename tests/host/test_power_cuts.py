"""Uploads, boards that train standalone, and reads of their weights, cut off at random moments: the host is
killed, the board is reset under a host that goes on, or the power fails within a write to the flash.

Afterwards the board has the result of the uninterrupted run, bit for bit, or refuses to go on.
"""

from __future__ import annotations

import copy
import functools
import random
from dataclasses import replace

import pytest
import typer

from equilif.commands import boards
from equilif.commands import standalone as commands
from equilif.host import client as client_module
from equilif.host import ports, standalone
from equilif.host.client import Client, LinkError
from equilif.host.journal import StoreError, require_valid
from equilif.host.store import FlashStore
from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip, CounterMismatch, read_weights
from equilif_golden.engine.compiler import Compiled
from equilif_golden.link.protocol import END
from equilif_golden.link.standalone import TrainerPhase
from tests.ports import DevicePort
from tests.standalone import (
    AREA,
    CONFIG,
    NETWORK,
    FailingFlash,
    PowerCut,
    client_of,
    new,
    training_job,
    with_tests,
)

CUTS = 100  #: number of cuts, by command
HOW = ("host", "reset", "power")


class CutWire(DevicePort):
    """A port with an event before or after command number ``at`` of the host.

    ``slow``: after a reset the board finishes its start before the next command.
    """

    def __init__(self, device, how="", at=0, *, after=False, slow=False):
        super().__init__(device)
        self.how = how
        self.left = at
        self.after = after
        self.slow = slow

    def write(self, data):
        self.left -= data.count(bytes([END])) > 1
        if self.left == 0 and self.how in ("host", "reset"):
            self.how, how = "", self.how
            if self.after:
                super().write(data)
            if how == "host":
                raise PowerCut
            self.device = new(self.device.flash.content)
            self.pending = b""
            if self.slow:
                self.device.trainer.work()
            return len(data)
        return super().write(data)


def client_at(wire):
    return Client(wire, timeout=0.01)


@functools.cache
def stores():
    """Two uploads: one partly trained, and its replacement."""
    first = replace(training_job(3, 2), tests=with_tests()[1])
    second = replace(training_job(2, 1), seed=5)
    return tuple(FlashStore.of_job(new().identity, each) for each in (first, second))


def uploaded(k):
    device = new()
    device.trainer.work()
    stores()[k].upload(client_of(device))
    return new(device.flash.content)


@functools.cache
def trained(k):
    """Weights and counter of an uninterrupted run."""
    device = uploaded(k)
    device.trainer.work()
    assert not device.trainer.registers.fault
    return result_of(device)


def weights_of(device):
    return read_weights(device.engine, Compiled(NETWORK, CONFIG))


def result_of(device):
    return device.engine.w.tobytes(), device.engine.counter


@functools.cache
def _stopped():
    """A board stopped within its second epoch, with updates since its last checkpoint."""
    device = uploaded(0)
    r = device.trainer.registers
    while not (r.epoch == 1 and r.seen == 2):
        device.trainer.step()
    client_of(device).control_trainer(run=0)
    device.trainer.work()
    return device


def stopped():
    return copy.deepcopy(_stopped())


def rewired(device, flash):
    """The device with this flash."""
    flash.content[:] = device.flash.content
    device.flash = device.trainer.flash = flash
    return device


def writes_of(action, begin):
    """Commands and flash bytes of an uninterrupted action."""
    flash = FailingFlash(bytes(AREA.size), 1 << 40)
    wire = CutWire(rewired(begin(), flash))
    client = client_at(wire)
    action(client)
    return client.traffic.commands, (1 << 40) - flash.left


def cut(action, begin, rng, limits):
    """The device after the cut; whether the action completed."""
    how = rng.choice(HOW)
    flash = FailingFlash(
        bytes(AREA.size), rng.randrange(limits[1]) if how == "power" and limits[1] else 1 << 40
    )
    options = {name: rng.random() < 0.5 for name in ("after", "slow")}
    wire = CutWire(rewired(begin(), flash), how, rng.randrange(1, limits[0] + 1), **options)
    try:
        action(client_at(wire))
        done = True
    except (PowerCut, typer.Exit, ValueError, OSError):
        done = False
    device = wire.device
    if how == "power" and flash.left == 0:
        device = new(flash.content)
    else:
        device.flash.left = 1 << 40
    return device, done


def goes_on(device, rng):
    """Result of a board after a restart; None when it refuses."""
    client = client_of(device)
    device.trainer.work()
    for order in rng.choice([[{"run": 1}], [{"run": 0, "save": 1}, {"run": 1}]]):
        client.control_trainer(**order)
        device.trainer.work()
    try:
        require_valid(client.registers)
    except StoreError:
        return None
    assert client.registers.epoch == client.registers.epochs
    return result_of(device)


def switched_on(device):
    return new(device.flash.content)


# -- cuts ------------------------------------------------------------------------------------------
def test_power_cuts_during_upload():
    """The board has the earlier upload, the new one or none, and accepts another upload."""

    def action(client):
        stores()[1].upload(client)
        client.control_trainer(run=0, boot=1)

    rng = random.Random(1)
    limits = writes_of(action, stopped)
    seen = {None: 0, trained(0): 0, trained(1): 0}
    for _ in range(CUTS):
        device, done = cut(action, stopped, rng, limits)
        later = switched_on(device)
        results = [goes_on(each, rng) for each in (device, later)]
        for result in results:
            assert result in seen, "a mixture of two uploads"
            seen[result] += 1
        assert not done or results[1] == trained(1)
        if results[1] is None:
            stores()[1].upload(client_of(later))
            assert goes_on(switched_on(later), rng) == trained(1)
    assert min(seen.values()) > 2, seen


@pytest.fixture
def connected(monkeypatch):
    """Give this client to commands."""

    def connect(client):
        monkeypatch.setattr(ports, "connect", lambda path, baud=None: client)

    monkeypatch.setattr(standalone, "POLL_SECONDS", 0)
    return connect


def finished():
    device = uploaded(0)
    device.trainer.work()
    return device


@pytest.mark.parametrize(
    ("option", "begin"), [("start", stopped), ("checkpoint", stopped), ("test", stopped), ("test", finished)]
)
def test_power_cuts_during_standalone_training(option, begin, connected, capfd):
    """Weights equal those of an uninterrupted run; a completed test has the same answers."""

    def action(client):
        connected(client)
        commands.standalone(port="there", **{option: True})
        while client.registers.phase:
            pass

    rng = random.Random(2)
    limits = writes_of(action, begin)
    want = answers(capfd.readouterr().out)
    ends = {True: 0, False: 0}
    for _ in range(CUTS // 4):
        device, done = cut(action, begin, rng, limits)
        ends[done] += 1
        found = answers(capfd.readouterr().out)
        # a board reset while stopped continues to learn
        assert found == want or not done or begin is stopped
        assert goes_on(switched_on(device), rng) == trained(0)
        assert goes_on(device, rng) in (None, trained(0))
        client_of(device).control_trainer(run=0, boot=1)
        assert goes_on(device, rng) == trained(0)
    assert min(ends.values()) > 2


def answers(printed):
    return [line for line in printed.splitlines() if "test accuracy" in line]


def test_power_cuts_during_read(connected, tmp_path, monkeypatch):
    """The file has consistent weights of the board, or does not exist."""
    monkeypatch.setattr(client_module, "READ_ELEMENTS", 8)  # many commands
    like = tmp_path / "like.npz"
    out = tmp_path / "out.npz"
    networks.save(like, NETWORK, training_job().weights)

    def action(client):
        connected(client)
        boards.save(out=out, like=like, port="there")

    booted = new(stopped().flash.content)
    while booted.trainer.registers.phase == TrainerPhase.BOOT:
        booted.trainer.step()
    moments = [weights_of(device) for device in (stopped(), booted, finished())]
    rng = random.Random(3)
    limits = writes_of(action, stopped)
    ends = {True: 0, False: 0}
    for _ in range(CUTS):
        out.unlink(missing_ok=True)
        _, done = cut(action, stopped, rng, limits)
        ends[done] += 1
        assert out.exists() or not done
        if out.exists():
            _, found = networks.load(out)
            assert any(all((found[k] == w[k]).all() for k in w) for w in moments), "a mixture"
    assert min(ends.values()) > 2


def test_reset_discards_host_network():
    """The board has its own program and weights again."""
    other = NETWORK.initial_weights(9)
    x = training_job().samples.x
    want = Chip(finished().engine, NETWORK, other).predict(x)
    rng = random.Random(4)
    for _ in range(10):
        wire = CutWire(finished())
        chip = Chip(client_at(wire), NETWORK, other)
        frames = -(-len(x) // chip.engine.identity.max_samples)
        wire.how, wire.left = "reset", rng.randrange(1, frames + 1)
        with pytest.raises((CounterMismatch, LinkError)):
            chip.predict(x)
    wire = CutWire(finished())
    assert (Chip(client_at(wire), NETWORK, other).predict(x) == want).all()

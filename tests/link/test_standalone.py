"""Standalone training: model against kernel, RTL against model, power cuts."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
import pytest

from equilif.host.client import DeviceError
from equilif.host.journal import StoreError, begin_tests
from equilif.host.store import FlashStore, StoredSamples, TrainingJob
from equilif_golden.engine.chip import read_weights
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.flash import BLOCK, MAX_BLOCKS, PAGE, Area, Flash
from equilif_golden.link.protocol import (
    FLASH,
    READ_HEADER,
    TRAINER,
    WRITE_HEADER,
    Command,
    Status,
    seal,
    unslip,
)
from equilif_golden.link.standalone import (
    LESSON_REGISTERS,
    Fault,
    TrainerPhase,
    TrainerRegisters,
    slot_blocks,
)
from equilif_golden.network import Network
from equilif_golden.sample_order import half_of, order
from equilif_golden.schedule import Schedule
from tests.networks import data_set
from tests.standalone import (
    AREA,
    CONFIG,
    EPOCHS,
    NETWORK,
    SEED,
    WRITES,
    FailingFlash,
    PowerCut,
    client_of,
    frames,
    new,
    older_version,
    other_slot,
    slot,
    store,
    training_job,
    uploaded,
    with_tests,
    worked,
)


def weights_of(device):
    return read_weights(device.engine, Compiled(NETWORK, CONFIG))


def same_state(a, b):
    """Compare weights, registers and flash of two devices."""
    assert a.trainer.registers == b.trainer.registers
    assert (a.engine.w == b.engine.w).all() and a.engine.counter == b.engine.counter
    assert a.flash.content == b.flash.content


# -- the order of the samples ----------------------------------------------------------------------
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 63, 64, 65, 1437, 60_000])
def test_order_is_a_permutation(n):
    orders = [order(n, seed, epoch) for seed in (0, 1, SEED) for epoch in range(3)]
    assert all((np.sort(o) == np.arange(n)).all() for o in orders)
    assert n < 63 or len({tuple(o) for o in orders}) == len(orders)


def test_order_quality():
    """Neighbours and positions in two epochs are uncorrelated."""
    n = 1437
    places = [np.argsort(order(n, 5, epoch)) for epoch in range(12)]
    between = [abs(np.corrcoef(a, b)[0, 1]) for a, b in itertools.combinations(places, 2)]
    within = [abs(np.corrcoef(o[:-1], o[1:])[0, 1]) for o in (order(n, 5, e) for e in range(12))]
    # shuffled: the largest of 66 is about 2.8 / sqrt(n) = .074
    assert max(between) < 0.12 and max(within) < 0.12


def test_order_limits():
    for n in (0, -1, (1 << 20) + 1, 2.5):
        with pytest.raises(ValueError, match=r"samples \(on a board\)"):
            half_of(n)
    with pytest.raises(ValueError, match="seed"):
        order(5, -1, 0)


# -- registers -------------------------------------------------------------------------------------
def test_register_round_trip():
    rng = random.Random(1)
    for _ in range(200):
        words = [rng.getrandbits(32) for _ in LESSON_REGISTERS]
        registers = TrainerRegisters()
        for n, word in enumerate(words):
            registers.put(n, word)
        again = TrainerRegisters.unpack(registers.pack())
        assert again == dataclasses.replace(registers, save=0, boot=0)
    assert {f.name for f in dataclasses.fields(TrainerRegisters)} == {
        name for r in LESSON_REGISTERS for name, _ in r
    }


# -- training --------------------------------------------------------------------------------------
def test_model_equals_kernel():
    device = worked(uploaded())
    d = training_job()
    kernel = Kernel(NETWORK, d.weights, learning_rate=d.rates[0], counter=d.counter)
    for epoch, rate in enumerate(d.rates):
        kernel.set_learning_rate(rate)
        did = kernel.train(d.samples.x, d.samples.labels, order(9, SEED, epoch))
    r = device.trainer.registers
    assert (r.hits, r.spikes, r.seen) == (did.hits, did.spikes, 9) and did.hits and did.spikes
    assert (r.phase, r.fault, r.epoch, r.generation) == (TrainerPhase.IDLE, Fault.NONE, EPOCHS, EPOCHS)
    found = weights_of(device)
    assert all((found[name] == kernel.weights[name]).all() for name in found)
    assert any((found[name] != d.weights[name]).any() for name in found)
    assert device.engine.counter == kernel.counter


def test_standalone_sequences():
    """A sample takes several frames: its tokens are written before it runs."""
    data = data_set()
    network = Network.attention(8, 6, 2, 8, data.n_classes, schedule=Schedule(free=8, nudged=4, window=4))
    tokens = data.tokens_train.take(range(7))
    d = TrainingJob(
        network=network,
        weights=network.initial_weights(1),
        rates=[0.05, 0.04],
        samples=StoredSamples(labels=data.y_train[:7], x=data.x_train[:7], tokens=tokens),
        seed=9,
    )
    config = EngineConfig(lanes=4, tiles=128, value_groups=64, state_groups=32, program_words=512)
    device = Device(config, frame_bytes=4096, flash=Flash(AREA))
    device.trainer.work()
    FlashStore.of_job(device.identity, d).upload(client_of(device))
    device = Device(config, frame_bytes=4096, flash=device.flash)
    device.trainer.work()
    kernel = Kernel(network, d.weights, learning_rate=d.rates[0])
    for epoch, rate in enumerate(d.rates):
        kernel.set_learning_rate(rate)
        did = kernel.train(d.samples.x, d.samples.labels, order(7, 9, epoch), tokens=tokens)
    found = read_weights(device.engine, Compiled(network, config))
    assert all((found[name] == kernel.weights[name]).all() for name in found)
    assert device.trainer.registers.spikes == did.spikes > 0


def test_inference_after_power_cycle():
    """Without a host: the same predictions as before."""
    device = worked(uploaded())
    again = worked(device.flash.content)
    same_state(device, again)
    first = Compiled(NETWORK, CONFIG).sample_first
    for x in training_job().samples.x:
        sample = (first, np.append(x, [0, 0, 0]))
        predictions = [client_of(d).run(learn=False, write=sample).prediction for d in (device, again)]
        assert predictions[0] == predictions[1]


def test_checkpoint_interval():
    """``pause`` 1: after every other epoch and after the last."""
    assert worked(uploaded(pause=1)).trainer.registers.generation == 2
    assert worked(uploaded(pause=255)).trainer.registers.generation == 1


def test_stop_and_continue():
    want = worked(uploaded())
    device = new(uploaded())
    client = client_of(device)
    rng = random.Random(2)
    stops = 0
    while device.trainer.busy:
        for _ in range(rng.randrange(12)):
            device.trainer.step()
        if client.registers.phase == TrainerPhase.LEARN:
            client.control_trainer(run=0)
            device.trainer.work()
            assert client.registers.phase == TrainerPhase.IDLE and not client.registers.run
            client.control_trainer(run=1, save=rng.getrandbits(1))  # at times with a checkpoint
            stops += 1
    assert stops > 2
    device.trainer.registers.generation = want.trainer.registers.generation
    assert device.trainer.registers == want.trainer.registers and (device.engine.w == want.engine.w).all()


def test_continue_from_checkpoint_within_epoch():
    want = worked(uploaded())
    device = new(uploaded())
    while device.trainer.registers.seen < 4:
        device.trainer.step()
    client_of(device).control_trainer(run=1, save=1)
    while device.trainer.registers.generation == 0 or device.trainer.registers.phase == TrainerPhase.SAVE:
        device.trainer.step()
    again = worked(device.flash.content)
    again.trainer.registers.generation -= 1
    assert again.trainer.registers == want.trainer.registers and (again.engine.w == want.engine.w).all()


def test_boot_restarts():
    device = worked(uploaded())
    device.flash.content[:] = uploaded()
    client_of(device).control_trainer(run=0, boot=1)
    device.trainer.work()
    same_state(device, worked(uploaded()))


# -- slots -----------------------------------------------------------------------------------------


def test_newest_valid_slot_is_used():
    """For any damaged byte of the newer slot the board continues from the older one to the same weights."""
    want = worked(uploaded())
    stopped = new(uploaded())
    while stopped.trainer.registers.generation < 2 or stopped.trainer.registers.phase == TrainerPhase.SAVE:
        stopped.trainer.step()
    content = bytes(stopped.flash.content)
    assert worked(content).trainer.registers == want.trainer.registers
    ends = frames(content, 0)
    rng = random.Random(3)
    for _ in range(25):
        damaged = bytearray(content)
        damaged[rng.randrange(slot(0), ends[-1])] ^= 1 << rng.randrange(8)
        again = worked(damaged)
        assert again.trainer.registers == want.trainer.registers and (again.engine.w == want.engine.w).all()


def test_checkpoints_do_not_mix():
    """A slot with the first frames of a newer checkpoint and the last frames of an older one."""
    newer, older = (worked(uploaded(epochs=epochs)).flash.content for epochs in (3, 1))
    parts = []
    for content in (newer, older):
        ends = [slot(1), *frames(content, 1)]
        parts.append([content[a:b] for a, b in itertools.pairwise(ends)])
    assert len(parts[0]) == len(parts[1]) > 2
    for k in range(1, len(parts[0])):
        mixed = bytearray(newer)
        data = b"".join([*parts[0][:k], *parts[1][k:]])
        mixed[slot(1) : slot(1) + len(data)] = data
        again = new(mixed)
        while again.trainer.registers.phase == TrainerPhase.BOOT:
            again.trainer.step()
        assert again.trainer.registers.generation == 2, "the other slot"


def test_no_valid_slot():
    for content in (None, b"\0" * AREA.size, b"\xc0" * AREA.size, b"\xdb" * AREA.size):
        r = worked(content).trainer.registers
        assert (r.fault, r.phase, r.run) == (Fault.NO_SLOT, TrainerPhase.IDLE, 0)


@pytest.mark.parametrize("what", ["programs", "index", "samples", "saves"])
def test_damaged_flash(what):
    """Invalid frames cause no update."""
    device = new(uploaded())
    r = store().registers
    block = r.index + 1 if what == "samples" else getattr(r, what)
    at = block * BLOCK
    device.flash.content[at : at + 200] = bytes(200)
    device.trainer.work()
    assert (
        device.trainer.registers.fault == Fault.REFUSED
        and device.trainer.registers.phase == TrainerPhase.IDLE
    )
    client = client_of(device)
    assert client.registers.fault == Fault.REFUSED  # the host can still talk to it


# -- power cuts ------------------------------------------------------------------------------------
@pytest.mark.parametrize("cuts", [50, pytest.param(200, marks=pytest.mark.regress)])
def test_power_cuts_during_save(cuts):
    """Up to 200 cuts: the board has a complete checkpoint and continues to the same weights."""
    want = worked(uploaded(2))
    checkpoints = {}
    for k in range(EPOCHS + 1):
        device = new(uploaded(2))
        r = device.trainer.registers
        while r.generation < k or r.phase in (TrainerPhase.BOOT, TrainerPhase.SAVE):
            device.trainer.step()
        checkpoints[k] = device.engine.w.copy()
    rng = random.Random(4)
    total = 3 * frames(want.flash.content, 0)[-1]
    for _ in range(cuts):
        flash = FailingFlash(uploaded(2), rng.randrange(total))
        device = Device(CONFIG, flash=flash)
        try:
            device.trainer.work()
        except PowerCut:
            again = new(flash.content)
            while again.trainer.registers.phase == TrainerPhase.BOOT:
                again.trainer.step()
            at = again.trainer.registers.generation
            assert (again.engine.w == checkpoints[at]).all(), "a mixture"
            again.trainer.work()
            same_state(again, want)


@pytest.mark.parametrize("most", [15, pytest.param(200, marks=pytest.mark.long)])
def test_power_cuts_during_training(most):
    """Several cuts in one run: the same final weights."""
    want = worked(uploaded(4))
    rng = random.Random(5)
    cuts = 0
    while cuts < most:
        flash = Flash(AREA)
        flash.content[:] = uploaded(4)
        while True:
            device = Device(CONFIG, flash=flash)
            frames_left = rng.randrange(1, 20)
            while frames_left and device.trainer.step():
                frames_left -= device.trainer.registers.phase == TrainerPhase.LEARN
            if frames_left:
                break
            cuts += 1
        same_state(device, want)


# -- owner of the weights --------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITES)
def test_host_network_is_not_continued(write):
    """No learning and no checkpoint; the slot is intact and can be loaded."""
    device = worked(uploaded())
    want = worked(uploaded())
    client = client_of(device)
    assert client.registers.valid
    WRITES[write](client)
    assert not client.registers.valid
    for orders in ({"run": 1}, {"run": 0, "save": 1}, {"run": 1, "save": 1}):
        again = dataclasses.replace(device.trainer.registers, epoch=0, epochs=1)
        client.set_registers(again)
        client.control_trainer(**orders)
        device.trainer.work()
        r = client.registers
        assert (r.fault, r.run, r.valid, r.seen) == (Fault.FOREIGN, 0, 0, again.seen)
    assert device.flash.content == want.flash.content
    client.control_trainer(run=0, boot=1)
    device.trainer.work()
    same_state(device, want)


def test_read_commands_keep_result_valid():
    """Reads, runs without learning, tests, and commands that are refused."""
    store, _ = with_tests()
    device = worked(None)
    store.upload(client_of(device))
    device = worked(device.flash.content)
    client = client_of(device)
    client.read(Region.WEIGHT, 0, 5)
    client.run(learn=False, write=(0, [1, 2]))
    client.read_flash(0, 4)
    for frame in (
        seal(Command.WRITE, 1, WRITE_HEADER.pack(Region.WEIGHT, 1 << 20) + bytes(2)),
        seal(Command.LOAD, 2, b"\xff" * 12),
    ):
        assert device.reply(frame)[0] != Status.OK
    before = begin_tests(client, store.tests)
    device.trainer.work()
    assert client.registers.valid and client.registers.seen == store.tests.n
    client.set_registers(before)
    assert client.registers.valid


@pytest.mark.parametrize("flash", [older_version, other_slot])
def test_slot_of_other_upload(flash):
    content = flash(uploaded())
    device = worked(content)
    r = device.trainer.registers
    assert (r.fault, r.valid, r.seen, r.phase) == (Fault.FOREIGN, 0, 0, TrainerPhase.IDLE)
    assert device.flash.content == content


# -- status ----------------------------------------------------------------------------------------
def test_busy_board_refuses_commands():
    """Registers can be read and written; other commands return BUSY and change nothing."""
    want = worked(uploaded())
    device = new(uploaded())
    client = client_of(device)
    for _ in range(30):
        device.trainer.step()
    for attempt in (
        lambda: client.read(Region.WEIGHT, 0, 1),
        lambda: client.write(Region.VALUE, 0, np.zeros(3, np.int64)),
        lambda: client.run(learn=True),
        lambda: client.load(Compiled(NETWORK, CONFIG).program(0.1)),
        lambda: client.read_flash(0, 4),
        lambda: client.write_flash(0, b"\0"),
        lambda: client.erase_flash(0),
    ):
        with pytest.raises(DeviceError, match="BUSY"):
            attempt()
    assert client.registers.samples == 9 and client.identify().flash_blocks == AREA.blocks
    device.trainer.work()
    same_state(device, want)


def test_device_without_flash():
    device = Device(CONFIG)
    for command, payload, status in (
        (Command.ERASE, WRITE_HEADER.pack(FLASH, 0), Status.UNKNOWN_COMMAND),
        (Command.READ, READ_HEADER.pack(FLASH, 0, 1), Status.BAD_REGION),
        (Command.WRITE, WRITE_HEADER.pack(TRAINER, 0) + bytes(4), Status.BAD_REGION),
    ):
        assert device.reply(seal(command, 1, payload))[0] == status
    assert not device.identity.flash_blocks


# -- uploads ---------------------------------------------------------------------------------------
def test_upload_resumes():
    device = worked(None)
    client = client_of(device)
    n = 0

    def cut(done):
        nonlocal n
        n += 1
        if n == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store().upload(client, cut)
    assert worked(device.flash.content).trainer.registers.fault == Fault.NO_SLOT, "nothing begins by halves"
    assert 0 < store().upload(client) < store().size
    same = bytearray(device.flash.content)
    at = store().journal * BLOCK
    same[at : at + BLOCK] = b"\xff" * BLOCK
    assert bytes(same) == uploaded()
    # replaced by another store
    assert store(5).upload(client) == 0
    r = worked(device.flash.content).trainer.registers
    assert (r.samples, r.epoch, r.fault) == (5, EPOCHS, Fault.NONE)


def test_write_protected_flash():
    device = worked(None)
    device.flash.program = lambda address, data: None
    with pytest.raises(StoreError, match="written"):
        store().upload(client_of(device))


def test_samples_beyond_capacity():
    d = training_job()
    x, labels = np.tile(d.samples.x, (3000, 1)), np.tile(d.samples.labels, 3000)
    many = dataclasses.replace(d, samples=StoredSamples(labels=labels, x=x))
    identity = dataclasses.replace(new().identity, flash_blocks=11)
    found = FlashStore.of_job(identity, many)
    assert 9 < found.n < found.offered == 27_000
    assert max(found.blocks) == 10 and found.registers.samples == found.n


def test_test_samples_use_free_space():
    d = training_job()
    many = StoredSamples(labels=np.tile(d.samples.labels, 3000), x=np.tile(d.samples.x, (3000, 1)))
    fits = []
    for blocks in (11, 12, 13, 30):
        identity = dataclasses.replace(new().identity, flash_blocks=blocks)
        found = FlashStore.of_job(identity, dataclasses.replace(d, tests=many))
        assert found.n == 9 and max(found.blocks) < blocks
        fits.append(found.tests.n if found.tests else 0)
    assert 0 == fits[0] < fits[1] < fits[2] < fits[3] == 27_000


def test_unsupported_standalone_training():
    d = training_job()
    identity = new().identity
    wide = Network.chain(2, 257)
    for bad, other, message in (
        (dataclasses.replace(identity, flash_blocks=0), d, "no standalone trainer"),
        (dataclasses.replace(identity, flash_blocks=7), d, "no sample fits"),
        (identity, dataclasses.replace(d, rates=[0.1] * 256), r"epochs \(on a board\)"),
        (identity, dataclasses.replace(d, network=wide, weights=wide.initial_weights(0)), "256 classes"),
    ):
        with pytest.raises(ValueError, match=message):
            FlashStore.of_job(bad, other)


def test_invalid_flash_areas():
    for first, blocks in ((0, 5), (-1, 5), (5, 0), (250, 7), (MAX_BLOCKS, 1), (1.5, 2)):
        with pytest.raises(ValueError, match="of the flash"):
            Area(first, blocks)
    assert Area(1, 255).size == 255 * BLOCK and PAGE < BLOCK


def test_slot_size():
    """The largest frames: all bytes of the weights are escaped."""
    d = training_job()
    worst = {name: np.full_like(w, 0xC0C0 - 0x10000) for name, w in d.weights.items()}
    found = FlashStore.of_job(new().identity, dataclasses.replace(d, weights=worst))
    assert len(found.blocks[0]) < slot_blocks(CONFIG) * BLOCK
    assert unslip(found.blocks[0].split(b"\xc0")[0])[1] is False
    device = worked(None)
    found.upload(client_of(device))
    again = new(device.flash.content)
    while again.trainer.registers.phase == TrainerPhase.BOOT:
        again.trainer.step()
    assert all((weights_of(again)[name] == w).all() for name, w in worst.items())

"""Trials of a board that works alone: RTL of trainer and flash controller, with a flash chip at its pins,
against the model of the device.

Tests run them on the RTL, the benchmark mutants on mutants of it.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from equilif.host.client import Client
from equilif.host.journal import begin_tests, in_tests
from equilif.host.store import FlashStore, StoredSamples
from equilif_golden.engine.isa import Op
from equilif_golden.engine.port import Region, region_size
from equilif_golden.kernel import Kernel
from equilif_golden.link.flash import BLOCK, ERASED
from equilif_golden.link.protocol import (
    END,
    ERASE_HEADER,
    FLASH,
    LEARN,
    OWN_BYTES,
    PACKED,
    READ_HEADER,
    RUN_HEADER,
    TRAINER,
    WRITE_HEADER,
    Command,
    Status,
    seal,
    slip,
    unpack,
    unslip,
)
from equilif_golden.link.standalone import (
    INDEX_BYTES,
    NO_BLOCK,
    OWNER,
    REGISTERS,
    WRITABLE,
    Fault,
    TrainerPhase,
)
from equilif_golden.sample_order import MAX_HALF_BITS, order
from equilif_golden.schedule import Schedule
from equilif_sim.board import SimulatedBoard
from equilif_sim.link.frames import RandomFrames
from tests.standalone import (
    AREA,
    CONFIG,
    NETWORK,
    SEED,
    client_of,
    content_of,
    new,
    slot,
    store,
    training_job,
    uploaded,
    with_tests,
    worked,
)

LIMIT = 4_000_000  #: cycles within which a board is done
CYCLES = [163_684, 161_449]  #: see :func:`cycles`
MANY_CYCLES = 1_162_837  #: of the 300 samples of :func:`many_samples`


def put(board, content):
    """The flash has this content, and the board is switched on."""
    board.flash[:] = bytes([ERASED]) * len(board.flash)
    board.flash[AREA.first * BLOCK : AREA.first * BLOCK + AREA.size] = content
    board.reset()


@cache
def long_content():
    """40 epochs of nine samples, and the model behind them."""
    content = uploaded(9, 40, 255)
    return content, worked(content)


def flash_of(board):
    """The area; the rest of the chip was left alone."""
    first = AREA.first * BLOCK
    end = first + AREA.size
    assert set(board.flash[:first]) | set(board.flash[end:]) == {ERASED}
    return bytes(board.flash[first:end])


def compared(board, device):
    """What a host can read of both.  Without a whole slot weights are what was there before."""
    client = Client(board, timeout=0.05)
    assert client.registers == device.trainer.registers
    assert board.fault == (device.trainer.registers.fault != Fault.NONE) and not board.active
    for region in (Region.WEIGHT, Region.COUNTER):
        n = region_size(CONFIG, region)
        same = (client.read(region, 0, n) == device.engine.read(region, 0, n)).all()
        assert same or device.trainer.registers.fault == Fault.NO_SLOT
    assert flash_of(board) == bytes(device.flash.content)


def learning(rtl, n, epochs, pause):
    """Weights, registers, and every byte of the flash."""
    put(rtl, uploaded(n, epochs, pause))
    assert rtl.work(LIMIT) == b"", "its replies are not for the line"
    device = worked(uploaded(n, epochs, pause))
    assert device.trainer.registers.epoch == epochs
    compared(rtl, device)
    rtl.reset()
    rtl.work(LIMIT)
    compared(rtl, device)


def many_samples(rtl):
    """More than a byte counts, of both."""
    network = dataclasses.replace(NETWORK, schedule=Schedule(free=60, nudged=20, window=8))
    d = training_job()
    x = np.random.default_rng(1).integers(128, 256, (300, 5)).astype(np.uint8)
    many = StoredSamples(labels=np.arange(300) % 3, x=x)
    job = dataclasses.replace(d, network=network, rates=d.rates[:1], samples=many)
    content = content_of(FlashStore.of_job(new().identity, job))
    put(rtl, content)
    first = rtl.cycles
    rtl.work(LIMIT)
    assert rtl.cycles - first == MANY_CYCLES
    device = worked(content)
    compared(rtl, device)
    found = device.trainer.registers
    assert found.seen == 300 and found.spikes > 64 * 300
    fewer = dataclasses.replace(found, samples=130, epoch=0)  # there are more of them in the flash
    for client in (Client(rtl, timeout=0.05), client_of(device)):
        client.set_registers(fewer)
        client.control_trainer(run=1)
    rtl.work(LIMIT)
    device.trainer.work()
    assert device.trainer.registers.seen == 130
    compared(rtl, device)


def power_cuts(rtl, cuts):
    """And resets, in the middle of programs and erases too; what is then in the flash is what the board
    begins with.
    """
    device = worked(uploaded())
    want = device.trainer.registers
    put(rtl, uploaded())
    first = rtl.cycles
    rtl.work(LIMIT)
    whole = rtl.cycles - first
    rng = random.Random(6)
    generations = set()
    for _ in range(cuts):
        put(rtl, uploaded())
        if rng.random() < 0.7:
            rtl.cut(rng.randrange(whole))
        else:  # a reset: the chip goes on with what it is doing
            rtl.step(rng.randrange(whole))
            rtl.reset()
        rtl.work(LIMIT)
        generations.add(Client(rtl, timeout=0.05).registers.generation)
        compared(rtl, device)
    assert generations == {want.generation}


def damaged_flash(rtl, damage):
    rng = random.Random(damage)
    content = bytearray(uploaded())
    blocks = sorted(store().blocks)
    for _ in range(1 + damage % 3):
        block = rng.choice(blocks)
        at = block * BLOCK + rng.randrange(len(store().blocks[block]))
        content[at : at + rng.choice([1, 1, 30])] = bytes([rng.choice([0, 0xC0, 0xDB, 0xFF])]) * 1
    content = content[: AREA.size].ljust(AREA.size, b"\xff")
    put(rtl, bytes(content))
    rtl.work(LIMIT)
    device = worked(content)
    compared(rtl, device)


def inference(rtl):
    """As the kernel does; nothing is learned or saved."""
    store, test_samples = with_tests()
    put(rtl, content_of(store))
    rtl.work(LIMIT)
    client = Client(rtl, timeout=0.05)
    weights = client.read(Region.WEIGHT, 0, region_size(CONFIG, Region.WEIGHT))
    content = flash_of(rtl)
    before = begin_tests(client, store.tests)
    rtl.work(LIMIT)
    found = client.registers
    d = training_job()
    kernel = Kernel(NETWORK, d.weights, learning_rate=d.rates[0], counter=d.counter)
    for epoch, rate in enumerate(d.rates):
        kernel.set_learning_rate(rate)
        kernel.train(d.samples.x, d.samples.labels, order(9, SEED, epoch))
    right = int((kernel.predict(test_samples.x) == test_samples.labels).sum())
    assert (found.seen, found.hits, found.fault) == (7, right, Fault.NONE) and found.spikes
    assert in_tests(found) and found.epoch == found.epochs == 1
    client.control_trainer(run=0)
    client.set_registers(before)
    assert client.registers == before and not in_tests(before)
    assert (client.read(Region.WEIGHT, 0, len(weights)) == weights).all() and flash_of(rtl) == content


def same_end(rtl, content, limit=LIMIT):
    """Board and model begin with this flash and end alike.  The model."""
    put(rtl, bytes(content))
    rtl.work(limit)
    device = worked(content)
    compared(rtl, device)
    return device


def slots():
    """Contents with one whole checkpoint: the later one; the first one; frames of two in its place."""
    contents = {epochs: bytes(worked(uploaded(epochs=epochs)).flash.content) for epochs in (1, 2, 3)}
    erased = b"\xff" * (slot(1) - slot(0))
    yield contents[3][: slot(0)] + erased + contents[3][slot(1) :]
    yield contents[2][: slot(1)] + erased + contents[2][slot(1) + len(erased) :]
    parts = [contents[epochs][slot(1) : slot(2)].split(b"\xc0")[:-1] for epochs in (3, 1)]
    for k in range(1, 5):
        parts.reverse()
        mixed = b"".join(frame + b"\xc0" for frame in [*parts[0][: 1 + k // 3], *parts[1][1 + k // 3 :]])
        yield contents[3][: slot(1)] + mixed.ljust(len(erased), b"\xff") + contents[3][slot(2) :]


def damaged_slots(rtl, k):
    content = list(slots())[k]
    assert same_end(rtl, content).trainer.registers.generation


def long_checkpoint(rtl, newer):
    """It stops at the slot's end."""
    read = slip(seal(Command.READ, 0, READ_HEADER.pack(Region.WEIGHT, 0, region_size(CONFIG, Region.WEIGHT))))
    content = bytearray(uploaded(1, 1 + newer, 0 if newer else 1))
    at = store().registers.saves * BLOCK
    content[at : at + 600 * len(read)] = 600 * read
    device = same_end(rtl, content, 4 * LIMIT)
    assert device.trainer.registers.fault == Fault.SLOT_FULL


def register_bits(rtl, every=1):
    """Every so many of them are flipped once.  A frame writes all registers, and the board ends as
    the model does.
    """
    content = uploaded(1, 1)
    put(rtl, content)
    rtl.work(LIMIT)
    device = worked(content)
    board = Client(rtl, timeout=0.05)
    model = client_of(device)
    base = dataclasses.replace(device.trainer.registers, epoch=0, epochs=1, pause=0xFF, saves=NO_BLOCK)
    # another owner stops the board: test_owner_bits_are_checked
    bits = [
        (name, bit)
        for fields in REGISTERS[1:OWNER]
        for name, width in fields
        for bit in range(0, width, every)
    ]
    # an order of 4**9 numbers is begun near its end; counts are kept within an epoch
    turns = {"half": 479 << MAX_HALF_BITS | 490, "seen": 1, "hits": 1, "spikes": 1}
    for name, bit in [*bits, ("half", None)]:
        registers = dataclasses.replace(base, turn=turns.get(name, 0))
        setattr(registers, name, 15 if bit is None else getattr(registers, name) ^ 1 << bit)
        if bit is None:  # more than MAX_HALF_BITS counts as MAX_HALF_BITS
            registers.turn = 1023 << MAX_HALF_BITS | 990
        for client in (board, model):
            client.set_registers(registers)
            client.control_trainer(run=1)
        rtl.work(4 * LIMIT)
        device.trainer.work()
        assert board.registers == device.trainer.registers, (name, bit)
    compared(rtl, device)


def order_sizes(rtl):
    """The end of an order of 4**k numbers, for each k."""
    content = uploaded(1, 1)
    put(rtl, content)
    rtl.work(LIMIT)
    device = worked(content)
    base = dataclasses.replace(device.trainer.registers, epoch=0, epochs=1, pause=0xFF, saves=NO_BLOCK)
    board = Client(rtl, timeout=0.05)
    for half in range(MAX_HALF_BITS + 1):
        left, right = max((1 << half) - 2, 0), max((1 << half) - 9, 0)
        registers = dataclasses.replace(base, half=half, turn=left << MAX_HALF_BITS | right)
        for client in (board, client_of(device)):
            client.set_registers(registers)
            client.control_trainer(run=1)
        rtl.work(LIMIT)
        device.trainer.work()
        assert board.registers == device.trainer.registers, half
    compared(rtl, device)


def withdrawn_samples(rtl):
    """Samples that a host takes away while they are learned: what was prefetched is not learned, either."""
    content, _ = long_content()
    rng = random.Random(8)
    client = Client(rtl, timeout=0.05)
    for _ in range(3):
        put(rtl, content)
        before = client.registers
        while before.phase != TrainerPhase.LEARN or not 0 < before.seen < 9:
            assert before.epoch < 40, "reads come too seldom for this test"
            rtl.step(rng.randrange(135_000, 160_000))
            before = client.registers
        client.set_registers(dataclasses.replace(before, epochs=before.epoch + 1, samples=0))
        rtl.work(LIMIT)
        now = client.registers
        assert (now.epoch, now.fault) == (before.epoch + 1, Fault.NONE)
        assert (now.seen, now.hits, now.spikes) == (before.seen, before.hits, before.spikes)


def stop_after_a_frame(rtl):
    """A sample that was chosen and has not begun is not learned any more.

    In the end all is as without stops.
    """
    content, device = long_content()
    put(rtl, content)
    client = Client(rtl, timeout=0.05)
    rng = random.Random(7)
    stops = 0
    while stops < 3:
        rtl.step(rng.randrange(150_000))
        before = client.registers
        assert before.epoch < 40, "stops come too seldom for this test"
        client.control_trainer(run=0)
        if before.phase == TrainerPhase.LEARN:
            rtl.work(LIMIT)
            now = client.registers
            # or it was at the beginning of an epoch, whose list is played to its end
            assert now.seen in (before.seen, 0)
            stops += 0 < now.seen < 9
        client.control_trainer(run=1)
    rtl.work(10 * LIMIT)
    compared(rtl, device)


def stop_between_samples(rtl):
    """Nine samples among 4**5 numbers: in the end all is as without stops."""
    content = uploaded()
    put(rtl, content)
    rtl.work(LIMIT)
    device = worked(content)
    registers = dataclasses.replace(device.trainer.registers, half=5, epoch=0, epochs=2, saves=NO_BLOCK)
    board = Client(rtl, timeout=0.05)
    for client in (board, client_of(device)):
        client.set_registers(registers)
        client.control_trainer(run=1)
    device.trainer.work()
    rng = random.Random(4)
    turns = set()
    first = rtl.cycles
    while board.registers.epoch < 2:
        assert rtl.cycles - first < 20 * LIMIT
        rtl.step(rng.randrange(138_000, 143_000))
        board.control_trainer(run=0)
        rtl.work(LIMIT)
        turns.add(board.registers.turn)
        board.control_trainer(run=1)
    assert len(turns) > 5, turns
    rtl.work(4 * LIMIT)
    compared(rtl, device)


def busy_replies(rtl):
    """While the trainer works, and when it had the host as the frame came: there is a reply to each."""
    content, device = long_content()
    put(rtl, content)
    rng = random.Random(3)
    frames = OwnFrames(CONFIG, 1024, rng)
    makers = {
        Command.LOAD: frames.load,
        Command.RUN: frames.run,
        Command.WRITE: frames.write,
        Command.READ: frames.read,
        Command.ERASE: lambda: frames.seal(Command.ERASE, ERASE_HEADER.pack(FLASH, 0)),
    }
    counts = {(command, status): 0 for command in makers for status in (Status.BUSY, Status.OVERRUN)}
    first = rtl.cycles
    while not all(counts.values()):
        rtl.step(rng.choice([10_000, 150_000]))
        assert rtl.active and rtl.cycles - first < 8 * LIMIT, list(counts.values())
        frame = rng.choice([*makers.values()])()
        status, sequence = answer(rtl, frame)[:2]
        assert (status, sequence) in ((Status.BUSY, frame[1]), (Status.OVERRUN, 0)), frame.hex()
        counts[Command(frame[0]), Status(status)] += 1
    rtl.work(10 * LIMIT)
    compared(rtl, device)


def cycles(rtl):
    """Of nine samples and a checkpoint: without a host, and after a host has read the registers."""
    found = []
    for with_host in (False, True):
        put(rtl, uploaded(9, 1))
        if with_host:
            rtl.step(20_000)
            client = Client(rtl, timeout=0.05)
            client._sequence = 1  # a random one may be escaped on the line, and take longer
            assert client.registers.phase == TrainerPhase.BOOT
        first = rtl.cycles
        rtl.work(LIMIT)
        found.append(rtl.cycles - first)
    assert found == CYCLES


VALUES = [
    b"\xe0" + bytes(range(1, 8)),
    b"\x20\7\x22\5\4",
    b"\x08",
    b"\x40\1",  # incomplete
    b"\x21\1\0\x21\2",  # two samples
]


def oversized_sample(rtl, values):
    """The trainer stops, in RTL and model, with the same values in the last group; one was cut short."""
    n = region_size(CONFIG, Region.VALUE)
    first = n - 4
    frame = slip(seal(Command.WRITE, 1, WRITE_HEADER.pack(Region.VALUE, 0) + bytes([9] * n)))
    frame += slip(seal(Command.RUN, 1, RUN_HEADER.pack(LEARN | PACKED, 0, 0, first) + values))
    content = bytearray(uploaded())
    index = store().registers.index * BLOCK
    place = content[index : index + INDEX_BYTES]  # of all samples, as the frame is longer than one of them
    content[index : index + 9 * INDEX_BYTES] = 9 * place
    at = int.from_bytes(place, "little")
    content[at : at + len(frame)] = frame
    rtl.work(LIMIT)
    clear(Client(rtl, timeout=0.05))
    put(rtl, bytes(content))
    rtl.work(LIMIT)
    device = worked(content)
    assert device.trainer.registers.fault == Fault.REFUSED
    compared(rtl, device)
    written = unpack(values)[0][0][:4]
    want = bytes([9] * first) + written + bytes([9] * (4 - len(written)))
    got = Client(rtl, timeout=0.05).read(Region.VALUE, 0, n)  # what lies beyond is not written to the begin
    assert (got == device.engine.read(Region.VALUE, 0, n)).all()
    assert (got == [257 * value for value in want]).all()


def reload(rtl):
    """What was written since is gone."""
    content = uploaded()
    put(rtl, content)
    rtl.work(LIMIT)
    device = worked(content)
    board = Client(rtl, timeout=0.05)
    for client in (board, client_of(device)):
        client.write(Region.WEIGHT, 0, np.arange(8))
        client.control_trainer(run=0, boot=1)
    rtl.work(LIMIT)
    device.trainer.work()
    assert board.read(Region.WEIGHT, 0, 8).tolist() != list(range(8))
    compared(rtl, device)


def end_of_the_area(rtl):
    """A sample there that has no END is refused, at once."""
    content = bytearray(uploaded())
    at = AREA.size - 3
    content[at:] = b"\1\2\3"
    index = store().registers.index * BLOCK
    content[index : index + 9 * INDEX_BYTES] = 9 * at.to_bytes(INDEX_BYTES, "little")
    assert same_end(rtl, content, LIMIT // 16).trainer.registers.fault == Fault.REFUSED


FOR_THE_FLASH = {
    Command.READ: READ_HEADER.pack(FLASH, 0, 1),
    Command.WRITE: WRITE_HEADER.pack(FLASH, 0) + b"\0",
    Command.ERASE: ERASE_HEADER.pack(FLASH, 0),
}


def flash_command(rtl, command):
    """The trainer is using it."""
    content = bytearray(uploaded())
    at = store().registers.programs * BLOCK
    frame = slip(seal(command, 0, FOR_THE_FLASH[command]))
    content[at : at + len(frame)] = frame
    assert same_end(rtl, content).trainer.registers.fault == Fault.REFUSED


def damaged_bytes(rtl):
    """A frame with one is refused; what comes while the trainer has the host does not reach its frames."""
    content, device = long_content()
    put(rtl, content)
    rng = random.Random(5)
    for _ in range(6):
        rtl.step(rng.randrange(140_000, 200_000))
        assert rtl.active
        rtl.spoil()
        rtl.write(rng.randbytes(rng.randrange(1, 20)))
    rtl.work(10 * LIMIT)
    rtl.write(b"\xc0")
    compared(rtl, device)
    rtl.spoil()
    assert answer(rtl, seal(Command.IDENTIFY, 7))[0] == Status.BAD_FRAME


def reads_at_any_time(rtl):
    """Its frames come between those of the trainer, and change nothing."""
    content, device = long_content()
    put(rtl, content)
    client = Client(rtl, timeout=0.05)
    rng = random.Random(7)
    num_reads = 0
    first = rtl.cycles
    while rtl.active:
        assert rtl.cycles - first < LIMIT
        # long enough for the line to be quiet at times
        rtl.step(rng.choice([10_000, 200_000]))
        if rng.random() < 0.3:
            rtl.write(rng.randbytes(rng.randrange(20)))  # noise
        elif rtl.active:
            assert client.registers.samples in (0, 9)
            num_reads += 1
    assert num_reads > 5
    rtl.write(b"\xc0")
    compared(rtl, device)


class OwnFrames(RandomFrames):
    """Also frames of flash and trainer, right and wrong."""

    def program(self):
        """It leaves alone what neurons keep from other tests."""
        return [Op.HALT()] * self.rng.randint(1, 9)

    def own(self):
        rng = self.rng
        region = rng.choice([FLASH, FLASH, TRAINER])
        size = AREA.size if region == FLASH else len(REGISTERS)
        near = [0, 255, 256, BLOCK - 1, BLOCK, size - 1, size, size + 1, 1 << 24, (1 << 32) - 1]
        address = rng.choice([rng.randrange(size), rng.choice(near), rng.getrandbits(32)])
        n = rng.randint(1, 40)
        data = rng.randbytes(n * OWN_BYTES[region] + (rng.random() < 0.1))
        if region == TRAINER:  # whatever is written, it does not start
            near = [rng.randrange(1, size), rng.randrange(WRITABLE - 1, size + 2)]
            address = rng.choice([*near, 1 << rng.randrange(32)])
            n = rng.choice([1, 1, 2, 3])
            data = rng.randbytes(4 * n)
        block = rng.choice([address, address // BLOCK * BLOCK])
        makers = [
            lambda: self.seal(Command.WRITE, WRITE_HEADER.pack(region, address) + data),
            lambda: self.seal(Command.READ, READ_HEADER.pack(region, address, rng.choice([n, 0, 1]))),
            lambda: self.seal(Command.ERASE, ERASE_HEADER.pack(rng.choice([FLASH, region, 1, 9]), block)),
            lambda: self.seal(Command.ERASE, rng.randbytes(rng.randrange(9))),
            lambda: self.seal(rng.choice([Command.READ, Command.WRITE]), rng.randbytes(rng.randint(5, 8))),
        ]
        return rng.choice(makers)()


def answer(board, frame, before=b"\xc0"):
    """The reply to it, however long the trainer keeps it waiting.  ``before``: bytes before it."""
    board.write(before + slip(frame))
    got = b""
    for _ in range(100):
        got += board.read(4096)
        if got.endswith(b"\xc0"):
            return unslip(got[:-1])[0]
    raise AssertionError(f"no reply to {frame.hex()}: {got.hex()}")


def clear(client):
    """Memories keep what other tests left there; what a trainer has learned is not saved."""
    client._claimed = True
    for region in Region:
        if region != Region.PROGRAM:
            client.write(region, 0, np.zeros(region_size(CONFIG, region), np.int64))


def hostile(board, n, seed):
    """Frames to RTL and model, which answer alike; how many were carried out, and refused how."""
    rng = random.Random(seed)
    frames = OwnFrames(CONFIG, 1024, rng)
    content = rng.randbytes(AREA.size)
    put(board, content)
    board.work(LIMIT)
    client = Client(board, timeout=0.05)
    clear(client)
    device = worked(content)
    seen = {}
    ran = False
    for k in range(n):
        if rng.random() < 0.3:
            frames.sequence -= 1  # a RUN of a number that another command had is another one
        kinds = [*frames.kinds, frames.good, frames.run]
        frame = frames.own() if rng.random() < 0.7 else rng.choice(kinds)()
        if ran and rng.random() < 0.5:  # the same number again: it is answered, and not done
            frames.sequence -= 1
            frame = frames.run()
        ran = frame[:1] == bytes([Command.RUN])
        want = device.packet(slip(frame)[:-1])
        assert answer(board, frame) == want, f"{k}: {frame.hex()}"
        seen[Status(want[0])] = seen.get(Status(want[0]), 0) + 1
    compared(board, device)
    n = region_size(CONFIG, Region.VALUE)
    assert (client.read(Region.VALUE, 0, n) == device.engine.read(Region.VALUE, 0, n)).all()
    clear(client)
    return seen


def hostile_commands(rtl):
    """Those that are right do what they should, the others nothing, and nothing outside of the area is
    touched.
    """
    seen = hostile(rtl, 400, 1)
    assert seen[Status.OK] > 40 and seen[Status.BAD_ADDRESS] > 20 and seen[Status.BAD_REGION] > 5


def flash_limits(rtl):
    """Each bit of the address of an ERASE; WRITE beyond the end of the area, and up to its end."""
    content = random.Random(2).randbytes(AREA.size)
    put(rtl, content)
    rtl.work(LIMIT)
    device = worked(content)
    frames = [seal(Command.ERASE, bit, ERASE_HEADER.pack(FLASH, BLOCK ^ 1 << bit)) for bit in range(32)]
    for before, n in ((8, 9), (4, 4)):
        frames.append(seal(Command.WRITE, n, WRITE_HEADER.pack(FLASH, AREA.size - before) + bytes(n)))
    for frame in frames:
        assert answer(rtl, frame) == device.packet(slip(frame)[:-1]), frame.hex()
    compared(rtl, device)


def bytes_without_end(rtl):
    """A frame of the trainer discards those before it; those during one are answered at their END."""
    content = uploaded(1, 1)
    put(rtl, content)
    rtl.write(b"\1")
    rtl.step(1000)
    rtl.work(LIMIT)
    device = worked(content)
    frame = seal(Command.IDENTIFY, 7)
    assert answer(rtl, frame, before=b"") == device.packet(slip(frame)[:-1])
    compared(rtl, device)
    put(rtl, content)
    rtl.step(140_000)  # in the weights of the checkpoint
    rtl.write(bytes([0, *(END ^ 1 << bit for bit in range(8))]))
    assert rtl.read() == b""
    assert rtl.active
    assert answer(rtl, b"")[0] == Status.OVERRUN
    rtl.work(LIMIT)
    compared(rtl, device)


#: in the order of what they cost
TRIALS: dict[str, Callable[[SimulatedBoard], object]] = {
    "learning-1": lambda rtl: learning(rtl, 1, 1, 0),
    **{f"damaged-flash-{k}": partial(damaged_flash, damage=k) for k in range(8)},
    **{f"oversized-sample-{k}": partial(oversized_sample, values=v) for k, v in enumerate(VALUES)},
    "hostile-commands": hostile_commands,
    "flash-limits": flash_limits,
    "bytes-without-end": bytes_without_end,
    "learning-5": lambda rtl: learning(rtl, 5, 4, 1),
    "learning-9": lambda rtl: learning(rtl, 9, 3, 0),
    "reads-at-any-time": reads_at_any_time,
    "busy-replies": busy_replies,
    "damaged-bytes": damaged_bytes,
    "reload": reload,
    "end-of-the-area": end_of_the_area,
    **{f"flash-command-{c.name.lower()}": partial(flash_command, command=c) for c in FOR_THE_FLASH},
    "power-cuts": partial(power_cuts, cuts=4),
    "inference": inference,
    "stop-after-a-frame": stop_after_a_frame,
    "stop-between-samples": stop_between_samples,
    "order-sizes": order_sizes,
    "withdrawn-samples": withdrawn_samples,
    "cycles": cycles,
    "many-samples": many_samples,
    **{f"damaged-slots-{k}": partial(damaged_slots, k=k) for k in range(6)},
    "register-bits": register_bits,
    **{f"long-checkpoint-{k}": partial(long_checkpoint, newer=k) for k in range(2)},
}

"""Client and device model: in memory, over a pseudo-terminal, over faulty lines."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
import tty
from pathlib import Path

import numpy as np
import pytest
import serial
import sliplib

from equilif.host.client import Client, DeviceError, LinkError, NoReply
from equilif_golden.blocks.plasticity import DITHER_WIDTH
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig, ExternalWeights, Pipeline
from equilif_golden.engine.features import OPTIONS
from equilif_golden.engine.isa import Op
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, dither_position, updates_at
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import (
    EXTERNAL_VERSION,
    FRONT_END_VERSION,
    LEARN,
    MEANING,
    PACKED,
    READ_HEADER,
    RUN_HEADER,
    TABLES_VERSION,
    TRAINER_VERSION,
    VERSION,
    WRITE_HEADER,
    Command,
    FrameError,
    FrontEndKind,
    Identity,
    Status,
    pack,
    seal,
    tables,
    unpack,
    unseal,
)
from equilif_golden.network import Network
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from tests.ports import Faulty, client_of

CONFIG = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16, program_words=128)
EXTERNAL = EngineConfig(external=ExternalWeights(chip_name="EM638325", hz=90_000_000, tiles=40_000))


def count_runs(device, runs):
    """Append ``learn`` of each run to a list; nothing runs."""

    def run(*, learn):
        runs.append(learn)
        return 0, 0, 0, 0

    device.run = run


@pytest.fixture(scope="module")
def problem():
    network = Network.chain(6, 5, 3, schedule=Schedule(free=24, nudged=16, window=16))
    rng = np.random.default_rng(1)
    return network, rng.integers(0, 256, (6, 6)), one_hot(rng.integers(0, 3, 6), 3)


# -- layouts ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        EngineConfig(),
        EngineConfig(pipeline=Pipeline.SPRAM, lanes=8, tiles=1 << 15, attention=False),
        EXTERNAL,
        *(EngineConfig(**{name: not option.default}) for name, option in OPTIONS.items() if option.identity),
    ],
)
def test_identity_round_trip(config):
    identity = Identity(config, 0xDEADBEEF, 1018)
    assert Identity.unpack(identity.pack()) == identity


def test_identity_of_external_weights():
    """Two more words, and another version."""
    packed = Identity(EXTERNAL, 7).pack()
    plain = Identity(EngineConfig(), 7).pack()
    assert packed[0] == EXTERNAL_VERSION and packed[1 : len(plain)] == plain[1:]
    for wrong in (packed[:-1], plain[:0] + packed[: len(plain)], bytes([VERSION]) + packed[1:]):
        with pytest.raises(ValueError, match="bytes"):
            Identity.unpack(wrong)
    with pytest.raises(ValueError, match="SDRAM 99"):
        Identity.unpack(packed[: len(plain)] + bytes([99, 0]) + packed[len(plain) + 2 :])
    with_tables = dataclasses.replace(EXTERNAL, external=dataclasses.replace(EXTERNAL.external, tables=True))
    listed = Identity(with_tables, 7).pack()
    assert listed[0] == TABLES_VERSION and len(listed) == len(packed)
    for wrong in (bytes([EXTERNAL_VERSION]) + listed[1:], bytes([TABLES_VERSION]) + packed[1:]):
        with pytest.raises(ValueError, match=f"version {wrong[0]}"):
            Identity.unpack(wrong)
    for config in (EXTERNAL, with_tables):
        client, _ = client_of(Device(config))
        assert client.identify().config == config


def test_identity_of_a_front_end():
    """Its kind and a version of its own; a design without one is as before."""
    flags = {FrontEndKind.NONE: 0, FrontEndKind.MICROPHONE: 2, FrontEndKind.SENSOR: 0x80}
    plain = Identity(CONFIG, 7).pack()
    for kind, flag in flags.items():
        identity = Identity(CONFIG, 7, front_end=kind)
        packed = identity.pack()
        expected = bytes([FRONT_END_VERSION if kind else VERSION, plain[1] | flag]) + plain[2:]
        assert packed == expected and Identity.unpack(packed) == identity
        if kind:  # a bitstream from before the kind was part of the identity
            with pytest.raises(ValueError, match=f"version {VERSION}.*{FRONT_END_VERSION}"):
                Identity.unpack(bytes([VERSION]) + packed[1:])
        client, _ = client_of(Device(CONFIG, front_end=kind))
        assert client.identify().front_end is kind
    with pytest.raises(ValueError, match="identity"):
        Identity.unpack(bytes([FRONT_END_VERSION, 0x82]) + plain[2:])


def test_protocol_page_is_current():
    """After a change of them:  python -m equilif_golden.link.protocol  prints what belongs there."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text()
    assert all(table in page for table in tables())
    assert set(MEANING) == set(Status)


def test_protocol_version():
    payload = Identity(CONFIG, 0).pack()
    for blocks, other in (
        (0, TRAINER_VERSION),
        (9, VERSION),
    ):  # a device with a standalone trainer has another version
        payload = bytearray(Identity(CONFIG, 1, flash_blocks=blocks).pack())
        assert Identity.unpack(bytes(payload)).flash_blocks == blocks
        payload[0] = other
        with pytest.raises(ValueError, match=f"{other}.*{VERSION + TRAINER_VERSION - other}"):
            Identity.unpack(bytes(payload))
    for other in (VERSION - 1, TABLES_VERSION + 1):
        with pytest.raises(ValueError, match=f"version {other}.*version {VERSION}"):
            Identity.unpack(bytes([other]) + payload[1:])
    with pytest.raises(ValueError, match="24 bytes, not 23"):
        Identity.unpack(payload[:-1])


def test_frame_bytes():
    """With the published check value of this CRC: CBF43926 for the digits 1 to 9, low byte first."""
    assert seal(ord("1"), ord("2"), b"3456789") == b"123456789" + bytes.fromhex("2639f4cb")
    assert unseal(b"123456789" + bytes.fromhex("2639f4cb")) == (ord("1"), ord("2"), b"3456789")
    assert (
        READ_HEADER.pack(1, 0x20304, 0x506) + RUN_HEADER.pack(1, 2, 3, 4)
    ).hex() == "01040302000605" + "0102000000030004000000"


@pytest.mark.parametrize("n", range(6))
def test_short_frames(n):
    with pytest.raises(FrameError) as e:
        unseal(bytes(n))
    assert e.value.status == Status.TOO_SHORT


def test_crc_detects_every_flipped_bit():
    frame = seal(Command.WRITE, 3, b"equilibrium")
    for bit in range(8 * len(frame)):
        spoilt = bytearray(frame)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            unseal(bytes(spoilt))


# -- client and device -----------------------------------------------------------------------------
def test_identify():
    client, _ = client_of(Device(CONFIG, build_id=0x1234ABCD, frame_bytes=300))
    assert client.identify() == Identity(CONFIG, 0x1234ABCD, 294)


def test_long_transfers_are_split():
    """A frame of 100 bytes carries 44 weights."""
    client, wire = client_of(Device(CONFIG, frame_bytes=100))
    rng = np.random.default_rng(0)
    words = rng.integers(-(1 << 15), 1 << 15, (CONFIG.tiles * 4, 4))
    client.write(Region.WEIGHT, 0, words.ravel())
    assert len(wire.commands) == 1 + -(-words.size // 44)
    np.testing.assert_array_equal(client.read(Region.WEIGHT, 0, words.size), words.ravel())
    np.testing.assert_array_equal(client.read(Region.WEIGHT, 17 * 4, 3 * 4), words[17:20].ravel())
    values = rng.integers(0, 256, 128)
    client.write(Region.VALUE, 0, values)
    found = client.read(Region.VALUE, 0, 128)
    for half in (found & 255, found >> 8):
        np.testing.assert_array_equal(half, values)
    for updates in (0, 1, 77, (1 << 32) - 1):
        client.write(Region.COUNTER, 0, [dither_position(updates)])
        assert updates_at(int(client.read(Region.COUNTER, 0, 1)[0])) == updates % (1 << DITHER_WIDTH)


def test_program_longer_than_frame():
    client, _ = client_of(Device(CONFIG, frame_bytes=64))
    with pytest.raises(LinkError, match="5 instructions"):
        client.load([Op.HALT()] * 5)


def test_training_over_link(problem):
    """Weights, predictions and output rates equal the reference."""
    network, x, y = problem
    for frame_bytes in (1024, 520):
        client, _ = client_of(Device(CONFIG, frame_bytes=frame_bytes))
        chip = Chip(client, network, learning_rate=0.05, counter=5)
        reference = Reference(network, learning_rate=0.05, counter=5)
        for a, b in zip(x, y, strict=True):
            want = reference.train(a[None], b[None])
            got = chip.sample(a, b, read=chip.outputs)
            assert got.prediction == want.prediction[0] and got.spikes == want.spikes
            np.testing.assert_array_equal(got.values & 255, want.plus["output"][0])
            np.testing.assert_array_equal(got.values >> 8, want.minus["output"][0])
        for name, w in chip.weights.items():
            np.testing.assert_array_equal(w, reference.weights[name])
        assert any((reference.weights[k] != w).any() for k, w in network.initial_weights().items()), (
            "nothing was learnt"
        )
        assert updates_at(int(client.read(Region.COUNTER, 0, 1)[0])) == reference.counter
        infer = chip.sample(x[0], read=chip.outputs)
        assert infer.prediction == reference.infer(x[:1]).prediction[0]


def test_sample_longer_than_frame():
    """The first part is written separately, the rest with the run."""
    network = Network.chain(600, 4, 2, schedule=Schedule(free=24, nudged=16, window=16))
    config = EngineConfig(lanes=4, tiles=256, value_groups=256, state_groups=4, program_words=128)
    client, wire = client_of(Device(config, frame_bytes=520))
    chip = Chip(client, network)
    x = np.random.default_rng(0).integers(0, 256, 600)
    before = len(wire.commands)
    got, want = chip.sample(x, read=chip.outputs), Reference(network).infer(x[None])
    assert [c[0] for c in wire.commands[before:]] == [Command.WRITE, Command.RUN]
    assert (got.prediction, got.spikes, (got.values & 255).tolist()) == (
        want.prediction[0],
        want.spikes,
        want.free["output"][0].tolist(),
    )
    assert want.spikes > 0


def test_pseudo_terminal(problem):
    """Over a file descriptor with pyserial, in pieces of any size."""
    network, x, y = problem
    device = Device(CONFIG)
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    stop = threading.Event()

    def serve():
        rest = b""
        while not stop.is_set():
            *packets, rest = (rest + os.read(ours, 100)).split(sliplib.END)
            for reply in filter(None, map(device.packet, packets)):
                os.write(ours, sliplib.encode(reply) + sliplib.END)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with serial.Serial(os.ttyname(theirs), 115200, timeout=0.05) as port:
        chip = Chip(Client(port), network, learning_rate=0.05)
        reference = Reference(network, learning_rate=0.05)
        assert chip.sample(x[0], y[0]).prediction == reference.train(x[:1], y[:1]).prediction[0]
        for name, w in chip.weights.items():
            np.testing.assert_array_equal(w, reference.weights[name])
        stop.set()
        port.write(sliplib.END)  # ends the server
        thread.join(5)
    assert not thread.is_alive()
    os.close(ours)
    os.close(theirs)


# -- faults ----------------------------------------------------------------------------------------
def damage(rng):
    """Truncate, flip or drop every third reply."""

    def spoil(line, n):
        if n % 3 != 1:
            return line
        at = rng.randrange(len(line) - 1)
        flipped = line[:at] + bytes((line[at] ^ 0x10,)) + line[at + 1 :]
        return rng.choice([line[:at] + line[at + 1 :], flipped, b"", b"\x00\xc0\xdb\xc0" + line[:-3]])

    return spoil


def test_repeated_commands_on_bad_line():
    client, wire = client_of(Device(CONFIG, frame_bytes=100), spoil=damage(random.Random(3)))
    words = np.random.default_rng(0).integers(-99, 99, (100, 4))
    client.write(Region.WEIGHT, 0, words.ravel())
    np.testing.assert_array_equal(client.read(Region.WEIGHT, 0, 400), words.ravel())
    assert len(wire.commands) > -(-400 // 44) + 3


def test_repeated_run_is_not_executed():
    device = Device(CONFIG)
    client, wire = client_of(device, spoil=lambda line, n: b"" if n in (2, 3, 4) else line)
    client.load([Op.HALT()])
    runs = []
    count_runs(device, runs)
    assert client.run(learn=True, write=(5, np.array([7])), read=(5, 1)).values.tolist() == [7 * 257]
    assert runs == [True] and client.traffic.repeated == 3 and len(set(wire.commands[2:])) == 1
    client.run(learn=True)
    assert runs == [True, True]  # another one


def test_other_command_ends_repetition():
    """A new client may start with the last sequence number: it identifies the device first."""
    device, runs = Device(CONFIG), []
    client, _ = client_of(device)
    client.load([Op.HALT()])
    count_runs(device, runs)
    for _ in range(3):
        client._sequence = 41
        client.run(learn=True)
        client._sequence = 41
        client.identify()
    assert len(runs) == 3


def test_no_reply():
    client, wire = client_of(Device(CONFIG), spoil=lambda line, n: b"", deadline=0.05)
    with pytest.raises(NoReply, match="IDENTIFY"):
        client.identify()
    assert 2 <= len(wire.commands) <= 4


# -- packed values ---------------------------------------------------------------------------------
def test_packed_bytes():
    values = bytes((7, 0, 0, 0, 255, 0, 1))
    assert (
        pack(values) == bytes((1 << 5, 7, 1 << 5 | 3, 255, 1 << 5 | 1, 1))
        and pack(b"") == b""
        and pack(bytes(65)) == bytes((31, 31, 3))
        and pack(b"\1" * 9) == b"\xe0" + b"\1" * 7 + b"\x40\1\1"
    )
    assert (
        unpack(pack(values)) == ([values], True)
        and unpack(b"\x42\5") == ([b"\0\0\5"], False)
        and unpack(b"\x02\0\0\x21\5") == ([b"\0\0", b"", b"\0\5"], True)
    )


def test_packing_is_lossless():
    rng = random.Random(0)
    for n in [*range(20), 255, 256, 257, 511, 512, 513, 900]:
        for zeros in (0.0, 0.3, 0.9, 1.0):
            values = bytes(0 if rng.random() < zeros else rng.randint(1, 255) for _ in range(n))
            assert unpack(pack(values)) == ([values], True)
            assert len(pack(values)) <= n - values.count(0) + len(values.split(b"\0")) + n / 7
            assert unpack(b"\0".join(map(pack, (values, b"", values)))) == ([values, b"", values], True)


def test_packing_is_used_when_shorter():
    device = Device(CONFIG)
    client, wire = client_of(device)
    client.load([Op.HALT()])
    dark, bright = np.where(np.arange(60) % 10, 0, 200), np.full(60, 9)
    for values, packed in ((dark, True), (bright, False), (np.array([0, 3]), False)):
        got = client.run(learn=False, write=(3, values), read=(3, len(values)))
        assert got.values.tolist() == (257 * values).tolist()
        assert wire.commands[-1][2] == PACKED * packed
        assert (len(wire.commands[-1]) < len(values) + RUN_HEADER.size + 6) == packed


# -- several samples in a frame --------------------------------------------------------------------
def runs_of(wire):
    """Number of samples in each RUN on the line."""
    runs = [c for c in wire.commands if c[0] == Command.RUN]
    start = 2 + RUN_HEADER.size
    return [len(unpack(c[start:-4])[0]) if c[2] & PACKED else 1 for c in runs]


@pytest.mark.parametrize(
    "frame_bytes, max_samples, frames",
    [
        (1024, 16, [16, 2]),
        pytest.param(1024, 5, [5, 5, 5, 3], marks=pytest.mark.regress),
        pytest.param(1024, 1, [1] * 18, marks=pytest.mark.regress),
        (64, 16, None),
    ],
)
def test_samples_of_a_frame(problem, frame_bytes, max_samples, frames):
    """Epoch, predictions, weights and counter are those of one sample a frame."""
    network, x, y = problem
    x, y = np.tile(x, (3, 1)), np.tile(y, (3, 1))
    config = dataclasses.replace(CONFIG, tiles=16, program_words=128)
    device = Device(config, frame_bytes=1024, max_samples=max_samples)
    client, wire = client_of(device, timeout=1, run_deadline=60)
    chip = Chip(client, network, learning_rate=0.05, counter=5)
    device.frame_bytes = frame_bytes  # programs are longer
    client._identity = dataclasses.replace(client.identity, max_payload=frame_bytes - 6)
    single = Chip(EngineModel(config), network, learning_rate=0.05, counter=5)
    order = np.arange(18)[::-1]
    wire.commands.clear()
    assert chip.train(x, y.argmax(axis=1), order) == single.train(x, y.argmax(axis=1), order)
    found = runs_of(wire)
    assert found == frames or frames is None and 1 < max(found) < 16 and sum(found) == 18
    assert all(len(c) <= frame_bytes for c in wire.commands)
    assert chip.counter == single.counter
    np.testing.assert_array_equal(chip.predict(x[:6]), single.predict(x[:6]))
    client._identity = dataclasses.replace(client.identity, max_payload=1018)
    for name, w in chip.weights.items():
        np.testing.assert_array_equal(w, single.weights[name])


def test_samples_longer_packed_than_plain():
    """A long sample without zeros has a frame for itself, unpacked."""
    config = dataclasses.replace(CONFIG, value_groups=128)
    client, wire = client_of(Device(config))
    client.load([Op.HALT()])
    sparse, dense = np.zeros(500, np.int64), np.full(500, 7)
    found = list(client.run_samples(0, [sparse, sparse, dense, sparse], learn=False))
    assert [len(b.predictions) for b in found] == [2, 1, 1] == runs_of(wire)
    assert not wire.commands[-2][2] & PACKED


@pytest.mark.parametrize("samples", [2, 17])
def test_too_many_samples_change_nothing(samples):
    device = Device(CONFIG, max_samples=samples - 1)
    client, _ = client_of(device)
    client.load([Op.HALT()])
    runs = []
    count_runs(device, runs)
    for n in (samples, samples - 1):
        frame = RUN_HEADER.pack(LEARN | PACKED, 0, 0, 3) + b"\0".join([b"\x20\x09"] * n)
        if n == samples:
            with pytest.raises(DeviceError) as e:
                client.command(Command.RUN, frame)
            assert e.value.status == Status.BAD_LENGTH and not device.engine.plus.any()
        else:
            assert len(client.command(Command.RUN, frame)) == 2 * n + 12
        assert len(runs) == (0 if n == samples else n)


def test_repeated_samples_are_not_executed(problem):
    """Lost replies: predictions and totals are the stored ones, also where the frame has other samples."""
    network, x, y = problem
    device = Device(CONFIG)
    client, wire = client_of(device, run_deadline=60)
    chip = Chip(client, network, learning_rate=0.05)
    first = chip.train(x, y.argmax(axis=1))
    before = {name: w.copy() for name, w in chip.weights.items()}
    wire.spoil = lambda line, n, lost=wire.replies + 3: b"" if n < lost else line
    second = chip.train(x, y.argmax(axis=1))
    assert client.traffic.repeated == 3 and device.engine.counter == chip.counter
    reply = unseal(device.reply(wire.commands[-1]))
    fewer = RUN_HEADER.pack(LEARN | PACKED, 0, 0, 0) + b"\1"
    assert unseal(device.reply(seal(Command.RUN, wire.commands[-1][1], fewer))) == reply
    reference = Reference(network, learning_rate=0.05)
    want = [
        reference.train(a[None], b[None]) for a, b in zip(np.tile(x, (2, 1)), np.tile(y, (2, 1)), strict=True)
    ]
    assert [first.spikes, second.spikes] == [sum(w.spikes for w in part) for part in (want[:6], want[6:])]
    for name, w in chip.weights.items():
        np.testing.assert_array_equal(w, reference.weights[name])
    assert any((before[name] != w).any() for name, w in chip.weights.items())


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.regress) for k in (1, 2))])
def test_samples_of_a_frame_on_bad_line(problem, seed):
    """Faults in every third frame, both directions: the same bits as without, each sample learned once."""
    network, x, y = problem
    labels = y.argmax(axis=1)
    device = Device(CONFIG, max_samples=4)
    client, _ = client_of(device, timeout=0.002, deadline=60, run_deadline=60)
    client.port = port = Faulty(client.port, 0.3, random.Random(seed))
    chip = Chip(client, network, learning_rate=0.05)
    single = Chip(EngineModel(CONFIG), network, learning_rate=0.05)
    for _ in range(6):
        assert chip.train(x, labels) == single.train(x, labels)
    np.testing.assert_array_equal(chip.predict(x), single.predict(x))
    for name, w in chip.weights.items():
        np.testing.assert_array_equal(w, single.weights[name])
    assert chip.counter == single.counter == device.engine.counter and min(port.faults.values()) > 0


def test_stale_reply_is_skipped():
    client, wire = client_of(Device(CONFIG))
    client.identify()
    wire.pending += sliplib.encode(seal(Status.OK, (client._sequence + 200) % 256, b"old")) + sliplib.END
    client.write(Region.VALUE, 0, np.array([5]))
    assert client.read(Region.VALUE, 0, 1).tolist() == [5 * 257]


@pytest.mark.parametrize(
    "command, payload, status",
    [
        (Command.RUN, RUN_HEADER.pack(LEARN, 0, 0, 0), Status.NO_PROGRAM),
        (Command.READ, READ_HEADER.pack(Region.VALUE, 127, 2), Status.BAD_ADDRESS),
        (Command.READ, READ_HEADER.pack(7, 0, 1), Status.BAD_REGION),
        (Command.WRITE, WRITE_HEADER.pack(Region.WEIGHT, 0) + b"abc", Status.BAD_LENGTH),
        (Command.LOAD, bytes(12) + b"\x02" + bytes(23), Status.BAD_PROGRAM),
    ],
)
def test_refused_commands(command, payload, status):
    client, _ = client_of(Device(CONFIG))
    with pytest.raises(DeviceError) as e:
        client.command(command, payload)
    assert e.value.status == status and status.name in str(e.value)

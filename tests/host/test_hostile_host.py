"""Hostile ports, invalid arguments and blocked files: one error within a time limit, no data lost.

Calls that could hang run in a thread or process with a time limit.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import random
import re
import select
import signal
import termios
import threading
import time
import tty
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sliplib

pytest.importorskip("amaranth_boards")

from equilif.data.sets.dataset import DataSet
from equilif.host import client as client_module
from equilif.host import flash, ports, simulate
from equilif.host.client import LONGEST_REPLY, Client, LinkError, NoReply, PortFailed
from equilif.training.storage import saved
from equilif_boards import BOARDS
from equilif_boards import build as builder
from equilif_boards.build import COMMANDS, BuildError, build
from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip, CounterMismatch
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_golden.engine.port import Region
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import RESULT, Identity, Status, seal
from equilif_golden.network import Network
from equilif_golden.replay import Reservoir
from equilif_golden.schedule import Schedule
from equilif_sim import library
from equilif_sim.board import Terminal
from tests.cli import folded
from tests.hostile import arrays
from tests.netlists import identity_luts
from tests.ports import client_of
from tests.programs import python

CONFIG = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16, program_words=128)
NETWORK = Network.chain(6, 5, 3, schedule=Schedule(free=24, nudged=16, window=16))
ROOT = Path(__file__).parents[2]
#: time limit in seconds for work of a second or two on a busy machine
LIMIT = 30.0


def within(seconds: float, work: Any) -> Any:
    """Result or exception of ``work()``; fails after the time limit."""
    done: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            done.append((work(), None))
        except BaseException as e:
            done.append((None, e))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert done, f"still at it after {seconds:g} s"
    value, error = done[0]
    if error is not None:
        raise error
    return value


def command(*arguments: object, seconds: float = LIMIT) -> tuple[int, str]:
    """Exit code and output of a command, line ends as blanks."""
    return within(seconds, lambda: folded(*arguments))


@pytest.fixture(autouse=True)
def short_probes(monkeypatch):
    """No port of this module has a board that a longer probe would find."""
    monkeypatch.setattr(ports, "PROBE", 0.1)


# -- ports that talk -------------------------------------------------------------------------------
def foreign(rng: random.Random) -> bytes:
    """A frame for another host, sometimes damaged."""
    frame = sliplib.encode(seal(Status.OK, 0, rng.randbytes(8)))
    return (frame if rng.random() < 0.5 else frame[1:]) + sliplib.END


#: received bytes, and the pause after them
KINDS: dict[str, tuple[Any, float]] = {
    "a byte every 10 ms": (lambda rng: rng.randbytes(1), 0.01),
    "random bytes without a pause": (lambda rng: rng.randbytes(997), 0.0),
    "ENDs without a pause": (lambda rng: sliplib.END * 4096, 0.0),
    "foreign frames without a pause": (lambda rng: b"".join(foreign(rng) for _ in range(50)), 0.0),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@contextlib.contextmanager
def talking(kind: str):
    """Path of a port whose peer sends and never reads."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    stop = threading.Event()
    says, pause = KINDS[kind]
    rng = random.Random(kind)

    def talk() -> None:
        while not stop.is_set():
            readable, writable, _ = select.select([ours], [ours], [], 0.05)
            with contextlib.suppress(BlockingIOError):
                if writable:
                    os.write(ours, says(rng))
                if readable:
                    os.read(ours, 4096)
            time.sleep(pause)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        thread.join(5)
        os.close(ours)
        os.close(theirs)
        assert not thread.is_alive()


@every_kind
def test_talking_port_is_not_a_board(kind):
    with talking(kind) as path:
        start = time.monotonic()
        with pytest.raises(LinkError, match="/dev/"):
            within(LIMIT, lambda: ports.connect(path))
        # the timeout of each baud rate, and a margin
        assert time.monotonic() - start < 10 * len(ports.BAUDS) * ports.PROBE


@every_kind
def test_command_timeout(kind):
    """A connected client times out as well, and buffers no more than a frame."""
    with talking(kind) as path, ports.serial.Serial(path, timeout=0.02, write_timeout=1) as port:
        client = Client(port, deadline=0.4)
        start = time.monotonic()
        with pytest.raises(NoReply, match="IDENTIFY"):
            within(LIMIT, client.identify)
        assert 0.4 <= time.monotonic() - start < 5
        assert len(client._received) <= LONGEST_REPLY + 4096


def test_noise_is_dropped(monkeypatch):
    monkeypatch.setattr(client_module, "LONGEST_REPLY", 1000)
    most = 0

    class Babble:
        def write(self, data: bytes) -> int:
            return len(data)

        def read(self, size: int = 1) -> bytes:
            nonlocal most
            most = max(most, len(client._received))
            return b"babble" * 10

    client = Client(Babble(), deadline=0.3)
    with pytest.raises(NoReply):
        within(LIMIT, client.identify)
    assert client.traffic.received > 10_000 and 900 < most <= 1060


@pytest.fixture
def usb(monkeypatch):
    """Set the USB serial ports of this machine."""

    def have(*paths: str) -> None:
        infos = [ports.ListPortInfo(p) for p in paths]
        for info in infos:
            info.vid = 1
        monkeypatch.setattr(ports.list_ports, "comports", lambda: infos)

    return have


def test_ports_are_probed_in_parallel(usb, tmp_path):
    networks.save(tmp_path / "n.npz", NETWORK, NETWORK.initial_weights())
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(talking("a byte every 10 ms")) for _ in range(12)]
        usb(*paths)
        start = time.monotonic()
        code, output = command("ports")
        assert code == 0 and all(p in output for p in paths) and output.count("nothing at") == 12
        assert time.monotonic() - start < 6 * len(ports.BAUDS) * ports.PROBE, "one after the other"
        for words in (("identify",), ("restore", tmp_path / "n.npz")):
            code, output = command(*words)
            assert code == 2 and all(p in output for p in paths), output
            assert "name a port with --port" in output
    usb()
    assert command("identify")[1].startswith("error: this machine has no USB serial port")


@pytest.fixture
def terminal():
    """Peer and port: both ends of a pseudoterminal."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_port_without_reader(terminal):
    """The buffer is full, so no byte can be written."""
    _, theirs = terminal
    os.set_blocking(theirs, False)
    for _ in range(20):  # the system buffers for some time
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(theirs, bytes(100))
        time.sleep(0.02)
    with pytest.raises(PortFailed, match="timeout"):
        within(LIMIT, lambda: ports.connect(os.ttyname(theirs)))


# -- ports that break ------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["write", "read"])
@pytest.mark.parametrize("step", range(4))
def test_port_unplugged_at_any_step(step, name):
    client, wire = client_of(Device(CONFIG))
    whole = getattr(wire, name)

    def broken(*arguments: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    steps = [
        client.identify,
        lambda: client.load([Op.HALT()]),
        lambda: client.write(Region.WEIGHT, 0, np.zeros(8, int)),
        lambda: client.read(Region.VALUE, 0, 4),
    ]
    for earlier in steps[:step]:
        earlier()
    setattr(wire, name, broken)
    client._identity = client._identity if step else None
    with pytest.raises(PortFailed, match="port"):
        steps[step]()
    setattr(wire, name, whole)
    steps[step]()  # after reconnection it continues


def test_port_vanishes():
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    path = os.ttyname(theirs)
    os.close(theirs)
    port = ports.serial.Serial(path, timeout=0.02, write_timeout=1)
    os.close(ours)
    with pytest.raises(PortFailed, match=f"{path} .* unplugged"):
        within(LIMIT, Client(port, deadline=0.3).identify)
    port.close()


@pytest.mark.parametrize(
    "path, reason",
    [("/dev/nowhere", "equilif ports lists"), ("/dev/null", "it is none"), ("/", "Is a directory")],
)
def test_invalid_port(path, reason):
    code, output = command("identify", "--port", path)
    assert code == 2 and output.startswith(f"error: '{path}'") and reason in output, output
    assert "Errno" not in output


def test_port_in_use(terminal):
    _, theirs = terminal
    path = os.ttyname(theirs)
    with ports.serial.Serial(path, exclusive=True), pytest.raises(LinkError, match=f"'{path}'.*locked"):
        ports.connect(path)
    ports.serial.Serial(path, exclusive=True).close()


def test_interrupt_frees_port(terminal, monkeypatch):
    _, theirs = terminal
    path = os.ttyname(theirs)

    def interrupted(self: Client) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "identify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ports.connect(path)
    ports.serial.Serial(path, exclusive=True).close()


def test_refused_baud_is_skipped(terminal, monkeypatch):
    """termios.error is not an OSError."""
    configure = ports.serial.Serial._reconfigure_port
    refused = []

    def choosy(self: Any, force_update: bool = False) -> None:
        if self._baudrate == 3_000_000:
            refused.append(self._baudrate)
            raise termios.error(errno.EINVAL, "Invalid argument")
        configure(self, force_update)

    monkeypatch.setattr(ports.serial.Serial, "_reconfigure_port", choosy)
    _, theirs = terminal
    with pytest.raises(LinkError, match=f"{os.ttyname(theirs)}.*12,000,000.*flash"):
        within(LIMIT, lambda: ports.connect(os.ttyname(theirs)))
    assert refused


# -- inconsistent devices --------------------------------------------------------------------------
def device_of(max_payload: int) -> Device:
    """A device that reports this frame size."""
    device = Device(CONFIG)
    device.identity = Identity(CONFIG, 0, max_payload)
    return device


def test_frames_too_small():
    """Such frames have no room for data."""
    for n in (1, 5, 11):
        with pytest.raises(LinkError, match=f"{n + 6} .*18"):
            client_of(device_of(n))[0].identify()


def test_smallest_frames():
    client, wire = client_of(device_of(12))
    words = np.arange(12).reshape(3, 4)
    client.write(Region.WEIGHT, 0, words.ravel())
    np.testing.assert_array_equal(client.read(Region.WEIGHT, 0, 12), words.ravel())
    client.load([Op.HALT()])
    got = client.run(learn=False, write=(2, [9, 8, 7, 6]), read=(1, 5))
    assert (got.values & 255).tolist() == [0, 9, 8, 7, 6] and max(map(len, wire.commands)) == 18


def test_label_out_of_range():
    """Another program has loaded another network."""
    client, wire = client_of(Device(CONFIG))
    chip = Chip(client, NETWORK)
    reply = RESULT.pack(3, 0, 0, 0)
    client.command = lambda command, payload=b"": reply  # type: ignore[method-assign]
    with pytest.raises(CounterMismatch, match="class 3"):
        chip.sample(np.zeros(6, int))


def test_foreign_manifests_are_skipped(tmp_path):
    for k, text in enumerate(("[]", "3", "null", '"x"', "{}", "[" * 100_000, "\xff", '{"build_id": 7}')):
        (tmp_path / str(k)).mkdir()
        (tmp_path / str(k) / "manifest.json").write_text(text, encoding="latin-1")
    (tmp_path / "y" / "manifest.json").mkdir(parents=True)
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "manifest.json").write_text('{"build_id": "0000abcd"}')
    assert ports.manifest_of(0xABCD, tmp_path) == tmp_path / "z" / "manifest.json"
    assert ports.manifest_of(1, tmp_path) is None


# -- arguments of client and chip ------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda c: c.write(Region.WEIGHT, 0, np.zeros(4) + 0.5), "weights"),
        (lambda c: c.load([Op.NEXT()]), "NEXT"),
        (lambda c: c.run(learn=False, read=(126, 3)), "VALUE"),
        (lambda c: c.run(learn=False, write=(128, [1])), "VALUE"),
        (lambda c: c.run(learn=2), "learn"),
        (lambda c: c.read(7, 0, 1), "region"),
        (lambda c: c.read(Region.VALUE, 0, 129), "VALUE"),
    ],
)
def test_arguments_are_checked_before_sending(call, message):
    client, wire = client_of(Device(CONFIG))
    client.load([Op.HALT()])
    before = len(wire.commands)
    with pytest.raises(ValueError, match=message):
        call(client)
    assert len(wire.commands) == before


X = np.random.default_rng(0).integers(0, 256, (4, 6), np.uint8)
Y = np.array([0, 1, 2, 1])


@pytest.mark.parametrize("method, good", [("train", (X, Y, None)), ("predict", (X,)), ("accuracy", (X, Y))])
def test_board_refuses_as_kernel(method, good):
    """The same error, before a sample is sent."""
    client, wire = client_of(Device(CONFIG))
    chip, kernel = (make(NETWORK, learning_rate=0.05) for make in (functools.partial(Chip, client), Kernel))
    before, n_refused = len(wire.commands), 0
    for k, value in enumerate(good):
        for other in (None, 1, *arrays(np.arange(4) if value is None else value)):
            arguments = (*good[:k], other, *good[k + 1 :])
            try:
                getattr(kernel, method)(*arguments)
            except (ValueError, TypeError) as e:
                with pytest.raises(type(e), match=re.escape(str(e))):
                    getattr(chip, method)(*arguments)
                n_refused += 1
    assert n_refused > 40 and len(wire.commands) == before


# -- options of commands ---------------------------------------------------------------------------
def test_commands_without_packages():
    """flash, simulate and ports in a Python without a package."""
    for package, words in (
        ("amaranth", ["flash", "icebreaker"]),
        ("amaranth_boards", ["flash", "icebreaker"]),
        ("serial", ["ports"]),
        ("sliplib", ["identify", "--port", "/dev/null"]),
    ):
        lacks = f"import sys; sys.modules[{package!r}] = None; from equilif.cli import main; main()"
        error = python(lacks, *words, status=2, cwd=ROOT).stderr
        assert f"{package} is not installed: " in error and error.count("\n") == 1


# -- bitstreams ------------------------------------------------------------------------------------
def test_bitstream_of_other_fpga(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENFPGALOADER", "true")
    board, other = BOARDS["icebreaker"], BOARDS["ulx3s-85f"]
    (tmp_path / "empty.bin").touch()
    (tmp_path / "text.bin").write_text("hello")
    (tmp_path / "other.bit").write_bytes(b"\xff\x00" + other.device.family.preamble + bytes(9))
    os.mkfifo(tmp_path / "pipe.bin")
    for name, message in (
        (".", f"{tmp_path} .*file"),
        ("empty.bin", "empty.bin .*iCEBreaker .*build icebreaker"),
        ("text.bin", "text.bin .*iCEBreaker"),
        ("other.bit", "other.bit .*iCEBreaker"),
        ("pipe.bin", "pipe.bin .*file"),
        ("none.bin", "none.bin: .*build icebreaker"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            within(LIMIT, functools.partial(flash.flash, board, tmp_path / name))
    assert command("flash", "icebreaker", "--bitstream", tmp_path)[0] == 2
    flash.flash(other, tmp_path / "other.bit")


# -- builds ----------------------------------------------------------------------------------------
@pytest.fixture
def pretending(monkeypatch):
    """Fake tools that succeed without output."""
    for name in ("YOSYS", "NEXTPNR_ICE40", "ICEPACK"):
        monkeypatch.setenv(name, "true")


def test_build_keeps_other_files(pretending, tmp_path):
    (tmp_path / "manifest.json").write_text("mine")
    (tmp_path / "top.pcf").write_text("mine")
    for out, message in (
        (tmp_path, f"{tmp_path} .*--out"),
        (tmp_path / "top.pcf", "top.pcf"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            build(BOARDS["icebreaker"], out)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"manifest.json": "mine", "top.pcf": "mine"}


def test_unwritable_folder(pretending):
    with pytest.raises(OSError, match="/proc/none"):
        build(BOARDS["icebreaker"], Path("/proc/none"), progress=pytest.fail)


def test_tool_without_output(pretending, tmp_path, monkeypatch):
    monkeypatch.setattr(builder.BuildPlan, "of", functools.partial(_planned, builder.BuildPlan))
    monkeypatch.setattr(builder, "check_design", lambda board, plan: None)
    with pytest.raises(BuildError, match="yosys"):
        build(BOARDS["icebreaker"], tmp_path / "a")
    monkeypatch.setattr(builder, "synthesise", _synthesised)
    with pytest.raises(BuildError, match="top.report.json"):
        build(BOARDS["icebreaker"], tmp_path / "a")
    for text in ("[]", "{}", "null", '{"fmax": {}}', "[" * 100_000):
        report = tmp_path / "report.json"
        report.write_text(text)
        with pytest.raises(BuildError, match="nextpnr"):
            builder.report_of(report)
    good = {"fmax": {"c": {"achieved": 30, "constraint": 24}}, "critical_paths": [], "utilization": {}}
    report.write_text(json.dumps(good))
    monkeypatch.setattr(builder, "_route", lambda *_: None)
    monkeypatch.setattr(builder, "report_of", lambda path, report_of=builder.report_of: report_of(report))
    with pytest.raises(BuildError, match=f"icepack.*{tmp_path / 'b'}"):
        build(BOARDS["icebreaker"], tmp_path / "b")
    assert not (tmp_path / "b" / "manifest.json").exists()
    build_again = functools.partial(build, BOARDS["icebreaker"], tmp_path / "b")
    with pytest.raises(BuildError, match="icepack"):
        build_again()  # in the folder of an earlier build


def _planned(cls: Any, board: Any) -> Any:
    """A plan with tool names only."""
    tools = (("yosys",), ("nextpnr-ice40", "--json", "top.json"), ("icepack",))
    return cls({COMMANDS: json.dumps({"commands": tools})}, tools)


def _synthesised(board: Any, out: Path, step: builder.BuildSteps) -> builder.SynthesisResult:
    """A netlist of the identity, in an empty folder."""
    plan = builder.BuildPlan.of(board)
    builder.require_free(out)
    builder._write(plan, out)
    netlist = {"modules": {"top": {"cells": identity_luts(board.device.family)}}}
    nothing: dict[str, Any] = dict.fromkeys(("versions", "packed_registers", "floorplan", "seconds"), {})
    return builder.SynthesisResult(board=board, plan=plan, netlist=netlist, digest="", **nothing)


# -- targets ---------------------------------------------------------------------------------------
def test_save_checks_target_first(tmp_path):
    networks.save(tmp_path / "n.npz", NETWORK, NETWORK.initial_weights())
    for out, message in ((tmp_path, "folder"), (tmp_path / "n.npz" / "x", "n.npz"), ("/proc/x", "/proc/x")):
        code, output = command("save", out, "--like", tmp_path / "n.npz", "--port", "/dev/nowhere")
        assert code == 2 and message in output and "serial port" not in output, output


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """A board with a network, which the file n.npz has too."""
    networks.save(tmp_path / "n.npz", NETWORK, NETWORK.initial_weights())
    client, _ = client_of(Device(CONFIG))
    Chip(client, NETWORK)
    monkeypatch.setattr(ports, "the_one", lambda port, baud: client)


def test_save_creates_folder(loaded, tmp_path):
    assert command("save", tmp_path / "new" / "x.npz", "--like", tmp_path / "n.npz")[0] == 0
    assert networks.load(tmp_path / "new" / "x.npz")[0] == NETWORK


def test_save_keeps_stored_samples(loaded, tmp_path):
    """A board does not hold them: they are those of the network of --like."""
    stored = Reservoir(4, 2)
    stored.store(np.ones((3, NETWORK.n_inputs), np.uint8), np.zeros(3, np.int64))
    networks.save(tmp_path / "n.npz", NETWORK, NETWORK.initial_weights(), replay=stored)
    assert command("save", tmp_path / "x.npz", "--like", tmp_path / "n.npz")[0] == 0
    kept = networks.read(tmp_path / "x.npz").replay
    assert kept is not None and np.array_equal(kept.x, stored.x) and kept.per_sample == 2


def test_save_says_who_gave_the_identity(loaded, tmp_path):
    """A board without an upload does not know its network: the file and the commands that use it say so."""
    out = tmp_path / "x.npz"
    code, output = command("save", out, "--like", tmp_path / "n.npz", "--json", tmp_path / "j")
    assert code == 0 and "n.npz" in output
    assert json.loads((tmp_path / "j").read_text())["identity"] == "given"
    origin = str(networks.read(out).origin)
    assert "n.npz" in origin and networks.read(tmp_path / "n.npz").origin is None
    x, y = np.zeros((3, NETWORK.n_inputs), np.uint8), np.arange(3)
    assert origin in saved.read(out).check(DataSet("own", x, y, x, y))[-1]


# -- simulated boards ------------------------------------------------------------------------------
@pytest.fixture
def no_compiler(monkeypatch):
    def compiled(*arguments: Any, **options: Any) -> None:
        pytest.fail("the design was compiled")

    monkeypatch.setattr(simulate.simulation, "SimulatedBoard", compiled)


def test_link_replaces_nothing(no_compiler, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for name in ("mine", "link", "dangling", "."):
        code, output = command("simulate", "--link", tmp_path / name)
        assert code == 2 and f"{tmp_path / name} is " in output, output
    assert (tmp_path / "link").readlink() == tmp_path / "mine"
    assert (tmp_path / "dangling").readlink() == tmp_path / "gone"
    assert (tmp_path / "mine").read_text() == "mine"


def test_link_is_checked_before_compiling(no_compiler, tmp_path):
    for link in (tmp_path / "none" / "x", Path("/proc/x")):
        code, output = command("simulate", "--link", link)
        assert code == 2 and str(link.parent) in output and "pts" not in output


def test_link_lifetime(tmp_path):
    link = tmp_path / "board"
    with simulate.linked(link, "/dev/pts/1"):
        assert str(link.readlink()) == "/dev/pts/1"
        with pytest.raises(ValueError, match="board"), simulate.linked(link, "/dev/pts/2"):
            pytest.fail("a second simulation took the link")
        assert str(link.readlink()) == "/dev/pts/1"
    assert not link.is_symlink()


def test_foreign_link_is_kept(tmp_path):
    link = tmp_path / "board"
    with simulate.linked(link, "/dev/pts/1"):
        link.unlink()
        link.symlink_to("/dev/pts/2")
    assert str(link.readlink()) == "/dev/pts/2"
    link.unlink()
    with simulate.linked(link, "/dev/pts/1"):
        link.unlink()
        link.write_text("mine")
    assert link.read_text() == "mine"


class Slow:
    """A board that accepts one byte at a time."""

    def run(self, data: bytes) -> tuple[int, bytes, bool]:
        time.sleep(0.001)
        return min(1, len(data)), b"", False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_link_is_removed_at_exit(number, tmp_path):
    link = tmp_path / "board"
    simulated = simulate.Simulated.__new__(simulate.Simulated)
    simulated.board = Slow()
    simulated.board.cycles = 5
    simulated.clock_hz = 1.0
    simulated.udp = None
    ends = threading.Timer(0.2, os.kill, (os.getpid(), number))

    def unheard(number: int, frame: Any) -> None:
        pytest.fail("the simulation does not listen")

    before = signal.signal(number, unheard)
    try:
        found = simulated.serve(link, lambda path: ends.start())
        assert found["cycles"] == 5 and not link.is_symlink() and signal.getsignal(number) is unheard
    finally:
        signal.signal(number, before)


def test_ignored_signals_stay_ignored(tmp_path):
    """As with nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with simulate._ended_by(lambda: pytest.fail("stopped")):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_simulated_board_input_limit():
    """A host that floods the board is blocked by the buffer of the terminal."""
    with Terminal(Slow()) as terminal:
        thread = threading.Thread(target=terminal.serve, daemon=True)
        thread.start()
        host = os.open(terminal.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        taken, end = 0, time.monotonic() + 1.0
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                taken += os.write(host, bytes(4096))
            time.sleep(0.001)
        os.close(host)
        terminal.stop()
        thread.join(10)
        assert not thread.is_alive() and taken < 100_000


# -- the cache -------------------------------------------------------------------------------------
@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "equilif"


def test_truncated_cache_file(cache):
    path = cache / "a" / "lib.so"
    assert not library.is_stored(path)
    library.store(path, bytes(10_000))
    assert library.is_stored(path)
    for spoil in (
        lambda: os.truncate(path, 5_000),
        lambda: path.write_bytes(b"\1" + bytes(9_999)),
        path.unlink,
        (cache / "a" / "lib.so.sha256").unlink,
        lambda: (cache / "a" / "lib.so.sha256").write_bytes(b"\xff"),
    ):
        library.store(path, bytes(10_000))
        spoil()
        assert not library.is_stored(path)


@pytest.fixture
def compilers(tmp_path, monkeypatch):
    """Fake Verilator, make and C++ compiler (shell scripts); ``made`` counts the libraries."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made = tmp_path / "made"
    made.touch()
    for name, script in (
        ("verilator", "echo Verilator 5.040"),
        ("make", "mkdir -p obj; touch obj/libverilated.a"),
        ("c++ of mine", f"echo x >> {made}; for last; do :; done; echo library > $last"),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CXX", "'c++ of mine' -quick")
    return made


def test_damaged_library_is_recompiled(cache, compilers, tmp_path):
    path = library.compiled("top", "module top; endmodule", "")
    assert path.read_text() == "library\n" and library.compiled("top", "module top; endmodule", "") == path
    assert compilers.read_text().count("x") == 1
    os.truncate(path, 3)
    assert library.compiled("top", "module top; endmodule", "") == path
    assert compilers.read_text().count("x") == 2 and path.read_text() == "library\n"
    assert library.compiled("top", "module top; endmodule", "", extra=["-Dx"]) != path
    assert sorted(p.name for p in path.parent.iterdir()) == ["libtop.so", "libtop.so.sha256"]


@pytest.mark.parametrize("there", [True, False])
def test_unwritable_cache(there, compilers, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/x" if there else "/dev/null/x")
    with pytest.raises(OSError, match="/x/equilif"):
        library.compiled("top", "module top; endmodule", "")
    assert compilers.read_text() == "", "found out after the work"


def test_cache_is_not_in_working_folder(monkeypatch, tmp_path):
    """XDG specification: empty and relative names are ignored."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("", "cache", "./x"):
        monkeypatch.setenv("XDG_CACHE_HOME", name)
        assert library.cache_dir() == tmp_path / ".cache" / "equilif"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OSError, match="XDG_CACHE_HOME"):
        library.cache_dir()


def test_missing_compiler(cache, compilers, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(library.BuildFailed, match="no-such-compiler"):
        library.compiled("top", "module top; endmodule", "")
    assert not list(cache.rglob("*.so"))

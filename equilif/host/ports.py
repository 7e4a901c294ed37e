"""Serial ports and their boards, and boards by UDP address."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equilif_golden.extras import MissingExtra, needs
from equilif_golden.lazy import lazy

with needs("host"):
    import serial
    from serial.tools import list_ports
    from serial.tools.list_ports_common import ListPortInfo

from equilif.host import udp
from equilif.host.client import DEADLINE, TIMEOUT, Client, DeviceError, LinkError, NoReply
from equilif_golden.engine import features
from equilif_golden.engine.compiler import CapacityError
from equilif_golden.fixed import check_int
from equilif_golden.link.protocol import Identity
from equilif_golden.network import Network

with lazy():  # optional packages
    from equilif.hardware import boards

#: tried in turn, those of the boards first; a port is opened at the last one, which every port has
BAUDS = (6_000_000, 3_000_000, 2_000_000, 1_500_000, 1_000_000, 12_000_000, 115_200)
#: slowest rate at which READ is answered within a client's deadline, and the fastest of USB bridges
BAUD_RANGE = (9_600, 12_000_000)
#: seconds that a read waits for a byte before the client looks at its clock
READ_TIMEOUT = 0.02
#: deadline in seconds, for each rate, with a port that may have no board
PROBE = 0.3

#: what a port raises that fails or refuses; termios has its own error, and not every system has termios
PORT_ERRORS: tuple[type[Exception], ...] = (OSError, ValueError)
with contextlib.suppress(ImportError):
    import termios

    PORT_ERRORS += (termios.error,)

#: why a port cannot be opened, and the way out
REASONS: dict[int | None, str] = {
    errno.ENOENT: "there is none of this name: equilif ports lists those of this machine",
    errno.EACCES: "you may not use it: join its group (sudo usermod -aG dialout $USER), then log in again",
    errno.EAGAIN: "another program has locked it: end that one, or choose another port",
    errno.EBUSY: "another program uses it: end that one, or choose another port",
}


def connect(path: str, baud: int | None = None) -> Client:
    """A client that has identified its device.

    ``path``: of a serial port, or a UDP address (equilif.host.udp).  Without ``baud`` the usual ones are
    tried; a pseudo-terminal takes any.

    LinkError when the port cannot be opened or is in use, nothing answers, or it speaks another version.
    """
    if path.startswith(udp.SCHEME):
        return _connected_by_udp(path, baud)
    rates = BAUDS if baud is None else (checked(baud),)
    port = _opened(path)
    received = 0
    try:
        for rate in rates:
            if not _takes(port, rate):
                continue
            client, found = _probed(port)
            if found:
                return client
            received += client.traffic.received
        tried = ", ".join(f"{b:,}" for b in rates)
        other = f" ({received:,} bytes of something else came)" if received else ""
        raise LinkError(
            f"nothing at {path} speaks equilif's protocol at {tried} baud{other}: "
            "load a bitstream (equilif flash BOARD), and reset the board"
        )
    except BaseException:
        _close(port)
        raise


def _connected_by_udp(path: str, baud: int | None) -> Client:
    """:func:`connect` to a UDP address."""
    if baud is not None:
        raise ValueError("a UDP address has no baud rate: leave out --baud")
    port = udp.opened(path, timeout=READ_TIMEOUT)
    try:
        client, found = _probed(port)
        if found:
            return client
        raise LinkError(
            f"nothing at {path} speaks equilif's protocol, {port.diagnosis} "
            "(a board has UDP in a bitstream of equilif build BOARD --link udp)"
        )
    except BaseException:
        _close(port)
        raise


def _probed(port: Any) -> tuple[Client, bool]:
    """A client, and whether a device has identified itself; its deadlines are then the full ones."""
    client = Client(port, timeout=PROBE / 3, deadline=PROBE)
    try:
        client.identify()
    except (NoReply, DeviceError):
        return client, False
    client.timeout = TIMEOUT
    client.deadline = DEADLINE
    port.write_timeout = DEADLINE
    return client, True


def checked(baud: int) -> int:
    """Check a baud rate; ValueError when the link does not support it."""
    return check_int(baud, "baud", *BAUD_RANGE)


def _opened(path: str) -> serial.Serial:
    try:
        port = serial.Serial(path, BAUDS[-1], timeout=READ_TIMEOUT, write_timeout=PROBE, exclusive=True)
    except PORT_ERRORS as e:
        number = getattr(e, "errno", None)
        reason = REASONS.get(number) or (os.strerror(number) if number else "it is none")
        raise LinkError(f"{path!r} cannot be used as a serial port: {reason}") from e
    # a USB bridge holds short replies back for up to 16 ms otherwise; not every port has the mode
    with contextlib.suppress(*PORT_ERRORS, AttributeError, NotImplementedError):
        port.set_low_latency_mode(True)
    return port


def _takes(port: serial.Serial, rate: int) -> bool:
    """Set the baud rate; a USB bridge may refuse one."""
    try:
        port.baudrate = rate
    except PORT_ERRORS:
        return False
    return True


def _close(port: Any) -> None:
    """Close without draining the output, which can take half a minute."""
    with contextlib.suppress(*PORT_ERRORS):
        port.reset_output_buffer()
    with contextlib.suppress(*PORT_ERRORS):
        port.close()


@dataclass(frozen=True)
class ScannedPort:
    """A port, and its device if one answered; ``problem``: why none did."""

    path: str
    description: str
    baud: int | None = None
    identity: Identity | None = None
    problem: str = ""


def scan(baud: int | None = None) -> list[ScannedPort]:
    """All USB serial ports of this machine, probed in parallel."""
    if baud is not None:
        checked(baud)
    infos = sorted(p for p in list_ports.comports() if p.vid is not None)
    if not infos:
        return []
    with ThreadPoolExecutor(len(infos)) as pool:
        return list(pool.map(functools.partial(_look, baud=baud), infos))


def _look(info: ListPortInfo, baud: int | None) -> ScannedPort:
    try:
        client = connect(info.device, baud)
    except OSError as e:
        return ScannedPort(info.device, info.description, problem=str(e))
    port: Any = client.port
    found = ScannedPort(info.device, info.description, port.baudrate, client.identity)
    _close(port)
    return found


def the_one(path: str | None, baud: int | None = None) -> Client:
    """The client at ``path``, or at the only port where a board answers."""
    if path is not None:
        return connect(path, baud)
    found = scan(baud)
    boards = [f for f in found if f.identity]
    if len(boards) == 1:
        return connect(boards[0].path, boards[0].baud)
    if boards:
        raise LinkError(f"boards answer at {_names(boards)}: choose one with --port")
    way_out = "name a port with --port, or start a simulated board with equilif simulate"
    if found:
        raise LinkError(f"no board answers at {_names(found)} (equilif ports says why): {way_out}")
    raise LinkError(f"this machine has no USB serial port: {way_out}")


def _names(found: list[ScannedPort]) -> str:
    return ", ".join(f.path for f in found)


def summary(identity: Identity) -> dict[str, int | str]:
    """Summary of a device for users."""
    c = identity.config
    return {
        "lanes": c.lanes,
        "weights": c.n_weights,
        **({"external weights": c.external.tiles * c.lanes**2} if c.external else {}),
        "values": c.value_groups * c.lanes,
        "neurons": c.state_groups * c.lanes,
        "program words": c.program_words,
        **features.summary(c, features.IDENTIFIED),
        "front end": identity.front_end.name.lower() if identity.front_end else "no",
        "frame": identity.max_payload,
        **({"flash, KiB": 64 * identity.flash_blocks} if identity.flash_blocks else {}),
        "build": f"{identity.build_id:08x}",
    }


@contextlib.contextmanager
def proposing_builds(network: Network) -> Iterator[None]:
    """Name the builds that hold a network when the engine of a board does not."""
    try:
        yield
    except CapacityError as e:
        try:
            builds = boards.proposal(network)
        except MissingExtra:
            builds = ""
        raise CapacityError(f"{e}{builds}") from None


def manifest_of(build_id: int, folder: Path = Path("build")) -> Path | None:
    """The manifest of the build that a device came from, if it lies below ``folder``."""
    for path in sorted(folder.glob("*/manifest.json")):
        # other programs have files of this name
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            if json.loads(path.read_text())["build_id"] == f"{build_id:08x}":
                return path
    return None

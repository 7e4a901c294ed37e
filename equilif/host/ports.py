"""Serial ports, and which of them have a board at the far end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equilif.extras import needs

with needs("host"):
    import serial
    from serial.tools import list_ports

    from equilif.host.client import Client, DeviceError, LinkError, NoReply

from equilif_golden.link.protocol import Identity

#: tried in turn; those of the boards come first
BAUDS = (2_000_000, 1_500_000, 3_000_000, 1_000_000, 12_000_000, 115_200)
LOOK = 0.02  #: seconds that a read waits for a byte before the client looks at its clock
PROBE = 0.3  #: seconds of patience with a port that may have no board


def connect(path: str, baud: int | None = None) -> Client:
    """A client that has identified its device.

    Without ``baud`` the usual ones are tried; a pseudo-terminal takes any.

    LinkError when nothing answers or it speaks another version; OSError when the port cannot be opened or
    is in use.
    """
    port = serial.Serial(path, baud or BAUDS[0], timeout=LOOK, exclusive=True)
    # a USB bridge holds short replies back for up to 16 ms otherwise; not every port has the mode
    with contextlib.suppress(OSError, ValueError, AttributeError, NotImplementedError):
        port.set_low_latency_mode(True)
    for rate in (baud,) if baud else BAUDS:
        try:
            if port.baudrate != rate:
                port.baudrate = rate
            Client(port, timeout=PROBE / 3, patience=PROBE).identify()
        except (NoReply, DeviceError, serial.SerialException, ValueError):  # a bridge may refuse a rate
            continue
        except BaseException:
            port.close()
            raise
        client = Client(port)
        client.identify()
        return client
    port.close()
    raise LinkError(
        f"nothing at {path} speaks equilif's protocol at {', '.join(f'{b:,}' for b in ((baud,) if baud else BAUDS))} baud: "
        "load a bitstream (equilif flash BOARD), and reset the board"
    )


@dataclass(frozen=True)
class Found:
    """A port, and the device behind it if one answered; ``problem`` says why none did."""

    path: str
    description: str
    baud: int | None = None
    identity: Identity | None = None
    problem: str = ""


def scan(baud: int | None = None) -> Iterator[Found]:
    """Every USB serial port of this machine, asked one after the other."""
    for info in sorted(p for p in list_ports.comports() if p.vid is not None):
        try:
            client = connect(info.device, baud)
        except OSError as e:
            yield Found(info.device, info.description, problem=str(e))
        else:
            port: Any = client.port
            yield Found(info.device, info.description, port.baudrate, client.identity)
            port.close()


def the_one(path: str | None, baud: int | None = None) -> Client:
    """The client at ``path``, or at the only port where a board answers."""
    if path:
        return connect(path, baud)
    found = [f.path for f in scan(baud) if f.identity]
    if len(found) != 1:
        raise LinkError(
            f"boards answer at {', '.join(found)}: choose one with --port"
            if found
            else "no board answers at any USB serial port: name one with --port, or start a simulated one with equilif simulate"
        )
    return connect(found[0], baud)


def summary(identity: Identity) -> dict[str, int | str]:
    """What a user wants to know of a device."""
    c = identity.config
    return {
        "lanes": c.lanes,
        "weights": c.n_weights,
        "values": c.value_groups * c.lanes,
        "neurons": c.state_groups * c.lanes,
        "program words": c.program_words,
        "softmax": "yes" if c.softmax else "no",
        "early ends": "yes" if c.early else "no",
        "frame": identity.max_payload,
        "build": f"{identity.build_id:08x}",
    }


def manifest_of(build_id: int, folder: Path = Path("build")) -> Path | None:
    """The manifest of the build that a device came from, if it lies below ``folder``."""
    for path in sorted(folder.glob("*/manifest.json")):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(path.read_text())["build_id"] == f"{build_id:08x}":
                return path
    return None

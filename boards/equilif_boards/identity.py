"""Build ID: a hash of all that decides the bits of a bitstream, which the device answers to IDENTIFY.

    netlist with ID 0, constraints, route and pack commands, tool versions --> [ digest ] -- seed --> ID
    netlist with ID 0, ID --> [ stamp ] --> netlist for place and route

The ID is the contents of lookup tables, which place and route does not look at: netlists with different IDs
are placed and routed alike (tests/boards/test_identity.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from equilif_boards.device import Family
from equilif_hdl.link.identity import BIT, BUILD_ID

BUILD_ID_BYTES = 4


def digest(
    netlist: Mapping[str, Any],
    files: Mapping[str, str],
    commands: Sequence[Sequence[str]],
    versions: Mapping[str, str],
) -> str:
    """Of all that decides the bits but the seed of place and route, as hexadecimal digits.

    ``netlist``: as Yosys wrote it, with ID 0, after all passes on it.  ``files``: constraints by file name.
    ``commands``: place and route, pack.
    """
    text = json.dumps((netlist, sorted(files.items()), commands, sorted(versions.items())))
    return hashlib.blake2b(text.encode()).hexdigest()


def build_id(digest: str, seed: int) -> int:
    """The ID of the bitstream that place and route makes with a seed, 32 bits."""
    made_of = f"{digest} {seed}".encode()
    return int.from_bytes(hashlib.blake2b(made_of, digest_size=BUILD_ID_BYTES).digest(), "little")


def stamp(netlist: Mapping[str, Any], family: Family, build_id: int) -> None:
    """Writes a build ID into a netlist, in place; ValueError unless it has all tables of the identity."""
    tables = {
        int(cell["attributes"][BIT], 2): cell["parameters"]
        for module in netlist["modules"].values()
        for cell in module.get("cells", {}).values()
        if BIT in cell["attributes"]
    }
    if sorted(tables) != list(range(8 * BUILD_ID_BYTES)):
        raise ValueError(f"the netlist has {len(tables)} of {8 * BUILD_ID_BYTES} tables of the identity")
    name = family.lookup.contents
    for bit, parameters in tables.items():
        # least significant bit last; of an input that is constant there may be half of them
        contents = [*reversed(parameters[name])]
        contents[BUILD_ID] = str(build_id >> bit & 1)
        parameters[name] = "".join(reversed(contents))

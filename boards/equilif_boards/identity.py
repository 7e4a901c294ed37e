"""Build ID: hash of everything that determines a bitstream; the device returns it by IDENTIFY.

    netlist with ID 0, constraints, route and pack commands, tool versions --> [ digest ] -- seed --> ID
    netlist with ID 0, ID --> [ stamp ] --> netlist for place and route

The ID is in the contents of LUTs, which do not affect place and route: netlists with different IDs are placed
and routed alike (tests/boards/test_identity.py).
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
    """Hash of everything that determines the bitstream except the seed, in hexadecimal.

    ``netlist``: after all passes, with ID 0.  ``files``: constraints by file name.
    ``commands``: place and route, pack.
    """
    text = json.dumps((netlist, sorted(files.items()), commands, sorted(versions.items())))
    return hashlib.blake2b(text.encode()).hexdigest()


def build_id(digest: str, seed: int) -> int:
    """32-bit ID of the bitstream for a seed."""
    source = f"{digest} {seed}".encode()
    return int.from_bytes(hashlib.blake2b(source, digest_size=BUILD_ID_BYTES).digest(), "little")


def stamp(netlist: Mapping[str, Any], family: Family, build_id: int) -> None:
    """Write a build ID into a netlist, in place; ValueError unless it has all LUTs of the identity."""
    luts = {
        int(cell["attributes"][BIT], 2): cell["parameters"]
        for module in netlist["modules"].values()
        for cell in module.get("cells", {}).values()
        if BIT in cell["attributes"]
    }
    if sorted(luts) != list(range(8 * BUILD_ID_BYTES)):
        raise ValueError(f"the netlist has {len(luts)} of {8 * BUILD_ID_BYTES} LUTs of the identity")
    name = family.lookup.contents
    for bit, parameters in luts.items():
        # least significant bit last; half as many if an input is constant
        contents = [*reversed(parameters[name])]
        contents[BUILD_ID] = str(build_id >> bit & 1)
        parameters[name] = "".join(reversed(contents))

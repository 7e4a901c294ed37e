"""Content of a board's flash and engine: the upload that they belong to, saved weights, tests.

The journal is a block of the flash, see equilif.host.store.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from equilif.host.client import Client, LinkError
from equilif.training.storage.identity import NetworkIdentity
from equilif_golden.engine.chip import read_weights
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.port import Region
from equilif_golden.fixed import Raw
from equilif_golden.link.flash import BLOCK, ERASED
from equilif_golden.link.standalone import (
    FAULTS,
    LIST_BYTES,
    NO_BLOCK,
    SLOTS,
    Fault,
    TrainerRegisters,
    slot_blocks,
)
from equilif_golden.network import Network, Weights
from equilif_golden.sample_order import half_of

#: record of saved weights: their number, digest of weights and counter; LIST_BYTES of them end the journal
SAVED = struct.Struct("<I12s")
HEADER_BYTES = 256  #: of the journal

UPLOAD_AGAIN = "upload again (equilif upload)"
NO_UPLOAD = (
    f"no complete upload of this version is in the flash: {UPLOAD_AGAIN}.  An upload that was cut off before "
    "it erased anything is undone by  equilif standalone --boot"
)


class StoreError(ValueError):
    """A board, or this one, cannot store it."""


@dataclass(frozen=True)
class StoredTests:
    """Test samples in a flash: block of their index, and their number."""

    index: int
    n: int


@dataclass(frozen=True)
class Journal:
    """The journal in the flash of a board."""

    owner: int
    network: NetworkIdentity
    tests: StoredTests | None


def journal_of(client: Client) -> Journal:
    """StoreError when the flash has none, or one of a different upload than the registers."""
    header = client.read_flash(SLOTS * slot_blocks(client.config) * BLOCK, HEADER_BYTES)
    try:
        entries = json.loads(header)
        found = Journal(
            entries["owner"],
            NetworkIdentity(entries["network"], entries["data"]),
            entries["tests"] and StoredTests(entries["tests"]["index"], entries["tests"]["n"]),
        )
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"the flash has no record of its upload: {UPLOAD_AGAIN}") from None
    if found.owner != client.registers.owner:
        raise StoreError(f"the checkpoint and the samples in the flash are of two uploads: {UPLOAD_AGAIN}")
    return found


def problem_of(registers: TrainerRegisters) -> str | None:
    """Why an idle board cannot continue, and the remedy."""
    if registers.fault not in (Fault.NONE, Fault.FOREIGN):
        return FAULTS[Fault(registers.fault)]
    if not registers.valid:
        return FAULTS[Fault.FOREIGN] if registers.owner else NO_UPLOAD
    if in_tests(registers):
        return "a test was cut off: go back to the checkpoint before it (equilif standalone --boot)"
    return None


def require_valid(registers: TrainerRegisters) -> None:
    """StoreError unless the engine holds the weights trained on the board, and training can continue."""
    problem = problem_of(registers)
    if problem:
        raise StoreError(f"the board is stopped: {problem}")


def require_idle(registers: TrainerRegisters) -> None:
    if registers.phase:
        raise StoreError("the board is training: stop it first, with  equilif standalone --stop")


def require_network(client: Client, identity: NetworkIdentity, file: object) -> bool:
    """StoreError when the board holds a network of another structure or data.  ``file``: where it is from.

    False when that is not known: a board without a standalone trainer, or on which nothing was uploaded,
    holds what a host wrote, and has no place for the identity of a network.
    """
    if not client.identity.flash_blocks or (now := client.registers).fault == Fault.NO_SLOT:
        return False
    require_idle(now)
    require_valid(now)
    held = journal_of(client).network
    if difference := held.difference(identity):
        raise StoreError(
            f"{file} has {difference} than the board holds: name the file that equilif upload wrote, or one "
            "trained with the same options"
        )
    return True


def state(client: Client) -> tuple[int, TrainerRegisters | None]:
    """Counter and registers of a board; equal values mean that it was not reset meanwhile."""
    registers = client.registers if client.identity.flash_blocks else None
    return int(client.read(Region.COUNTER, 0, 1)[0]), registers


@dataclass(frozen=True, kw_only=True)
class BoardWeights:
    """Plastic weights of a board by synapse, and its counter.

    checked : whether the board holds the identity of the network, and it is this one.
    """

    weights: Weights
    counter: int
    checked: bool


def read_board(
    client: Client, network: Network, about: Mapping[str, Any] | None, file: object
) -> BoardWeights:
    """Weights of a network that an idle board holds.  ``about``: its data record; ``file``: where it is from.

    StoreError when the board holds another network, LinkError when it was reset meanwhile.
    """
    checked = require_network(client, NetworkIdentity.of(network, about), file)
    before = state(client)
    found = read_weights(client, Compiled(network, client.config))
    if state(client) != before:
        raise LinkError("the board was reset, or did something else, while its weights were read: try again")
    return BoardWeights(weights=found, counter=before[0], checked=checked)


def has_learned(registers: TrainerRegisters) -> bool:
    """Whether the board holds trained weights that a new upload would erase."""
    return registers.fault != Fault.NO_SLOT and bool(
        registers.generation or registers.epoch or registers.turn
    )


def record_saved(client: Client, words: Raw, counter: int) -> None:
    """Record in the flash that a file has these weights: an upload may then replace them."""
    first = _records(client)
    there = client.read_flash(first, LIST_BYTES)
    for at in range(0, LIST_BYTES, SAVED.size):
        if there[at:] == bytes([ERASED]) * (LIST_BYTES - at):
            client.write_flash(first + at, _saved(words, counter))
            return


def require_saved(client: Client, registers: TrainerRegisters) -> None:
    """StoreError when the board has learned weights, and the last ones that were saved are others."""
    if not has_learned(registers):
        return
    records = client.read_flash(_records(client), LIST_BYTES).rstrip(bytes([ERASED]))
    last = records[(len(records) - 1) // SAVED.size * SAVED.size :].ljust(SAVED.size, bytes([ERASED]))
    n, _ = SAVED.unpack(last)
    counter, _ = state(client)
    if n > client.config.n_weights or _saved(client.read(Region.WEIGHT, 0, n), counter) != last:
        raise StoreError(
            "the board holds weights that it has learned itself: save them by  equilif save FILE --like "
            "NETWORK,  or discard them by --overwrite"
        )


def _records(client: Client) -> int:
    """Address of the records of saved weights."""
    return SLOTS * slot_blocks(client.config) * BLOCK + 2 * LIST_BYTES


def _saved(words: Raw, counter: int) -> bytes:
    """Record of weights, in the order of their memory, and counter."""
    content = words.astype("<i2").tobytes() + counter.to_bytes(4, "little")
    return SAVED.pack(words.size, hashlib.sha256(content).digest()[:12])


# -- tests -----------------------------------------------------------------------------------------
def tests_of(client: Client) -> StoredTests:
    """Test samples in the flash; StoreError when there are none."""
    tests = journal_of(client).tests
    if tests is None:
        raise StoreError(
            "no test samples are in the flash: upload again (equilif upload), with room after the training "
            "samples"
        )
    return tests


def begin_tests(client: Client, tests: StoredTests) -> TrainerRegisters:
    """Start the tests on an idle board; returns its earlier registers, without ``run``.

    It is an epoch of samples that do not learn.  The checkpoint after it is an empty list.
    """
    client.control_trainer(run=0)
    before = client.registers
    client.set_registers(
        replace(
            before,
            epoch=0,
            epochs=1,
            saves=NO_BLOCK,
            index=tests.index,
            half=half_of(tests.n),
            samples=tests.n,
            turn=0,
        )
    )
    client.control_trainer(run=1)
    return before


def answered(registers: TrainerRegisters) -> bool:
    """Whether the board has finished all tests; StoreError when it cannot."""
    if not in_tests(registers):
        raise StoreError("the board was switched off during its test: run the test again")
    return not registers.phase and (bool(registers.fault) or registers.epoch == registers.epochs)


def in_tests(registers: TrainerRegisters) -> bool:
    """Whether the board runs tests, or was left while it did."""
    return registers.saves == NO_BLOCK

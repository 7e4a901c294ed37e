"""Standalone trainer of a board: jobs of training data, waiting for the board, and tests on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from equilif.data.sets.dataset import DataSet
from equilif.host.client import Client
from equilif.host.journal import (
    StoredTests,
    StoreError,
    answered,
    begin_tests,
    in_tests,
    require_idle,
    require_saved,
    require_valid,
    tests_of,
)
from equilif.host.store import StoredSamples, TrainingJob, check_chip
from equilif.training.settings.description import Description
from equilif_golden.link.standalone import FAULTS, Fault, TrainerPhase, TrainerRegisters

POLL_SECONDS = 2.0  #: seconds between two looks at a board, which stops for a moment each time
#: what changes training samples on the way to the network
AUGMENTATION = ("random_shift", "horizontal_flip", "token_dropout", "token_crop", "input_mask")


def without_augmentation(description: Description) -> tuple[Description, list[str]]:
    """The description as a board trains it, and the keys of augmentation that became 0."""
    left_out: dict[str, Any] = {name: 0 for name in AUGMENTATION if getattr(description, name)}
    return description.changed(order="standalone", **left_out), list(left_out)


def job_of(
    data: DataSet,
    description: Description,
    *,
    seed: int | None = None,
    samples: int | None = None,
    tests: int | None = None,
) -> TrainingJob:
    """Job of the first ``samples`` and ``tests`` of a data set; ``seed``: the description's first.

    ValueError for a description with augmentation.
    """
    if not_there := [name for name in AUGMENTATION if getattr(description, name)]:
        raise ValueError(f"a board has no data augmentation: set {', '.join(not_there)} to 0")
    network = description.network(data)
    description.check_rates(network)
    start = description.seeds[0] if seed is None else seed
    learned = StoredSamples(labels=data.y_train, x=data.x_train, tokens=data.tokens_train)
    tested = StoredSamples(labels=data.y_test, x=data.x_test, tokens=data.tokens_test)
    return TrainingJob(
        network=network,
        weights=description.initial_weights(network, start, data),
        rates=[description.rate(e) for e in range(description.epochs)],
        samples=learned.first(samples or len(data.y_train)),
        tests=tested.first(len(data.y_test) if tests is None else tests),
        seed=start,
        about=None if data.identity is None else asdict(data.identity),
    )


# -- waiting -------------------------------------------------------------------------------------
def booted(client: Client) -> TrainerRegisters:
    """Registers of the board after it has read its flash, which overrides earlier commands."""
    if not client.identity.flash_blocks:
        return TrainerRegisters()
    while (now := client.registers).phase == TrainerPhase.BOOT:
        time.sleep(POLL_SECONDS)
    return now


def watch(client: Client, progress: Callable[[int], None] = lambda done: None) -> TrainerRegisters:
    """Registers of the board once it is idle; ``progress`` gets the number of samples learned."""
    while (now := client.registers).phase:
        progress(min(now.epoch * now.samples + (now.seen if now.turn else 0), now.epochs * now.samples))
        time.sleep(POLL_SECONDS)
    progress(min(now.epoch, now.epochs) * now.samples)
    return now


# -- upload --------------------------------------------------------------------------------------
def require_replaceable(client: Client, overwrite: bool) -> None:
    """StoreError unless an upload may replace what is in the flash; ``overwrite``: weights that were learned
    and not saved, too.
    """
    now = booted(client)
    require_idle(now)
    if not overwrite:
        require_saved(client, now)
    check_chip(client)


def reboot(client: Client) -> None:
    """Start with what was uploaded; StoreError when the board cannot."""
    client.control_trainer(run=0, boot=1)
    now = booted(client)
    if now.fault:
        raise StoreError(f"the board does not start: {FAULTS[Fault(now.fault)]}")


# -- tests ---------------------------------------------------------------------------------------
def run_tests(
    client: Client, progress: Callable[[int, int], None] = lambda done, total: None
) -> TrainerRegisters:
    """Registers after a test with the uploaded samples.  The board then goes on with what it did."""
    now = client.registers
    if not now.phase:
        require_valid(now)
    if now.epoch != now.epochs:  # were the test cut off, this is where it would go on
        client.control_trainer(run=0, save=1)
    watch(client)
    require_valid(client.registers)
    try:
        found = _tested(client, tests_of(client), progress)
    finally:
        client.control_trainer(run=now.run)
    if found.fault:
        raise StoreError(f"the board stopped in its test: {FAULTS[Fault(found.fault)]}")
    return found


def _tested(client: Client, tests: StoredTests, progress: Callable[[int, int], None]) -> TrainerRegisters:
    """Run the tests; the board's registers after them.  The earlier ones are restored."""
    before = begin_tests(client, tests)
    try:
        while not answered(found := client.registers):
            progress(found.seen, tests.n)
            time.sleep(POLL_SECONDS)
        progress(found.seen, tests.n)
    finally:
        if in_tests(client.registers):
            client.control_trainer(run=0)
            watch(client)
            client.set_registers(before)
    return found

"""Standalone trainer of a board: jobs of training data, waiting for the board, and tests on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

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
from equilif.host.store import NO_TRAINER, FlashStore, StoredSamples, TrainingJob, check_chip
from equilif.training.settings.description import Description
from equilif.training.storage.history import digest
from equilif.training.storage.records import about_data, holds
from equilif_golden import files
from equilif_golden import network as networks
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
    """TrainerRegisters of the board after it has read its flash, which overrides earlier commands."""
    if not client.identity.flash_blocks:
        return TrainerRegisters()
    while (now := client.registers).phase == TrainerPhase.BOOT:
        time.sleep(POLL_SECONDS)
    return now


def control(
    client: Client,
    *,
    start: bool = False,
    stop: bool = False,
    checkpoint: bool = False,
    boot: bool = False,
    test: bool = False,
) -> TrainerRegisters:
    """Start or stop the training, save the weights to the flash, or reload its last checkpoint.

    StoreError for a board without the trainer, and where a stopped one cannot go on, also with a ``test``.
    """
    if not client.identity.flash_blocks:
        raise StoreError(NO_TRAINER)
    now = booted(client)
    if (start or checkpoint or test) and not now.phase and not boot:
        require_valid(now)
    if not (start or stop or checkpoint or boot):
        return now
    client.control_trainer(run=1 if start else 0 if stop else now.run, save=checkpoint, boot=boot)
    return booted(client)


def status(now: TrainerRegisters) -> dict[str, Any]:
    """TrainerRegisters by names."""
    return {
        "phase": TrainerPhase(now.phase).name.lower(),
        "fault": Fault(now.fault).name.lower() if now.fault else None,
        "run": bool(now.run),
        "valid": bool(now.valid),
        "epoch": now.epoch,
        "epochs": now.epochs,
        "seen": now.seen,
        "samples": now.samples,
        "hits": now.hits,
        "spikes": now.spikes,
        "checkpoint": now.generation,
        "flash": f"{now.chip:06x}",
    }


def watch(client: Client, progress: Callable[[int], None] = lambda done: None) -> TrainerRegisters:
    """TrainerRegisters of the board once it is idle; ``progress`` gets the number of samples learned."""
    while (now := client.registers).phase:
        progress(min(now.epoch * now.samples + (now.seen if now.turn else 0), now.epochs * now.samples))
        time.sleep(POLL_SECONDS)
    progress(min(now.epoch, now.epochs) * now.samples)
    return now


# -- upload --------------------------------------------------------------------------------------
def require_new_file(file: Path, overwrite: bool) -> None:
    """ValueError when the file of a network for the flash exists; another file keeps what a board learned."""
    if files.is_file(file) and not overwrite:
        raise ValueError(
            f"{file} exists: name another file by --out; --overwrite replaces it and discards what the board "
            "has learned and nobody saved"
        )


def require_replaceable(client: Client, overwrite: bool) -> None:
    """StoreError unless an upload may replace what is in the flash; ``overwrite``: weights that were learned
    and not saved, too.
    """
    now = booted(client)
    require_idle(now)
    if not overwrite:
        require_saved(client, now)
    check_chip(client)


@dataclass(frozen=True)
class Upload:
    """A data set and a network for the flash of a board, which trains by itself.

    ``left_out``: keys of data augmentation that became 0.
    """

    client: Client
    file: Path
    data: DataSet
    description: Description
    left_out: list[str]
    job: TrainingJob
    store: FlashStore

    @classmethod
    def prepare(
        cls,
        board: Callable[[], Client],
        file: Path,
        data: DataSet,
        description: Description,
        *,
        seed: int | None = None,
        samples: int | None = None,
        tests: int | None = None,
        overwrite: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Self:
        """FlashStore for a board; nothing is written.  ValueError when the upload would replace something.

        ``board``: opens the board, when all else is checked.  ``file``: file for the initial network.
        """
        files.changes([file])  # it is compared with the network
        files.check(file)
        description, left_out = without_augmentation(description)
        job = job_of(data, description, seed=seed, samples=samples, tests=tests)
        if not holds(file, job.network, job.weights, job.about):
            require_new_file(file, overwrite)
        client = board()
        if client.identity.flash_blocks:
            require_replaceable(client, overwrite)
        store = FlashStore.of_job(client.identity, job, lambda done: progress(done, job.total))
        return cls(client, file, data, description, left_out, job, store)

    @property
    def tests(self) -> int:
        """Number of test samples."""
        return self.store.tests.n if self.store.tests else 0

    def start(self, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Write flash and network file, and start the training; how many bytes were there before."""
        spared = self.store.upload(self.client, lambda done: progress(done, self.store.size))
        networks.save(self.file, self.job.network, self.job.weights, about_data(self.data))
        reboot(self.client)
        return spared

    def to_dict(self) -> dict[str, Any]:
        return {
            "samples": self.store.n,
            "of": len(self.data.y_train),
            "tests": self.tests,
            "epochs": self.description.epochs,
            "seed": self.job.seed,
            "bytes": self.store.size,
            "blocks": len(self.store.blocks),
            "left_out": self.left_out,
            "network": self.file,
            "sha256": digest(self.job.weights),
        }


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
    """TrainerRegisters after a test with the uploaded samples.  The board then goes on with what it did."""
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

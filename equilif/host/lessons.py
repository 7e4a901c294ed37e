"""Words that a board with front end and flash learns by itself: ``equilif restore --flash``.

Network, table of the live controller and stored words go into the flash, see equilif.host.store.
"""

from __future__ import annotations

import mmap
from dataclasses import asdict, replace

import numpy as np

from equilif import lesson
from equilif.data.encoding.about import About
from equilif.host.client import Client
from equilif.host.journal import HEADER_BYTES, StoreError
from equilif.host.store import FlashStore, Lessons, StoredSamples, TrainingJob
from equilif.lesson import Words
from equilif.listening import WordRecognizer
from equilif.training.lesson_settings import BOARD_SETTINGS, LessonSettings
from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.flash import BLOCK, Area
from equilif_golden.link.protocol import Identity
from equilif_golden.network import Network, Weights

NO_LESSONS = (
    "this board keeps no words: build it with  equilif build BOARD --front-end pdm --standalone,  or leave "
    "out --flash"
)


def extended(listener: WordRecognizer, new_classes: int) -> tuple[Network, Weights, tuple[str, ...]]:
    """The network with unused outputs, and the names of all classes."""
    network, weights = listener.saved.network, listener.saved.weights
    labels = listener.labels
    for k in range(new_classes):
        network, weights = lesson.with_class(network, weights)
        name = f"new {k + 1}"
        labels = (*labels, name if name not in labels else f"{name} of the board")
    return network, weights, labels


def shuffled(words: Words) -> StoredSamples:
    """Take a word of each class in turn, so that as many as fit are of all classes."""
    turn = np.zeros(len(words), np.int64)
    for k in np.unique(words.labels):
        at = np.flatnonzero(words.labels == k)
        turn[at] = np.arange(len(at))
    order = np.lexsort((words.labels, turn))
    return StoredSamples(labels=words.labels[order], tokens=words.tokens.take(order.tolist()))


def job_of(
    listener: WordRecognizer,
    words: lesson.Samples,
    config: EngineConfig,
    settings: LessonSettings = BOARD_SETTINGS,
) -> TrainingJob:
    """Content of the flash: a network with unused outputs, and ``words`` for replay."""
    network, weights, labels = extended(listener, settings.new_classes)
    about = listener.saved.identity
    assert isinstance(words, Words)
    assert isinstance(about, About)
    return TrainingJob(
        network=network,
        weights=weights,
        rates=[settings.learning_rate],
        samples=shuffled(words),
        about=asdict(replace(about, labels=labels)),
        lessons=Lessons(
            table=listener.table(network).content(config),
            replay=settings.replay_per_sample,
            rounds=settings.passes,
            classes=len(listener.labels),
            kept=settings.kept,
        ),
    )


def require_lessons(client: Client, *, keeps_words: bool = False) -> None:
    """StoreError unless the trainer of an idle board has lessons, and if asked for keeps learned words."""
    before = client.registers
    client.set_registers(replace(before, rounds=1, room=1))
    found = client.registers
    client.set_registers(before)
    if not found.rounds:
        raise StoreError(NO_LESSONS)
    if keeps_words and not found.room:
        raise StoreError("this board keeps no learned words: build it again, or leave out --keep")


def put(content: mmap.mmap | bytearray, area: Area, identity: Identity, job: TrainingJob) -> bool:
    """Write the store of a job into the flash of a simulated board that is off; False if it is there."""
    store = FlashStore.of_job(identity, job)
    header = store.header()
    at = (area.first + store.journal) * BLOCK
    if content[at : at + HEADER_BYTES] == header:
        return False
    for block in range(area.blocks):
        data = store.blocks.get(block, b"")
        first = (area.first + block) * BLOCK
        content[first : first + BLOCK] = data.ljust(BLOCK, b"\xff")
    content[at : at + HEADER_BYTES] = header
    return True

"""Networks into boards, and weights out of them.

    save(Path("trained.npz"), Path("network.npz"), the_one)

A board is given as a function that opens it, which is called when all else is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from equilif import lesson
from equilif.data.encoding.about import About
from equilif.hardware.driver import read_saved
from equilif.host import lessons, standalone
from equilif.host.client import Client, LinkError
from equilif.host.journal import StoreError, read_board, record_saved
from equilif.host.listening import require_front_end
from equilif.host.ports import proposing_builds
from equilif.host.store import FlashStore
from equilif.listening import SensorRecognizer, WordRecognizer, listener_of
from equilif.training.lesson_settings import BOARD_SETTINGS, SETTINGS
from equilif.training.storage import saved
from equilif.training.storage.history import digest
from equilif_golden import files
from equilif_golden import network as networks
from equilif_golden.engine import compiler
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.link.standalone import PLACES

Open = Callable[[], Client]


@dataclass(frozen=True)
class SavedWeights:
    """Weights that were saved: their number, how many are the table of another file, and their digest.

    ``origin``: why the identity is not checked; ``problem``: why the board does not know that they are saved.
    """

    n: int
    n_table: int
    sha256: str
    origin: str | None
    problem: str | None = None


def save(out: Path, like: Path, source: Open | Path) -> SavedWeights:
    """Save the weights of a board, or those in a file of the C driver, as a network.npz.

    ``like``: network of the same structure and data, which supplies what a board does not hold.
    """
    base = networks.read(like)
    network, known, about = base.network, base.weights, base.about
    files.check(out)
    counter: int | None = None
    origin = problem = None
    client: Client | None = None
    if isinstance(source, Path):
        try:
            found, counter = read_saved(source, network, about)
        except ValueError as e:
            raise ValueError(f"{source}: {e}") from None
    else:
        client = source()
        standalone.booted(client)
        read = read_board(client, network, about, like)
        found = read.weights
        if not read.checked:
            origin = (
                "the board does not hold the identity of its network: structure and data are those of "
                f"{like}, not checked"
            )
    learned = {s.name: found.get(s.name, known[s.name]) for s in network.plastic}
    networks.save(out, network, learned, about, counter, origin, base.replay)
    if client is not None and origin is None and out.is_file():
        try:
            record_saved(client, Compiled(network, client.config).weight_words(learned), read.counter)
        except LinkError as e:
            problem = f"{e}; the next upload will ask for --overwrite"
    n_known = sum(known[s.name].size for s in network.plastic if s.name not in found)
    return SavedWeights(network.n_weights, n_known, digest(learned), origin, problem)


@dataclass(frozen=True)
class Restored:
    """A network that is in a board: weights there and at the host, digest, and whether the live controller
    has its table.  ``displaced``: whether it took the place of one that the board trained itself.
    """

    held: int
    n_table: int
    sha256: str
    live: bool
    displaced: bool


def restore(board: Open, path: Path) -> Restored:
    """Load the program, constants and weights of a network.npz into a board."""
    network, weights = networks.load(path)
    client = board()
    with proposing_builds(network):
        learns = compiler.learns(network, client.config)
    listener = front_end_listener(client, path)
    # a host that sends a run with learning gets learning, unless the network cannot
    chip = Chip(client, network, weights, learning_rate=SETTINGS.label_rate if learns else 0.0)
    n_table = network.n_table if chip.compiled.table is None else 0
    live = listener is not None and _load_table(client, listener)
    return Restored(network.n_weights - n_table, n_table, digest(weights), live, client.displaced)


def front_end_listener(client: Client, path: Path) -> WordRecognizer | SensorRecognizer | None:
    """Recognizer of a network that was trained on front-end features, for a board with a front end; None for
    another network or board.  ValueError if the two do not match.
    """
    found = saved.read(path)
    about = found.identity
    if not isinstance(about, About) or not about.encoding.front_end or not client.identity.front_end:
        return None
    listener = listener_of(found)
    require_front_end(client.identity, listener)
    return listener


def _load_table(client: Client, listener: WordRecognizer | SensorRecognizer) -> bool:
    """Load the table of the live controller; False if the engine has no room for network and table."""
    try:
        listener.table().load(client)
    except CapacityError:
        return False
    return True


def restore_to_flash(
    board: Open,
    path: Path,
    out: Path,
    *,
    new_classes: int | None = None,
    kept: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write a network that hears words, and stored words, to the flash of a board, which starts with them.

    ``out``: file of the network with its unused outputs.  Returns a record of what was written.
    """
    standalone.require_new_file(out, overwrite)
    files.check(out)
    listener = WordRecognizer(saved.read(path))
    settings = replace(BOARD_SETTINGS, kept=kept)
    if new_classes is not None:
        settings = replace(settings, new_classes=new_classes)
    words = lesson.memory(listener.saved, settings.stored)
    client = board()
    if not client.identity.flash_blocks:
        raise StoreError(lessons.NO_LESSONS)
    standalone.require_replaceable(client, overwrite)
    lessons.require_lessons(client, keeps_words=kept > 0)
    job = lessons.job_of(listener, words, client.config, settings)
    store = FlashStore.of_job(client.identity, job)
    store.upload(client, lambda done: progress(done, store.size))
    networks.save(out, job.network, job.weights, job.about)
    standalone.reboot(client)
    return {
        "classes": len(listener.labels),
        "sha256": digest(job.weights),
        "stored": store.n,
        "of": len(words),
        "new_classes": settings.new_classes,
        "kept": store.registers.room * PLACES,
        "bytes": store.size,
    }

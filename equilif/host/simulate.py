"""Simulation of a complete board behind a serial port or a UDP port: ``equilif simulate``."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from equilif import lesson
from equilif.data.encoding.sensor import TOP
from equilif.host import lessons
from equilif.host.client import Client
from equilif.host.listening import require_sensor
from equilif.listening import SensorRecognizer, WordRecognizer, file_blocks
from equilif.results import ToolFailed
from equilif.training.lesson_settings import SETTINGS
from equilif.training.storage import saved
from equilif_golden import files
from equilif_golden.engine.chip import Chip
from equilif_golden.extras import needs
from equilif_golden.fixed import check_int
from equilif_golden.front_end.button import LONG, SHORT
from equilif_golden.front_end.live import ANSWER_BYTES
from equilif_golden.front_end.pdm import RATE, Modulator
from equilif_golden.front_end.sensor import RATE_HZ

with needs("hdl,boards,sim"):
    from amaranth._toolchain import ToolNotFound
    from amaranth.back.verilog import YosysError

    from equilif.hardware.boards import short
    from equilif_boards import Board
    from equilif_hdl.front_end.listener import MIN_CLOCK_HZ, Microphone
    from equilif_hdl.front_end.sensor import Adc
    from equilif_sim import board as simulation
    from equilif_sim.flash_chip import check_file
    from equilif_sim.library import BuildFailed

#: cycles between samples of the learn button: a long press takes 130,000 cycles
BUTTON_DIVISOR = 2000
#: of a front end for a sensor, in place of the board's, for short simulations
SENSOR_CLOCK_HZ = 8_000_000
SENSOR_RATE_HZ = 5_500
#: cycles after the last reading of a sample by which the board has taken the label, before the next reading
TAKEN = 300
PART = RATE // 10  #: samples after which answers are read
#: what ends a simulation: Ctrl-C, kill, the terminal's window closed
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Simulated:
    """The design of a board in simulation.  ``baud``: rate of its link, the fastest that works by default.
    ``flash``: file with the content of its flash, made if it is not there.  ``udp``: UDP port of this
    computer for a board with a link over UDP, which has no terminal.
    """

    def __init__(
        self, board: Board, baud: int | None = None, flash: Path | None = None, udp: int | None = None
    ):
        self.design = board
        self.clock_hz = board.clock_hz
        self.area = board.area
        self.link = board.link.for_simulation(board.clock_hz, baud)
        self.udp = None if udp is None else check_int(udp, "udp", 0, 0xFFFF, "port")
        front_end: Microphone | Adc | None = None
        if board.microphone:
            front_end = replace(board.microphone, clock_hz=MIN_CLOCK_HZ, button_divisor=BUTTON_DIVISOR)
        elif board.adc:
            front_end = replace(board.adc, clock_hz=SENSOR_CLOCK_HZ, rate_hz=SENSOR_RATE_HZ)
        try:
            self.board = simulation.SimulatedBoard(
                board.config,
                transport=self.link.transport(board.clock_hz),
                state_ram=board.state_ram,
                frame_bytes=board.frame_bytes,
                max_samples=board.max_samples,
                flash=board.area,
                flash_file=flash,
                front_end=front_end,
                sdram=board.sample_memory,
            )
        except (BuildFailed, YosysError, ToolNotFound) as e:
            raise ToolFailed(str(e)) from e

    @property
    def build_id(self) -> int:
        return self.board.build_id

    def press(self, label: int | None) -> None:
        """Press the learn button: briefly for this label, long for None."""
        held = SHORT + 1 if label is not None else LONG + 1
        self.board.button(True, label or 0)
        self.board.finish(held * BUTTON_DIVISOR)
        self.board.button(False, label or 0)
        self.board.finish(2 * BUTTON_DIVISOR)

    def switch_on(self, listener: WordRecognizer) -> Client:
        """Start with this network: from the flash, if there is one.  There it is written, with stored words,
        unless the flash has it, with what the board has learned.
        """
        client = Client(self.board)
        network = listener.saved.network
        if self.area is None:
            Chip(client, network, listener.saved.weights)
            listener.table().load(client)
            return client
        assert self.board.flash is not None
        job = lessons.job_of(listener, lesson.memory(listener.saved), self.board.config)
        self.board.work()
        lessons.put(self.board.flash, self.area, client.identity, job)
        self.board.reset()
        self.board.work()
        return client

    def play(self, network: Path, file: Path, learn: int | None = None) -> Iterator[dict[str, Any]]:
        """Call :meth:`listen` or :meth:`sense`, as the board's front end asks."""
        if self.design.adc is None:
            return self.listen(network, file, learn)
        return self.sense(network, file, learn, 0.0 if learn is None else SETTINGS.label_rate)

    def listen(self, network: Path, wav: Path, learn: int | None = None) -> Iterator[dict[str, Any]]:
        """Load a network, and play a recording to the microphone; yields the answers as they come.
        ``learn``: with a flash, learn each word as this class, by the learn button.

        The design runs at MIN_CLOCK_HZ, the slowest for its front end.  ValueError for a network that was not
        trained on front-end features, or does not fit.
        """
        listener = WordRecognizer(saved.read(network))
        blocks = [*file_blocks(wav), np.zeros(RATE // 3, np.int64)]
        client = self.switch_on(listener)

        def press() -> None:
            if learn is not None:
                self.press(learn if learn < client.registers.classes else None)

        press()
        modulator = Modulator()
        played = 0
        pending = b""
        for block in blocks:
            for part in np.array_split(block, max(1, len(block) // PART)):
                pending += self.board.listen(modulator.feed(part))
                played += len(part)
                while len(pending) >= ANSWER_BYTES:
                    text, pending = pending[: ANSWER_BYTES - 1].decode(), pending[ANSWER_BYTES:]
                    number = int(text[1:])
                    names = dict(enumerate(listener.labels))
                    label = "rejected" if text[0] == "X" else names.get(number, f"new class {number}")
                    if self.area is not None and text[0] == "L":
                        self.board.rest()
                        press()
                    yield {"end": played / RATE, "text": text, "label": label}

    def sense(
        self, network: Path, file: Path, learn: int | None = None, learning_rate: float = 0.0
    ) -> Iterator[dict[str, Any]]:
        """Load a network of a sensor, and play recorded readings to the pins of the ADC; yields the answers
        as they come.  ``learn``: learn each sample as this class, by the learn button, at ``learning_rate``.

        The design runs at SENSOR_CLOCK_HZ and SENSOR_RATE_HZ; ``end`` is in seconds of RATE_HZ.
        """
        listener = SensorRecognizer(saved.read(network))
        recorded = listener.recordings(file)
        client = Client(self.board)
        Chip(client, listener.saved.network, listener.saved.weights, learning_rate=learning_rate)
        listener.table().load(client)
        channels, steps = listener.sensor.channels, listener.sensor.steps
        # between samples, from the next reading of channel 0 on; what is not played is half of the range
        idle = -(-self.board.idle_bits // channels)
        self.board.play_readings(np.full((-idle % steps, channels), TOP + 1 >> 1))
        self.board.finish()
        n = 0
        expected = ""
        for recording in recorded:
            for sample in recording.readings.reshape(-1, steps, channels):
                # the answer to the sample before comes meanwhile
                self.board.play_readings(sample[:-1])
                self.board.finish()
                text = self.board.answers
                if n:
                    yield self._answer(listener, n, text, expected)
                n += 1
                expected = recording.label
                self.board.button(learn is not None, learn or 0)
                self.board.play_readings(sample[-1:])
                self.board.finish(TAKEN)
                self.board.button(False)
        self.board.play_readings(np.full((steps - 1, channels), TOP + 1 >> 1))
        self.board.finish()
        yield self._answer(listener, n, self.board.answers, expected)

    def _answer(self, listener: SensorRecognizer, n: int, text: bytes, expected: str) -> dict[str, Any]:
        """Answer to sample number ``n``, from 1."""
        line = text[: ANSWER_BYTES - 1].decode()
        label = "rejected" if line[:1] == "X" else listener.labels[int(line[1:])]
        end = n * listener.sensor.steps / RATE_HZ
        return {
            "end": end,
            "text": line,
            "label": label,
            "expected": expected if expected in listener.labels else None,
        }

    def serve(self, link: Path | None, ready: Callable[[str], None]) -> dict[str, Any]:
        """Serve until SIGINT, SIGTERM or SIGHUP.

        ``ready`` gets the port's path; ``link`` becomes a symbolic link to it, for that time.
        """
        end = (
            simulation.Terminal(self.board)
            if self.udp is None
            else simulation.Server(simulation.BoardNetwork(self.board), self.udp)
        )
        with end as terminal, _ended_by(terminal.stop):
            start = time.monotonic()
            with linked(link, terminal.path):
                ready(str(link or terminal.path))
                terminal.serve()
        return {
            "port": terminal.path,
            "cycles": self.board.cycles,
            "board_seconds": self.board.cycles / self.clock_hz,
            "seconds": time.monotonic() - start,
        }


@contextlib.contextmanager
def _ended_by(stop: Callable[[], None]) -> Iterator[None]:
    """Signals that would end the program call ``stop``; those that are ignored, by nohup say, stay so."""

    def handler(number: int, frame: FrameType | None) -> None:
        stop()

    before = {s: signal.getsignal(s) for s in ENDS if signal.getsignal(s) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def require_free(link: Path) -> None:
    """ValueError or OSError unless a link can be made there: nothing that is there is ever replaced."""
    if os.path.lexists(link):
        raise ValueError(_taken(link))
    if not link.parent.is_dir():
        raise ValueError(f"there is no folder {link.parent}: make it, or choose another name for --link")
    files.check_folder(link.parent)


def require_flash(file: Path) -> None:
    """ValueError or OSError unless the content of a flash is in this file, or can be."""
    check_file(file)
    files.check(file)


def with_front_end(board: Board, kind: str, network: Path, file: Path, learn: int | None = None) -> Board:
    """The board with a front end, pdm or adc, for this network and recording; ValueError or OSError unless
    they belong together.  ``learn``: number of the class that is learned, or None.
    """
    found = board.with_front_end(kind)
    listener = _words(network, file) if kind == "pdm" else _readings(network, file, found, learn)
    if reason := short(found, listener.saved.network, listener.saved.encoding):
        raise ValueError(f"{found.title}, with a front end: {reason}")
    return found


def _readings(network: Path, file: Path, board: Board, learn: int | None) -> SensorRecognizer:
    """The network's listener; ValueError or OSError unless it takes samples of the sensor of this board, and
    these are recordings of it.
    """
    listener = SensorRecognizer(saved.read(network))
    require_sensor(board, listener)
    listener.recordings(file)
    if learn is not None and learn >= len(listener.labels):
        raise ValueError(
            f"--learn must be the number of a class, 0 to {len(listener.labels) - 1}, not {learn}: of a new "
            "class with  equilif listen NETWORK FILE --learn CLASS"
        )
    return listener


def _words(network: Path, wav: Path) -> WordRecognizer:
    """The network's listener; ValueError or OSError unless it takes front-end features, and this is a
    recording.
    """
    file_blocks(wav)
    return WordRecognizer(saved.read(network))


@contextlib.contextmanager
def linked(link: Path | None, target: str) -> Iterator[None]:
    """``link``, if any, is a symbolic link to ``target`` for as long as this lasts.

    Another one that somebody put in its place meanwhile stays.
    """
    if link is None:
        yield
        return
    try:
        link.symlink_to(target)
    except FileExistsError:
        raise ValueError(_taken(link)) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if str(link.readlink()) == target:
                link.unlink()


def _taken(link: Path) -> str:
    return f"{link} is there already: remove it (rm {link}), or choose another name for --link"

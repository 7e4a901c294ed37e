"""A series of an IMU through the ADC pins of the simulated iCEBreaker, learned there.

BasicMotions (UEA archive, from the wheel of aeon==1.6.0 in DIR): four activities by the six channels of an
IMU, 100 steps, 40 / 40 samples.  The first 96 steps of each are readings of an ADC of 12 bits, at the pins of
the complete board of `equilif build icebreaker --front-end adc`.  A network 72-32-4 with random weights
classifies the test samples, learns the training samples in random order, --epochs times, with the label at
the pins, and classifies the test samples again.

Compared with the golden model: the inputs of every test sample in the engine's memory, byte for byte; every
answer; and the weights after the first and the last epoch, bit for bit.  The clock is CLOCK_HZ and the rate
of the readings RATE_HZ, in place of 30 MHz and 100 Hz, so that the simulation is short.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from benchmarks.registry import Series
from equilif.data.formats.series import read_ts
from equilif.data.sets.sequences import first
from equilif.host.client import Client
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip, read_weights
from equilif_golden.engine.port import Region
from equilif_golden.fixed import Raw
from equilif_golden.front_end import live
from equilif_golden.front_end.sensor import Captured, ChannelScaling, Sensor
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_sim.board import SimulatedBoard

ACTIVITIES = "BasicMotions"
FULL_SCALE = 40.0  #: of a channel; the largest magnitude of the training part is 34.9
BOARD = "icebreaker"
CLOCK_HZ = 8_000_000
RATE_HZ = 5_500
HIDDEN = 32
LEARNING_RATE = 0.05
EPOCHS = 20
#: cycles after the last reading of a sample by which the board has taken the label, before the next reading
TAKEN = 300


class Readings(NamedTuple):
    """Readings (n, steps, channels) and class numbers of both parts."""

    x_train: Raw
    y_train: Raw
    x_test: Raw
    y_test: Raw
    names: tuple[str, ...]


def read(folder: Path, width: int, steps: int) -> Readings:
    """The data set as readings of an ADC whose range is FULL_SCALE in both directions."""
    wheel = first(folder, "aeon-*.whl")
    if wheel is None:
        raise ValueError(f"no aeon-*.whl in {folder}: pip download --no-deps aeon==1.6.0")
    half = 1 << width - 1
    parts = []
    with zipfile.ZipFile(wheel) as z:
        for part in ("TRAIN", "TEST"):
            name = f"aeon/datasets/data/{ACTIVITIES}/{ACTIVITIES}_{part}.ts"
            found, labels = read_ts(name, z.read(name).decode())
            x = np.rint(np.array([s[:steps] for s in found]) * (half / FULL_SCALE)).astype(np.int64) + half
            parts.append((np.clip(x, 0, 2 * half - 1), np.array(labels)))
    names = tuple(sorted({str(label) for label in parts[0][1]}))
    (x_train, y_train), (x_test, y_test) = parts
    return Readings(x_train, np.searchsorted(names, y_train), x_test, np.searchsorted(names, y_test), names)


def stream(x: Raw, order: Raw, golden: Sensor) -> list[Captured]:
    """Samples of the golden front end, of series one after the other."""
    return golden.feed(x[order].reshape(-1, x.shape[-1]))


# -- board -----------------------------------------------------------------------------------------
class SensorBoard:
    """The simulated board, and the golden front end with the same readings."""

    def __init__(self) -> None:
        board = BOARDS[BOARD].with_front_end("adc")
        assert board.adc is not None
        self.adc = replace(board.adc, clock_hz=CLOCK_HZ, rate_hz=RATE_HZ)
        self.board = SimulatedBoard(
            board.config, front_end=self.adc, frame_bytes=board.frame_bytes, max_samples=board.max_samples
        )
        self.client = Client(self.board)
        self.golden = Sensor(self.adc.channels, self.adc.window, self.adc.windows, self.adc.width)
        self.idle = 0  #: readings of all channels in which nothing was played
        self.steps = 0  #: all readings of all channels

    def capture(
        self, readings: Raw, label: int | None = None, meanwhile: Callable[[], None] = lambda: None
    ) -> list[Captured]:
        """Samples of the golden model that end during these readings.  The board has taken the label.
        ``meanwhile``: what the host does while they are played.
        """
        self.board.button(label is not None, label or 0)
        self.board.play_readings(readings)
        found = self._catch_up()
        meanwhile()
        self.board.finish(TAKEN)
        self.board.button(False)
        self.steps += len(readings)
        return found + self.golden.feed(readings)

    def align(self) -> None:
        """End the sample that has begun, so that the next reading is the first of a sample."""
        self._catch_up()
        if rest := -self.steps % self.golden.steps:
            self.capture(np.full((rest, self.adc.channels), 1 << self.adc.width - 1))

    def _catch_up(self) -> list[Captured]:
        n = -(-self.board.idle_bits // self.adc.channels) - self.idle
        self.idle += n
        self.steps += n
        return self.golden.feed(np.full((n, self.adc.channels), 1 << self.adc.width - 1))


class Learning:
    """A network on the board, and the golden kernel with the same samples."""

    def __init__(self, scaling: ChannelScaling, classes: int, seed: int):
        self.here = SensorBoard()
        size = self.here.golden.size
        self.scaling = scaling
        network = Network.chain(size, HIDDEN, classes)
        weights = network.initial_weights(seed=seed)
        self.kernel = Kernel(network, weights, learning_rate=LEARNING_RATE)
        self.chip = Chip(self.here.client, network, weights, learning_rate=LEARNING_RATE)
        live.Table(network, scaling, size).load(self.here.client)

    def classify(self, x: Raw, y: Raw) -> dict[str, int]:
        """Counts of samples, of those whose inputs and answers are equal, and of right answers."""
        here = self.here
        count = dict.fromkeys(("samples", "inputs equal", "answers equal", "right"), 0)
        here.align()
        before: tuple[Captured, int] | None = None

        def compare() -> None:
            """The sample before: its answer has been sent, its inputs are in the memory."""
            text = here.board.answers
            if before is None:
                return
            sample, label = before
            inputs = here.client.read(Region.VALUE, self.chip.compiled.sample_first, here.golden.size)
            want = self.scaling.inputs(sample.values)
            answer = int(self.kernel.predict(want[None])[0])
            count["samples"] += 1
            count["inputs equal"] += bool((inputs & 0xFF == want).all())
            count["answers equal"] += text == live.answer("C", answer)
            count["right"] += text == live.answer("C", label)

        quarter = here.golden.steps // 4
        for readings, label in zip(x, y, strict=True):
            assert not here.capture(readings[:quarter])
            (sample,) = here.capture(readings[quarter:], meanwhile=compare)
            before = sample, int(label)
        here.capture(readings[:quarter])
        compare()
        return count

    def learn(self, x: Raw, y: Raw, order: Raw) -> int:
        """Train on samples, both board and kernel; cycles of the board."""
        here = self.here
        here.align()
        first = here.board.cycles
        samples = [s for j in order for s in here.capture(x[j], int(y[j]))]
        self.kernel.train(self.scaling.inputs(np.array([s.values for s in samples])), y[order])
        return here.board.cycles - first

    def weights_equal(self) -> bool:
        self.here.align()  # the last run has ended
        found = read_weights(self.here.client, self.chip.compiled)
        return all((found[s.name] == self.kernel.weights[s.name]).all() for s in self.chip.network.plastic)


def on_the_board(data: Readings, epochs: int, seed: int) -> dict[str, Any]:
    """Accuracy before and after, and what was compared."""
    rng = np.random.default_rng(seed)
    adc = BOARDS[BOARD].with_front_end("adc").adc
    assert adc is not None
    golden = Sensor(adc.channels, adc.window, adc.windows, adc.width)
    samples = stream(data.x_train, rng.permutation(len(data.x_train)), golden)
    scaling = ChannelScaling.of(np.array([s.values for s in samples]), adc.channels)
    learning = Learning(scaling, len(data.names), seed)
    shuffled = rng.permutation(len(data.x_test))  # classes change from sample to sample, as in training
    found: dict[str, Any] = {"before": learning.classify(data.x_test[shuffled], data.y_test[shuffled])}
    print(f"before: {found['before']}", flush=True)
    cycles = 0
    equal = []
    for epoch in range(epochs):
        order = rng.permutation(len(data.x_train))
        cycles += learning.learn(data.x_train, data.y_train, order)
        print(f"epoch {epoch + 1}: {cycles:,} cycles", flush=True)
        if epoch in (0, epochs - 1):
            equal.append(learning.weights_equal())
            print(f"weights equal: {equal[-1]}", flush=True)
    found["after"] = learning.classify(data.x_test[shuffled], data.y_test[shuffled])
    print(f"after: {found['after']}; {cycles:,} cycles of learning", flush=True)
    return {**found, "weights equal": all(equal), "cycles": cycles, "epochs": epochs, "seed": seed}


def main(
    *, series: Series, epochs: Annotated[int, "passes over the training samples"] = EPOCHS, seed: int = 0
) -> dict[str, Any]:
    adc = BOARDS[BOARD].with_front_end("adc").adc
    assert adc is not None
    return on_the_board(read(series, adc.width, adc.windows << adc.window), epochs, seed)

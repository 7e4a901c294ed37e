"""Live controller: a network on an engine, and samples from a front end instead of a host.

The host loads program, constants and weights as for any training, then the :class:`Table` of the network into
the last values of the engine, which no network may use.  The samples are words of a microphone, for a network
with attention, or those of a sensor (equilif_golden.front_end.sensor).  Of a word the controller writes
tokens (with the fraction bits of weights) and presence, of a sensor's sample the inputs, which it scales by
channel and by whether a code is a mean or an energy.  It writes the target, all where the table says, runs
the program, and sends an answer of ANSWER_BYTES:

    C 07    classified as class 7
    L 07    learned as class 7
    X 02    rejected, with its Verdict, NO_NETWORK, NO_CLASS or LOST

The answer to the sample at work is in the table, too, with a serial number: the host reads it with
:func:`last_answer`.  LOST for samples that found no place is sent as text only.

A sample is learned when the table or the pins have a label; that of the pins counts.  The label of the table
is used once: the controller replaces it by NO_LABEL.

On a board with a standalone trainer (:class:`Live`) every learned word begins a lesson, see
equilif_golden.link.standalone: word and stored samples are learned in rounds, and the weights saved.  No
further round begins when the frames of the word may be overwritten.  While the engine holds the
network of the flash, the trainer's register ``classes`` says how many outputs are in use.  A long press of
the learn button makes the next word the first one of the next class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equilif_golden.blocks.relay import FRACTION
from equilif_golden.blocks.synapse import from_words
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Engine, Region, region_size
from equilif_golden.fixed import Raw, check_int
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.sensor import MAX_CHANNELS, ChannelScaling
from equilif_golden.front_end.tokens import POSITIONS, TOKENS, Scaling
from equilif_golden.link.device import Device
from equilif_golden.link.standalone import Fault, StandaloneTrainer
from equilif_golden.network import ONE, Network

MAGIC = 0xE7  #: of a valid table
NO_LABEL = 0xFF
MAX_CLASSES = 100  #: an answer has two digits
#: byte: MAGIC, classes, tile of the tokens, address of their presence or of the inputs, of the target, label
CLASSES, TILE, ADDRESS, TARGET, LABEL = 1, 2, 4, 6, 8
#: first byte of the scaling.  Bands: center + 2**12 scale, three bytes each.  Channels: center and scale of
#: the means, then of the energies
SCALING = 10
SCALING_BYTES = 3
NUMBER = 70  #: of the last answer
KIND = 71  #: of the last answer: index in LETTERS, and a serial number above KIND_BITS
KIND_BITS = 2
TABLE_BYTES = 72
LETTERS = "CLX"
NO_NETWORK = len(Verdict)  #: rejected: no program, or no table
NO_CLASS = NO_NETWORK + 1  #: rejected: the label is no class
LOST = NO_CLASS + 1  #: rejected: one or more words ended while another waited, or a word waited too long
ANSWER_BYTES = 4  #: a letter, two digits, a line feed
assert SCALING + 4 * MAX_CHANNELS <= NUMBER


def table_first(config: EngineConfig) -> int:
    """Element address of the table in Region.VALUE."""
    return region_size(config, Region.VALUE) - TABLE_BYTES


def placed(network: Network, config: EngineConfig, size: int | None = None) -> Compiled:
    """The network on an engine with the controller of words, or of a sensor's samples of ``size`` values;
    ValueError for a network that has other inputs, CapacityError if it does not fit or needs the values of
    the table.
    """
    layer = network.dynamic_attention
    width = BANDS + POSITIONS
    if size is not None:
        if network.n_inputs != size or len(network.inputs) != 1 or network.attends or network.maps:
            raise ValueError(
                f"the network must have a single population of {size} inputs, neither maps nor "
                f"attention: it has {network.n_inputs} inputs"
            )
    elif layer is None or (layer.attention.size, layer.relay.width) != (TOKENS, width) or network.n_inputs:
        raise ValueError(
            f"the network must have an attention layer of {TOKENS} dynamic patterns of {width} values, "
            "and no other inputs"
        )
    check_int(network.n_outputs, "classes", 1, MAX_CLASSES)
    compiled = Compiled(network, config)
    first = table_first(config)
    used = compiled.n_groups * config.lanes
    if used > first:
        raise CapacityError(
            f"the network needs {used} values, and this engine has {first} beside the table of the live "
            "controller"
        )
    return compiled


class Table(NamedTuple):
    """Table of the controller for a network of words, or of a sensor's samples of ``size`` values."""

    network: Network
    scaling: Scaling | ChannelScaling
    size: int | None = None

    def content(self, config: EngineConfig) -> Raw:
        """Bytes (TABLE_BYTES,); errors as of :func:`placed`."""
        net = self.network
        compiled = placed(net, config, self.size)
        target = compiled.groups[compiled.target].first * config.lanes
        out = np.zeros(TABLE_BYTES, np.int64)
        out[0], out[CLASSES], out[LABEL] = MAGIC, net.n_outputs, NO_LABEL
        tile = 0 if self.size else compiled.tokens_first // config.lanes**2
        for at, value in ((TILE, tile), (ADDRESS, compiled.sample_first), (TARGET, target)):
            out[at : at + 2] = value & 0xFF, value >> 8
        scaling = self._scaling()
        out[SCALING : SCALING + len(scaling)] = scaling
        return out

    def _scaling(self) -> Raw:
        """Bytes of the scaling."""
        center, scale = self.scaling
        if self.size is None:
            both = center + (scale << 12)
            return (both[:, None] >> 8 * np.arange(SCALING_BYTES) & 0xFF).ravel()
        if len(center) > 2 * MAX_CHANNELS or self.size % len(center):
            raise ValueError(
                f"a scaling has two entries for each of up to {MAX_CHANNELS} channels, which divide "
                f"{self.size} values, not {len(center)}"
            )
        return np.column_stack((center, scale)).ravel()

    def load(self, engine: Engine) -> None:
        """Write the table, and for words zeros as patterns, whose padding the controller leaves as it is."""
        content = self.content(engine.config)
        if self.size is None:
            first, zeros = Compiled(self.network, engine.config).token_words(
                np.zeros((TOKENS, BANDS + POSITIONS), np.int64)
            )
            engine.write(Region.WEIGHT, first, zeros.ravel())
        engine.write(Region.VALUE, table_first(engine.config), content)


def set_label(engine: Engine, label: int) -> None:
    """The next word is learned as this class."""
    engine.write(Region.VALUE, table_first(engine.config) + LABEL, np.array([label]))


def pause(engine: Engine) -> None:
    """Reject words from now on, and leave the engine alone."""
    engine.write(Region.VALUE, table_first(engine.config), np.array([0]))


def resume(engine: Engine) -> None:
    """The end of a pause."""
    engine.write(Region.VALUE, table_first(engine.config), np.array([MAGIC]))


class LastAnswer(NamedTuple):
    """Outcome of a word; ``serial``, 1 .. 63, differs from that of the word before; 0: no word since the
    table was loaded.
    """

    serial: int
    kind: str
    number: int


def last_answer(engine: Engine) -> LastAnswer:
    """The last answer of the controller."""
    number, kind = (int(b) & 0xFF for b in engine.read(Region.VALUE, table_first(engine.config) + NUMBER, 2))
    return LastAnswer(kind >> KIND_BITS, LETTERS[min(kind & (1 << KIND_BITS) - 1, len(LETTERS) - 1)], number)


def read_tokens(engine: Engine, network: Network) -> Raw:
    """Tokens (m, width) of the last word that was classified or learned, as raw weights."""
    compiled = Compiled(network, engine.config)
    layer = network.dynamic_attention
    assert layer is not None
    shape = layer.attention.size, layer.relay.width
    lanes = engine.config.lanes
    first, zeros = compiled.token_words(np.zeros(shape, np.int64))
    words = engine.read(Region.WEIGHT, first, zeros.size).reshape(-1, lanes)
    present = engine.read(Region.VALUE, compiled.sample_first, TOKENS) & 0xFF
    found: Raw = from_words(words, shape, lanes)[present > 0]
    return found


def answer(kind: str, number: int) -> bytes:
    """Text of an answer."""
    return f"{kind}{number:02d}\n".encode()


class Live:
    """The controller of a device: samples of its front end become those of its engine.

    A word comes while the standalone trainer, if any, is idle.  :meth:`hear` includes its work.

    ``channels``: of the front end of a sensor; None: of a microphone.
    """

    def __init__(self, device: Device, channels: int | None = None):
        self.device = device
        self.channels = channels
        self.pressed = False  #: since the last word that used a label
        self.wants_new = False
        self.pin_label = 0
        self.serial = 0

    def press(self, label: int) -> None:
        """A short press: the next sample is learned with the label of the pins."""
        self.pressed, self.wants_new, self.pin_label = True, False, label

    def press_long(self) -> None:
        """The next word is the first one of a new class."""
        self.pressed = self.wants_new = True

    def hear(self, verdict: Verdict, codes: Raw, *, lost: bool = False) -> bytes:
        """Answer to codes of a word, (n, BANDS), or of a sensor, (n,).  ``lost``: it waited too long."""
        self.serial = self.serial % 63 + 1
        self.device.ran = None
        pressed, is_new = self.pressed, self.pressed and self.wants_new
        if self.channels is not None:  # the button of a sensor is a level
            self.pressed = False
        engine = self.device.engine
        table = engine.read(Region.VALUE, table_first(engine.config), TABLE_BYTES) & 0xFF
        if not engine.program or table[0] != MAGIC:
            return answer("X", verdict or NO_NETWORK)
        label = None if table[LABEL] == NO_LABEL else int(table[LABEL])
        trainer = self.device.trainer
        valid = trainer is not None and bool(trainer.registers.valid)
        classes = trainer.registers.classes if trainer else 0
        if pressed:
            label = classes if is_new else self.pin_label
        used = False
        if verdict is not Verdict.SAMPLE:
            kind, number = "X", int(verdict)
        elif lost:
            kind, number = "X", LOST
        else:
            used = label is not None
            unknown = label is not None and (
                label >= table[CLASSES] or (label >= classes and not is_new if valid else is_new)
            )
            kind, number = ("X", NO_CLASS) if unknown else self._run(table, codes, label)
        if used and not pressed:
            self._put(LABEL, NO_LABEL)
        elif used:
            self.pressed = False
        self._put(NUMBER, number, LETTERS.index(kind) | self.serial << KIND_BITS)
        if kind == "L" and trainer is not None:
            trainer.learned(number)
            trainer.work()
            self._teach(trainer, table, codes, number)
        return answer(kind, number)

    def _teach(self, trainer: StandaloneTrainer, table: Raw, codes: Raw, label: int) -> None:
        """The rounds of a lesson after the first one, while the network is that of the flash."""
        r = trainer.registers
        done = 1
        while done < r.rounds and r.valid and r.fault == Fault.NONE:
            self._run(table, codes, label)
            trainer.learned(label)
            trainer.work()
            done += 1
        trainer.finish()
        trainer.work()

    def _run(self, table: Raw, codes: Raw, label: int | None) -> tuple[str, int]:
        """Write a sample as the controller does, and run."""
        engine = self.device.engine
        lanes = engine.config.lanes
        tile, inputs, target = (int(table[at] | table[at + 1] << 8) for at in (TILE, ADDRESS, TARGET))
        if self.channels is None:
            self._write_word(table, codes, tile, inputs)
        else:
            pairs = table[SCALING : SCALING + 4 * self.channels].reshape(-1, 2)
            engine.write(Region.VALUE, inputs, ChannelScaling(pairs[:, 0], pairs[:, 1]).inputs(codes))
        if label is not None:
            outputs = -(-int(table[CLASSES]) // lanes) * lanes
            engine.write(Region.VALUE, target, np.where(np.arange(outputs) == label, ONE, 0))
        prediction, *_ = self.device.run(learn=label is not None)
        return ("C", prediction) if label is None else ("L", label)

    def _write_word(self, table: Raw, codes: Raw, tile: int, present: int) -> None:
        """Write the tokens of a word, and which are present."""
        engine = self.device.engine
        lanes = engine.config.lanes
        threes = table[SCALING : SCALING + SCALING_BYTES * BANDS].reshape(BANDS, SCALING_BYTES)
        both = threes @ (1 << 8 * np.arange(SCALING_BYTES))
        tokens = Scaling(both & 0xFFF, both >> 12).tokens(codes)
        columns = -(-tokens.shape[1] // lanes)
        for row, values in enumerate(tokens << engine.config.numerics.fraction - FRACTION):
            column = np.arange(len(values))
            tiles = tile + row // lanes * columns + column // lanes
            address = (tiles * lanes + row % lanes) * lanes + ((row ^ column) & lanes - 1)
            for at, value in zip(address.tolist(), values.tolist(), strict=True):
                engine.write(Region.WEIGHT, at, np.array([value]))
        engine.write(Region.VALUE, present, np.where(np.arange(TOKENS) < len(tokens), ONE, 0))

    def _put(self, offset: int, *values: int) -> None:
        """Write bytes of the table."""
        engine = self.device.engine
        engine.write(Region.VALUE, table_first(engine.config) + offset, np.array(values))

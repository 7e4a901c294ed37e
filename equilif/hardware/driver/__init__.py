"""The C driver of an exported engine, and a network as C arrays and as a memory image for it.

The fields of :class:`DriverNetwork` are those of ``struct equilif_network`` in ``driver.h``, in its order.

An image has 32-bit words, little endian: MAGIC, LAYOUT, number of bytes, CRC-32 (as zlib's) of all that
follows; the fields, the identity last; then program, blocks (target, inputs, rates), weights (16 bits,
signed, filled to a whole word) and constants (8 bits, filled to a whole word).
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from equilif.training.storage.history import saved_history
from equilif.training.storage.identity import NetworkIdentity
from equilif_golden import network as networks
from equilif_golden.blocks import synapse as syn
from equilif_golden.blocks.plasticity import DITHER_MASK
from equilif_golden.engine.compiler import Compiled, engine_for
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS, LearnMode, Op, assemble
from equilif_golden.engine.port import dither_position, updates_at
from equilif_golden.fixed import Raw
from equilif_golden.link.registers import REGISTERS, VERSION, constants
from equilif_golden.network import Network, Weights
from equilif_golden.populations import Input, Population

FOLDER = Path(__file__).parent
MAGIC = int.from_bytes(b"EQLN", "little")
STATE_MAGIC = int.from_bytes(b"EQLS", "little")
LAYOUT = 3  #: of image and state
#: magic, layout, version, identity, counter, number of weights, CRC-32: struct equilif_state
STATE = struct.Struct("<10I")
MAX_COLUMN = 100  #: of a line of an array
#: files that a network adds to an export
FILES = ("network.h", "network.bin")


class ValueBlock(NamedTuple):
    """Values of a population: ``rows`` times ``width`` neighbouring elements, ``stride`` from row to row."""

    first: int
    rows: int
    width: int
    stride: int


@dataclass(frozen=True)
class DriverNetwork:
    """A network compiled for an engine, as the driver loads it."""

    fields: dict[str, int]
    identity: tuple[int, ...]
    program: Raw
    target: ValueBlock
    #: in the order of the values of a sample, and of the LIF populations; by population
    inputs: dict[str, list[ValueBlock]]
    rates: dict[str, list[ValueBlock]]
    weights: Raw
    constants: Raw

    @classmethod
    def load(cls, path: Path, config: EngineConfig, learning_rate: float | None = None) -> Self:
        """Compile a saved network; without a learning rate with that of the run in its folder.

        ValueError where neither tells it, or for a network that cannot learn.
        """
        found = networks.read(path)
        network, weights = found.network, found.weights
        if learning_rate is None and network.trainable:
            history = saved_history(path.parent)
            # a run in real numbers has a rate of another optimiser
            if history is None or history.real or not history.knows(weights):
                raise ValueError(
                    f"{path} has no run that tells its learning rate: give --learning-rate, 0 for inference "
                    "alone"
                )
            learning_rate = history.preset.learning_rate
        if learning_rate and not network.trainable:
            raise ValueError(f"{path} cannot learn: {network.untrainable}; or leave out --learning-rate")
        return cls.compile(
            network,
            weights,
            config,
            learning_rate=learning_rate or 0.0,
            counter=found.counter,
            about=found.about,
        )

    @classmethod
    def compile(
        cls,
        network: Network,
        weights: Weights,
        config: EngineConfig,
        *,
        learning_rate: float,
        counter: int = 0,
        about: Mapping[str, Any] | None = None,
    ) -> Self:
        """Compile a network; ``about``: its data record, see equilif_golden.network.about.

        CapacityError when the engine cannot hold the network; ValueError for an embedding table.
        """
        if network.table:
            raise ValueError(
                f"the C driver has no embedding table, and {network.table.pre} trains one: export a network "
                "whose tokens are given"
            )
        compiled = Compiled(network, config)
        layer = network.dynamic_attention
        present = compiled.groups[f"{layer.attention.name} present"].first * config.lanes if layer else 0
        registers = constants(config)
        instructions = compiled.program(learning_rate)
        program = assemble(instructions)
        first_constant, values = compiled.constants()
        words = compiled.weight_words(weights).ravel()
        inputs = {q.name: _input_blocks(compiled, q) for q in network.inputs}
        rates = {q.name: [_block(compiled, q)] for q in network.lif}
        target = ValueBlock(compiled.groups[compiled.target].first * config.lanes, 1, network.n_outputs, 0)
        sample = compiled.sample(np.zeros(network.n_inputs, np.int64), np.zeros(network.n_outputs, np.int64))
        fields = {
            "version": registers["VERSION"],
            "numerics": registers["NUMERICS"],
            "tiles": compiled.all_tiles,
            "value_groups": compiled.n_groups,
            "state_groups": compiled.state_groups,
            "num_inputs": network.n_inputs,
            "num_outputs": network.n_outputs,
            "num_rates": sum(q.size for q in network.lif),
            "first_sample": compiled.sample_first if network.inputs or layer else target.first,
            "num_sample": len(sample),
            "first_constant": first_constant,
            "num_constants": len(values),
            "num_program": len(program),
            "num_updates": sum(i.op == Op.LEARN and not i.mode & LearnMode.STORE for i in instructions),
            "num_weights": len(words),
            "counter": dither_position(counter),
            "num_input_blocks": sum(map(len, inputs.values())),
            "num_rate_blocks": len(rates),
            "num_tokens": layer.attention.size if layer else 0,
            "token_width": layer.relay.width if layer else 0,
            "first_token": compiled.tokens_first if layer else 0,
            "first_present": present,
        }
        assert len(program) == WORDS * len(instructions)
        identity = NetworkIdentity.of(network, about).words()
        return cls(fields, identity, program, target, inputs, rates, words, values)

    def _blocks(self) -> Iterator[ValueBlock]:
        yield self.target
        yield from chain(*self.inputs.values(), *self.rates.values())

    def image(self) -> bytes:
        """The content of network.bin."""
        words = [*self.fields.values(), *self.identity, *self.program]
        words += [n for b in self._blocks() for n in b]
        content = b"".join(
            part + bytes(-len(part) % 4)
            for part in (
                np.array(words, "<u4").tobytes(),
                self.weights.astype("<i2").tobytes(),
                self.constants.astype(np.uint8).tobytes(),
            )
        )
        preamble = np.array([MAGIC, LAYOUT, 16 + len(content), zlib.crc32(content)], "<u4")
        return preamble.tobytes() + content

    def header(self, name: str) -> str:
        """The content of network.h; ``name``: of the header of the engine."""
        # an array of C has at least one element
        arrays: dict[str, Iterable[str]] = {
            "uint32_t equilif_program": [f"0x{word:08X}u" for word in self.program],
            "int16_t equilif_weights": map(str, self.weights),
            "uint8_t equilif_constants": [str(n) for n in self.constants] or ["0"],
            "struct equilif_block equilif_target": [_block_text(self.target)],
            "struct equilif_block equilif_inputs": [*map(_block_text, chain(*self.inputs.values()))]
            or [_block_text(ValueBlock(0, 0, 0, 0))],
            "struct equilif_block equilif_rate_blocks": map(_block_text, chain(*self.rates.values())),
        }
        sizes = "num_inputs num_outputs num_rates num_weights num_tokens token_width".split()
        pointers = "program target inputs rate_blocks weights constants".split()
        identity = ", ".join(f"0x{word:08X}u" for word in self.identity)
        values = [
            *map(_field_text, self.fields.items()),
            f"{{{identity}}} /* identity */",
            *(f"equilif_{p}" for p in pointers),
        ]
        places = [
            f" *   {kind} {label}: element {blocks[0].first}, {sum(b.rows * b.width for b in blocks)} values"
            for kind, group in (
                ("input", self.inputs),
                ("target", {"one-hot, 0 or 255": [self.target]}),
                ("rates", self.rates),
            )
            for label, blocks in group.items()
        ]
        return "\n".join(
            [
                "/* A network for the engine and the driver of this folder; include it in one source file.",
                " * First elements in region VALUES; gaps between rows are in the arrays of blocks:",
                *places,
                " */",
                "#ifndef EQUILIF_NETWORK_H",
                "#define EQUILIF_NETWORK_H",
                f'#include "{name}.h"',
                "",
                *(f"#define EQUILIF_NETWORK_{n.upper()} {self.fields[n]}u" for n in sizes),
                *(f"\nstatic const {d}[] = {{\n{_lines(items)}\n}};" for d, items in arrays.items()),
                "",
                "static const struct equilif_network equilif_network = {",
                *(f"    {value}," for value in values),
                "};",
                "",
                "#endif",
                "",
            ]
        )


def read_saved(path: Path, network: Network, about: Mapping[str, Any] | None) -> tuple[Weights, int]:
    """Weights and number of updates that the driver saved; an embedding table is not among them.

    ``path``: ``struct equilif_state``, then the weights, of 16 bits each, as a little-endian processor holds
    them after ``equilif_save``.  ``network``, ``about``: those of the export.  The number of updates is
    modulo the dither's cycle.

    ValueError for the state of another network, driver or register map, or a damaged one.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise ValueError("expected a file or a pipe")
    with path.open("rb") as f:
        head = f.read(STATE.size)
        if len(head) < STATE.size:
            raise ValueError(f"the state of a driver has at least {STATE.size} bytes, not {len(head)}")
        magic, layout, version, *identity, position, n, crc = STATE.unpack(head)
        register = REGISTERS["VERSION"]
        if (magic, layout, register.unpack(version)["MAP"]) != (STATE_MAGIC, LAYOUT, VERSION):
            raise ValueError(
                f"expected the state of a driver of layout {LAYOUT} and an engine of map {VERSION}, which "
                "begins with EQLS: export the network again, and compile its driver"
            )
        difference = NetworkIdentity.of(network, about).difference(NetworkIdentity.from_words(identity))
        if difference:
            raise ValueError(f"these are weights of {difference}: give the network that was exported")
        if position > DITHER_MASK:
            raise ValueError(f"the dither counter must be at most {DITHER_MASK}, not {position}")
        lanes = register.unpack(version)["LANES"]
        compiled = Compiled(network, engine_for(network, lanes=lanes))
        expected = compiled.n_tiles * lanes**2
        content = f.read(2 * expected + 1)
    if n != expected or len(content) != 2 * expected:
        raise ValueError(
            f"this network has {expected} weights on {lanes} lanes, padding included, not {n} in "
            f"{'more than ' if len(content) > 2 * expected else ''}{min(len(content), 2 * expected)} bytes"
        )
    if zlib.crc32(head[:-4] + content) != crc:
        raise ValueError("its checksum is wrong: it is damaged")
    words = np.frombuffer(content, "<i2").astype(np.int64)
    weights = compiled.weights(words.reshape(-1, lanes))
    known = {s.name: np.zeros(network.shape(s), np.int64) for s in network.plastic} | weights
    if not np.array_equal(compiled.weight_words(known).ravel(), words):
        raise ValueError("elements that no weight uses must be 0: these are weights of another network")
    return weights, updates_at(position)


def declarations() -> str:
    """The part of the engine's header that declares the driver."""
    return (FOLDER / "driver.h").read_text()


def source(name: str) -> str:
    """The driver; ``name``: of the header of the engine."""
    return (FOLDER / "driver.c").read_text().replace('"equilif.h"', f'"{name}.h"', 1)


def _block(compiled: Compiled, q: Population) -> ValueBlock:
    """Block of the values of a population."""
    p = compiled.config.lanes
    stride = syn.groups(q.maps, p) * p
    first = compiled.groups[q.name].first * p
    return ValueBlock(first, q.size // q.maps, q.maps, stride)


def _input_blocks(compiled: Compiled, q: Input) -> list[ValueBlock]:
    """Blocks in the order of an input's values; a folded image has one for each row of pixels, one with its
    channels first for each channel.
    """
    block = _block(compiled, q)
    if q.shape is None or not q.folded:
        return [block]
    if q.channels_first:
        return [ValueBlock(block.first + k, q.shape.positions, 1, block.stride) for k in range(q.maps)]
    height, columns, maps = q.shape
    width = maps // q.patch
    return [
        ValueBlock(block.first + y * columns * block.stride + row * width, columns, width, block.stride)
        for y in range(height)
        for row in range(q.patch)
    ]


def _block_text(block: ValueBlock) -> str:
    return "{" + ", ".join(map(str, block)) + "}"


def _field_text(field: tuple[str, int]) -> str:
    name, value = field
    return f"{value}u /* {name} */" if name not in ("version", "numerics") else f"0x{value:08X}u /* {name} */"


def _lines(items: Iterable[str]) -> str:
    """Elements of an array, separated by commas, in lines."""
    lines = [""]
    for item in items:
        if len(lines[-1]) + len(item) > MAX_COLUMN:
            lines.append("")
        lines[-1] += f" {item},"
    return "\n".join(f"   {line}" for line in lines)

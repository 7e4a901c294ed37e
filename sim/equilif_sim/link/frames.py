"""Random frames for a device, valid and with every kind of error."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import (
    FIELDS,
    OPERATIONS,
    WORDS,
    Instruction,
    Op,
    ProgramError,
    assemble,
    check,
    disassemble,
)
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size, word_weights
from equilif_golden.link.protocol import (
    END_OF_SAMPLE,
    INSTRUCTION_BYTES,
    LEARN,
    MAX_LITERALS,
    MAX_SAMPLES,
    OVERHEAD,
    PACKED,
    READ_HEADER,
    RUN_HEADER,
    WRITE_HEADER,
    ZERO_BITS,
    Command,
    pack,
    seal,
)
from equilif_sim.tools.programs import independent, random_instruction, random_program, spoil


def code_of(*program: Instruction) -> bytes:
    return assemble(program).astype("<u4").tobytes()


class RandomFrames:
    """Random frames for a device of this size, valid and invalid.  ``max_samples``: of a RUN."""

    def __init__(
        self, config: EngineConfig, frame_bytes: int, rng: random.Random, *, max_samples: int = MAX_SAMPLES
    ):
        self.config = config
        self.frame_bytes = frame_bytes
        self.max_samples = max_samples
        self.rng = rng
        #: of what is made with NumPy
        self.numbers = np.random.default_rng(rng.getrandbits(32))
        self.most = frame_bytes - OVERHEAD
        self.sequence = 0

    def seal(self, command: int, payload: bytes = b"") -> bytes:
        self.sequence = self.sequence % 255 + 1
        return seal(command, self.sequence, payload)

    def span(self, size: int, most: int) -> tuple[int, int]:
        rng = self.rng
        n = rng.randint(1, min(size, most))
        return rng.choice([0, size - n, rng.randint(0, size - n)]), n

    def program(self) -> list[Instruction]:
        """A right one, of any groups and as long as a frame carries at most."""
        most = min(self.config.program_words // WORDS, self.most // INSTRUCTION_BYTES)
        groups = self.config.value_groups
        return random_program(self.numbers, self.config, groups=groups, most=most)

    def load(self) -> bytes:
        return self.seal(Command.LOAD, code_of(*self.program()))

    def write(self) -> bytes:
        region = self.rng.choice([*READ_BYTES])
        size = WRITE_BYTES[region]
        address, n = self.span(region_size(self.config, region), (self.most - WRITE_HEADER.size) // size)
        if region == Region.WEIGHT:  # whole words
            word = word_weights(self.config)
            address, n = address // word * word, -(-n // word) * word
        data = self.rng.randbytes(n * size)
        return self.seal(Command.WRITE, WRITE_HEADER.pack(region, address) + data)

    def read(self) -> bytes:
        region = self.rng.choice([*READ_BYTES])
        address, n = self.span(region_size(self.config, region), 40)
        return self.seal(Command.READ, READ_HEADER.pack(region, address, self.rng.choice([n, n, n, 0])))

    def run(self) -> bytes:
        size = region_size(self.config, Region.VALUE)
        address, n = self.span(size, self.most - RUN_HEADER.size)
        read, count = self.span(size, 30)
        if self.rng.random() < 0.3:
            address = self.rng.getrandbits(32)
            n = 0  # an empty range has no address
        if self.rng.random() < 0.3:
            read = self.rng.getrandbits(32)
            count = 0
        flags = self.rng.choice([0, LEARN]) | self.rng.choice([0, PACKED])
        values = self.rng.randbytes(n)
        if flags & PACKED:
            values = self.samples(n)
        return self.seal(Command.RUN, RUN_HEADER.pack(flags, read, count, address) + values)

    def samples(self, most: int) -> bytes:
        """Packed values of one or several samples, of at most `most` values each, as many as fit."""
        rng = self.rng
        n = rng.choice([1, 1, self.max_samples, rng.randint(1, self.max_samples)])
        room = self.most - RUN_HEADER.size
        samples = [self.packed(rng.randbytes(rng.choice([0, most, rng.randint(0, most)])))]
        while len(samples) < n:
            samples.append(self.packed(rng.randbytes(rng.randint(0, min(most, 12)))))
        frame = samples[0] if len(samples[0]) <= room else b""
        for sample in samples[1:]:
            if len(frame) + 1 + len(sample) <= room:
                frame += bytes([END_OF_SAMPLE]) + sample
        return frame

    def packed(self, values: bytes) -> bytes:
        """Mostly zeros in their place, at times as many as a power of two; what is not zero is so by one bit,
        or by any; at times a run of zeros is in two parts, and at times zeros are literals.
        """
        rng = self.rng
        if rng.random() < 0.3:
            zeros = 1 << rng.randrange(len(values).bit_length() + 1)
            values = bytes(zeros)[: len(values)] + values[zeros:]
        else:
            ones = [1 << rng.randrange(8) if rng.random() < 0.5 else v for v in values]
            values = bytes(v if rng.random() < 0.2 else 0 for v in ones)
        at = rng.randint(0, len(values))
        plain = values[at : at + MAX_LITERALS] if rng.random() < 0.3 else b""
        group = bytes([len(plain) << ZERO_BITS]) + plain if plain else b""
        return pack(values[:at]) + group + pack(values[at + len(plain) :])

    def identify(self) -> bytes:
        return self.seal(Command.IDENTIFY)

    def good(self) -> bytes:
        return self.rng.choice([self.load, self.write, self.read, self.run, self.identify])()

    # -- wrong ones: every function returns what stands between two ENDs, before SLIP --------------
    def truncated(self) -> bytes:
        frame = self.good()
        return frame[: self.rng.randint(1, len(frame) - 1)]

    def flipped(self) -> bytes:
        """One to three bits: within the distance of the CRC."""
        frame = bytearray(self.good())
        for bit in self.rng.sample(range(8 * len(frame)), self.rng.randint(1, 3)):
            frame[bit // 8] ^= 1 << bit % 8
        return bytes(frame)

    def noise(self) -> bytes:
        return self.rng.randbytes(self.rng.randint(1, self.frame_bytes + 20))

    def long(self) -> bytes:
        n = self.most - WRITE_HEADER.size + self.rng.choice([1, 1, 2, 90])
        return self.seal(Command.WRITE, WRITE_HEADER.pack(Region.VALUE, 0) + bytes(n))

    def unknown(self) -> bytes:
        command = self.rng.choice([n for n in range(256) if n not in list(Command)])
        return self.seal(command, self.rng.randbytes(self.rng.choice([0, 5, 12])))

    def length(self) -> bytes:
        rng = self.rng
        makers: list[Callable[[], bytes]] = [
            lambda: self.seal(Command.IDENTIFY, rng.randbytes(rng.randint(1, 20))),
            lambda: self.seal(Command.LOAD, code_of(*self.program())[: -rng.randint(1, 11)]),
            lambda: self.seal(Command.LOAD),
            lambda: self.seal(Command.WRITE, rng.randbytes(rng.randint(0, 5))),
            lambda: self.seal(
                Command.WRITE, WRITE_HEADER.pack(Region.WEIGHT, 0) + rng.randbytes(2 * rng.randint(0, 9) + 1)
            ),
            lambda: self.seal(
                Command.WRITE,
                WRITE_HEADER.pack(Region.COUNTER, 0) + rng.randbytes(rng.choice([1, 2, 3, 5, 6, 7])),
            ),
            lambda: self.seal(
                Command.READ, READ_HEADER.pack(Region.VALUE, 0, 1) + rng.randbytes(rng.randint(1, 9))
            ),
            lambda: self.seal(Command.READ, READ_HEADER.pack(Region.VALUE, 0, 1)[: rng.randint(0, 6)]),
            lambda: self.seal(Command.RUN, RUN_HEADER.pack(1, 0, 1, 0)[: rng.randint(0, 10)]),
            lambda: self.seal(
                Command.RUN,
                RUN_HEADER.pack(rng.choice([4, 5]), 0, 1, 0)
                + rng.choice([b"", b"\x07", b"\x22\x09"])
                + rng.choice([b"\x20", b"\x61\1\2", b"\xe0" + bytes(6)]),
            ),
            lambda: self.seal(
                Command.RUN,
                RUN_HEADER.pack(rng.choice([4, 5]), 0, 1, 0)
                + rng.choice([b"", b"\x21\x09"])
                + bytes(rng.randint(self.max_samples, self.max_samples + 3)),
            ),
        ]
        return rng.choice(makers)()

    def address(self) -> bytes:
        """Ranges that end beyond a region, by one or by much."""
        rng = self.rng
        region = rng.choice([*READ_BYTES])
        size = region_size(self.config, region)
        n = rng.randint(1, min(size, 20))
        first = rng.choice(
            [
                size - n + 1,
                size,
                size + 1,
                (1 << 32) - 1,
                (1 << 32) - n,
                1 << rng.randint(size.bit_length(), 31),
            ]
        )
        values = region_size(self.config, Region.VALUE)
        beyond = rng.choice(
            [values, values - n + 1 if n <= values else values, 1 << 31, (1 << 32) - 1, values + 256]
        )
        makers: list[Callable[[], bytes]] = [
            lambda: self.seal(
                Command.WRITE, WRITE_HEADER.pack(region, first) + rng.randbytes(n * WRITE_BYTES[region])
            ),
            lambda: self.seal(Command.READ, READ_HEADER.pack(region, first, n)),
            lambda: self.seal(Command.READ, READ_HEADER.pack(region, rng.randint(0, size - 1), 65535)),
            lambda: self.seal(Command.RUN, RUN_HEADER.pack(1, 0, 0, beyond) + rng.randbytes(n)),
            lambda: self.seal(Command.RUN, RUN_HEADER.pack(1, beyond, n, 0) + b"\x55"),
            lambda: self.seal(
                Command.RUN, RUN_HEADER.pack(5, 0, 1, max(values - 31, 0)) + bytes([min(values, 31)]) + b"\1"
            ),
            lambda: self.seal(
                Command.RUN,
                RUN_HEADER.pack(5, 0, 1, values - n if n <= values else 0)
                + bytes([0x20 | min(n, 31)])
                + b"\xff"
                + (b"" if n <= values else bytes([31]) * (values // 31)),
            ),
            lambda: self.seal(  # in the second sample
                Command.RUN, RUN_HEADER.pack(5, 0, 1, values - 1) + b"\1\0\2"
            ),
        ]
        return rng.choice(makers)()

    def argument(self) -> bytes:
        rng = self.rng
        makers: list[Callable[[], bytes]] = [
            lambda: self.seal(
                Command.WRITE, WRITE_HEADER.pack(rng.choice([2, *range(4, 256)]), 0) + rng.randbytes(4)
            ),
            lambda: self.seal(Command.READ, READ_HEADER.pack(rng.choice([2, *range(4, 256)]), 0, 1)),
            lambda: self.seal(
                Command.RUN, RUN_HEADER.pack(rng.choice([n for n in range(256) if n & ~5]), 0, 1, 0) + b"\x99"
            ),
        ]
        return rng.choice(makers)()

    def bad_program(self) -> bytes:
        while True:
            program, _ = spoil(self.numbers, self.program(), self.config)
            # without an instruction the length is wrong
            if 0 < len(program) <= self.most // INSTRUCTION_BYTES:
                return self.seal(Command.LOAD, code_of(*program))

    def single_bits(self) -> list[bytes]:
        """Programs that one wrong bit makes wrong, of each bit of an instruction that can: where the sum of
        tiles would tell, too, and where it would not.
        """
        plain = independent(self.config)
        synaptic = [op for op in plain if "tile" in OPERATIONS[op].operands]
        found = []
        for bit in range(sum(width for _, width, _ in FIELDS)):
            for group in (synaptic, [op for op in plain if op not in synaptic]):
                for op in self.rng.sample(group, len(group)):
                    i = random_instruction(self.numbers, self.config, op, groups=1)
                    words = assemble([i, Op.HALT()])
                    words[bit // 32] ^= 1 << bit % 32
                    try:
                        check(disassemble(words), self.config)
                    except ProgramError:
                        found.append(self.seal(Command.LOAD, words.astype("<u4").tobytes()))
                        break
        return found

    def long_program(self) -> bytes:
        n = self.config.program_words // 3 + 1
        assert 12 * n <= self.most
        return self.seal(Command.LOAD, code_of(*[Op.HALT()] * n))

    def half_word(self) -> bytes:
        """A WRITE of external weights that begins or ends within a word of the SDRAM."""
        rng = self.rng
        first = rng.randrange(self.config.n_weights, region_size(self.config, Region.WEIGHT) - 8)
        n = rng.choice([1, 3]) if first % 2 == 0 else rng.randint(1, 8)
        return self.seal(Command.WRITE, WRITE_HEADER.pack(Region.WEIGHT, first) + rng.randbytes(2 * n))

    @property
    def kinds(self) -> list[Callable[[], bytes]]:
        return [
            self.truncated,
            self.flipped,
            self.noise,
            self.long,
            self.unknown,
            self.length,
            self.address,
            self.argument,
            self.bad_program,
            self.long_program,
            *([self.half_word] if word_weights(self.config) > 1 else []),
        ]

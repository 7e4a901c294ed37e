"""Interface of an engine: load a program, run it, write and read memories element by element.

The model, the RTL in simulation and a board behind a link are each an :class:`Engine`;
equilif_golden.engine.chip puts a network on any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Instruction
from equilif_golden.engine.tables import RowOp, TableTokens, with_presence
from equilif_golden.fixed import Raw, check_int, integers


class Region(IntEnum):
    """Memories.  Elements are numbered word by word, lane by lane."""

    #: 16-bit signed; address = word * P + bank, layout of equilif_golden.blocks.synapse.to_words; that of
    #: external weights, which follow, is equilif_golden.engine.external.to_rows
    WEIGHT = 0
    VALUE = 1  #: written as one byte, to plus and minus; read as two, plus then minus
    PROGRAM = 2  #: 32-bit words; written by LOAD only
    #: one 32-bit element: position of the dither, (updates * DITHER_UPDATE) mod 2**DITHER_WIDTH
    COUNTER = 3


WRITE_BYTES = {Region.WEIGHT: 2, Region.VALUE: 1, Region.PROGRAM: 4, Region.COUNTER: 4}  #: of an element
#: the same; LOAD alone sees the program
READ_BYTES = {Region.WEIGHT: 2, Region.VALUE: 2, Region.COUNTER: 4}


def region_size(config: EngineConfig, region: Region) -> int:
    """Elements in a region; ValueError when it is none."""
    if region not in list(Region):
        raise ValueError(f"region must be one of {', '.join(r.name for r in Region)}, not {region!r}")
    return {
        Region.WEIGHT: config.all_tiles * config.lanes**2,
        Region.VALUE: config.value_groups * config.lanes,
        Region.PROGRAM: config.program_words,
        Region.COUNTER: 1,
    }[region]


def elements(config: EngineConfig, region: Region, first: int, n: int) -> slice:
    """Elements ``first`` .. ``first + n - 1`` of a region; ValueError when not all of them are there."""
    size = region_size(config, region)
    limit = 1 << 32  # where addresses of the link end
    at = check_int(first, "first", -limit, limit, "the first element")
    count = check_int(n, "n", 0, limit, "the number of elements")
    if not 0 <= at <= at + count <= size:
        raise ValueError(f"{region.name} has elements 0..{size - 1}, not {at}..{at + count - 1}")
    return slice(at, at + count)


def writable(config: EngineConfig, region: Region, first: int, data: npt.ArrayLike) -> tuple[slice, Raw]:
    """Place of elements, and the elements themselves; ValueError when they or their place do not exist."""
    if region == Region.PROGRAM:
        raise ValueError("a program is loaded, not written: what is wrong with it must be found before")
    name, lo, hi = {
        Region.WEIGHT: ("weights", config.numerics.weight.lo, config.numerics.weight.hi),
        Region.VALUE: ("values", 0, 255),
        Region.COUNTER: ("positions of the dither", 0, DITHER_MASK),
    }[region]
    checked = integers(data, name, lo, hi)
    if checked.ndim != 1:
        raise ValueError(f"{name} are written one after the other, in one dimension, not {checked.ndim}")
    at = elements(config, region, first, len(checked))
    if divides_word(config, region, at.start) or divides_word(config, region, at.stop):
        raise ValueError(
            f"external weights are written in words of {word_weights(config)}, not {at.start}..{at.stop - 1}"
        )
    return at, checked


def word_weights(config: EngineConfig) -> int:
    """Weights of a word of the SDRAM."""
    return config.external.chip.width // 16 if config.external else 1


def divides_word(config: EngineConfig, region: Region, element: int) -> bool:
    """The element is within a word of the SDRAM, so that a WRITE may neither begin nor end before it."""
    return region == Region.WEIGHT and element > config.n_weights and element % word_weights(config) > 0


def readable(config: EngineConfig, region: Region, first: int, n: int) -> slice:
    """Check a region as :func:`elements` does; ValueError for the program, which only :meth:`Engine.load`
    sees.
    """
    if region == Region.PROGRAM:
        raise ValueError("a program is loaded and run, not read")
    return elements(config, region, first, n)


def dither_position(updates: int) -> int:
    """Content of region COUNTER after ``updates`` weight updates."""
    return updates * DITHER_UPDATE & DITHER_MASK


def updates_at(position: int) -> int:
    """Inverse of :func:`dither_position`: the number of updates, modulo the dither's cycle."""
    return position * pow(DITHER_UPDATE, -1, DITHER_MASK + 1) & DITHER_MASK


def _no_values() -> Raw:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class RunResult:
    """Results of a run."""

    #: class: the first output neuron with the largest rate
    prediction: int
    #: spikes of all LIF populations in all phases
    spikes: int
    #: accessed weight words of P lanes
    accesses: int
    #: clock cycles
    cycles: int = 0
    #: equilif_golden.engine.activity.NAMES, if the engine counts and reports them
    activity: tuple[int, ...] = ()
    #: requested values, plus + 256 minus
    values: Raw = field(default_factory=_no_values)


@dataclass(frozen=True)
class Batch:
    """Results of consecutive runs."""

    predictions: Raw  #: (samples,)
    #: of all of them, as in :class:`RunResult`
    spikes: int
    accesses: int
    cycles: int


class Engine(Protocol):
    """Protocol of an engine.  Elements are integers, see :class:`Region`."""

    @property
    def config(self) -> EngineConfig: ...

    def load(self, program: Sequence[Instruction]) -> None:
        """Load a program.  ProgramError if it is invalid; the previous program then remains loaded."""

    def write(self, region: Region, first: int, data: Raw) -> None:
        """Write elements from number ``first`` on.  A VALUE is written to plus and minus."""

    def read(self, region: Region, first: int, n: int) -> Raw:
        """``n`` elements from number ``first`` on.  A VALUE is plus + 256 minus."""

    def run(
        self,
        *,
        learn: bool,
        write: tuple[int, Raw] | None = None,
        read: tuple[int, int] = (0, 0),
        tokens: TableTokens | None = None,
    ) -> RunResult:
        """Run the program.  Before it, ``write`` values (first element, values); after it, ``read`` values
        (first element, number): over a line these go in the same frames.

        ``tokens``: with ``external.tables``, before the run their rows are the patterns, and 255 is written
        from the first element of ``write`` on, for each token; the values follow.  After learning the
        changes of the patterns are added to the rows.
        """


class TableEngine(Protocol):
    """An engine that transfers rows of embedding tables."""

    @property
    def config(self) -> EngineConfig: ...

    def write(self, region: Region, first: int, data: npt.ArrayLike) -> None: ...

    def transfer(self, op: RowOp, tokens: TableTokens) -> object: ...


def begin_run(
    engine: TableEngine, write: tuple[int, npt.ArrayLike] | None, tokens: TableTokens | None
) -> TableTokens | None:
    """Write the values of a run, and gather the rows of its tokens; returns the tokens, checked."""
    if tokens is not None:
        tokens = tokens.checked(engine.config)
    written = with_presence(write, tokens)
    if written is not None:
        engine.write(Region.VALUE, *written)
    if tokens is not None:
        engine.transfer(RowOp.GATHER, tokens)
    return tokens


@runtime_checkable
class BatchEngine(Protocol):
    """An engine that runs several samples faster together than one by one."""

    def run_samples(self, first: int, samples: Iterable[Raw], *, learn: bool) -> Iterator[Batch]:
        """Run the program for each sample, whose values are written from element ``first`` of Region.VALUE.

        ``samples`` is consumed as batches are, in order.
        """


def run_samples(engine: Engine, first: int, samples: Iterable[Raw], *, learn: bool) -> Iterator[Batch]:
    """:meth:`BatchEngine.run_samples` of any engine."""
    if isinstance(engine, BatchEngine):
        yield from engine.run_samples(first, samples, learn=learn)
        return
    for values in samples:
        run = engine.run(learn=learn, write=(first, values))
        yield Batch(np.array([run.prediction]), run.spikes, run.accesses, run.cycles)

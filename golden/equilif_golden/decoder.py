"""A program of the engine as tables of integers, for compiled code (equilif_golden.executor).

The program is that of equilif_golden.engine.compiler for one lane, so groups are neurons and tiles are
weights.  CONVOLVE becomes part of the instruction that follows it.  A dense synapse is a convolution with one
position at both ends.

An instruction through weights goes through the positions of ``post`` and their edges: one for each run of
neighbouring presynaptic neurons under the kernel.

**Two states.** Where nudged phases are interleaved, the second state of a population is only made where it
differs from the first one: FORK copies it before the first time step in which the population is nudged or
receives from spikes that differ.  Until then instructions on its second state are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.error import gate_shift
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import SYNAPTIC, Instruction, Op
from equilif_golden.fixed import VALUE, Fixed

I32 = npt.NDArray[np.int32]

#: instruction that only the executor has: the second state of a population begins as a copy of the first
FORK = 1 + int(max(Op))

#: most neurons for which GATHER reads dense weights row by row of their transposed copy
FEW = 16


class DecodedInstruction(NamedTuple):
    """A decoded instruction.  Operands without a meaning for its operation are zero."""

    op: int
    mode: int = 0
    src: int = 0  #: first neuron of the sources, targets or values
    n_src: int = 0
    dst: int = 0  #: first neuron of the groups
    n_dst: int = 0
    shift: int = 0
    gain: int = 0  #: of DRIVE: added to each product; of a gated RELAY: shift of the rate
    value: int = 0  #: raw operand; of STEP the threshold
    number: int = 0  #: of iterations; of SOFTMAX neurons of a row
    weights: int = 0  #: first weight of the synapse
    n_weights: int = 0
    copy: int = -1  #: number of the transposed copy that is read; -1: none
    at: int = 0  #: first weight, in the synapse or in its copy
    edge_start: int = 0  #: first of DecodedProgram.edge_starts: one per position, and their end
    positions: int = 0  #: of ``post``
    maps: int = 0  #: neurons of a position
    stride: int = 0  #: weights from a neuron of the source to the next one
    length: int = 0  #: neurons of an edge
    loaded: int = 0  #: whether rows are patterns of a sample, of which some are absent
    clamped: int = 0  #: whether the values of the source are equal at +beta and at -beta
    noise_maps: int = 0  #: neurons of a position of ``pre``, for the dither
    region: int = 0  #: number of the region of the weights
    by_rows: int = 0  #: whether rows of dense weights, or of their copy, are read for each destination
    backwards: int = 0  #: whether the source is ``post``
    second: int = 0  #: neurons from the first state to the one that is used; of SAVE: FORK copies later
    twin: int = 0  #: neurons from the first state to a second one, on which the same instruction follows
    population: int = 0  #: number of the destination; 0: several populations
    source: int = 0  #: number of the source of GATHER and FORK; of FORK 0: the populations differ


class DecodedProgram(NamedTuple):
    """A decoded program."""

    instructions: npt.NDArray[np.void]  #: DecodedInstruction
    edge_starts: I32  #: index of the first edge of a position
    edges: I32  #: (n, 2): first neuron of ``pre``; first row of weights
    #: (n, 5), of each transposed copy: first weight, rows, columns, shift of its weights, its first weight
    copies: I32
    n_copies: int
    n_copied: int  #: weights of all copies
    regions: I32  #: (n, 2): first weight and end of weights that are learned or stored together
    n_regions: int
    n_states: int  #: neurons with a state
    n_populations: int  #: of them, and one
    loaded_region: int
    w_lo: int
    w_hi: int


class _Edges:
    """Tables of the geometries of a program."""

    def __init__(self) -> None:
        self.starts: list[I32] = [np.zeros(0, np.int32)]
        self.edges: list[I32] = [np.zeros((0, 2), np.int32)]
        self.known: dict[Geometry, dict[str, int]] = {}
        self.copies: dict[tuple[int, int, int, int], int] = {}
        self.n_copied = 0

    def fields(self, i: Instruction, geometry: Geometry) -> dict[str, int]:
        """Fields of a DecodedInstruction through weights."""
        maps = geometry.pre
        if geometry.rows * geometry.columns == 1:  # all positions of pre are one
            geometry = Geometry(geometry.patch, geometry.post, 1, 1, 1, 1, 1)
        if geometry not in self.known:
            self.known[geometry] = self._add(geometry)
        found = {**self.known[geometry], "weights": i["tile"], "n_weights": geometry.tiles}
        found |= {"at": i["tile"], "noise_maps": maps, "backwards": int(i.backwards)}
        dense = geometry.n_post == geometry.post
        few = i.op == Op.GATHER and geometry.post <= FEW
        by_rows = dense and (i.op == Op.DRIVE if i.backwards else few)
        if i.backwards != by_rows:
            found |= self._copy(i["tile"], geometry, i["shift"] if i.op == Op.GATHER else 0)
        return found | {"by_rows": int(by_rows)}

    def _copy(self, tile: int, geometry: Geometry, shift: int) -> dict[str, int]:
        copy = tile, geometry.patch, geometry.post, shift
        if copy not in self.copies:
            self.copies[copy] = self.n_copied
            self.n_copied += geometry.tiles
        return {"copy": list(self.copies).index(copy), "at": self.copies[copy], "stride": geometry.patch}

    def _add(self, g: Geometry) -> dict[str, int]:
        """Edges of each position of ``post``."""
        neurons = g.patches()
        ends_of_runs = 1 + np.flatnonzero((np.diff(neurons) != 1).any(axis=0))
        run = math.gcd(g.patch, *ends_of_runs.tolist())
        starts = neurons[:, ::run]
        rows = np.broadcast_to(np.arange(0, g.patch, run), starts.shape)
        found = {"edge_start": sum(map(len, self.starts)), "positions": len(starts)}
        ends = np.arange(len(starts) + 1) * starts.shape[1]
        self.starts.append((sum(map(len, self.edges)) + ends).astype(np.int32))
        self.edges.append(np.stack([starts.ravel(), rows.ravel()], axis=1).astype(np.int32))
        return found | {"maps": g.post, "stride": g.post, "length": run}


def _operands(i: Instruction) -> dict[str, int]:
    """Fields of a DecodedInstruction but those of weights."""
    found = {"op": int(i.op), "mode": i.mode, "shift": i.shift, "value": i.operand, "number": i.count}
    found |= {"src": i.src, "n_src": i.n_src, "dst": i.dst, "n_dst": i.n_dst, "gain": i.gain}
    match i.op:
        case Op.STEP:
            found["value"] = i["threshold"]
        case Op.DRIVE:
            found["gain"] = i["rounding"] << (VALUE.f - 1)
        case Op.LEARN:
            found["clamped"] = i["clamped"]
        case Op.RELAY:
            found["gain"] = gate_shift(i["rate_shift"])
        case Op.SOFTMAX:
            found["number"] = i["row"] or i.n_dst
    return found


def _regions(program: Sequence[Instruction]) -> I32:
    """First weights and ends of the weights of each synapse; instructions may share parts of them."""
    found: list[list[int]] = []
    geometry: Geometry | None = None
    ranges = []
    for i in program:
        if i.op in SYNAPTIC:
            ranges.append((i["tile"], i["tile"] + (geometry or i.dense).tiles))
        geometry = i.geometry if i.op == Op.CONVOLVE else None
    for first, end in sorted(ranges):
        if found and first < found[-1][1]:
            found[-1][1] = max(end, found[-1][1])
        else:
            found.append([first, end])
    return np.array(found, np.int32).reshape(-1, 2)


def _region(regions: I32, tile: int) -> int:
    return max(0, int(np.searchsorted(regions[:, 0], tile, "right")) - 1)


def _two_states(
    program: Sequence[Instruction], states: int
) -> Iterator[tuple[Instruction | None, dict[str, int]]]:
    """Instructions, each with the fields that say which states it works on, and FORKs, which are None."""
    if not any(i.second for i in program):
        yield from ((i, {}) for i in program)
        return
    steps = dict.fromkeys((i.dst, i.n_dst) for i in program if i.op == Op.STEP)
    numbers = {dst: k for k, (dst, _) in enumerate(steps, 1)}
    forks = [{"op": FORK, "dst": dst, "n_dst": n, "population": k} for k, (dst, n) in enumerate(steps, 1)]
    saved = False
    step: list[tuple[Instruction | None, dict[str, int]]] = []
    sources: list[int] = []  # of the FORKs before a time step
    for i in program:
        of_step = i.op in (Op.CONVOLVE, Op.GATHER, Op.NUDGE, Op.STEP)
        fields = {"second": states * i.second}
        if saved and of_step and i.op != Op.CONVOLVE:
            fields |= {"population": numbers[i.dst], "source": numbers[i.src] if i.op == Op.GATHER else 0}
            if not i.second:
                fields["twin"] = states
                if i.op != Op.STEP:
                    sources.append(fields["source"])
        if i.op == Op.SAVE:
            saved = True
            fields["second"] = states
        if i.op == Op.MARK and saved:
            # a GATHER of the first state may add to the second one
            if not i.second:
                yield from ((i, {"second": at}) for at in (0, states))
            continue
        if i.op == Op.MEASURE and i.second:
            yield from ((None, fork) for fork in forks)
        step.append((i, fields))
        if i.op == Op.STEP or not of_step:
            fork = forks[fields.get("population", 0) - 1]
            yield from ((None, {**fork, "source": k}) for k in ([0] if 0 in sources else sources))
            yield from step
            step, sources = [], []


def decode(
    program: Sequence[Instruction], weight: Fixed, states: int, loaded: int | None = None
) -> DecodedProgram:
    """Tables of a program for one lane.

    weight   format of the weights
    states   neurons with a state
    loaded   first weight of patterns that are loaded with a sample: drives of absent ones are left out
    """
    tables = _Edges()
    rows = []
    geometry: Geometry | None = None
    regions = _regions(program)
    for i, found in _two_states(program, states):
        if i is not None and i.op == Op.CONVOLVE:
            geometry = i.geometry
            continue
        if i is not None:
            found = _operands(i) | found
            if i.op in SYNAPTIC:
                found |= tables.fields(i, geometry or i.dense) | {"loaded": int(i["tile"] == loaded)}
                found["region"] = _region(regions, i["tile"])
            geometry = None
        rows.append(DecodedInstruction(**found))
    copies = [(*copy, first) for copy, first in tables.copies.items()]
    return DecodedProgram(
        instructions=np.array(rows, [(name, np.int64) for name in DecodedInstruction._fields]),
        edge_starts=np.concatenate(tables.starts),
        edges=np.concatenate(tables.edges),
        copies=np.array(copies, np.int32).reshape(-1, 5),
        n_copies=len(copies),
        n_copied=tables.n_copied,
        regions=regions,
        n_regions=len(regions),
        n_states=states,
        n_populations=1 + max(i.population for i in rows),
        loaded_region=_region(regions, loaded or 0),
        w_lo=weight.lo,
        w_hi=weight.hi,
    )

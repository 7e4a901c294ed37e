"""A program of the engine as tables of integers, for compiled code (equilif_golden.executor).

The program is that of equilif_golden.engine.compiler for one lane, so groups are neurons and tiles are
weights.  CONVOLVE becomes part of the instruction that follows it.  A dense synapse is a convolution with one
position at both ends.

An instruction through weights goes from the positions of its source along edges.  An edge is a run of
neighbouring neurons at the other end and the first of their weights.  Forwards there is one for each joined
position of ``post``.  Backwards, and in LEARN, whose source is ``post``, there is one for each run of
presynaptic neurons under a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.error import gate_shift
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import SYNAPTIC, Instruction, Op
from equilif_golden.fixed import VALUE, Fixed

I32 = npt.NDArray[np.int32]

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
    positions: int = 0  #: of the source; of LEARN those of ``post``
    maps: int = 0  #: neurons of a position
    stride: int = 0  #: weights from a neuron of the source to the next one; of LEARN a row of weights
    length: int = 0  #: neurons of an edge
    loaded: int = 0  #: whether rows are patterns of a sample, of which some are absent
    noise_maps: int = 0  #: neurons of a position of ``pre``, for the dither
    region: int = 0  #: number of the region of the weights
    by_rows: int = 0  #: whether rows of dense weights, or of their copy, are read for each destination


class DecodedProgram(NamedTuple):
    """A decoded program."""

    instructions: npt.NDArray[np.void]  #: DecodedInstruction
    edge_starts: I32  #: index of the first edge of a position
    edges: I32  #: (n, 2): first neuron at the other end; first weight (of LEARN: row), counted from ``at``
    #: (n, 5), of each transposed copy: first weight, rows, columns, shift of its weights, its first weight
    copies: I32
    n_copies: int
    n_copied: int  #: weights of all copies
    regions: I32  #: (n, 2): first weight and end of weights that are learned or stored together
    n_regions: int
    loaded_region: int
    w_lo: int
    w_hi: int


class _Edges:
    """Tables of the geometries of a program."""

    def __init__(self) -> None:
        self.starts: list[I32] = [np.zeros(0, np.int32)]
        self.edges: list[I32] = [np.zeros((0, 2), np.int32)]
        self.known: dict[tuple[Geometry, bool], dict[str, int]] = {}
        self.copies: dict[tuple[int, int, int, int], int] = {}
        self.n_copied = 0

    def fields(self, i: Instruction, geometry: Geometry) -> dict[str, int]:
        """Fields of a DecodedInstruction through weights."""
        maps = geometry.pre
        if geometry.rows * geometry.columns == 1:  # all positions of pre are one
            geometry = Geometry(geometry.patch, geometry.post, 1, 1, 1, 1, 1)
        forward = not i.backwards and i.op != Op.LEARN
        if (geometry, forward) not in self.known:
            self.known[geometry, forward] = self._forward(geometry) if forward else self._backward(geometry)
        found = {**self.known[geometry, forward], "weights": i["tile"], "n_weights": geometry.tiles}
        found |= {"at": i["tile"], "noise_maps": maps}
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

    def _forward(self, g: Geometry) -> dict[str, int]:
        """Edges from each position of ``pre`` to those of ``post`` whose kernels it is under."""
        sources = g.sources()
        order = np.argsort(sources.ravel(), kind="stable")
        post, offset = np.divmod(order, g.offsets)
        ends = np.searchsorted(sources.ravel()[order], np.arange(g.height * g.width + 1))
        edges = np.stack([post * g.post, offset * g.pre * g.post], axis=1)
        return self._add(ends, edges) | {"maps": g.pre, "stride": g.post, "length": g.post}

    def _backward(self, g: Geometry) -> dict[str, int]:
        """Edges from each position of ``post`` to the neurons under its kernel."""
        neurons = g.patches()
        ends_of_runs = 1 + np.flatnonzero((np.diff(neurons) != 1).any(axis=0))
        run = math.gcd(g.patch, *ends_of_runs.tolist())
        starts = neurons[:, ::run]
        rows = np.broadcast_to(np.arange(0, g.patch, run), starts.shape)
        ends = np.arange(len(starts) + 1) * starts.shape[1]
        edges = np.stack([starts.ravel(), rows.ravel()], axis=1)
        return self._add(ends, edges) | {"maps": g.post, "stride": g.post, "length": run}

    def _add(self, ends: npt.NDArray[np.intp], edges: npt.NDArray[np.intp]) -> dict[str, int]:
        found = {"edge_start": sum(map(len, self.starts)), "positions": len(ends) - 1}
        self.starts.append((sum(map(len, self.edges)) + ends).astype(np.int32))
        self.edges.append(edges.astype(np.int32))
        return found


def _operands(i: Instruction) -> dict[str, int]:
    """Fields of a DecodedInstruction but those of weights."""
    found = {"op": int(i.op), "mode": i.mode, "shift": i.shift, "value": i.operand, "number": i.count}
    found |= {"src": i.src, "n_src": i.n_src, "dst": i.dst, "n_dst": i.n_dst, "gain": i.gain}
    match i.op:
        case Op.STEP:
            found["value"] = i["threshold"]
        case Op.DRIVE:
            found["gain"] = i["rounding"] << (VALUE.f - 1)
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


def decode(program: Sequence[Instruction], weight: Fixed, loaded: int | None = None) -> DecodedProgram:
    """Tables of a program for one lane.

    weight   format of the weights
    loaded   first weight of patterns that are loaded with a sample: drives of absent ones are left out
    """
    tables = _Edges()
    rows = []
    geometry: Geometry | None = None
    regions = _regions(program)
    for i in program:
        if i.op == Op.CONVOLVE:
            geometry = i.geometry
            continue
        found = _operands(i)
        if i.op in SYNAPTIC:
            found |= tables.fields(i, geometry or i.dense) | {"loaded": int(i["tile"] == loaded)}
            found["region"] = _region(regions, i["tile"])
        geometry = None
        rows.append(tuple(DecodedInstruction(**found)))
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
        loaded_region=_region(regions, loaded or 0),
        w_lo=weight.lo,
        w_hi=weight.hi,
    )

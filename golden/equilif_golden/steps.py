"""A program of the engine as tables of integers, for compiled code (equilif_golden.executor).

Groups become neurons, tiles become weights, and CONVOLVE becomes part of the instruction that follows it.  A
dense synapse is a convolution with one position at both ends.

Weights are here in plain tiles, without the rotation of equilif_golden.blocks.synapse.to_words.  With one
lane a row of weights is contiguous; with more it is in segments of P weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.error import gate_shift
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import (
    SYNAPTIC,
    Instruction,
    LearnMode,
    MeasureMode,
    NextMode,
    NudgeMode,
    Op,
    RelayMode,
)

I32 = npt.NDArray[np.int32]
#: modes that an engine without an option ignores
_IGNORED = {
    Op.NEXT: ("early_exit", NextMode.EARLY_EXIT),
    Op.MEASURE: ("early_exit", MeasureMode.WATCH),
    Op.LEARN: ("self_attention", LearnMode.STORE),
    Op.NUDGE: ("errors", NudgeMode.STATIC),
    Op.RELAY: ("errors", RelayMode.GATED),
}


class Step(NamedTuple):
    """A decoded instruction.  Operands without a meaning for its operation are zero."""

    op: int
    mode: int
    src: int  #: first neuron of the sources, targets or values
    n_src: int
    dst: int  #: first neuron of the groups
    n_dst: int
    shift: int
    gain: int  #: of DRIVE: added to each product; of a gated RELAY: shift of the rate
    value: int  #: raw operand; of STEP the threshold
    number: int  #: of iterations; of SOFTMAX neurons of a row
    at: int  #: first weight
    copy: int  #: number of the transposed copy
    back: int  #: first weight of this copy, column after column
    rows: int  #: presynaptic neurons of a position of ``post``
    columns: int  #: neurons of a position of ``post``
    positions: int  #: of ``pre``
    maps: int  #: neurons of a position of ``pre``
    targets: int  #: positions of ``post``
    lanes_log2: int
    block: int  #: weights from a group of rows to the next
    segments: int  #: of a row
    length: int  #: of a segment
    edge_start: int  #: first of Steps.edge_starts: one per position of ``pre``, and their end
    run_start: int  #: first of Steps.runs
    runs: int  #: of consecutive neurons, under a position of ``post``
    run: int  #: neurons of a run
    loaded: int  #: whether rows are patterns of a sample, of which some are absent
    noise_maps: int  #: neurons of a position of ``pre``, for the dither


class Steps(NamedTuple):
    """A decoded program."""

    steps: npt.NDArray[np.void]  #: Step
    edge_starts: I32  #: index of the first edge of a position
    edges: I32  #: (n, 2): first neuron of ``post``, and first weight from that of the synapse
    runs: I32  #: first neuron of every run, by position of ``post``
    copies: I32  #: size of each transposed copy
    drive_bits: int  #: of an accumulator, that a sum of 32 bits has in addition
    charge_bits: int  #: the same of a charge
    weight_bits: int  #: of a weight
    w_lo: int
    w_hi: int


class _Shapes:
    """Tables of the geometries of a program."""

    def __init__(self, lanes: int):
        self.lanes = lanes
        self.edge_starts: list[I32] = [np.zeros(0, np.int32)]
        self.edges: list[I32] = [np.zeros((0, 2), np.int32)]
        self.runs: list[I32] = [np.zeros(0, np.int32)]
        self.known: dict[Geometry, dict[str, int]] = {}
        self.copies: dict[tuple[int, Geometry], int] = {}
        self.sizes: list[int] = []

    def fields(self, i: Instruction, geometry: Geometry) -> dict[str, int]:
        """Fields of a Step through weights."""
        noise_maps = geometry.pre * self.lanes
        if geometry.rows * geometry.columns == 1:  # all positions of pre are one
            geometry = Geometry(geometry.patch, geometry.post, 1, 1, 1, 1, 1)
        if geometry not in self.known:
            self.known[geometry] = self._shape(geometry)
        found = {**self.known[geometry], "at": i["tile"] * self.lanes**2, "noise_maps": noise_maps}
        if i.backwards:
            copy = self.copies.setdefault((found["at"], geometry), len(self.sizes))
            if copy == len(self.sizes):
                self.sizes.append(found["rows"] * found["columns"])
            found |= {"copy": copy, "back": sum(self.sizes[:copy])}
        return found

    def _shape(self, g: Geometry) -> dict[str, int]:
        p = self.lanes
        sources = g.sources()
        targets, offsets = sources.shape
        maps = g.pre * p
        neurons = (sources[:, :, None] * maps + np.arange(maps)).reshape(targets, -1)
        rows = neurons.shape[1]
        ends_of_runs = 1 + np.flatnonzero((np.diff(neurons) != 1).any(axis=0))
        run = math.gcd(rows, *ends_of_runs.tolist())
        order = np.argsort(sources.ravel(), kind="stable")
        positions = g.height * g.width
        ends = np.searchsorted(sources.ravel()[order], np.arange(positions + 1))
        post, offset = np.divmod(order, offsets)
        found = {
            "rows": rows,
            "columns": g.post * p,
            "positions": positions,
            "maps": maps,
            "targets": targets,
            "lanes_log2": p.bit_length() - 1,
            "block": g.post * p * p,
            "segments": g.post if p > 1 else 1,
            "length": p if p > 1 else g.post,
            "edge_start": sum(map(len, self.edge_starts)),
            "run_start": sum(map(len, self.runs)),
            "runs": rows // run,
            "run": run,
        }
        self.edge_starts.append((sum(map(len, self.edges)) + ends).astype(np.int32))
        self.edges.append(np.stack([post * g.post * p, offset * g.pre * g.post * p * p], 1).astype(np.int32))
        self.runs.append(neurons[:, ::run].ravel().astype(np.int32))
        return found


def _operands(i: Instruction, config: EngineConfig) -> dict[str, int]:
    """Fields of a Step but those of weights."""
    p = config.lanes
    found = {"op": int(i.op), "mode": i.mode, "shift": i.shift, "value": i.operand, "number": i.count}
    found |= {"src": i.src * p, "n_src": i.n_src * p, "dst": i.dst * p, "n_dst": i.n_dst * p, "gain": i.gain}
    match i.op:
        case Op.STEP:
            found["value"] = i["threshold"]
        case Op.DRIVE:
            found["gain"] = (i["rounding"] & config.errors) << 7
        case Op.RELAY:
            found["gain"] = gate_shift(i["rate_shift"])
        case Op.SOFTMAX:
            found["number"] = (i["row"] * config.self_attention or i.n_dst) * p
    return found


def decode(
    program: Sequence[Instruction], config: EngineConfig, *, wraps: bool = True, loaded: int | None = None
) -> Steps:
    """Tables of a program.

    wraps    sums wrap in the engine's number formats; a network's never do
    loaded   first weight of patterns that are loaded with a sample: drives of absent ones are left out
    """
    shapes = _Shapes(config.lanes)
    rows = []
    geometry: Geometry | None = None
    for i in program:
        if i.op == Op.CONVOLVE:
            geometry = i.geometry
            continue
        option, ignored = _IGNORED.get(i.op, ("", 0))
        if option and not getattr(config, option):
            i = replace(i, mode=i.mode & ~int(ignored))
        found = dict.fromkeys(Step._fields, 0) | _operands(i, config)
        if i.op in SYNAPTIC:
            found |= shapes.fields(i, geometry or i.dense)
            found["loaded"] = int(found["at"] == loaded)
        geometry = None
        rows.append(tuple(found[name] for name in Step._fields))
    formats = config.numerics
    return Steps(
        np.array(rows, [(name, np.int64) for name in Step._fields]),
        np.concatenate(shapes.edge_starts),
        np.concatenate(shapes.edges),
        np.concatenate(shapes.runs),
        np.array(shapes.sizes, np.int32),
        32 - formats.accumulator_width if wraps else 0,
        32 - formats.charge_width if wraps else 0,
        32 - formats.weight_width,
        formats.weight.lo,
        formats.weight.hi,
    )

"""Bench for equilif_hdl.engine.scan.Scanner, with memories of one cycle latency that hold their outputs only
on request.

State space: spikes and values from empty to full; values that differ between +beta and -beta everywhere, in
some places or nowhere; 1 to 16 groups; all four kinds of source; with ``convolution`` random geometries in
both directions.  Stall space: the sink stalls half of the time or never, ``allow`` is random during LEARN.
Without stalls the cycles are counted.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.blocks.plasticity import DITHER_DESTINATION, DITHER_MASK, DITHER_ROW, DITHER_SOURCE
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import Instruction, Op, SourceMode
from equilif_golden.engine.memories import has_nonzero_flag, has_spike_flag, skips_unchanged
from equilif_golden.fixed import Raw
from equilif_hdl.engine.isa import event
from equilif_hdl.engine.scan import Scanner
from equilif_sim.engine.geometry import code_of
from equilif_sim.tools.programs import random_geometry
from equilif_sim.tools.run import cases, engine_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import (
    Pause,
    StreamSink,
    drive,
    never,
    now,
    often,
    reset,
    until_low,
    with_pauses,
)

FIELDS = ("group", "e", "plus", "minus", "tile", "dither")
MAPS = ("first", "columns", "rows", "new_position")
GROUPS = (1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9)  #: groups of a position


class ScanBench:
    """``values``: spikes, values at +beta and values at -beta, (3, groups, P)."""

    def __init__(self, dut: Any, config: EngineConfig, *, o_pause: Pause, allow_pause: Pause):
        self.dut = dut
        self.config = config
        self.allow_pause = allow_pause
        self.layout = event(config)
        self.score = Scoreboard()
        self.sink = StreamSink(dut, "o", self._taken, pause=o_pause)
        self.values = np.zeros((3, config.value_groups, config.lanes), np.int64)
        self.began = 0  # cycle of the start
        self.last = 0  # cycles from it to the last event

    def _taken(self, payload: int) -> None:
        got = self.layout.from_bits(payload)
        self.score.actual(tuple(int(got[name]) for name in FIELDS + MAPS * self.config.convolution))
        self.last = now() - self.began

    async def reset(self) -> None:
        ports = ("memory__spikes", "memory__plus", "memory__minus", "spiking", "learning", "by_minus")
        await reset(self.dut, "start", "allow", *ports)
        cocotb.start_soon(self.sink.run())
        cocotb.start_soon(self._memories())

    async def _memories(self) -> None:
        d = self.dut
        p = self.config.lanes
        coming: tuple[int, int, int] | None = None  # fetch, address and read, as they were a cycle earlier
        while True:
            d.allow.value = int(not self.allow_pause())
            await ReadOnly()
            fetch = int(d.memory__fetch.value)
            take = int(d.memory__select.value)
            assert fetch <= take <= int(d.busy.value), "who fetches has the address, and who is done has not"
            # during LEARN the lanes read values, except for a fetch
            assert take == fetch or skips_unchanged(self.config) or not d.learning.value
            hold = int(d.memory__hold.value)
            # during LEARN, lanes that are not stalled read values
            assert not hold or not d.learning.value or int(d.blocking.value), "lanes read while a group waits"
            group = int(d.memory__addr.value)
            if coming is not None:
                assert coming == (fetch, group, int(fetch or not hold))
            if self.config.registers.state_read:
                names = ("memory__next_fetch", "memory__next_addr", "memory__next_read")
                next_fetch, next_addr, next_read = (int(getattr(d, name).value) for name in names)
                coming = next_fetch, next_addr, next_read
            await RisingEdge(d.clk)
            assert d.memory__second.value == d.second.value
            if fetch:
                spikes, plus, minus = self.values[:, group]
                self._answer(_packed(spikes, 1), _packed(plus, 8), _packed(minus, 8))
                self._mark(_packed(plus != 0, 1), _packed(minus != 0, 1))
            elif not hold:
                self._answer(random.getrandbits(p), random.getrandbits(8 * p), random.getrandbits(8 * p))
                self._mark(random.getrandbits(p), random.getrandbits(p))

    def _answer(self, spikes: int, plus: int, minus: int) -> None:
        drive(self.dut, memory__spikes=spikes, memory__plus=plus, memory__minus=minus)
        if has_spike_flag(self.config):
            drive(self.dut, memory__any_spike=int(spikes != 0))

    def _mark(self, plus: int, minus: int) -> None:
        if has_nonzero_flag(self.config):
            drive(self.dut, memory__plus_nonzero=plus, memory__minus_nonzero=minus)

    def _taking_part(self, *, spiking: bool, learning: bool, by_minus: bool, dst: slice) -> Raw:
        spikes, plus, minus = self.values
        store = skips_unchanged(self.config) and self.config.self_attention and random.random() < 0.5
        clamped = random.random() < 0.5
        drive(self.dut, second=random.random() < 0.5)
        if skips_unchanged(self.config):
            drive(self.dut, clamped=clamped)
        if skips_unchanged(self.config) and self.config.self_attention:
            drive(self.dut, store=store)
        if spiking:
            return np.asarray(spikes)
        if learning and store:
            return np.asarray(plus | minus)
        if learning:
            differs = plus != minus
            found = np.asarray(plus | minus)
            if differs[dst].any() or not skips_unchanged(self.config):
                return found
            return np.zeros_like(found) if clamped else found * differs
        return np.asarray(minus if by_minus else plus)

    async def scan(
        self, *, spiking: bool, learning: bool, by_minus: bool = False, src: int, n_src: int
    ) -> int:
        """Number of events."""
        tile = random.randrange(self.config.tiles)
        stride = random.randint(1, 9)
        dither = random.getrandbits(18)
        n_dst = random.randint(1, self.config.value_groups)
        dst = random.randint(0, self.config.value_groups - n_dst)
        source = self._taking_part(
            spiking=spiking, learning=learning, by_minus=by_minus, dst=slice(dst, dst + n_dst)
        )[src : src + n_src]
        if skips_unchanged(self.config):
            drive(self.dut, dst=dst, n_dst=n_dst)
        drive(self.dut, stride=stride)
        if self.config.convolution:
            i = Instruction(op=Op.LEARN, n_src=n_src)
            drive(self.dut, first=dst, steps=code_of(self.config, i, None))
        p = self.config.lanes
        starts: list[tuple[int, ...]] = [
            (tile + group * stride, dither + group * p * DITHER_ROW, dst, 1, 1) for group in range(n_src)
        ]
        return await self._events(
            source, starts, n_src, src=src, tile=tile, dither=dither,
            spiking=spiking, learning=learning, by_minus=by_minus,
        )  # fmt: skip

    async def convolve(self, *, learning: bool) -> int:
        """Number of events of a random convolution, in both directions unless it is LEARN."""
        most = self.config.value_groups
        geometry = random_geometry(np.random.default_rng(random.getrandbits(32)), most, most, 1 << 15, GROUPS)
        back = not learning and random.random() < 0.5
        op = Op.LEARN if learning else Op.GATHER
        i = Instruction(op=op, mode=SourceMode.COLUMN * back)
        n_src = geometry.n_post if back else geometry.n_pre
        src = random.randint(0, most - n_src)
        tile = random.randrange(self.config.tiles)
        dither = random.getrandbits(18)
        dst = random.randrange(most)
        source = self._taking_part(spiking=not learning, learning=learning, by_minus=False, dst=slice(0, 1))
        if skips_unchanged(self.config):
            drive(self.dut, dst=0, n_dst=1)
        # `first` is also the destination of LEARN, which is irrelevant here
        drive(self.dut, first=dst, stride=1 if back else geometry.post)
        drive(self.dut, steps=code_of(self.config, i, geometry))
        starts = group_starts(geometry, self.config.lanes, back=back)
        starts = [(tile + t, dither + d, dst + first, nx, ny) for t, d, first, nx, ny in starts]
        return await self._events(
            source[src : src + n_src] * (np.array(starts)[:, 3:].min(axis=1) > 0)[:, None],
            starts, geometry.post if back else geometry.pre, src=src, tile=tile, dither=dither,
            spiking=not learning, learning=learning, by_minus=False,
        )  # fmt: skip

    async def _events(self, source: Raw, starts: list[tuple[int, ...]], per: int, **given: int) -> int:
        """Number of events.

        ``source``: non-zero for active lanes.  ``starts``: tile, dither, first group, columns and
        rows of each group.  ``per``: groups of a position.
        """
        tiles = 1 << (self.config.tiles - 1).bit_length()
        position = 0
        events = np.argwhere(source).tolist()
        for group, e in events:
            tile, dither, *where = starts[group]
            where[0] %= self.config.value_groups
            moves = int(group // per != position)
            position = group // per
            at = given["src"] + group
            self.score.expect(
                (
                    group,
                    e,
                    int(self.values[1, at, e]),
                    int(self.values[2, at, e]),
                    tile % tiles,
                    dither & DITHER_MASK,
                    *([*where, moves] if self.config.convolution else []),
                )
            )
        drive(self.dut, start=1, n_src=len(source), **given)
        self.began = now()
        await RisingEdge(self.dut.clk)
        self.dut.start.value = 0
        await until_low(self.dut, "busy", 4000)
        assert not self.score.outstanding
        return len(events)

    def fill(self) -> None:
        c = self.config
        density = random.choice([0.0, 0.05, 0.3, 1.0])
        rng = np.random.default_rng(random.getrandbits(32))
        on = rng.random(self.values.shape) < density
        self.values = on * np.stack(
            [
                np.ones((c.value_groups, c.lanes), np.int64),
                *rng.integers(1, 256, (2, c.value_groups, c.lanes)),
            ]
        )
        # as for a learned sample: rates differ in some places, or nowhere
        same = rng.random((c.value_groups, 1)) < random.choice([0.0, 0.9, 1.0])
        self.values[2] = np.where(same, self.values[1], self.values[2])


def group_starts(geometry: Geometry, lanes: int, *, back: bool) -> list[tuple[int, ...]]:
    """Start values of each source group, by definition: tile, dither of row 0 and destination group of its
    first target position (zero without one), numbers of target columns and rows.
    """
    g = geometry
    found: list[tuple[int, ...]] = []
    if back:
        for position, sources in enumerate(g.sources()):
            for c in range(g.post):
                # backwards the dither is unused, but generated
                dither = c * lanes * DITHER_ROW + position * (DITHER_SOURCE + DITHER_DESTINATION)
                found.append((c, dither, int(sources[0]) * g.pre, 1, g.kernel_rows))
        return found
    for y in range(g.height):
        for x in range(g.width):
            rows = [v for v in range(g.rows) if 0 <= y - v * g.stride < g.kernel_rows]
            columns = [u for u in range(g.columns) if 0 <= x - u * g.stride < g.kernel_columns]
            for c in range(g.pre):
                tile = dither = first = 0
                if rows and columns:
                    offset = (y - rows[0] * g.stride) * g.kernel_columns + x - columns[0] * g.stride
                    tile = (offset * g.pre + c) * g.post
                    target = rows[0] * g.columns + columns[0]
                    first = target * g.post
                    dither = (
                        c * lanes * DITHER_ROW
                        + (y * g.width + x) * DITHER_SOURCE
                        + target * DITHER_DESTINATION
                    )
                found.append((tile, dither, first, len(columns), len(rows)))
    return found


def _packed(elements: Raw, width: int) -> int:
    return sum(int(x) << (width * j) for j, x in enumerate(elements))


@cocotb.test()
@with_pauses(o_pause=[never, often], allow_pause=[never, often])
async def events(dut: Any, o_pause: Pause, allow_pause: Pause) -> None:
    config = engine_config()
    tb = ScanBench(dut, config, o_pause=o_pause, allow_pause=allow_pause)
    await tb.reset()
    n = 0
    for k in range(cases(72)):
        tb.fill()
        n_src = random.randint(1, config.value_groups)
        n += await tb.scan(
            spiking=k % 3 == 0,
            learning=k % 3 == 1,
            by_minus=k % 6 == 5,
            n_src=n_src,
            src=random.randint(0, config.value_groups - n_src),
        )
        if config.convolution:
            n += await tb.convolve(learning=bool(k % 2))
    tb.score.finish(n)


@cocotb.test()
async def an_event_a_cycle(dut: Any) -> None:
    """Full groups: the last event comes ``latency`` + events - 1 cycles after the start; an empty group takes
    a cycle, and with buffering one more after a full group.
    """
    config = engine_config()
    accepts = 0  # cycle from which events are accepted
    tb = ScanBench(dut, config, o_pause=lambda: now() < accepts, allow_pause=never)
    await tb.reset()
    tb.values[:] = 1
    assert await tb.scan(spiking=True, learning=False, src=0, n_src=5) == 5 * config.lanes
    full = tb.last
    assert full == Scanner(config).latency + 5 * config.lanes - 1
    tb.values[0, 1:4] = 0
    await tb.scan(spiking=True, learning=False, src=0, n_src=5)
    assert full - tb.last == 3 * (config.lanes - 1) - Scanner(config).buffered
    # the first event waits at the output
    accepts = now() + 60
    n = await tb.scan(spiking=True, learning=False, src=0, n_src=1)
    assert tb.began + tb.last == accepts + n - 1

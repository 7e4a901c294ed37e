"""What a strided convolution would add to the engine's scanner and walker, in logic.

It is a prototype of the addresses of a convolution, checked and synthesised.

    python -m benchmarks.convolution_rtl

    scanner ── group after group of the source ──► Positions ── first tile and group, ranges ──► Nest ──►

``Nest`` gives the tile and the group of each command.  Neither knows a kernel: both are given steps,
which come from registers that the program sets (``Geometry``).  So one engine runs any convolution.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from amaranth import Module, Mux, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from equilif_golden.blocks.synapse import groups
from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.isa import group_bits, tile_bits
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.walk import Walker
from equilif_hdl.typed import Assign

if TYPE_CHECKING:
    from amaranth.sim._async import TestbenchContext

SIDE = 6  #: bits of a coordinate
#: channels, side, maps, kernel, stride (1 or 2, dividing the kernel)
Shape = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Geometry:
    """One direction of a convolution: counts, and steps in groups and tiles."""

    groups: int  #: of channels a position, scanned
    side: int  #: positions along a side, scanned
    reach: int  #: positions that hear one, along a side; backward: kernel rows
    last: int  #: last coordinate of the destination
    group_tile: int  #: step of the first tile: to the next group
    x_tile: int  #: step of the first tile: to the next position
    y_tile: int  #: step of the first tile: to the next row
    x_moved: int  #: as x_tile, where another position is the first that hears it from there on
    y_moved: int  #: as y_tile, where another row is the first that hears it from there on
    x_group: int  #: step of the first group of the destination that belongs to x_moved
    y_group: int  #: step of the first group of the destination that belongs to y_moved
    run: int  #: groups that are walked one after the other
    run_tile: int  #: step of the tile within a run
    next_tile: int  #: step of the tile to the next run
    row_tile: int  #: step of the tile to the next row
    row_group: int  #: step of the group to the next row
    backward: bool
    halved: bool  #: stride 2


def geometry(shape: Shape, lanes: int, *, backward: bool) -> Geometry:
    channels, side, maps, k, stride = shape
    gc = groups(channels, lanes)
    gd = groups(maps, lanes)
    to = (side - k) // stride + 1
    x = gc * gd  # tiles from a kernel's column to the next
    y = k * gc * gd  # and from a row to the next
    if backward:
        return Geometry(
            groups=gd,
            side=to,
            reach=k,
            last=to - 1,
            group_tile=1,
            x_tile=0,
            y_tile=0,
            x_moved=0,
            y_moved=0,
            x_group=stride * gc,
            y_group=stride * side * gc,
            run=k * gc,
            run_tile=gd,
            next_tile=0,
            row_tile=y,
            row_group=side * gc,
            backward=True,
            halved=False,
        )
    return Geometry(
        groups=gc,
        side=side,
        reach=k // stride,
        last=to - 1,
        group_tile=gd,
        x_tile=x,
        y_tile=y,
        x_moved=(1 - stride) * x,
        y_moved=(1 - stride) * y,
        x_group=gd,
        y_group=to * gd,
        run=gd,
        run_tile=1,
        next_tile=-stride * x - (gd - 1),
        row_tile=-stride * y,
        row_group=to * gd,
        backward=False,
        halved=stride == 2,
    )


def expected(shape: Shape, lanes: int, *, backward: bool) -> list[list[tuple[int, int]]]:
    """Tile and group of the destination of every command, by group of the source: the definition."""
    channels, side, maps, k, stride = shape
    gc = groups(channels, lanes)
    gd = groups(maps, lanes)
    to = (side - k) // stride + 1

    def tile(dy: int, dx: int, c: int, d: int) -> int:
        return ((dy * k + dx) * gc + c) * gd + d

    if backward:
        return [
            [
                (tile(dy, dx, c, d), ((stride * y + dy) * side + stride * x + dx) * gc + c)
                for dy in range(k)
                for dx in range(k)
                for c in range(gc)
            ]
            for y in range(to)
            for x in range(to)
            for d in range(gd)
        ]
    return [
        [
            (tile(y - stride * v, x - stride * u, c, d), (v * to + u) * gd + d)
            for v in range(to)
            if 0 <= y - stride * v < k
            for u in range(to)
            if 0 <= x - stride * u < k
            for d in range(gd)
        ]
        for y in range(side)
        for x in range(side)
        for c in range(gc)
    ]


class Ports(wiring.Component):
    """A component that is given a geometry."""

    groups: Signal
    side: Signal
    reach: Signal
    last: Signal
    group_tile: Signal
    x_tile: Signal
    y_tile: Signal
    x_moved: Signal
    y_moved: Signal
    x_group: Signal
    y_group: Signal
    run: Signal
    run_tile: Signal
    next_tile: Signal
    row_tile: Signal
    row_group: Signal
    backward: Signal
    halved: Signal

    def __init__(self, config: EngineConfig, members: dict[str, wiring.Member]):
        g = group_bits(config)
        t = tile_bits(config)
        widths = {
            **dict.fromkeys(("groups", "run", "x_group", "y_group", "row_group"), g),
            **dict.fromkeys(("side", "reach", "last"), SIDE),
            "backward": 1,
            "halved": 1,
        }
        super().__init__({**{f.name: In(widths.get(f.name, t)) for f in fields(Geometry)}, **members})
        self.g = g
        self.t = t


class Positions(Ports):
    """What an event of the present group begins with; ``advance`` to the next group.

    Range of a coordinate: how many positions hear it.
    """

    start: Signal
    advance: Signal
    first_tile: Signal
    first_group: Signal
    tile: Signal
    group: Signal
    nx: Signal
    ny: Signal

    def __init__(self, config: EngineConfig):
        g = group_bits(config)
        t = tile_bits(config)
        super().__init__(
            config,
            {
                "start": In(1),
                "advance": In(1),
                "first_tile": In(t),
                "first_group": In(g),
                "tile": Out(t),
                "group": Out(g),
                "nx": Out(SIDE),
                "ny": Out(SIDE),
            },
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(self.g)  # groups of this position, this one included
        row_tile = Signal(self.t)  # first tile of the row
        x_tile = Signal(self.t)  # first tile of the position
        row_group = Signal(self.g)  # first group of the destination, of the row
        across = []
        for axis in "xy":
            at = Signal(SIDE, name=axis)
            heard = Signal(SIDE, name=f"heard_{axis}")  # positions that hear it
            half = Signal(SIDE, name=f"half_{axis}")
            odd = Signal(name=f"odd_{axis}")  # without halves every coordinate counts as odd
            moves = Signal(name=f"moves_{axis}")  # another position is the first that hears it from here on
            step_tile = Signal(self.t, name=f"step_{axis}_tile")
            step_group = Signal(self.g, name=f"step_{axis}_group")
            tile = getattr(self, f"{axis}_tile")
            moved = getattr(self, f"{axis}_moved")
            group = getattr(self, f"{axis}_group")
            m.d.comb += [
                half.eq(Mux(self.halved, (at + 1)[1:], at + 1)),
                odd.eq(at[0] | ~self.halved),
                moves.eq(self.backward | odd & (half >= self.reach)),
                step_tile.eq(Mux(moves, moved, tile)),
                step_group.eq(Mux(moves, group, 0)),
            ]
            across.append((at, heard, half, odd, step_tile, step_group))
        (x, nx, *_), (y, ny, *_) = across
        m.d.comb += [self.nx.eq(Mux(self.backward, 1, nx)), self.ny.eq(Mux(self.backward, self.reach, ny))]

        def further(axis: int) -> list[Assign]:
            at, heard, half, odd, *_ = across[axis]
            return [at.eq(at + 1), heard.eq(heard + (odd & (half < self.reach)) - (odd & (half > self.last)))]

        with m.If(self.advance):
            with m.If(left != 1):
                m.d.sync += [left.eq(left - 1), self.tile.eq(self.tile + self.group_tile)]
            with m.Else():
                m.d.sync += left.eq(self.groups)
                with m.If(x != self.side - 1):
                    new = (x_tile + across[0][4])[: self.t]
                    m.d.sync += [
                        *further(0),
                        x_tile.eq(new),
                        self.tile.eq(new),
                        self.group.eq(self.group + across[0][5]),
                    ]
                with m.Else():
                    new = (row_tile + across[1][4])[: self.t]
                    group = (row_group + across[1][5])[: self.g]
                    m.d.sync += [
                        *further(1),
                        x.eq(0),
                        nx.eq(1),
                        row_tile.eq(new),
                        x_tile.eq(new),
                        self.tile.eq(new),
                        row_group.eq(group),
                        self.group.eq(group),
                    ]
        with m.If(self.start):
            m.d.sync += [
                x.eq(0),
                y.eq(0),
                nx.eq(1),
                ny.eq(1),
                left.eq(self.groups),
                *(s.eq(self.first_tile) for s in (row_tile, x_tile, self.tile)),
                row_group.eq(self.first_group),
                self.group.eq(self.first_group),
            ]
        return m


class Nest(Ports):
    """A command a cycle from ``take`` on, through runs, positions of a row, and rows."""

    take: Signal
    first_tile: Signal
    first_group: Signal
    nx: Signal
    ny: Signal
    valid: Signal
    last_one: Signal
    tile: Signal
    group: Signal

    def __init__(self, config: EngineConfig):
        g = group_bits(config)
        t = tile_bits(config)
        super().__init__(
            config,
            {
                "take": In(1),
                "first_tile": In(t),
                "first_group": In(g),
                "nx": In(SIDE),
                "ny": In(SIDE),
                "valid": Out(1),
                "last_one": Out(1),
                "tile": Out(t),
                "group": Out(g),
            },
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(self.g)  # commands of this run, this one included
        x_left = Signal(SIDE)  # runs of this row
        y_left = Signal(SIDE)  # rows
        row_tile = Signal(self.t, name="at_row_tile")  # first tile of the row
        row_group = Signal(self.g, name="at_row_group")  # first group of the row
        nx = Signal(SIDE)  # runs of every row
        m.d.comb += self.last_one.eq((left == 1) & (x_left == 1) & (y_left == 1))
        with m.If(self.valid):
            m.d.sync += [
                left.eq(left - 1),
                self.tile.eq(self.tile + Mux(left == 1, self.next_tile, self.run_tile)),
                self.group.eq(self.group + 1),
            ]
            with m.If(left == 1):
                m.d.sync += [left.eq(self.run), x_left.eq(x_left - 1)]
                with m.If(x_left == 1):
                    tile = (row_tile + self.row_tile)[: self.t]
                    group = (row_group + self.row_group)[: self.g]
                    m.d.sync += [
                        x_left.eq(nx),
                        y_left.eq(y_left - 1),
                        self.valid.eq(y_left != 1),
                        row_tile.eq(tile),
                        self.tile.eq(tile),
                        row_group.eq(group),
                        self.group.eq(group),
                    ]
        with m.If(self.take):
            m.d.sync += [
                left.eq(self.run),
                x_left.eq(self.nx),
                nx.eq(self.nx),
                y_left.eq(self.ny),
                row_tile.eq(self.first_tile),
                self.tile.eq(self.first_tile),
                row_group.eq(self.first_group),
                self.group.eq(self.first_group),
                self.valid.eq(1),
            ]
        return m


class Addresses(Ports):
    """Both: the addresses of every command, group after group of the source."""

    start: Signal
    advance: Signal
    take: Signal
    first_tile: Signal
    first_group: Signal
    valid: Signal
    last_one: Signal
    tile: Signal
    group: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        g = group_bits(config)
        t = tile_bits(config)
        super().__init__(
            config,
            {
                "start": In(1),
                "advance": In(1),
                "take": In(1),
                "first_tile": In(t),
                "first_group": In(g),
                "valid": Out(1),
                "last_one": Out(1),
                "tile": Out(t),
                "group": Out(g),
            },
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.positions = positions = Positions(self.config)
        m.submodules.nest = nest = Nest(self.config)
        for f in fields(Geometry):
            for part in (positions, nest):
                m.d.comb += getattr(part, f.name).eq(getattr(self, f.name))
        m.d.comb += [
            positions.start.eq(self.start),
            positions.advance.eq(self.advance),
            positions.first_tile.eq(self.first_tile),
            positions.first_group.eq(self.first_group),
            nest.take.eq(self.take),
            nest.first_tile.eq(positions.tile),
            nest.first_group.eq(positions.group),
            nest.nx.eq(positions.nx),
            nest.ny.eq(positions.ny),
            self.valid.eq(nest.valid),
            self.last_one.eq(nest.last_one),
            self.tile.eq(nest.tile),
            self.group.eq(nest.group),
        ]
        return m


def check(config: EngineConfig, shape: Shape, *, backward: bool, tile: int = 5, group: int = 3) -> int:
    """Every command against the definition; how many there were."""
    dut = Addresses(config)
    want = expected(shape, config.lanes, backward=backward)
    mask_t = (1 << tile_bits(config)) - 1
    mask_g = (1 << group_bits(config)) - 1
    found: list[list[tuple[int, int]]] = []

    async def bench(ctx: TestbenchContext) -> None:
        for name, value in vars(geometry(shape, config.lanes, backward=backward)).items():
            ctx.set(getattr(dut, name), int(value) & ((1 << len(getattr(dut, name))) - 1))
        ctx.set(dut.first_tile, tile)
        ctx.set(dut.first_group, group)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for _ in want:
            ctx.set(dut.take, 1)
            ctx.set(dut.advance, 1)
            await ctx.tick()
            ctx.set(dut.take, 0)
            ctx.set(dut.advance, 0)
            found.append([])
            while ctx.get(dut.valid):
                found[-1].append((ctx.get(dut.tile), ctx.get(dut.group)))
                await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert found == [
        [((t + tile) & mask_t, (g + group) & mask_g) for t, g in commands] for commands in want
    ], (shape, config.lanes, backward)
    return sum(map(len, found))


def logic(component: wiring.Component, target: str) -> dict[str, int]:
    """Cells of a part by itself, after Yosys' ``synth_<target>``."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.il").write_text(rtlil.convert(component, name="top", emit_src=False))
        subprocess.run(
            ["yosys", "-q", "-p", f"read_rtlil a.il; synth_{target} -top top; tee -o stat.txt stat"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        cells = {
            n: int(c)
            for n, c in re.findall(r"^\s+(\S+)\s+(\d+)$", (Path(folder) / "stat.txt").read_text(), re.M)
        }
    return {
        "LUT4": sum(c for n, c in cells.items() if n in ("SB_LUT4", "LUT4"))
        + 2 * sum(c for n, c in cells.items() if n == "CCU2C"),
        "FF": sum(c for n, c in cells.items() if n.startswith("SB_DFF") or n == "TRELLIS_FF"),
    }


def apart(shape: Shape, lanes: int) -> int:
    """Fewest commands from one to a weight to the next to the same, where every event of a lane takes part.

    LEARN must have written by then.
    """
    last: dict[int, int] = {}
    fewest = 1 << 30
    for at, tile in enumerate(t for e in expected(shape, lanes, backward=False) for t, _ in e):
        fewest = min(fewest, at - last.get(tile, at - fewest))
        last[tile] = at
    return fewest


def main() -> None:
    from equilif_boards import BOARDS

    for lanes in (4, 16):
        config = EngineConfig(
            lanes=lanes,
            tiles=(1 << 16) // lanes**2 * (1 if lanes == 4 else 4),
            value_groups=1024,
            state_groups=1024,
        )
        for shape in ((4, 14, 16, 3, 1), (16, 12, 32, 6, 2), (20, 8, 12, 4, 2)):
            for backward in (False, True):
                way = "backward" if backward else "forward"
                equal = check(config, shape, backward=backward)
                print(f"P = {lanes}, {shape}, {way}: {equal:,} commands equal")
            print(
                f"P = {lanes}, {shape}: {apart(shape, lanes)} commands from an update of a weight to the next"
            )
    for board, target in (("icebreaker", "ice40"), ("ulx3s-85f", "ecp5")):
        config = BOARDS[board].config
        for part in (Scanner, Walker, Positions, Nest):
            print(board, part.__name__, logic(part(config), target), flush=True)


if __name__ == "__main__":
    main()

"""ECP5 floorplan pass: duplicates registers and LUTs by lane, and on large devices places weight banks.

    rows of block RAMs      | bank 0 | bank 1 | ... | bank 7  |     -- word --|--+--> bank 0
    on the die              | bank 8 | bank 9 | ... | bank 15 |               |--|--> bank 1 ...

If a design uses nearly all block RAMs of a die, the placer scatters the memories of a bank and the
multipliers of a lane.  Yosys merges equal registers, whose wires then cross the die to every bank.  The
result is congestion.  This pass assigns each bank a rectangle of block RAMs, and its lane the nearest
multipliers.  It duplicates registers that several banks read, registers of a lane that other lanes read, LUTs
that lanes in several regions of the die read, and the registers before those LUTs, which hold control
signals.  With many placed banks everything outside the engine is a region, too.  Each lane gets its own
constants for its multipliers, since nextpnr drives a constant from one place.  Duplication shortens wires on
small devices, too.

The JSON netlist of Yosys is modified in place; its function does not change.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import count
from statistics import mean
from typing import Any, NamedTuple, Self

from equilif_boards.ecp5 import BLOCK, MULTIPLIER, Bit, Netlist, Pin

#: in RTLIL: a module; the attributes `lane` and `bank`; the wire or memory that has them
MARKS = re.compile(r"^module \\(\S+)|^\s*attribute \\(lane|bank) (\d+)$|^\s*(?:memory|wire) .*\\(\S+)$", re.M)
#: rows of block RAMs that a bank may span, best first: 32 banks have the shortest wires with one row
HEIGHTS = (1, 2, 4)
REGISTER = "TRELLIS_FF"
LUT = "LUT4"
#: multiplexer of two four-input LUTs, and its LUT inputs
WIDE_LUT = "PFUMX"
LUT_PINS = ("ALUT", "BLUT")
#: output pins of cells that are copied
OUTPUTS = {REGISTER: "Q", LUT: "Z", WIDE_LUT: "Z"}
#: pins of a multiplier whose constants are routed
CONSTANT_PINS = ("SOURCEA", "SOURCEB", "SIGNEDA", "SIGNEDB", "CE0", "RST0")
#: pins of a register on dedicated routing
EXCLUDED_PINS = ("CLK", "LSR")
#: maximum fan-out of a net that indicates the lane of its cells
MAX_VOTING_FANOUT = 16
#: maximum distance, in nets, from a cell whose name contains its lane
MAX_DISTANCE = 6
#: number of regions of lanes for duplication
REGIONS = 8
#: number in place of a lane, of cells outside the engine: they are a region of their own
OUTSIDE = -1
#: minimum number of placed banks for that region: with 16 the ULX3S 85F with convolutions lost 5 and 10 MHz
OUTSIDE_BANKS = 32
#: fan-out from which on a register or LUT is duplicated for each region
MAX_FANOUT = 48
#: number of regions that may share a LUT
MAX_REGIONS = 2


class Site(NamedTuple):
    """A site: tile coordinates, and its index in the tile."""

    y: int
    x: int
    kind: str

    @property
    def name(self) -> str:
        """Name of the BEL in nextpnr."""
        return f"X{self.x}/Y{self.y}/{self.kind}"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sites of one cell type at each row and column; ``kinds`` repeat along a row."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    kinds: tuple[str, ...]

    def site(self, row: int, column: int) -> Site:
        """The site at a row and column, counted from 0."""
        return Site(self.rows[row], self.columns[column], self.kinds[column % len(self.kinds)])

    def all(self) -> list[Site]:
        return [
            self.site(row, column) for row in range(len(self.rows)) for column in range(len(self.columns))
        ]

    def rectangles(self, banks: int, blocks: int) -> list[list[Site]] | None:
        """Sites of each bank, a rectangle of ``blocks`` sites; None if they do not fit."""
        for height in HEIGHTS:
            strips = len(self.rows) // height
            if not strips:
                continue
            width = -(-blocks // height)
            abreast = -(-banks // strips)
            if width * abreast <= len(self.columns):
                break
        else:
            return None
        # unused columns: some next to each bank, the rest in the middle, for common logic
        beside, rest = divmod(len(self.columns) - width * abreast, abreast)
        found = []
        for bank in range(banks):
            strip, place = divmod(bank, abreast)
            first = (width + beside) * place + (rest if 2 * place >= abreast else 0)
            found.append([self.site(strip * height + k // width, first + k % width) for k in range(blocks)])
        return found


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Sites of the block RAMs and multipliers of a device."""

    blocks: Grid
    multipliers: Grid


@dataclass(frozen=True)
class Regions:
    """Numbers of lanes, and of banks of weight memories, by hierarchical path."""

    lanes: Mapping[str, int]
    banks: Mapping[str, int]

    def __post_init__(self) -> None:
        lanes = sorted(self.lanes.values())
        if not lanes or lanes != list(range(len(lanes))) or set(lanes) != set(self.banks.values()):
            raise ValueError(
                f"a design has lanes 0, 1, ... and a weight bank for each, not lanes {lanes} and banks "
                f"{sorted(set(self.banks.values()))}"
            )

    @classmethod
    def of(cls, rtlil: str) -> Self:
        """Read the attributes ``lane`` and ``bank`` in RTLIL of Amaranth, whose first module is the top."""
        regions: dict[str, dict[str, int]] = {"lane": {}, "bank": {}}
        mark: tuple[str, int] | None = None
        module = ""
        for found in MARKS.finditer(rtlil):
            name, kind, number, member = found.groups()
            if name:
                module = name.partition(".")[2]
            elif kind:
                mark = kind, int(number)
            elif mark:
                kind, index = mark
                path = module if kind == "lane" else f"{module}.{member}"
                regions[kind][path.removeprefix(".")] = index
                mark = None
        return cls(regions["lane"], regions["bank"])

    @property
    def engine(self) -> str:
        """Path of the module above that of the lanes, which has all logic near them."""
        return min(self.lanes).rpartition(".")[0].rpartition(".")[0]

    def lane(self, cell: str) -> str | None:
        """Path of the lane of a cell."""
        return _path(cell, self.lanes)

    def bank(self, cell: str) -> str | None:
        """Path of the weight memory of a cell."""
        return _path(cell, self.banks)

    def number(self, cell: str) -> int | None:
        """Number of the lane or bank of a cell."""
        if path := self.lane(cell):
            return self.lanes[path]
        path = self.bank(cell)
        return None if path is None else self.banks[path]


def _path(cell: str, paths: Container[str]) -> str | None:
    """The path that is a prefix of the name of a cell."""
    end = cell.find(".")
    while end >= 0:
        if cell[:end] in paths:
            return cell[:end]
        end = cell.find(".", end + 1)
    return None


def floorplan(content: dict[str, Any], regions: Regions, sites: Sites | None = None) -> dict[str, int]:
    """Place weights and multipliers at ``sites``, if any, and duplicate registers and LUTs, in place.

    Returns the number of block RAMs and multipliers that were placed, and of constants, registers and LUTs
    that were added.  Banks that do not fit as rectangles are not placed.  Deterministic.
    """
    netlist = Netlist(content)
    banks: defaultdict[int, list[str]] = defaultdict(list)
    for name, _ in netlist.of_type(BLOCK):
        if path := regions.bank(name):
            banks[regions.banks[path]].append(name)
    most = max(map(len, banks.values()), default=0)
    places = sites and sites.blocks.rectangles(len(banks), most) or []
    for bank, place in enumerate(places):
        for name, site in zip(sorted(banks[bank]), place, strict=False):
            _place(netlist, name, site)
    multipliers = sites and places and _place_multipliers(netlist, regions, sites.multipliers, places) or 0
    new_nets = count(1 + max(bit for bit in {**netlist.driver, **netlist.readers} if isinstance(bit, int)))
    constants = _constants(netlist, regions, new_nets)
    before = Counter(cell["type"] for cell in netlist.cells.values())
    by_bank = {name: bank for bank, names in banks.items() for name in names}
    for name, _ in netlist.of_type(REGISTER):
        _copies(netlist, name, "bank", by_bank, new_nets)
    by_lane = _lane_of_cells(netlist, regions, outside=len(places) >= OUTSIDE_BANKS)
    for name, _ in netlist.of_type(REGISTER):
        if regions.lane(name):
            _copies(netlist, name, "lane", by_lane, new_nets)
    wide = -(-len(banks) // REGIONS)
    by_region = {name: lane // wide for name, lane in by_lane.items()} if wide else {}
    luts: set[str] = set()  # that are duplicated
    for name in _luts(netlist):
        if _has_high_fanout(netlist, name) or len(_regions_of(netlist, name, by_region)) > MAX_REGIONS:
            added = _copies(netlist, name, "region", by_region, new_nets)
            luts.update(added and [name, *added])
    for name, _ in netlist.of_type(REGISTER):
        is_control = (
            _follows_copy(netlist, name, luts)
            and len(_regions_of(netlist, name, by_region, luts)) > MAX_REGIONS
        )
        if is_control or _has_high_fanout(netlist, name):
            _copies(netlist, name, "region", by_region, new_nets)
    after = Counter(cell["type"] for cell in netlist.cells.values())
    return {
        "block RAMs placed": sum(map(len, banks.values())) if places else 0,
        "multipliers placed": multipliers,
        "constants added": constants,
        "registers copied": after[REGISTER] - before[REGISTER],
        "LUTs copied": after[LUT] - before[LUT],
    }


def _place(netlist: Netlist, name: str, site: Site) -> None:
    netlist.cells[name]["attributes"]["BEL"] = site.name


def _place_multipliers(netlist: Netlist, regions: Regions, grid: Grid, banks: list[list[Site]]) -> int:
    """Place the multipliers of each lane below its bank; returns their number."""
    free = grid.all()
    found = sorted(
        (regions.lanes[path], name) for name, _ in netlist.of_type(MULTIPLIER) if (path := regions.lane(name))
    )
    for lane, name in found:
        x = mean(site.x for site in banks[lane])
        y = mean(site.y for site in banks[lane])
        # prefer rows below to the nearest one, which balances the rows
        nearest = min(free, key=lambda site: (site.y > y, abs(site.y - y), abs(site.x - x)))
        free.remove(nearest)
        _place(netlist, name, nearest)
    return len(found)


def _constants(netlist: Netlist, regions: Regions, new_nets: Iterator[Bit]) -> int:
    """Add LUTs that drive the constants of the multipliers of each lane; returns their number."""
    nets: dict[str, Bit] = {}
    for name, _ in netlist.of_type(MULTIPLIER):
        for port in CONSTANT_PINS:
            value = netlist.bit(name, port)
            path = regions.lane(name)
            if path and value in ("0", "1"):
                constant = f"{path}.constant{value}"
                if constant not in nets:
                    nets[constant] = next(new_nets)
                    netlist.cells[constant] = {
                        "type": LUT,
                        "parameters": {"INIT": str(value) * 16},
                        "attributes": {},
                        "port_directions": {OUTPUTS[LUT]: "output"},
                        "connections": {},
                    }
                    netlist.connect(constant, OUTPUTS[LUT], nets[constant])
                netlist.connect(name, port, nets[constant])
    return len(nets)


def _lane_of_cells(netlist: Netlist, regions: Regions, *, outside: bool) -> dict[str, int]:
    """Lane of each cell: by its name, or by majority of its neighbours.

    ``outside``: cells outside the engine have OUTSIDE in place of a lane.
    """
    numbers = {name: regions.number(name) for name in netlist.cells}
    lanes = {name: number for name, number in numbers.items() if number is not None}
    others = {name: OUTSIDE for name in netlist.cells if outside and not name.startswith(regions.engine)}
    rest = [name for name in netlist.cells if name not in lanes and name not in others]
    for _ in range(MAX_DISTANCE):
        votes = {name: Counter(_neighbours(netlist, name, lanes)) for name in rest}
        lanes |= {
            name: min(vote, key=lambda lane: (-vote[lane], lane)) for name, vote in votes.items() if vote
        }
        rest = [name for name in rest if name not in lanes]
    return lanes | others


def _neighbours(netlist: Netlist, name: str, lanes: dict[str, int]) -> Iterator[int]:
    """Lanes of the cells that share a net of low fan-out with a cell."""
    for bits in netlist.cells[name]["connections"].values():
        for bit in bits:
            readers = netlist.readers[bit]
            if isinstance(bit, int) and len(readers) <= MAX_VOTING_FANOUT:
                for pin in (netlist.driver.get(bit), *readers):
                    if pin and pin.cell in lanes:
                        yield lanes[pin.cell]


def _luts(netlist: Netlist) -> list[str]:
    """LUTs in reverse topological order, since a copy adds a reader to its inputs."""
    kinds = WIDE_LUT, LUT
    order: TopologicalSorter[str] = TopologicalSorter()
    for kind in kinds:
        for name, _ in netlist.of_type(kind):
            readers = sorted({pin.cell for pin in _readers(netlist, name) if pin.cell})
            order.add(name, *(each for each in readers if netlist.cells[each]["type"] in kinds))
    return list(order.static_order())


def _readers(netlist: Netlist, name: str) -> set[Pin]:
    return netlist.readers[netlist.bit(name, OUTPUTS[netlist.cells[name]["type"]])]


def _has_high_fanout(netlist: Netlist, name: str) -> bool:
    return len(_readers(netlist, name)) >= MAX_FANOUT


def _regions_of(
    netlist: Netlist, name: str, by_region: dict[str, int], among: Container[str] | None = None
) -> set[int]:
    """Regions of the readers of a cell; ``among``: only these readers."""
    cells = (pin.cell for pin in _readers(netlist, name))
    return {by_region[cell] for cell in cells if cell in by_region and (among is None or cell in among)}


def _follows_copy(netlist: Netlist, name: str, luts: Container[str]) -> bool:
    """The input of a register is another register, or a duplicated LUT."""
    source = netlist.driver.get(netlist.bit(name, "DI"), Pin("", ""))
    return source.port == OUTPUTS[REGISTER] or source.cell in luts


def _copies(
    netlist: Netlist, name: str, kind: str, places: dict[str, int], new_nets: Iterator[Bit]
) -> list[str]:
    """Duplicate a cell for each place that reads it; returns the names of the copies.

    The original serves the first place if it has no other readers.  ``places``: place of each cell, extended
    by the copies.  ``kind``: kind of place, for names.  ``new_nets``: unused nets.
    """
    cell = netlist.cells[name]
    output = OUTPUTS[cell["type"]]
    bit = netlist.bit(name, output)
    readers = netlist.readers[bit]
    by_place: defaultdict[int, list[Pin]] = defaultdict(list)
    for pin in sorted(readers):
        if pin.cell in places and pin.port not in EXCLUDED_PINS:
            by_place[places[pin.cell]].append(pin)
    synchronizer = cell["parameters"].get("SRMODE") == "ASYNC"  # reset synchronizer: copies might differ
    if len(by_place) < 2 or synchronizer or "keep" in cell["attributes"]:
        return []
    all_copied = sum(map(len, by_place.values())) == len(readers)
    added = []
    for place in sorted(by_place)[all_copied:]:
        net = next(new_nets)
        copies = _copy(netlist, name, f"{name}${kind}{place}", net, new_nets)
        places |= dict.fromkeys(copies, place)
        added += copies
        for pin in by_place[place]:
            ports = netlist.cells[pin.cell]["connections"]
            ports[pin.port] = [net if other == bit else other for other in ports[pin.port]]
            readers.discard(pin)
            netlist.readers[net].add(pin)
    return added


def _copy(netlist: Netlist, name: str, copy: str, net: Bit, new_nets: Iterator[Bit]) -> list[str]:
    """Copy a cell, with the LUTs of a wide one; ``net`` is its output.  Returns the names of the copies."""
    added = [copy]
    netlist.cells[copy] = cell = deepcopy(netlist.cells[name])
    output = OUTPUTS[cell["type"]]
    cell["connections"][output] = [net]
    netlist.driver[net] = Pin(copy, output)
    for port, bits in cell["connections"].items():
        if cell["type"] == WIDE_LUT and port in LUT_PINS:
            lut = netlist.driver[bits[0]].cell
            bits[0] = next(new_nets)
            added += _copy(netlist, lut, f"{copy}.{port}", bits[0], new_nets)
        if port != output:
            netlist.readers[bits[0]].add(Pin(copy, port))
    return added

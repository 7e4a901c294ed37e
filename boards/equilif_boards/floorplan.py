"""Floorplan of an ECP5: lanes get registers of their own, and in a large one banks of weights get places.

    rows of block RAMs      | bank 0 | bank 1 | ... | bank 7  |     -- word --|--+--> bank 0
    on the die              | bank 8 | bank 9 | ... | bank 15 |               |--|--> bank 1 ...

Where nearly all block RAMs of a die are used, the placer takes whichever is free, and scatters a bank over
the die, and a lane's multipliers too.  And of registers that hold the same, Yosys makes one, whose wires then
cross the die to every bank.  Both take more wires than there are.  Here a bank gets a rectangle of block
RAMs, and its lane the multipliers next to them.  A register that several banks read is copied for each, and
so is one of a lane that other lanes read.  A table (LUT) that lanes in several parts of the die read is
copied for each part, and so are the registers before it, which hold what all lanes are told.  And every lane
has constants of its own for its multipliers, as nextpnr brings them from one place of the die.  This makes
wires shorter in a small die too.

A netlist, as Yosys wrote it, is changed in place; it does the same as before.
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

#: what RTLIL has of a module, of the attributes by which a design marks its regions, and of what they mark
MARKS = re.compile(r"^module \\(\S+)|^\s*attribute \\(lane|bank) (\d+)$|^\s*(?:memory|wire) .*\\(\S+)$", re.M)
#: rows of block RAMs that a bank may span, the best first: of 32 banks wires are shortest with one row
HEIGHTS = (1, 2, 4)
REGISTER = "TRELLIS_FF"
TABLE = "LUT4"
#: two tables of four inputs, and a choice of them; these pins lead to the tables
WIDE_TABLE = "PFUMX"
TABLES = ("ALUT", "BLUT")
#: where what is copied puts out
OUTPUTS = {REGISTER: "Q", TABLE: "Z", WIDE_TABLE: "Z"}
#: pins of a multiplier to which a constant comes by a wire
TIED = ("SOURCEA", "SOURCEB", "SIGNEDA", "SIGNEDB", "CE0", "RST0")
#: pins of a register that have wires of their own
APART = ("CLK", "LSR")
#: readers from which on a net says nothing of where a cell belongs
SHARED = 16
#: wires that a cell may be away from one whose name tells its lane
FAR = 6
#: parts of the lanes that get a copy of a register or a table
PARTS = 8
#: readers from which on it is copied
MANY = 48
#: parts in which a table may be read without a copy
FEW = 2


class Site(NamedTuple):
    """A place of the die, in tiles of its grid, and which one of the tile."""

    y: int
    x: int
    kind: str

    @property
    def name(self) -> str:
        """What nextpnr calls it."""
        return f"X{self.x}/Y{self.y}/{self.kind}"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Blocks of a kind, in every row and column; ``kinds`` are in turn along a row."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    kinds: tuple[str, ...]

    def site(self, row: int, column: int) -> Site:
        """That in this row and column, counted from 0."""
        return Site(self.rows[row], self.columns[column], self.kinds[column % len(self.kinds)])

    def all(self) -> list[Site]:
        return [
            self.site(row, column) for row in range(len(self.rows)) for column in range(len(self.columns))
        ]

    def rectangles(self, banks: int, blocks: int) -> list[list[Site]] | None:
        """Sites of every bank; None where no rectangles of so many blocks fit."""
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
        # columns that are left: some beside every bank, the rest in the middle, for what serves all of them
        beside, rest = divmod(len(self.columns) - width * abreast, abreast)
        found = []
        for bank in range(banks):
            strip, place = divmod(bank, abreast)
            first = (width + beside) * place + (rest if 2 * place >= abreast else 0)
            found.append([self.site(strip * height + k // width, first + k % width) for k in range(blocks)])
        return found


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Where the block RAMs and the multipliers of a device are."""

    blocks: Grid
    multipliers: Grid


@dataclass(frozen=True)
class Regions:
    """Lanes, and memories of weight banks: their numbers by their paths in the design."""

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
        """Those that the attributes ``lane`` and ``bank`` mark in RTLIL of Amaranth; its first module is the
        top, which is no part of a path.
        """
        regions: dict[str, dict[str, int]] = {"lane": {}, "bank": {}}
        marked: tuple[str, int] | None = None
        module = ""
        for found in MARKS.finditer(rtlil):
            name, kind, number, member = found.groups()
            if name:
                module = name.partition(".")[2]
            elif kind:
                marked = kind, int(number)
            elif marked:
                kind, index = marked
                path = module if kind == "lane" else f"{module}.{member}"
                regions[kind][path.removeprefix(".")] = index
                marked = None
        return cls(regions["lane"], regions["bank"])

    def lane(self, cell: str) -> str | None:
        """Path of the lane that a cell is in."""
        return _region(cell, self.lanes)

    def bank(self, cell: str) -> str | None:
        """Path of the memory that a cell is a part of."""
        return _region(cell, self.banks)

    def number(self, cell: str) -> int | None:
        """Of the lane, or of the bank, that a cell is in."""
        if path := self.lane(cell):
            return self.lanes[path]
        path = self.bank(cell)
        return None if path is None else self.banks[path]


def _region(cell: str, paths: Container[str]) -> str | None:
    """The path that a cell's name begins with."""
    end = cell.find(".")
    while end >= 0:
        if cell[:end] in paths:
            return cell[:end]
        end = cell.find(".", end + 1)
    return None


def floorplan(content: dict[str, Any], regions: Regions, sites: Sites | None = None) -> dict[str, int]:
    """Places weights and multipliers of a netlist at ``sites``, if any, and copies registers and tables.

    It is changed in place.  How many block RAMs and multipliers have a site now, and how many constants,
    registers and tables were added.  Banks that do not fit as rectangles have none.  The same netlist gives
    the same netlist.
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
            _put(netlist, name, site)
    multipliers = sites and places and _multiply_near(netlist, regions, sites.multipliers, places) or 0
    fresh = count(1 + max(bit for bit in {**netlist.driver, **netlist.readers} if isinstance(bit, int)))
    constants = _constants(netlist, regions, fresh)
    before = Counter(cell["type"] for cell in netlist.cells.values())
    by_bank = {name: bank for bank, names in banks.items() for name in names}
    for name, _ in netlist.of_type(REGISTER):
        _copies(netlist, name, "bank", by_bank, fresh)
    by_lane = _lanes(netlist, regions)
    for name, _ in netlist.of_type(REGISTER):
        if regions.lane(name):
            _copies(netlist, name, "lane", by_lane, fresh)
    wide = -(-len(banks) // PARTS)
    by_part = {name: lane // wide for name, lane in by_lane.items()} if wide else {}
    tables: set[str] = set()  # that there are several of
    for name in _tables(netlist):
        if _many(netlist, name) or len(_parts(netlist, name, by_part)) > FEW:
            made = _copies(netlist, name, "part", by_part, fresh)
            tables.update(made and [name, *made])
    for name, _ in netlist.of_type(REGISTER):
        told = _is_near(netlist, name, tables) and len(_parts(netlist, name, by_part, tables)) > FEW
        if told or _many(netlist, name):
            _copies(netlist, name, "part", by_part, fresh)
    after = Counter(cell["type"] for cell in netlist.cells.values())
    return {
        "block RAMs placed": sum(map(len, banks.values())) if places else 0,
        "multipliers placed": multipliers,
        "constants added": constants,
        "registers copied": after[REGISTER] - before[REGISTER],
        "tables copied": after[TABLE] - before[TABLE],
    }


def _put(netlist: Netlist, name: str, site: Site) -> None:
    netlist.cells[name]["attributes"]["BEL"] = site.name


def _multiply_near(netlist: Netlist, regions: Regions, grid: Grid, banks: list[list[Site]]) -> int:
    """Places the multipliers of every lane side by side, below its bank; how many there are."""
    free = grid.all()
    found = sorted(
        (regions.lanes[path], name) for name, _ in netlist.of_type(MULTIPLIER) if (path := regions.lane(name))
    )
    for lane, name in found:
        x = mean(site.x for site in banks[lane])
        y = mean(site.y for site in banks[lane])
        # a row below rather than the nearest: else one row gets twice as many as another
        nearest = min(free, key=lambda site: (site.y > y, abs(site.y - y), abs(site.x - x)))
        free.remove(nearest)
        _put(netlist, name, nearest)
    return len(found)


def _constants(netlist: Netlist, regions: Regions, fresh: Iterator[Bit]) -> int:
    """Gives every lane tables that put out the constants of its multipliers; how many."""
    own: dict[str, Bit] = {}
    for name, _ in netlist.of_type(MULTIPLIER):
        for port in TIED:
            value = netlist.bit(name, port)
            path = regions.lane(name)
            if path and value in ("0", "1"):
                constant = f"{path}.constant{value}"
                if constant not in own:
                    own[constant] = next(fresh)
                    netlist.cells[constant] = {
                        "type": TABLE,
                        "parameters": {"INIT": str(value) * 16},
                        "attributes": {},
                        "port_directions": {OUTPUTS[TABLE]: "output"},
                        "connections": {},
                    }
                    netlist.connect(constant, OUTPUTS[TABLE], own[constant])
                netlist.connect(name, port, own[constant])
    return len(own)


def _lanes(netlist: Netlist, regions: Regions) -> dict[str, int]:
    """Which lane a cell belongs to: its name tells, or most of the cells about it."""
    numbers = {name: regions.number(name) for name in netlist.cells}
    lanes = {name: number for name, number in numbers.items() if number is not None}
    rest = [name for name in netlist.cells if name not in lanes]
    for _ in range(FAR):
        votes = {name: Counter(_about(netlist, name, lanes)) for name in rest}
        lanes |= {
            name: min(vote, key=lambda lane: (-vote[lane], lane)) for name, vote in votes.items() if vote
        }
        rest = [name for name in rest if name not in lanes]
    return lanes


def _about(netlist: Netlist, name: str, lanes: dict[str, int]) -> Iterator[int]:
    """Lanes of the cells that a cell shares a net of few readers with."""
    for bits in netlist.cells[name]["connections"].values():
        for bit in bits:
            readers = netlist.readers[bit]
            if isinstance(bit, int) and len(readers) <= SHARED:
                for pin in (netlist.driver.get(bit), *readers):
                    if pin and pin.cell in lanes:
                        yield lanes[pin.cell]


def _tables(netlist: Netlist) -> list[str]:
    """Tables against the flow, those first that read others: a copy is one more reader of its inputs."""
    kinds = WIDE_TABLE, TABLE
    order: TopologicalSorter[str] = TopologicalSorter()
    for kind in kinds:
        for name, _ in netlist.of_type(kind):
            readers = sorted({pin.cell for pin in _readers(netlist, name) if pin.cell})
            order.add(name, *(each for each in readers if netlist.cells[each]["type"] in kinds))
    return list(order.static_order())


def _readers(netlist: Netlist, name: str) -> set[Pin]:
    return netlist.readers[netlist.bit(name, OUTPUTS[netlist.cells[name]["type"]])]


def _many(netlist: Netlist, name: str) -> bool:
    return len(_readers(netlist, name)) >= MANY


def _parts(
    netlist: Netlist, name: str, by_part: dict[str, int], among: Container[str] | None = None
) -> set[int]:
    """Parts in which a cell is read, by these cells, or by any."""
    cells = (pin.cell for pin in _readers(netlist, name))
    return {by_part[cell] for cell in cells if cell in by_part and (among is None or cell in among)}


def _is_near(netlist: Netlist, name: str, tables: Container[str]) -> bool:
    """What a register takes comes straight from another, or from a table that there are several of."""
    source = netlist.driver.get(netlist.bit(name, "DI"), Pin("", ""))
    return source.port == OUTPUTS[REGISTER] or source.cell in tables


def _copies(
    netlist: Netlist, name: str, what: str, places: dict[str, int], fresh: Iterator[Bit]
) -> list[str]:
    """Gives every place in which a cell is read a copy of it; ``places`` has the copies too.

    Names of the cells that were made.

    Where nobody else reads it, it stays for the first place.  ``what``: of what places are numbers.
    ``fresh``: nets that are not there yet.
    """
    cell = netlist.cells[name]
    output = OUTPUTS[cell["type"]]
    bit = netlist.bit(name, output)
    readers = netlist.readers[bit]
    by_place: defaultdict[int, list[Pin]] = defaultdict(list)
    for pin in sorted(readers):
        if pin.cell in places and pin.port not in APART:
            by_place[places[pin.cell]].append(pin)
    synchronizer = cell["parameters"].get("SRMODE") == "ASYNC"  # of a reset: copies might not agree
    if len(by_place) < 2 or synchronizer or "keep" in cell["attributes"]:
        return []
    alone = sum(map(len, by_place.values())) == len(readers)
    made = []
    for place in sorted(by_place)[alone:]:
        own = next(fresh)
        copies = _copy(netlist, name, f"{name}${what}{place}", own, fresh)
        places |= dict.fromkeys(copies, place)
        made += copies
        for pin in by_place[place]:
            ports = netlist.cells[pin.cell]["connections"]
            ports[pin.port] = [own if other == bit else other for other in ports[pin.port]]
            readers.discard(pin)
            netlist.readers[own].add(pin)
    return made


def _copy(netlist: Netlist, name: str, copy: str, own: Bit, fresh: Iterator[Bit]) -> list[str]:
    """A cell once more, with the tables that it chooses from; ``own`` is what it puts out.

    Names of the cells that were made.
    """
    made = [copy]
    netlist.cells[copy] = cell = deepcopy(netlist.cells[name])
    output = OUTPUTS[cell["type"]]
    cell["connections"][output] = [own]
    netlist.driver[own] = Pin(copy, output)
    for port, bits in cell["connections"].items():
        if cell["type"] == WIDE_TABLE and port in TABLES:
            table = netlist.driver[bits[0]].cell
            bits[0] = next(fresh)
            made += _copy(netlist, table, f"{copy}.{port}", bits[0], fresh)
        if port != output:
            netlist.readers[bits[0]].add(Pin(copy, port))
    return made

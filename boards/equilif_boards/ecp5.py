"""ECP5: registers beside block RAMs and multipliers move into them, where Yosys leaves them in the logic.

    Yosys --> netlist --[ absorb ]--> netlist --> nextpnr

    DP16KD -----|--> ...        DP16KD|--> ...            REGMODE OUTREG: .9 ns from clock to output, not 5.7
    ... --|--+                  ... -----+
             +-- MULT --|-->             +--|MULT|-->     REG_INPUTA, REG_INPUTB, REG_OUTPUT: 3.9 ns less
    ... --|--'                  ... -----'

Bars are registers.  They move when nobody can tell: they start as 0, nothing resets them, they have the clock
of the block, and they lie on every way out of a port, or on every way into both factors.  Nobody else reads
what the block puts out.  A register before a multiplier may have other readers: it stays for them, and the
multiplier gets a copy.  Registers before one factor alone stay, as nextpnr times both alike.  A clock enable
moves to a block RAM only, where it is OCE: nextpnr 0.7 writes none for the product of a multiplier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

#: a net, or the constant "0", "1", "x" or "z", as Yosys writes it
Bit = int | str

BLOCK = "DP16KD"
MULTIPLIER = "MULT18X18D"
#: width of an output of a block, of a factor and of a product
DATA = 18
FACTOR = 18
PRODUCT = 36
#: width of port A with which it writes through the inputs of both, and B reads through the outputs of both
PSEUDO_DUAL = 36


#: of a multiplier; none is there as long as nothing says so
REGISTERS = ("INPUTA", "INPUTB", "OUTPUT")


class Pin(NamedTuple):
    """A pin of a cell; ``cell`` is empty where it is one of the design's own."""

    cell: str
    port: str


class Controls(NamedTuple):
    """Of a register that starts as 0 and is never reset."""

    clock: Bit
    enable: Bit


class Registers(NamedTuple):
    """Around a cell: what all of them have in common, and which one is at which port of the cell."""

    controls: Controls
    names: dict[str, str]


class Netlist:
    """The top module of what Yosys' ``write_json`` wrote: flat, as synth_ecp5 leaves it.

    Pins of block RAMs, multipliers and registers have one bit.  It is changed in place.
    """

    def __init__(self, content: dict[str, Any]):
        modules = content["modules"].values()
        top = next(module for module in modules if int(module["attributes"].get("top", "0"), 2))
        self.cells: dict[str, dict[str, Any]] = top["cells"]
        self.driver: dict[Bit, Pin] = {}
        self.readers: defaultdict[Bit, set[Pin]] = defaultdict(set)
        for name, port in top["ports"].items():
            for bit in port["bits"]:
                if port["direction"] != "input":
                    self.readers[bit].add(Pin("", name))
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if cell["port_directions"][port] == "output":
                        self.driver[bit] = Pin(name, port)
                    else:
                        self.readers[bit].add(Pin(name, port))

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((name, cell) for name, cell in list(self.cells.items()) if cell["type"] == kind)

    def bit(self, name: str, port: str) -> Bit:
        """What is connected to a pin; "x" for nothing."""
        bits: list[Bit] = self.cells[name]["connections"].get(port) or ["x"]
        return bits[0]

    def connect(self, name: str, port: str, bit: Bit) -> None:
        """A pin to another net, or one that had none."""
        cell = self.cells[name]
        pin = Pin(name, port)
        direction = cell["port_directions"].setdefault(port, "input")
        before = self.bit(name, port)
        cell["connections"][port] = [bit]
        if direction == "output":
            self.driver[bit] = pin
        else:
            self.readers[before].discard(pin)
            self.readers[bit].add(pin)

    def controls(self, name: str) -> Controls | None:
        """Of a register that may move; None for anything else."""
        cell = self.cells.get(name, {"type": ""})
        if cell["type"] != "TRELLIS_FF" or "keep" in cell["attributes"]:
            return None
        how = {"CEMUX": "1", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"} | cell["parameters"]
        gated = how["CEMUX"] == "CE"
        plain = how["CLKMUX"] == "CLK" and how["LSRMUX"] == "LSR" and how["REGSET"] == "RESET"
        # Yosys writes a space behind a text of digits
        if not plain or not gated and how["CEMUX"].strip() != "1" or self.bit(name, "LSR") not in ("0", "x"):
            return None
        return Controls(self.bit(name, "CLK"), self.bit(name, "CE") if gated else "1")

    def remove(self, name: str) -> None:
        for port, (bit,) in self.cells.pop(name)["connections"].items():
            self.readers[bit].discard(Pin(name, port))

    def behind(self, name: str, ports: Iterable[str]) -> Registers | None:
        """Registers behind these outputs of a cell.

        None when they differ, when something else reads an output, or nothing any.
        """
        found: dict[str, str] = {}
        for port in ports:
            bit = self.bit(name, port)
            readers = self.readers[bit] if isinstance(bit, int) else set()
            if not readers:
                continue
            if len(readers) > 1:
                return None
            (reader,) = readers
            if reader.port != "DI":
                return None
            found[port] = reader.cell
        return self._alike(found)

    def before(self, name: str, ports: Iterable[str]) -> Registers | None:
        """Registers before these inputs of a cell.

        None when they differ, when an input comes from elsewhere, or all are constant.  A constant 0 needs
        no register.
        """
        found: dict[str, str] = {}
        for port in ports:
            bit = self.bit(name, port)
            if bit in ("0", "x"):
                continue
            driver = self.driver.get(bit, Pin("", ""))
            if driver.port != "Q":
                return None
            found[port] = driver.cell
        return self._alike(found)

    def _alike(self, names: dict[str, str]) -> Registers | None:
        common = {self.controls(name) for name in names.values()}
        controls = common.pop() if len(common) == 1 else None
        return Registers(controls, names) if controls else None

    def swallow(self, name: str, registers: dict[str, str]) -> None:
        """A cell's outputs become those of the registers behind them, which are gone."""
        for port, register in registers.items():
            out = self.bit(register, "Q")
            self.remove(register)
            self.connect(name, port, out)

    def reach(self, name: str, registers: dict[str, str]) -> None:
        """A cell's inputs become those of the registers before them; one without a reader is gone."""
        for port, register in registers.items():
            self.connect(name, port, self.bit(register, "DI"))
        for register in dict.fromkeys(registers.values()):
            if not self.readers[self.bit(register, "Q")]:
                self.remove(register)


def absorb(content: dict[str, Any]) -> dict[str, int]:
    """Moves registers into the blocks of a netlist, in place.

    How many of each kind took some, by the name of the kind.  The same netlist gives the same netlist.
    """
    netlist = Netlist(content)
    return {
        BLOCK: sum(_block(netlist, name, cell) for name, cell in netlist.of_type(BLOCK)),
        MULTIPLIER: sum(_multiplier(netlist, name, cell) for name, cell in netlist.of_type(MULTIPLIER)),
    }


def _block(netlist: Netlist, name: str, cell: dict[str, Any]) -> bool:
    """Whether a port of a block RAM took the registers behind it."""
    how = cell["parameters"]
    if int(how["DATA_WIDTH_A"], 2) == PSEUDO_DUAL:
        outputs_of = {"B": "AB"}
    else:
        outputs_of = {"A": "A", "B": "B"}
    took = False
    for port, sides in outputs_of.items():
        found = netlist.behind(name, [f"DO{side}{k}" for side in sides for k in range(DATA)])
        if not found or found.controls.clock != netlist.bit(name, f"CLK{port}"):
            continue
        plain = how[f"CLK{port}MUX"] != "INV" and how[f"REGMODE_{port}"] == "NOREG"
        if not plain or netlist.bit(name, f"RST{port}") != "0":
            continue
        netlist.swallow(name, found.names)
        for side in sides:
            how[f"REGMODE_{side}"] = "OUTREG"
            netlist.connect(name, f"OCE{side}", found.controls.enable)
        took = True
    return took


def _multiplier(netlist: Netlist, name: str, cell: dict[str, Any]) -> bool:
    """Whether a multiplier took the registers before its factors, or behind its product."""
    if any(f"REG_{register}_CLK" in cell["parameters"] for register in REGISTERS):
        return False
    clock: Bit = "x"
    moved = []
    product = netlist.behind(name, [f"P{k}" for k in range(PRODUCT)])
    if product and product.controls.enable == "1":
        netlist.swallow(name, product.names)
        clock = product.controls.clock
        moved.append("OUTPUT")
    factors = [netlist.before(name, [f"{factor}{k}" for k in range(FACTOR)]) for factor in "AB"]
    controls = {found.controls if found else None for found in factors}
    common = controls.pop() if len(controls) == 1 else None
    if common and common.enable == "1" and (common.clock == clock or not moved):
        for found in factors:
            netlist.reach(name, found.names if found else {})
        clock = common.clock
        moved += ["INPUTA", "INPUTB"]
    for register in moved:
        cell["parameters"] |= {
            f"REG_{register}_CLK": "CLK0",
            f"REG_{register}_CE": "CE0",
            f"REG_{register}_RST": "RST0",
        }
    if moved:
        for port, bit in {"CLK0": clock, "CE0": "1", "RST0": "0"}.items():
            netlist.connect(name, port, bit)
    return bool(moved)

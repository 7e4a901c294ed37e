"""ECP5 netlist pass: packs registers into block RAMs and multipliers where Yosys leaves them in the logic.

    Yosys --> netlist --[ pack_registers ]--> netlist --> nextpnr

    DP16KD -----|--> ...        DP16KD|--> ...            REGMODE OUTREG: clock to output 0.9 ns, not 5.7
    ... --|--+                  ... -----+
             +-- MULT --|-->             +--|MULT|-->     REG_INPUTA, REG_INPUTB, REG_OUTPUT: 3.9 ns less
    ... --|--'                  ... -----'

Bars are registers.  A register is packed if the function does not change: it starts as 0, has no reset and
the clock of the block, and all outputs of the port, or all inputs of both factors, have such a register.  The
outputs of the block have no other reader.  A register before a multiplier may have other readers: it remains
for them, and the multiplier gets a copy.  If only one factor has registers they remain, since nextpnr times
both factors alike.  A clock enable is packed into block RAMs only, as OCE: nextpnr 0.7 does not write one for
the product of a multiplier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

#: a net, or the constant "0", "1", "x" or "z", as Yosys writes it
Bit = int | str

BLOCK = "DP16KD"
MULTIPLIER = "MULT18X18D"
#: width of a block RAM output, of a factor and of a product
DATA = 18
FACTOR = 18
PRODUCT = 36
#: width of port A with which it writes by the inputs of both ports, and B reads by the outputs of both
PSEUDO_DUAL = 36


#: registers of a multiplier, unused by default
REGISTERS = ("INPUTA", "INPUTB", "OUTPUT")


class Pin(NamedTuple):
    """A pin of a cell; ``cell`` is empty for ports of the design."""

    cell: str
    port: str


class Controls(NamedTuple):
    """Control nets of a register that starts as 0 and has no reset."""

    clock: Bit
    enable: Bit


class CellRegisters(NamedTuple):
    """Registers around a cell: their common control nets, and names by port of the cell."""

    controls: Controls
    names: dict[str, str]


class Netlist:
    """Top module of the JSON netlist of Yosys, flat as after synth_ecp5; modified in place.

    Pins of block RAMs, multipliers and registers have one bit.
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
        """The net of a pin; "x" if it is not connected."""
        bits: list[Bit] = self.cells[name]["connections"].get(port) or ["x"]
        return bits[0]

    def connect(self, name: str, port: str, bit: Bit) -> None:
        """Connect a pin to a net, instead of its present one."""
        cell = self.cells[name]
        pin = Pin(name, port)
        direction = cell["port_directions"].setdefault(port, "input")
        previous = self.bit(name, port)
        cell["connections"][port] = [bit]
        if direction == "output":
            self.driver[bit] = pin
        else:
            self.readers[previous].discard(pin)
            self.readers[bit].add(pin)

    def controls(self, name: str) -> Controls | None:
        """Control nets of a register that can be packed; None for other cells."""
        cell = self.cells.get(name, {"type": ""})
        if cell["type"] != "TRELLIS_FF" or "keep" in cell["attributes"]:
            return None
        how = {"CEMUX": "1", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"} | cell["parameters"]
        gated = how["CEMUX"] == "CE"
        plain = how["CLKMUX"] == "CLK" and how["LSRMUX"] == "LSR" and how["REGSET"] == "RESET"
        # Yosys appends a space to a string of digits
        if not plain or not gated and how["CEMUX"].strip() != "1" or self.bit(name, "LSR") not in ("0", "x"):
            return None
        return Controls(self.bit(name, "CLK"), self.bit(name, "CE") if gated else "1")

    def remove(self, name: str) -> None:
        for port, (bit,) in self.cells.pop(name)["connections"].items():
            self.readers[bit].discard(Pin(name, port))

    def registers_after(self, name: str, ports: Iterable[str]) -> CellRegisters | None:
        """Registers at these outputs of a cell.

        None if their control nets differ, an output has another reader, or no output has a reader.
        """
        names: dict[str, str] = {}
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
            names[port] = reader.cell
        return self._common(names)

    def registers_before(self, name: str, ports: Iterable[str]) -> CellRegisters | None:
        """Registers at these inputs of a cell.

        None if their control nets differ, an input has another source, or all are constant.  A constant 0
        needs no register.
        """
        names: dict[str, str] = {}
        for port in ports:
            bit = self.bit(name, port)
            if bit in ("0", "x"):
                continue
            driver = self.driver.get(bit, Pin("", ""))
            if driver.port != "Q":
                return None
            names[port] = driver.cell
        return self._common(names)

    def _common(self, names: dict[str, str]) -> CellRegisters | None:
        distinct = {self.controls(name) for name in names.values()}
        controls = distinct.pop() if len(distinct) == 1 else None
        return CellRegisters(controls, names) if controls else None

    def pack_output(self, name: str, registers: dict[str, str]) -> None:
        """Replace the outputs of a cell by those of the registers after them, and remove these."""
        for port, register in registers.items():
            out = self.bit(register, "Q")
            self.remove(register)
            self.connect(name, port, out)

    def pack_input(self, name: str, registers: dict[str, str]) -> None:
        """Replace the inputs of a cell by those of the registers before them; remove unread ones."""
        for port, register in registers.items():
            self.connect(name, port, self.bit(register, "DI"))
        for register in dict.fromkeys(registers.values()):
            if not self.readers[self.bit(register, "Q")]:
                self.remove(register)


def pack_registers(content: dict[str, Any]) -> dict[str, int]:
    """Pack registers into the blocks of a netlist, in place; deterministic.

    Returns the number of blocks with packed registers, by cell type.
    """
    netlist = Netlist(content)
    return {
        BLOCK: sum(_block(netlist, name, cell) for name, cell in netlist.of_type(BLOCK)),
        MULTIPLIER: sum(_multiplier(netlist, name, cell) for name, cell in netlist.of_type(MULTIPLIER)),
    }


def _block(netlist: Netlist, name: str, cell: dict[str, Any]) -> bool:
    """Pack output registers into a block RAM; returns whether any was packed."""
    parameters = cell["parameters"]
    if int(parameters["DATA_WIDTH_A"], 2) == PSEUDO_DUAL:
        outputs_of = {"B": "AB"}
    else:
        outputs_of = {"A": "A", "B": "B"}
    packed = False
    for port, sides in outputs_of.items():
        registers = netlist.registers_after(name, [f"DO{side}{k}" for side in sides for k in range(DATA)])
        if not registers or registers.controls.clock != netlist.bit(name, f"CLK{port}"):
            continue
        plain = parameters[f"CLK{port}MUX"] != "INV" and parameters[f"REGMODE_{port}"] == "NOREG"
        if not plain or netlist.bit(name, f"RST{port}") != "0":
            continue
        netlist.pack_output(name, registers.names)
        for side in sides:
            parameters[f"REGMODE_{side}"] = "OUTREG"
            netlist.connect(name, f"OCE{side}", registers.controls.enable)
        packed = True
    return packed


def _multiplier(netlist: Netlist, name: str, cell: dict[str, Any]) -> bool:
    """Pack the registers of factors and product into a multiplier; returns whether any was packed."""
    if any(f"REG_{register}_CLK" in cell["parameters"] for register in REGISTERS):
        return False
    clock: Bit = "x"
    packed = []
    product = netlist.registers_after(name, [f"P{k}" for k in range(PRODUCT)])
    if product and product.controls.enable == "1":
        netlist.pack_output(name, product.names)
        clock = product.controls.clock
        packed.append("OUTPUT")
    factors = [netlist.registers_before(name, [f"{factor}{k}" for k in range(FACTOR)]) for factor in "AB"]
    controls = {registers.controls if registers else None for registers in factors}
    common = controls.pop() if len(controls) == 1 else None
    if common and common.enable == "1" and (common.clock == clock or not packed):
        for registers in factors:
            netlist.pack_input(name, registers.names if registers else {})
        clock = common.clock
        packed += ["INPUTA", "INPUTB"]
    for register in packed:
        cell["parameters"] |= {
            f"REG_{register}_CLK": "CLK0",
            f"REG_{register}_CE": "CE0",
            f"REG_{register}_RST": "RST0",
        }
    if packed:
        for port, bit in {"CLK0": clock, "CE0": "1", "RST0": "0"}.items():
            netlist.connect(name, port, bit)
    return bool(packed)

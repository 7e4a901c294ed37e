"""Proofs that a mutant is equivalent to its design, in every state that can be reached from a reset.

    RTLIL --yosys--> one AIG with a switch --+-- original --.
                                             '-- mutant  ---+--> difference --ABC--> never 1

Memories are outside of the proof, at first: what is read from them is arbitrary, and what is written to them,
and where, must be the same.  Small ones are registers, if that is not enough.  Registers may take part in
three ways:

    apart   original and mutant have one each, which may differ; the other registers must never differ
    kept    one for both, with its next value
    free    one for both, with an arbitrary value

A free register only admits more states, and a difference in a register that is not apart only ends more
proofs; so each choice is sound, and the small ones are tried first.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from equilif_sim.library import BuildFailed, call
from equilif_sim.mutate import INPUT, READ, Mutant, yosys

MAX_APART = 80  #: registers
MAX_MEMORY = 2048  #: bits of memories that become registers
MAX_BDD = 64  #: registers of a proof with BDDs
MAX_UNKNOWN = 2  #: answers, before the next set of registers apart is tried
DEPTHS = (0, 1, 2, 3)  #: registers are kept up to so many cycles before the difference, and then all


# -- contracts -------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Contract:
    """What a block demands of its inputs and allows of its outputs, in Verilog expressions of its ports.

    ``name_own`` is an output as the block drives it, ``name_before`` the value of a port in the cycle before.
    ``inputs``: holds in every cycle.  ``stable``: input ->
    condition under which it is as in the cycle before.  ``used``: output -> condition under which it is
    observed.  ``held``: cases of inputs that are constant; one proof each.
    """

    inputs: str = "1"
    stable: Mapping[str, str] = field(default_factory=dict)
    used: Mapping[str, str] = field(default_factory=dict)
    held: Sequence[Mapping[str, int]] = ({},)

    def wrapper(self, module: str) -> str:
        """Verilog of a module ``it`` around the block ``block``, with the output ``keeps``."""
        found = re.findall(
            r"^  wire width (\d+) (input|output) \d+ +(?:signed +)?\\(\S+)$", module, flags=re.M
        )
        ports = [(int(width), way, name) for width, way, name in found]
        # escaped, since a port may have the name of a keyword
        names = [rf"\{name} " for _, _, name in ports]
        lines = [f"module it({', '.join([*names, INPUT, 'keeps'])});"]
        lines += [f"  input [15:0] {INPUT};", "  output keeps;"]
        connected = [f".{INPUT}({INPUT})"]
        for (width, way, name), port in zip(ports, names, strict=True):
            lines += [f"  {way} [{width - 1}:0] {port};"]
            if way == "output":
                condition = self.used.get(name, "1")
                lines += [f"  wire [{width - 1}:0] {name}_own;"]
                lines += [f"  assign {port} = ({condition}) ? {name}_own : {width}'d0;"]
            connected.append(f".{port}({port if way == 'input' else f'{name}_own'})")
        lines += [f"  block inner({', '.join(connected)});"]
        lines += ["  reg later;", "  always @(posedge clk) later <= 1;"]
        for width, way, name in ports:
            now = name + "_own" * (way == "output")
            lines += [
                f"  reg [{width - 1}:0] {name}_before;",
                f"  always @(posedge clk) {name}_before <= \\{now} ;",
            ]
        conditions = [f"({self.inputs})"]
        conditions += [f"!(later && ({when}) && {x} != {x}_before)" for x, when in self.stable.items()]
        lines += [f"  assign keeps = {' && '.join(conditions)};", "endmodule", ""]
        return "\n".join(lines)


NO_CONTRACT = Contract()


# -- and-inverter graphs ---------------------------------------------------------------------------
class Aig:
    """And-inverter graph, in which equal nodes are one; literals as in AIGER: 2 x node + inverted."""

    def __init__(self) -> None:
        self.ands: dict[int, tuple[int, int]] = {}
        self._nodes: dict[tuple[int, int], int] = {}
        self._top = 0

    def variable(self) -> int:
        self._top += 2
        return self._top

    def both(self, a: int, b: int) -> int:
        if a > b:
            a, b = b, a
        if a == 0 or a == b ^ 1:
            return 0
        if a == 1 or a == b:
            return b
        found = self._nodes.get((a, b))
        if found is None:
            found = self._nodes[a, b] = self.variable()
            self.ands[found] = (a, b)
        return found

    def either(self, a: int, b: int) -> int:
        return self.both(a ^ 1, b ^ 1) ^ 1

    def differ(self, a: int, b: int) -> int:
        if a >> 1 == b >> 1:
            return a ^ b
        return self.both(self.both(a, b) ^ 1, self.both(a ^ 1, b ^ 1) ^ 1)

    def any(self, literals: Iterable[int]) -> int:
        """Disjunction."""
        level = list(literals) or [0]
        while len(level) > 1:
            pairs = zip(level[::2], [*level[1::2], *[0] * (len(level) % 2)], strict=True)
            level = [self.either(a, b) for a, b in pairs]
        return level[0]

    def support(self, literals: Iterable[int]) -> tuple[set[int], list[int]]:
        """Variables and AND nodes, in order, that literals depend on."""
        seen: set[int] = set()
        variables = set()
        stack = [x & ~1 for x in literals]
        while stack:
            node = stack.pop()
            if node in seen or not node:
                continue
            seen.add(node)
            if node in self.ands:
                stack += [x & ~1 for x in self.ands[node]]
            else:
                variables.add(node)
        return variables, sorted(seen - variables)


@dataclass
class YosysModule:
    """A design as AIGER: literals, ``latches`` with their next values, all 0 at first, and names of ports."""

    inputs: list[int]
    latches: list[tuple[int, int]]
    outputs: list[int]
    ands: list[tuple[int, int, int]]
    input_names: list[str]
    output_names: list[str]
    latch_names: list[str]
    clocks: int

    @classmethod
    def parse(cls, text: str, clocks: int) -> YosysModule:
        """From the ASCII format."""
        lines = text.splitlines()
        _, _, i, n, o, a = (int(x) if x.isdigit() else 0 for x in lines[0].split()[:6])
        rows = [[int(x) for x in line.split()] for line in lines[1 : 1 + i + n + o + a]]
        names = {"i": [""] * i, "l": [""] * n, "o": [""] * o}
        for line in lines[1 + i + n + o + a :]:
            found = re.match(r"([ilo])(\d+) (.*)", line)
            if found:
                names[found[1]][int(found[2])] = found[3]
            if line == "c":
                break
        return cls(
            [row[0] for row in rows[:i]],
            [(row[0], row[1]) for row in rows[i : i + n]],
            [row[0] for row in rows[i + n : i + n + o]],
            [(row[0], row[1], row[2]) for row in rows[i + n + o :]],
            names["i"],
            names["o"],
            names["l"],
            clocks,
        )

    @cached_property
    def enabled(self) -> dict[int, list[int]]:
        """Places of outputs to memories -> literals of the enables, without which they have no effect."""
        ports: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place, name in enumerate(self.output_names):
            memory, _, port = name.rpartition(".")
            ports[memory, port.partition("[")[0]].append(place)
        out = {}
        for (memory, port), places in ports.items():
            if port not in {"RD_ADDR", "WR_ADDR", "WR_DATA"}:
                continue
            enables = [self.outputs[k] for k in ports[memory, f"{port[:2]}_EN"]]
            count = len(ports[memory, f"{port[:2]}_CLK"])
            for k, place in enumerate(places):
                if port == "WR_DATA":  # an enable for each bit
                    out[place] = [enables[k]]
                else:
                    number = k * count // len(places)
                    out[place] = enables[
                        number * len(enables) // count : (number + 1) * len(enables) // count
                    ]
        return out

    def evaluate(self, aig: Aig, values: Mapping[int, int]) -> list[int]:
        """Literal in ``aig`` of each literal, given those of inputs and latches."""
        last = max([0, *self.inputs, *[x for x, _ in self.latches], *[x for x, _, _ in self.ands]])
        out = [0] * (last + 2)
        out[1] = 1
        for literal, value in values.items():
            out[literal] = value
            out[literal ^ 1] = value ^ 1
        both = aig.both
        for node, a, b in self.ands:
            value = both(out[a], out[b])
            out[node] = value
            out[node ^ 1] = value ^ 1
        return out


def netlist(
    text: str, mutant: Mutant, module: str, contract: Contract = NO_CONTRACT, *, memories: bool = False
) -> YosysModule:
    """A module with what is inside of it, and the input ``mutant``: 1 for the mutant."""
    top = mutant.module.partition(".")[0]
    parts = dict(re.findall(r"^module \\(\S+)\n(.*?)^end\n", text, flags=re.M | re.S))
    wrapper = contract.wrapper(parts[module])
    passes = [
        READ.format(top=top).replace("; ", "\n"),
        f"mutate -ctrl {INPUT} 16 1 {mutant.change}",
        f"hierarchy -top {module}",
        f"flatten {module}",
        f"rename {module} block",
        "read_verilog wrapper.v",
        "hierarchy -top it",
        "proc",
        "flatten it",
        "memory_collect",
        "memory_map" if memories else "expose -evert it/c:* it/t:$* %d it/t:$mem_v2 %u",
        "async2sync\ndffunmap\nopt_clean",
        "write_rtlil flat.il",
        "techmap\nsimplemap\nopt_clean\nsetundef -zero\naigmap\nopt_clean",
        "write_aiger -ascii -symbols -zinit it.aag",
    ]
    flat, aag = yosys(text, *passes, read=["flat.il", "it.aag"], **{"wrapper.v": wrapper})
    clocks = {*re.findall(r"connect \\(?:CLK|C) (.+)", flat)}
    return YosysModule.parse(aag, len(clocks))


# -- proofs ----------------------------------------------------------------------------------------
class Pair:
    """Original and mutant with common inputs."""

    def __init__(self, design: YosysModule, held: Mapping[str, int]):
        self.design = design
        self.aig = Aig()
        self.common: dict[int, int] = {}
        self.switch = []
        for literal, name in zip(design.inputs, design.input_names, strict=True):
            port, _, bit = name.partition("[")
            if port == INPUT:
                self.switch.append((literal, int(bit.rstrip("]") or 0)))
            elif port in held:
                self.common[literal] = held[port] >> int(bit.rstrip("]") or 0) & 1
            else:
                self.common[literal] = self.aig.variable()
        self.state = {latch: self.aig.variable() for latch, _ in design.latches}
        self.next = dict(design.latches)
        off = {literal: 0 for literal, _ in self.switch}
        self.original = design.evaluate(self.aig, self.common | self.state | off)
        place = design.output_names.index("keeps")
        self.keeps = self.original[design.outputs[place]]
        self.copies: dict[int, int] = {}

    def mutant(self, apart: Collection[int]) -> list[int]:
        """Its literals; ``apart``: latches that it has a copy of."""
        for latch in apart:
            if latch not in self.copies:
                self.copies[latch] = self.aig.variable()
        own = {latch: self.copies[latch] for latch in apart}
        ctrl = {literal: int(bit == 0) for literal, bit in self.switch}
        return self.design.evaluate(self.aig, self.common | self.state | own | ctrl)

    def differing(self, mutant: Sequence[int]) -> set[int]:
        """Latches whose next value may differ."""
        return {x for x, following in self.design.latches if self.original[following] != mutant[following]}

    def difference(self, mutant: Sequence[int], apart: Collection[int]) -> int:
        """Of an output, or of the next value of a latch that is not apart."""
        aig = self.aig
        watched = [(x, 1) for x in self.design.outputs]
        for literal, enables in self.design.enabled.items():
            watched[literal] = (self.design.outputs[literal], aig.any(self.original[x] for x in enables))
        watched += [(n, 1) for x, n in self.design.latches if x not in apart]
        found = {aig.both(aig.differ(self.original[x], mutant[x]), used) for x, used in watched}
        return aig.any(found - {0})


@dataclass
class Question:
    """Whether ``bad`` is ever 1, of registers (variable -> next value) that are 0 at first."""

    aig: Aig
    bad: int
    keeps: int
    registers: dict[int, int]

    @cached_property
    def reduced(self) -> dict[int, int]:
        """The registers that it depends on."""
        known: set[int] = set()
        roots = [self.bad, self.keeps]
        while True:
            variables, _ = self.aig.support(roots)
            new = variables & self.registers.keys() - known
            if not new:
                return {x: self.registers[x] for x in sorted(known)}
            known |= new
            roots += [self.registers[x] for x in new]

    def aiger(self) -> bytes:
        """The question in the binary format; a register tells that the inputs have kept their contract."""
        registers = self.reduced
        aig = self.aig
        broken = aig.variable() if self.keeps != 1 else 0
        bad = aig.both(self.bad, self.keeps) if broken else self.bad
        bad = aig.both(bad, broken ^ 1)
        if broken:
            registers = registers | {broken: aig.either(broken, self.keeps ^ 1)}
        variables, nodes = aig.support([bad, *registers.values()])
        inputs = sorted(variables - registers.keys())
        numbers = {x: 2 * k for k, x in enumerate([*inputs, *registers, *nodes], 1)}
        numbers[0] = 0

        def literal(x: int) -> int:
            return numbers[x & ~1] ^ x & 1

        total = len(numbers) - 1
        out = bytearray(f"aig {total} {len(inputs)} {len(registers)} 1 {len(nodes)}\n".encode())
        for following in registers.values():
            out += f"{literal(following)}\n".encode()
        out += f"{literal(bad)}\n".encode()
        for node in nodes:
            a, b = sorted((literal(x) for x in aig.ands[node]), reverse=True)
            for delta in (numbers[node] - a, a - b):
                while delta > 127:
                    out.append(delta & 127 | 128)
                    delta >>= 7
                out.append(delta)
        return bytes(out)

    def answer(self, seconds: int, *, bdd: bool = False) -> bool | None:
        """Whether it is proven that ``bad`` is never 1; None: not known."""
        if self.bad == 0:
            return True
        if self.bad == 1:
            return False
        with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
            file = Path(folder) / "question.aig"
            file.write_bytes(self.aiger())
            if bdd:
                steps = f"reach -T {seconds} -F 1000000 -B 2000000"
            elif self.reduced or self.keeps != 1:
                steps = f"scorr; dc2; scorr -F 2; pdr -T {seconds}; iprove"
            else:
                steps = "dc2; iprove"
            run = ["timeout", str(2 * seconds + 5), "yosys-abc", "-c", f"read_aiger {file}; {steps}"]
            try:
                output = call(run, file.parent, dict(os.environ))
            except BuildFailed:
                return None
        # where no register is left, the question is one without time, which `pdr` leaves to `iprove`; the
        # other way around, `iprove` ends all where there is a register
        if (
            "Property proved" in output
            or "UNSATISFIABLE" in output
            or "rop" not in output
            and "erified" in output
        ):
            return True
        return False if "asserted in frame" in output or re.search(r"\bSATISFIABLE", output) else None


def _questions(pair: Pair, apart: Collection[int]) -> Iterator[Question]:
    """One with more and more registers that are kept."""
    aig = pair.aig
    mutant = pair.mutant(apart)
    bad = pair.difference(mutant, apart)
    nexts = {pair.state[x]: pair.original[n] for x, n in pair.design.latches}
    own = {pair.state[x] for x in apart}
    copies = {pair.copies[x]: mutant[pair.next[x]] for x in apart}
    kept = own
    if pair.design.clocks > 1:  # the registers change at different times
        if not apart:
            yield Question(aig, bad, pair.keeps, {})
        return
    size = -1
    for depth in (*DEPTHS, None):
        if depth is None:
            kept = set(nexts)
        elif depth:
            variables, _ = aig.support([bad, pair.keeps, *(nexts[x] for x in kept), *copies.values()])
            kept = kept | variables & nexts.keys()
        question = Question(aig, bad, pair.keeps, {x: nexts[x] for x in kept} | copies)
        if len(question.reduced) != size:
            size = len(question.reduced)
            yield question


def _sets_apart(pair: Pair) -> Iterator[set[int]]:
    """None; those that differ first, by themselves and with the other bits of their signals; then more."""
    signals: dict[str, set[int]] = defaultdict(set)
    for (latch, _), name in zip(pair.design.latches, pair.design.latch_names, strict=True):
        signals[name.rpartition("[")[0]].add(latch)
    apart: set[int] = set()
    seen = []
    while len(apart) <= MAX_APART:
        whole = set().union(*(of for of in signals.values() if of & apart))
        for each in (apart, whole):
            if each not in seen and len(each) <= MAX_APART:
                seen.append(each)
                yield each
        wider = apart | pair.differing(pair.mutant(apart))
        if wider == apart:
            return
        apart = wider


def _proven(pair: Pair, seconds: int) -> str:
    for apart in _sets_apart(pair):
        unknown = 0
        for question in _questions(pair, apart):
            answer = question.answer(seconds)
            small = len(question.reduced) <= MAX_BDD
            if answer is None and small and question.answer(seconds, bdd=True):
                return "BDDs"
            if answer:
                return (
                    ("registers apart" if apart else "no first difference")
                    if question.reduced
                    else "free registers"
                )
            unknown += answer is None
            if unknown == MAX_UNKNOWN:
                break
    return ""


def _memory_bits(text: str, module: str) -> int:
    """Bits of the memories in a module and inside of it."""
    total = 0
    for part in re.findall(r"^module \\(\S+)$|^  memory width (\d+) size (\d+)", text, flags=re.M):
        if part[0]:
            inside = part[0] == module or part[0].startswith(f"{module}.")
        elif inside:
            total += int(part[1]) * int(part[2])
    return total


def equivalent(
    text: str, mutant: Mutant, seconds: int = 10, contracts: Mapping[str, Contract] | None = None
) -> str:
    """Method that proved a mutant equivalent; empty: no proof.

    First of its module by itself, for all inputs that ``contracts``, by name of a block, allow; then of the
    design, unless it has modules that are only in Verilog.
    """
    top = mutant.module.partition(".")[0]
    modules = {*re.findall(r"^module \\(\S+)$", text, flags=re.M)}
    complete = modules.issuperset(re.findall(r"^  cell \\(\S+) ", text, flags=re.M))
    cases = []
    for module in dict.fromkeys([mutant.module, *[top] * complete]):
        block = re.sub(r"\d+$", "", module.rpartition(".")[2])
        for contract in dict.fromkeys([NO_CONTRACT, (contracts or {}).get(block, NO_CONTRACT)]):
            for memories in (False, True) if 0 < _memory_bits(text, module) <= MAX_MEMORY else (False,):
                how = ", with its memories" * memories + ", with its contract" * (contract is not NO_CONTRACT)
                how += ", in the design" * (module != mutant.module)
                cases.append((module, contract, memories, how))
    designs: dict[str, YosysModule] = {}
    for limit in dict.fromkeys([1, seconds]):  # most proofs are short
        for module, contract, memories, how in cases:
            if how not in designs:
                designs[how] = netlist(text, mutant, module, contract, memories=memories)
            method = ""
            for held in contract.held:
                method = _proven(Pair(designs[how], held), limit)
                if not method:
                    break
            if method:
                return method + how
    return ""

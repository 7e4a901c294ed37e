"""Mutants of a design: one bit of a cell port is inverted, stuck, or replaced by another bit.

The Yosys pass ``mutate`` generates them at the level of operators, multiplexers and registers, before
mapping. Many mutants are in one design, which is built once: the input ``mutant`` selects one; 0 is the
unchanged design.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from equilif_sim.library import BuildFailed, call

INPUT = "mutant"  #: input of the design
BITS = 16  #: its width
READ = "read_rtlil design.il; hierarchy -top {top}; proc -norom; opt_clean"
#: excluded: clocks, which are no plausible error; outputs of registers, which are equivalent to their inputs
NOT_MUTATED = {"CLK", "Q"}


class Mutant(NamedTuple):
    """``change``: arguments of Yosys' ``mutate``; ``source``: file below the package, and line."""

    change: str
    source: str

    @property
    def file(self) -> str:
        return self.source.partition(":")[0]

    @property
    def name(self) -> str:
        """Line and operator, ``blocks/lif.py:89 cnot0 B[2] by 10``; independent of cell numbers."""
        found = dict(re.findall(r"-(mode|port|portbit|ctrlbit) \\?(\S+)", self.change))
        by = f" by {found['ctrlbit']}" if "ctrlbit" in found else ""
        return f"{self.source} {found['mode']} {found['port']}[{found['portbit']}]{by}"

    @property
    def module(self) -> str:
        return re.search(r"-module (\S+)", self.change)[1]  # type: ignore[index]

    @property
    def block(self) -> str:
        """``engine.lanes.lane0.lif`` is lif, and lane3 is lane."""
        return re.sub(r"\d+$", "", self.module.rpartition(".")[2])


def yosys(text: str, *passes: str, read: Sequence[str] = ()) -> list[str]:
    """Files written by Yosys passes on a design in RTLIL; BuildFailed if one fails."""
    with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
        work = Path(folder)
        (work / "design.il").write_text(text)
        (work / "passes.ys").write_text("\n".join(passes))
        call(["yosys", "-q", "-s", "passes.ys"], work, dict(os.environ))
        return [(work / name).read_text() for name in read]


def mutants(text: str, top: str, package: str) -> list[Mutant]:
    """All mutants of cells with a source line in the package."""
    (found,) = yosys(
        text,
        READ.format(top=top),
        # initial contents of memories are constants
        "mutate -list 100000000 -seed 1 -o all.txt t:$meminit t:$meminit_v2 %u %n",
        read=["all.txt"],
    )
    out = []
    for line in found.splitlines():
        port = re.search(r"-port \\?(\S+)", line)
        source = re.search(rf"-src \S*/{package}/(\S+)", line)
        if source and port and port[1] not in NOT_MUTATED:
            change = re.sub(r" -src \S+", "", line).removeprefix("mutate ")
            out.append(Mutant(change, source[1].partition("|")[0].partition("-")[0]))
    return out


def sample(
    found: Sequence[Mutant], count: int, seed: int, wanted: Callable[[Mutant], bool] = lambda _: True
) -> list[Mutant]:
    """A sample of ``n`` mutants, uniform over files and lines.

    Instances of a block share their lines, so blocks of many lanes are not drawn more often.
    """
    rng = random.Random(seed)
    lines: dict[str, dict[str, list[Mutant]]] = defaultdict(lambda: defaultdict(list))
    for mutant in found:
        if wanted(mutant):
            lines[mutant.file][mutant.source].append(mutant)
    turns: dict[str, list[str]] = {file: [] for file in lines}
    out: list[Mutant] = []
    while lines and len(out) < count:
        for file in sorted(lines):
            turn = turns[file]
            if not turn:
                turn += sorted(lines[file])
                rng.shuffle(turn)
            line = turn.pop()
            left = lines[file][line]
            out.append(left.pop(rng.randrange(len(left))))
            if not left:
                del lines[file][line]
            if not lines[file]:
                del lines[file]
            if len(out) == count:
                break
    return out


def switched(text: str, top: str, chosen: Sequence[Mutant], *, register: bool = False) -> str:
    """The design in Verilog, with mutant k for the value k + 1 of its input.

    ``register``: an undriven register in place of the input, since Icarus applies input values only after the
    start of the simulation.
    """
    script = [READ.format(top=top)]
    script += [f"mutate -ctrl {INPUT} {BITS} {k} {m.change}" for k, m in enumerate(chosen, 1)]
    # as functions, whose names Icarus rejects
    script += ["pmuxtree", "memory_collect", "write_verilog -norename -noattr design.v"]
    (verilog,) = yosys(text, *script, read=["design.v"])
    return _with_register(verilog, top) if register and chosen else verilog


def _with_register(verilog: str, top: str) -> str:
    # SystemVerilog keywords, such as "checker", are escaped
    begin = re.search(rf"^module \\?{top} ?\(", verilog, flags=re.M)
    assert begin is not None
    end = verilog.index("endmodule", begin.start())
    module = verilog[begin.start() : end]
    header, semicolon, body = module.partition(";")
    header = re.sub(rf", {INPUT}\b|\b{INPUT}, ", "", header)
    width = rf"\[{BITS - 1}:0\]"
    body = re.sub(rf"^ *input {width} {INPUT};\n *wire ({width} {INPUT};)$", r"  reg \1", body, flags=re.M)
    return verilog[: begin.start()] + header + semicolon + body + verilog[end:]


# -- equivalence -----------------------------------------------------------------------------------
#: assumptions on the inputs of a block, by name: a list of cases
Cases = Mapping[str, Sequence[Mapping[str, int]]]


def equivalent(text: str, mutant: Mutant, seconds: int = 10, cases: Cases | None = None) -> str:
    """Method that proved a mutant equivalent to its module; empty: no proof.

    For all inputs and all times, of the module by itself: blocks below it and what surrounds it may do
    anything.  First as a question without time, of registers that may hold anything; then from their initial
    values on; then with the blocks below it; then with inputs that hold, as they can only be: ``cases``.
    """
    try:
        yosys(text, *_miter(mutant, f"expose -evert -evert-dff {_CELLS}"), _SAT.format(seconds=seconds))
        return "free registers"
    except BuildFailed:
        pass
    if _unused(text, mutant, seconds):
        return "a bit that the block inside of it does not use"
    limits = (cases or {}).get(mutant.block, ())
    for name, passes, held in (
        ("reachability", f"expose -evert {_CELLS}", [{}]),
        ("with the blocks inside of it", "flatten it", [{}]),
        ("held inputs", "flatten it", limits),
    ):
        if held and all(_unreachable(text, mutant, passes, case, seconds) for case in held):
            return name
    return ""


def _unused(text: str, mutant: Mutant, seconds: int) -> bool:
    """Whether it is at an input of a block inside of its module that does not observe it."""
    cell = re.search(r" -cell ([^$ ]\S*)", mutant.change)
    if not cell:
        return False
    outer = _module(text, mutant.module)
    found = re.search(rf"^  cell \\(\S+) \\{re.escape(cell[1])}$", outer, flags=re.M)
    if not found:
        return False
    inner = _module(text, found[1])
    ports = re.findall(r"^  wire width (\d+) (input|output) \d+ +\\(\S+)$", inner, flags=re.M)
    lines = ["module \\alone"]
    lines += [f"  wire width {width} {way} {k} \\{name}" for k, (width, way, name) in enumerate(ports, 1)]
    lines += [f"  cell \\{found[1]} \\{cell[1]}"]
    lines += [f"    connect \\{name} \\{name}" for _, _, name in ports]
    lines += ["  end", "end", ""]
    change = re.sub(r"-module \S+", "-module alone", mutant.change)
    passes = f"flatten it\nexpose -evert -evert-dff {_CELLS}"
    try:
        yosys(text + "\n".join(lines), *_miter(Mutant(change, ""), passes), _SAT.format(seconds=seconds))
    except BuildFailed:
        return False
    return True


def _module(text: str, name: str) -> str:
    begin = text.index(f"\nmodule \\{name}\n")
    return text[begin : text.index("\nend\n", begin)]


_CELLS = "it/c:*"  #: the module without its wires, which would become outputs
_SAT = "sat -verify -prove trigger 0 -timeout {seconds} miter"
_AIG = "async2sync\ntechmap\nsimplemap\nopt_clean\naigmap\nwrite_aiger -zinit {file}"


def _unreachable(text: str, mutant: Mutant, passes: str, held: Mapping[str, int], seconds: int) -> bool:
    """Equivalence by corresponding signals and property-directed reachability."""
    with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
        file = Path(folder) / "miter.aig"
        pdr = f"read_aiger {file}; scorr; dc2; scorr -F 2; pdr -T {seconds}; iprove"
        try:
            yosys(text, *_miter(mutant, passes, held), _AIG.format(file=file))
            output = call(
                ["timeout", str(4 * seconds), "yosys-abc", "-c", pdr], file.parent, dict(os.environ)
            )
        except BuildFailed:
            return False
    # where no register is left, the question is one without time, which `pdr` leaves to `iprove`; the other
    # way around, `iprove` ends all where there is a register
    return "Property proved" in output or "UNSATISFIABLE" in output


def _miter(mutant: Mutant, passes: str, held: Mapping[str, int] | None = None) -> list[str]:
    """Miter of a module and its mutant: the trigger is high if an output differs."""
    module = mutant.module
    top = module.partition(".")[0]
    hold = [
        f"delete -port it/w:{name}\nselect it\nconnect -set {name} {value}\nselect -clear"
        for name, value in (held or {}).items()
    ]
    out = []
    # the mutant first and from the whole design: `proc` numbers its cells from where it was
    for name, change_it in (("gate", [f"mutate {mutant.change}"]), ("gold", [])):
        out += [
            "design -reset",
            READ.format(top=top).replace("; ", "\n"),
            *change_it,
            f"hierarchy -top {module}",
            f"rename {module} it",
            *hold,
            # neither SAT nor AIG has the enables that registers of a memory's port have
            "memory_collect\nmemory_map\ndffunmap",
            passes,
            f"rename it {name}",
            f"design -stash {name}",
        ]
    return [
        *out,
        "design -copy-from gold -as gold gold",
        "design -copy-from gate -as gate gate",
        "miter -equiv -flatten gold gate miter",
        "hierarchy -top miter",
        # what is the same on both sides of the same is there once
        "setundef -zero\nchtype -set $eq t:$eqx\nopt_merge\nopt_clean",
    ]

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from equilif_sim.library import call

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


def yosys(text: str, *passes: str, read: Sequence[str] = (), **files: str) -> list[str]:
    """Files written by Yosys passes on a design in RTLIL; BuildFailed if one fails.

    ``files``: further ones that passes read, by name.
    """
    with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
        work = Path(folder)
        for name, content in {"design.il": text, "passes.ys": "\n".join(passes), **files}.items():
            (work / name).write_text(content)
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

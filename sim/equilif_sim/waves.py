"""Waveforms of an engine: the relevant signals, by stage, and layouts for wave viewers.

Verilator writes all signals of the design, which are thousands.  For simulation the design gets an additional
module ``waves``: a scope for each stage with its signals under short names, and operations as an enumeration.

    sequencer    index and name of the current instruction; loops
    instruction  its operands
    scan         events: active source neurons
    walk         commands: a destination group a cycle
    stages       commands in the stages of the lanes
    memories     read ports of weights and state
    lane<k>      arithmetic of one lane
    port         accesses of the host
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from equilif_golden.engine import listing
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS, Instruction, Op
from equilif_golden.engine.placement import Placement
from equilif_golden.extras import needs

with needs("hdl,sim"):
    from vcd.gtkw import GTKWSave

SUFFIXES = (".fst", ".vcd")
TOP = "TOP.engine.waves"  #: scope of the module in the file
CODE = "_code"  #: suffix of an operation as a number, which GTKWave translates by a file; for VCD
PERIOD = 10  #: nanoseconds of a clock cycle in the file
Kind = Literal["operation", "signed", "unsigned"]


@dataclass(frozen=True)
class Wave:
    """A signal: its name in the scope, its width, and its path in the RTL."""

    name: str
    width: int
    source: str
    kind: Kind = "unsigned"


STAGES = range(9)  #: at least those of every pipeline
#: scope -> instance, prefix of the names, and the rest of the names in display order
SCOPES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "port": (
        ("", "host__", "start learn prediction cycles spikes accesses"),
        ("", "host__mem_", "region addr write wdata read valid rdata"),
    ),
    "sequencer": (
        ("", "host__", "busy"),
        ("sequencer", "", "learning pc left_0 left_1 left_2"),
        ("dispatcher", "", "start"),
    ),
    "instruction": (("", "instruction.", "mode src n_src dst n_dst operand gain shift"),),
    "scan": (
        ("scanner", "", "busy"),
        ("scanner", "o__", "valid ready"),
        ("scanner", "o__payload.", "group e plus minus tile"),
    ),
    "walk": (
        ("walker", "", "valid stall"),
        ("walker", "o.", "op group value_group column tile e scale up um"),
    ),
    "stages": (("lanes.stages", "", " ".join(f"busy_{k} op_{k} group_{k} tile_{k}" for k in STAGES)),),
    "memories": (
        ("lanes.weights", "", "read tile column data write w_tile w_data"),
        ("lanes.state", "", "spikes plus minus a b q"),
    ),
}
OPEN = {"sequencer", "scan", "walk", "stages"}  #: initially expanded scopes
LANE = "word weight a b total membrane fired charge rate updated"
SIGNED = {"operand", "up", "um", "word", "weight", "a", "b", "total", "membrane", "charge", "updated"}


def waves(verilog: str, config: EngineConfig) -> dict[str, list[Wave]]:
    """Signals of an engine by scope; ``verilog``: its text."""
    scopes = {**SCOPES, **{f"lane{k}": ((f"lanes.lane{k}", "", LANE),) for k in range(config.lanes)}}
    found = {scope: [w for part in parts for w in _found(verilog, *part)] for scope, parts in scopes.items()}
    (pc,) = [w for w in found["sequencer"] if w.name == "pc"]
    number = Wave("number", pc.width, "number_now")
    operation = Wave("op", 4, "engine.\\instruction.op ", "operation")
    found["sequencer"] = [number, operation, *found["sequencer"]]
    return found


def _found(verilog: str, instance: str, prefix: str, names: str) -> list[Wave]:
    """Existing signals of an instance."""
    path = f"engine.{instance}" if instance else "engine"
    declared = _declared(verilog, f"\\{path} " if instance else path)
    return [
        Wave(name, declared[prefix + name], f"{path}.\\{prefix}{name} ", _kind(instance, name))
        for name in names.split()
        if prefix + name in declared
    ]


def _declared(verilog: str, module: str) -> dict[str, int]:
    """Width of every signal of a module."""
    body = re.search(rf"^module {re.escape(module)}\(.*?^endmodule", verilog, re.M | re.S)
    if body is None:
        return {}
    found = re.findall(r"^  (?:wire|reg) (?:\[(\d+):0\] )?\\?([\w.]+) *(?:=.*)?;", body[0], re.M)
    return {name: int(high or 0) + 1 for high, name in found}


def _kind(instance: str, name: str) -> Kind:
    if re.fullmatch(r"op(_\d)?", name):
        return "operation"
    # a word of the state holds all lanes
    return "signed" if name in SIGNED and instance != "lanes.state" else "unsigned"


def with_waves(verilog: str, shown: Mapping[str, Sequence[Wave]]) -> str:
    """The design with the module ``waves`` in its top."""
    # readers of VCD take a colon for a range of bits
    verilog = re.sub(r"\\\$auto\$\S+", lambda name: name[0].replace(":", "_"), verilog)
    top = re.search(r"^module engine\(.*?^endmodule", verilog, re.M | re.S)
    assert top is not None
    inside = top[0].removesuffix("endmodule") + "  waves waves();\nendmodule"
    return verilog.replace(top[0], inside) + "\n".join(_module(shown))


#: operations by their four-bit code: CONVOLVE appears as DRIVE
OPERATIONS = tuple(op for op in Op if int(op) == op.code)


def _module(shown: Mapping[str, Sequence[Wave]]) -> Iterator[str]:
    """SystemVerilog of the module."""
    names = ", ".join(f"{op.name} = {int(op)}" for op in OPERATIONS)
    (number,) = [w for w in shown["sequencer"] if w.name == "number"]
    yield "module waves;"
    yield f"  typedef enum logic [3:0] {{{names}}} operation;"
    # indices go through a queue in parallel to that of the instructions
    yield f"  reg [{number.width - 1}:0] number_now = 0;"
    yield f"  reg [{number.width - 1}:0] numbers [$];"
    yield "  always @(posedge engine.clk) begin"
    yield "    if (engine.sequencer.valid & engine.sequencer.ready)"
    yield f"      numbers.push_back(engine.sequencer.word_addr / {WORDS} - 1);"
    yield "    if (engine.dispatcher.load)"
    yield "      number_now <= numbers.pop_front();"
    yield "  end"
    for scope, signals in shown.items():
        yield f"  begin : {scope}"
        for w in signals:
            if w.kind == "operation":
                yield f"    wire operation {w.name} = operation'({w.source});"
                yield f"    wire [{w.width - 1}:0] {w.name}{CODE} = {w.source};"
            else:
                sign = "signed " if w.kind == "signed" else ""
                width = f"[{w.width - 1}:0] " if w.width > 1 else ""
                yield f"    wire {sign}{width}\\{w.name} = {w.source};"
        yield "  end"
    yield "endmodule\n"


# -- layouts ---------------------------------------------------------------------------------------
def companion_files(path: Path) -> dict[str, Path]:
    """Additional files: layouts, and translations of instruction indices and operations for GTKWave."""
    return {
        "gtkwave": path.with_suffix(".gtkw"),
        "program": path.with_suffix(".program.txt"),
        "operations": path.with_suffix(".operations.txt"),
        "surfer": path.with_suffix(".sucl"),
    }


def program(instructions: Sequence[Instruction], names: Placement) -> str:
    """A line for each instruction: its index and description."""
    lines = (
        f"{k} {i.op.name} {listing.where(i, names)}  {listing.details(i, names)}"
        for k, i in enumerate(instructions)
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def operations() -> str:
    """A line for each operation: its code and name."""
    return "".join(f"{int(op)} {op.name}\n" for op in OPERATIONS)


def gtkwave(path: Path, shown: Mapping[str, Sequence[Wave]]) -> str:
    """Save file for GTKWave, with the signals grouped by stage."""
    text = io.StringIO()
    save = GTKWSave(text)
    files = {name: str(file.resolve()) for name, file in companion_files(path).items()}
    save.dumpfile(str(path.resolve()))
    save.size(1500, 900)
    save.zoom_markers(-8)
    save.treeopen(f"{TOP}.")
    save.trace("TOP.engine.clk")
    for scope, signals in shown.items():
        with save.group(scope, closed=scope not in OPEN):
            for w in signals:
                names = {"number": "program"}.get(w.name, "operations" if w.kind == "operation" else None)
                name = f"{w.name}{CODE}" if w.kind == "operation" else w.name
                vector = f"[{w.width - 1}:0]" if w.width > 1 else ""
                save.trace(
                    f"{TOP}.{scope}.{name}{vector}",
                    alias={"number": "instruction"}.get(w.name, w.name) if names else None,
                    datafmt="dec" if names else "signed" if w.kind == "signed" else "hex",
                    translate_filter_file=names and files[names],
                )
    return text.getvalue()


def surfer(shown: Mapping[str, Sequence[Wave]]) -> str:
    """Command file for Surfer that adds the signals, with a heading for each stage."""
    commands = ["variable_add TOP.engine.clk"]
    for scope, signals in shown.items():
        commands.append(f"divider_add {scope}")
        commands += [f"variable_add {TOP}.{scope}.{w.name}" for w in signals]
    return "\n".join([*commands, "zoom_fit"]) + "\n"

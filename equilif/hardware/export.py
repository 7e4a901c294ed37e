"""The engine for other people's designs: Verilog, a FuseSoC core, a C header and the register map.

Register map and header are made from equilif_golden.link.registers; ``docs/reference/registers.md`` is
:func:`markdown`, and a test keeps it so.

The Verilog is plain Verilog-2005.  Amaranth's own would do for synthesis, but linters find a thousand
things in it: here processes are expressions, widths are explicit (``hdl/explicit.v``) and initial values
are blocks of their own.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from equilif import results
from equilif.extras import needs
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region, region_size
from equilif_golden.files import write
from equilif_golden.fixed import whole
from equilif_golden.link.registers import ELEMENTS, REGISTERS, constants

with needs("hdl"):
    from amaranth.back import rtlil

    import equilif_hdl
    from equilif_hdl.engine.engine import Engine
    from equilif_hdl.link.bus import AxiEngine

MARKDOWN = """\
# Register map

Made from `golden/equilif_golden/link/registers.py` by
`python -m equilif.hardware.export > docs/reference/registers.md`.

The engine behind AXI4-Lite is `equilif_hdl.link.bus.AxiEngine`; its model is
`golden/equilif_golden/link/bus.py`, which answers every access as the hardware does. Registers have 32 bits.
An access that this page does not allow changes nothing and is answered by SLVERR: another offset, another
direction, not all four bytes, an impossible value.

{registers}

## Fields

{fields}

## Elements

DATA carries one element in its low bits. The stream packs elements from bit 0 upwards; TKEEP of an element's
lowest byte says whether the element is there.

{elements}

## How to

* **Program:** REGION = 2, ADDRESS = 0; write its words to DATA or the stream; then LOAD = number of
  instructions. An instruction has three words.
* **Weights:** REGION = 0, ADDRESS = 0; write them to DATA or the stream. Reading DATA gives them back.
* **A run:** REGION = 1, ADDRESS = first element of the sample; write its values; CONTROL = START, with LEARN
  to learn from it; wait for `irq`, or until STATUS.BUSY is 0; read PREDICTION.
* **Runs from the stream:** REGION = 1, ADDRESS as above, STREAM = RUN, with LEARN to learn. Every packet is a
  sample then, and is answered by its prediction.

`equilif export` writes a C header with these names. Programs, weight words and addresses come from
`equilif_golden.engine.compiler.Compiled`.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "\n".join(
        f"| {' | '.join(map(str, row))} |".replace("  ", " ") for row in [head, ["---"] * len(head), *rows]
    )


def markdown() -> str:
    """The register map for people."""
    return MARKDOWN.format(
        registers=_table(
            ("offset", "register", "access", ""),
            ((f"0x{r.offset:02X}", r.name, r.access, r.text) for r in REGISTERS.values()),
        ),
        fields=_table(
            ("register", "bits", "field", ""),
            (
                (r.name, f.low if f.width == 1 else f"{f.low}-{f.low + f.width - 1}", f.name, f.text)
                for r in REGISTERS.values()
                for f in r.fields
            ),
        ),
        elements=_table(
            ("REGION", "", "bits in DATA", "in the stream", ""),
            ((k, *element) for k, element in enumerate(ELEMENTS)),
        ),
    )


def header(config: EngineConfig) -> str:
    """The register map and the sizes of an engine for C."""
    lines = [
        "/* Register map of an equilif engine; made by equilif export. */",
        "#ifndef EQUILIF_H",
        "#define EQUILIF_H",
        "",
        "/* this engine */",
        *(
            f"#define EQUILIF_{name} {value}u"
            for name, value in (
                ("LANES", config.lanes),
                ("N_TILES", config.tiles),
                ("VALUE_GROUPS", config.value_groups),
                ("STATE_GROUPS", config.state_groups),
                ("N_PROGRAM_WORDS", config.program_words),
                *(
                    (f"N_{name}", region_size(config, r))
                    for r, (name, *_) in zip(Region, ELEMENTS, strict=True)
                    if r != Region.PROGRAM
                ),
            )
        ),
        *(
            f"#define EQUILIF_EXPECTED_{name} 0x{constants(config)[name]:08X}u /* what {name} reads */"
            for name in ("ID", "VERSION", "NUMERICS")
        ),
        "",
        "/* REGION */",
        *(f"#define EQUILIF_REGION_{name} {k}u" for k, (name, *_) in enumerate(ELEMENTS)),
    ]
    for r in REGISTERS.values():
        lines += ["", f"/* {r.access}: {r.text} */", f"#define EQUILIF_{r.name} 0x{r.offset:02X}u"]
        for f in r.fields:
            name = f"EQUILIF_{r.name}_{f.name}"
            lines += [
                f"#define {name}_SHIFT {f.low}u",
                f"#define {name}_MASK 0x{((1 << f.width) - 1) << f.low:08X}u /* {f.text} */",
            ]
    return "\n".join([*lines, "", "#endif"]) + "\n"


class Bus(StrEnum):
    """What is around the engine."""

    axi = "axi"  #: equilif_hdl.link.bus.AxiEngine
    none = "none"  #: equilif_hdl.engine.engine.Engine


#: Yosys passes from Amaranth's netlist to Verilog.  No initial contents of memories: an assignment a word
#: is megabytes, and a loop says the same
PASSES = (
    "delete t:$meminit_v2",
    "proc -norom",
    "pmuxtree",
    "opt_expr -full",
    "wreduce -memx",
    "techmap -map {explicit}",
    "opt_clean -purge",
)

WAIVERS = """\
// What Verilator may say about {name}.v and why that is right.  Nothing else is waived.
`verilator_config
// One file holds all modules.
lint_off -rule DECLFILENAME -file "*{name}.v"
// A part of a signal: a block takes an instruction whole and looks at its own fields; sums and products are
// cut after they are made.
lint_off -rule UNUSEDSIGNAL -file "*{name}.v" -match "Bits of signal are not *used: *"
// The same of a result that Yosys named, and the reset of blocks that have registers without one.
lint_off -rule UNUSEDSIGNAL -file "*{name}.v" -match "Signal is not used: '_*"
lint_off -rule UNUSEDSIGNAL -file "*{name}.v" -match "Signal is not used: 'rst'*"
"""

CORE = """\
CAPI=2:
name: "::{name}:{version}"
description: >-
  Spiking network that learns by Equilibrium Propagation:
  {config.lanes} lanes, {config.n_weights} weights, {interface}

filesets:
  rtl:
    files: [{name}.v]
    file_type: verilogSource-2005
  waivers:
    files: [{name}.vlt]
    file_type: vlt

targets:
  default:
    filesets: [rtl]
    toplevel: {name}
  lint:
    default_tool: verilator
    filesets: [rtl, waivers]
    toplevel: {name}
    tools:
      verilator:
        mode: lint-only
        verilator_options: [-Wall]
"""


def verilog(design: Engine | AxiEngine, name: str) -> str:
    """An engine, bare or on a bus, as Verilog with top module ``name``; ToolFailed when there is no Yosys or
    it refuses.

    Memories are zero at the start, but for weights, which have no contents before they are written: large
    memories may take none, as iCE40's SPRAM.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "in.il").write_text(rtlil.convert(design, name=name, emit_src=False))
        explicit = Path(equilif_hdl.__file__).with_name("explicit.v")
        script = [
            "read_rtlil in.il",
            *(p.format(explicit=explicit) for p in PASSES),
            "write_verilog -noattr out.v",
        ]
        try:
            done = subprocess.run(
                ["yosys", "-q", "-p", "; ".join(script)], cwd=work, capture_output=True, text=True
            )
        except FileNotFoundError:
            raise results.ToolFailed("yosys is not installed; the Verilog is written by it") from None
        if done.returncode:
            raise results.ToolFailed(f"yosys: {(done.stdout + done.stderr)[-2000:]}")
        text = (work / "out.v").read_text()
    text = re.sub(
        r"^  reg (\[\d+:0\] )?(\\\S+ |\w+) = ([^;]+);$",
        r"  reg \1\2;\n  initial \2 = \3;",
        text,
        flags=re.MULTILINE,
    )

    def zeros(found: re.Match[str]) -> str:
        memory = found[1].strip()
        depth = int(found[2]) + 1
        if re.fullmatch(r"bank[\d_]+", memory):
            return found[0]
        k = f"{memory.removeprefix(chr(92))}_k"
        loop = f"for ({k} = 0; {k} < {depth}; {k} = {k} + 1)"
        return f"{found[0]}\n  integer {k};\n  initial {loop} {found[1]}[{k}] = 0;"

    return re.sub(r"^  reg \[\d+:0\] (\\\S+ |\w+) \[(\d+):0\];$", zeros, text, flags=re.MULTILINE)


def paths(folder: Path, bus: Bus, name: str) -> list[Path]:
    """The files that :func:`export` writes."""
    ends = (".v", ".vlt", ".core", *((".h",) if bus is Bus.axi else ()))
    return [
        *(folder / f"{name}{end}" for end in ends),
        *([folder / "registers.md"] if bus is Bus.axi else []),
    ]


def export(
    folder: Path, config: EngineConfig, bus: Bus = Bus.axi, *, name: str = "equilif", build_id: int = 0
) -> list[Path]:
    """Write everything; the files written.

    ``name``: of the top module and the files.  ``build_id``: what the register BUILD reads, 32 bits.
    ValueError when the name is no identifier of Verilog, when there is no such bus, or for another
    ``build_id``; OSError names a file that cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z_0-9]{0,199}", name):
        raise ValueError(f"name must be a Verilog identifier of at most 200 characters, not {name!r}")
    bus = Bus(bus)
    build_id = whole(build_id, "build_id", 0, (1 << 32) - 1)
    interface = "AXI4-Lite and AXI4-Stream" if bus is Bus.axi else "bare host port"
    design = AxiEngine(config, build_id=build_id) if bus is Bus.axi else Engine(config)
    files = {
        f"{name}.v": verilog(design, name),
        f"{name}.vlt": WAIVERS.format(name=name),
        f"{name}.core": CORE.format(name=name, config=config, interface=interface, version=results.version()),
    }
    if bus is Bus.axi:
        files |= {f"{name}.h": header(config), "registers.md": markdown()}
    for path, content in zip(paths(folder, bus, name), files.values(), strict=True):
        write(path, content.encode())
    return paths(folder, bus, name)


if __name__ == "__main__":
    print(markdown(), end="")

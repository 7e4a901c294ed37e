"""The engine for other people's designs: Verilog, a FuseSoC core, a C header and the register map.

Register map and header are made from golden.registers; ``docs/registers.md`` is :func:`markdown`, and a test keeps it so.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from golden.isa import EngineConfig
from golden.protocol import Region, region_size
from golden.registers import ELEMENTS, REGISTERS, constants

MARKDOWN = """\
# Register map

Made from `golden/registers.py` by `python -m equilif.export > docs/registers.md`.

The engine behind AXI4-Lite is `hdl.bus.AxiEngine`; `golden/bus.py` answers every access as it does. Registers have 32 bits. An access that this
page does not allow (another offset, another direction, not all four bytes, an impossible value) is answered by SLVERR and changes nothing.

{registers}

## Fields

{fields}

## Elements

DATA carries one element in its low bits. The stream packs them from bit 0 upwards; TKEEP of an element's lowest byte says whether it is there.

{elements}

## How to

* **Program:** REGION = 2, ADDRESS = 0, its words to DATA or the stream, then LOAD = number of instructions (three words each).
* **Weights:** REGION = 0, ADDRESS = 0, then DATA or the stream. Reading DATA gives them back.
* **A run:** REGION = 1, ADDRESS = first element of the sample, its values; CONTROL = START (+ LEARN); wait for `irq`, or for STATUS.BUSY to fall;
  then PREDICTION.
* **Runs from the stream:** REGION = 1, ADDRESS as above, STREAM = RUN (+ LEARN). Every packet is a sample then, and is answered by its prediction.

`equilif export` writes a C header with these names. Programs, weight words and addresses come from `golden.compiler.Compiled`.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |".replace("  ", " ") for row in [head, ["---"] * len(head), *rows])


def markdown() -> str:
    """The register map for people."""
    return MARKDOWN.format(
        registers=_table(("offset", "register", "access", ""), ((f"0x{r.offset:02X}", r.name, r.access, r.text) for r in REGISTERS.values())),
        fields=_table(("register", "bits", "field", ""), (
            (r.name, f.low if f.width == 1 else f"{f.low}-{f.low + f.width - 1}", f.name, f.text) for r in REGISTERS.values() for f in r.fields)),
        elements=_table(("REGION", "", "bits in DATA", "in the stream", ""), ((k, *element) for k, element in enumerate(ELEMENTS))))


def header(config: EngineConfig) -> str:
    """The register map and the sizes of an engine for C."""
    lines = [
        "/* Register map of an equilif engine; made by equilif export. */", "#ifndef EQUILIF_H", "#define EQUILIF_H", "",
        "/* this engine */",
        *(f"#define EQUILIF_{name} {value}u" for name, value in (
            ("LANES", config.lanes), ("N_TILES", config.tiles), ("VALUE_GROUPS", config.value_groups), ("STATE_GROUPS", config.state_groups),
            ("N_PROGRAM_WORDS", config.program_words), *((f"N_{name}", region_size(config, r)) for r, (name, *_) in zip(Region, ELEMENTS, strict=True)
                                                        if r != Region.PROGRAM),
        )),
        *(f"#define EQUILIF_EXPECTED_{name} 0x{constants(config)[name]:08X}u /* what {name} reads */" for name in ("ID", "VERSION", "NUMERICS")),
        "", "/* REGION */",
        *(f"#define EQUILIF_REGION_{name} {k}u" for k, (name, *_) in enumerate(ELEMENTS)),
    ]
    for r in REGISTERS.values():
        lines += ["", f"/* {r.access}: {r.text} */", f"#define EQUILIF_{r.name} 0x{r.offset:02X}u"]
        for f in r.fields:
            name = f"EQUILIF_{r.name}_{f.name}"
            lines += [f"#define {name}_SHIFT {f.low}u", f"#define {name}_MASK 0x{((1 << f.width) - 1) << f.low:08X}u /* {f.text} */"]
    return "\n".join([*lines, "", "#endif"]) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")

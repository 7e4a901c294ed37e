"""Register map: generated files are current; the C header compiles to the same values."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from equilif.hardware.export import header, markdown
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import FEATURES, has, summary
from equilif_golden.engine.port import Region
from equilif_golden.fixed import Numerics
from equilif_golden.link.bus import BusModel
from equilif_golden.link.protocol import Identity
from equilif_golden.link.registers import ELEMENTS, MAGIC, REGISTERS, constants

CONFIG = EngineConfig(lanes=8, tiles=96, pipeline=Pipeline.SPRAM)


def test_register_page_is_current():
    """After a change of the map:  python -m equilif.hardware.export > docs/reference/registers.md"""
    assert (Path(__file__).parents[2] / "docs" / "reference" / "registers.md").read_text() == markdown()


def test_fields_do_not_overlap():
    for r in REGISTERS.values():
        used = [bit for f in r.fields for bit in range(f.low, f.low + f.width)]
        assert len(set(used)) == len(used) and all(bit < 32 for bit in used), r.name


def test_elements_have_the_bits_of_the_page():
    """Written as ones: read as ones, and zeros above; weights have their sign in all bits."""
    bus = BusModel(dataclasses.replace(CONFIG, numerics=Numerics(weight_width=12)))
    for region, (name, bits, _, _) in enumerate(ELEMENTS):
        for word in (0xFFFFFFFF, 0x7FF):
            for register, value in (("REGION", region), ("ADDRESS", 0), ("DATA", word), ("ADDRESS", 0)):
                bus.write(REGISTERS[register].offset, value)
            signed = name == "WEIGHTS" and word >> 11 & 1
            assert bus.read(REGISTERS["DATA"].offset) == (0xFFFFFFFF if signed else word & (1 << bits) - 1)
    *_, text = ELEMENTS[Region.COUNTER]
    bus.engine.counter = 5
    bus.write(REGISTERS["ADDRESS"].offset, 0)
    step, width = (
        int(re.search(pattern, text)[1].replace(",", "")) for pattern in (r"(\d+,\d+) times", r"2\^(\d+)")
    )
    assert bus.read(REGISTERS["DATA"].offset) == 5 * step % (1 << width)


def test_field_range():
    with pytest.raises(ValueError, match="VERSION.LANES"):
        REGISTERS["VERSION"].pack(LANES=256)


def test_c_header(tmp_path):
    wanted = {f"EQUILIF_{r.name}": r.offset for r in REGISTERS.values()}
    wanted |= {
        f"EQUILIF_{r.name}_{f.name}_{what}": value
        for r in REGISTERS.values()
        for f in r.fields
        for what, value in (("SHIFT", f.low), ("MASK", ((1 << f.width) - 1) << f.low))
    }
    wanted |= {f"EQUILIF_REGION_{name}": k for k, (name, *_) in enumerate(ELEMENTS)}
    wanted |= {
        "EQUILIF_LANES": 8,
        "EQUILIF_N_TILES": 96,
        "EQUILIF_N_WEIGHTS": 96 * 64,
        "EQUILIF_N_VALUES": 256 * 8,
        "EQUILIF_EXPECTED_ID": MAGIC,
        "EQUILIF_EXPECTED_VERSION": constants(CONFIG)["VERSION"],
    }
    (tmp_path / "equilif.h").write_text(header(CONFIG))
    lines = [f'    printf("{name} %lu\\n", (unsigned long)({name}));' for name in wanted]
    (tmp_path / "show.c").write_text(
        "\n".join(
            [
                '#include "equilif.h"',
                '#include "equilif.h"',
                "#include <stdio.h>",
                "int main(void) {",
                *lines,
                "    return 0;",
                "}",
            ]
        )
    )
    subprocess.run(
        ["g++", "-x", "c", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "show.c", "-o", "show"],
        cwd=tmp_path,
        check=True,
    )
    out = subprocess.run([tmp_path / "show"], capture_output=True, text=True, check=True).stdout
    assert dict(line.split() for line in out.splitlines()) == {
        name: str(value) for name, value in wanted.items()
    }


def test_identity_and_registers_agree():
    """One table for the VERSION register, the identity flags and the text."""
    for name, feature in FEATURES.items():
        for on in (False, True):
            if name == "single_port":
                config = EngineConfig(pipeline=Pipeline.SPRAM if on else Pipeline.DEEP)
            else:
                config = EngineConfig(**{name: on})
            assert has(config, name) == on
            assert constants(config)["VERSION"] >> feature.version & 1 == on
            assert REGISTERS["VERSION"].field(name.upper()).low == feature.version
            assert summary(config)[feature.label] == ("yes" if on else "no")
            if feature.identity is not None:
                assert Identity(config, 0).pack()[1] >> feature.identity & 1 == on
                assert has(Identity.unpack(Identity(config, 0).pack()).config, name) == on


def test_feature_bits():
    """Existing devices use these bits."""
    bits = {name: (f.version, f.identity) for name, f in FEATURES.items()}
    first = {"single_port": (16, 0), "attention": (18, 2), "counters": (19, None), "early_exit": (20, 3)}
    assert bits | first == bits
    assert len({version for version, _ in bits.values()}) == len(bits)
    identities = [identity for _, identity in bits.values() if identity is not None]
    assert len(set(identities)) == len(identities)

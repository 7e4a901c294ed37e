"""golden/ stands alone: NumPy and Numba, with torch confined to its folder real/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import equilif_golden

HEAVY = {
    "amaranth",
    "cocotb",
    "torch",
    "sklearn",
    "matplotlib",
    "typer",
    "equilif",
    "equilif_hdl",
    "equilif_sim",
    "equilif_boards",
}
ROOT = Path(equilif_golden.__file__).parent
MODULES = sorted(
    ".".join(p.relative_to(ROOT.parent).with_suffix("").parts)
    for p in ROOT.rglob("*.py")
    if p.stem != "__init__"
)
PLAIN = [m for m in MODULES if ".real." not in m]

# imports every module given, with the forbidden ones made impossible to import, and reports what of them
# is there all the same
CODE = """
import importlib, sys
forbidden, modules = set(sys.argv[1].split(",")), sys.argv[2:]
for name in forbidden:
    sys.modules[name] = None
for module in modules:
    importlib.import_module(module)
print(len(modules), *(m for m in forbidden if sys.modules[m] is not None))
"""


def imported(forbidden: set[str], modules: list[str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", CODE, ",".join(sorted(forbidden)), *modules],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_golden_needs_numpy_and_numba_only():
    assert {"equilif_golden.reference", "equilif_golden.kernel", "equilif_golden.engine.model"} <= set(PLAIN)
    assert imported(HEAVY, PLAIN) == str(len(PLAIN))


def test_the_specification_needs_no_compiler():
    """All but the kernel: whoever only wants the bits needs NumPy."""
    modules = [m for m in PLAIN if m not in ("equilif_golden.kernel", "equilif_golden.compiled")]
    assert imported(HEAVY | {"numba"}, modules) == str(len(modules))

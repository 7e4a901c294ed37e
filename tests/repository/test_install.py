"""The wheel under every installed Python, in projects with folders named sim, hdl, golden, boards."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.repository.min_versions import min_versions

ROOT = Path(__file__).parents[2]
OURS = {"equilif", "equilif_golden", "equilif_hdl", "equilif_sim", "equilif_boards"}
VERSIONS = ("3.11", "3.12", "3.13")
URL = "https://example.org/owner/equilif"
#: digest of the weights of `equilif train digits --epochs 1`, the same for every Python
LEARNT = re.compile(r'"weights": "([0-9a-f]{64})"')


def interpreter(version: str) -> Path | None:
    """A working Python of this version, from PATH or pyenv."""
    there = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for path in there:
        if path is not None and not subprocess.run([path, "-c", ""], capture_output=True).returncode:
            return Path(path)
    return None


def run(*command: object, cwd: Path, **settings: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | settings
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source archive, and a wheel built from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out, EQUILIF_URL=URL)
    (archive,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return archive, wheel


# -- pyproject.toml --------------------------------------------------------------------------------
def test_all_extra_is_complete():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def names(extra: str) -> set[str]:
        found = set()
        for requirement in extras[extra]:
            inner = re.fullmatch(r"equilif\[(.*)\]", requirement)
            found |= {extra} | (set().union(*map(names, inner[1].split(","))) if inner else set())
        return found

    assert names("all") == set(extras) - {"dev", "docs"}


def test_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounded = [r for r in (*project["dependencies"], *project["optional-dependencies"]["cli"]) if ">=" in r]
    assert len(bounded) >= 4 and all(
        r.split(",")[0].replace(">=", "==") in set(min_versions()) for r in bounded
    )


def test_named_extras_exist():
    """Extras named in messages exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for folder in ("equilif", "golden", "hdl", "sim", "boards"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            for needed in re.findall(r"""(?:needs|install)\(["']([\w,]*)["']\)""", text):
                assert set(needed.split(",")) <= set(extras), (path, needed)


def version() -> str:
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def test_version_in_files():
    assert f"\nversion: {version()}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## {re.escape(version())}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


def check_links(text: str) -> None:
    """Every link leads to a file of the repository, at the tag of this version."""
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert len(targets) > 8
    for target in targets:
        kind, _, path = target.removeprefix(f"{URL}/").partition(f"/v{version()}/")
        assert kind in ("blob", "raw") and (ROOT / path.partition("#")[0]).is_file(), target


def test_readme_outside_the_repository(monkeypatch):
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))
    text = (ROOT / "README.md").read_text()
    check_links(hook["readme"](text, URL, version()))
    assert hook["project_urls"](URL, "1.0")["Changelog"] == f"{URL}/blob/v1.0/CHANGELOG.md"
    without = hook["readme"](text, "", version())
    assert "](" not in without and "<!--" not in without and "first hour" in without
    assert hook["project_urls"]("", "1.0") == {}


# -- the wheel -------------------------------------------------------------------------------------
@pytest.mark.long
def test_wheel_content(built):
    archive, wheel = built
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
        top = {name.partition("/")[0] for name in names}
        assert {t for t in top if not t.endswith(".dist-info")} == OURS
        assert {
            "equilif_hdl/explicit.v",
            "equilif_boards/measured.json",
            "equilif/presets/digits.toml",
            "equilif/hardware/driver/driver.c",
            "equilif/hardware/driver/driver.h",
        } <= set(names)
        assert not [n for n in names if n.endswith(".pyc") or re.search(r"(^|/)(tests?|test_[^/]*)(/|$)", n)]
        about = z.read(next(n for n in names if n.endswith("METADATA"))).decode()
        check_links(about)
        assert about.count("\nProject-URL: ") == 5 and f"\nVersion: {version()}\n" in about
        entry = z.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
        assert "equilif = equilif.__main__:main" in entry
    with tarfile.open(archive) as t:
        kept = {n.partition("/")[2] for n in t.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "golden/equilif_golden/fixed.py"} <= kept


NAMESPACE = ("golden", "hdl", "sim", "boards")


def user_folder(folder: Path, kind: str) -> str:
    """A project with folders of these names, and code that imports from it and from equilif."""
    folder.mkdir()
    if kind == "modules":
        for name in NAMESPACE:
            (folder / f"{name}.py").write_text(f"MINE = {name!r}\n")
        imports = "; ".join(f"from {name} import MINE as {name}" for name in NAMESPACE)
    else:
        for name in NAMESPACE:
            (folder / name).mkdir()
            (folder / name / "mine.py").write_text(f"MINE = {name!r}\n")
            if kind == "packages":
                (folder / name / "__init__.py").write_text("")
        imports = "; ".join(f"from {name}.mine import MINE as {name}" for name in NAMESPACE)
    return (
        f"{imports}; assert (golden, hdl, sim, boards) == {NAMESPACE}; "
        "from equilif import Kernel, Network; "
        "import equilif_golden.engine.compiler, equilif_golden.link.device; "
        "chip = Kernel(Network.chain(64, 8, 10), learning_rate=0.05); print(chip.network.n_outputs)"
    )


#: commands that need more than the extras cli and data, and the extras that their errors name
OTHER_EXTRAS = {
    "report out1": "plot,report",
    "boards": "hdl,boards",
    "build icebreaker": "hdl,boards",
    "verify digits": "hdl,sim",
    "export verilog": "hdl",
    "ports": "host",
    "gradient digits": "torch",
    "convert digits-64 a.nir": "nir",
    "sweep": "sweep",
}


def refused(*command: object, cwd: Path) -> str:
    """The error message of a command that must fail."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(c) for c in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


@pytest.mark.long
@pytest.mark.parametrize("version", VERSIONS)
def test_wheel_installs(version, built, tmp_path):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    run(python, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    bin = tmp_path / "venv" / "bin"
    run(bin / "pip", "install", "-q", "--disable-pip-version-check", f"{built[1]}[cli,data]", cwd=tmp_path)
    assert run(bin / "python", "-V", cwd=tmp_path).startswith(f"Python {version}.")
    for kind in ("namespaces", "packages", "modules"):
        folder = tmp_path / kind
        code = user_folder(folder, kind)
        for settings in ({}, {"PYTHONPATH": "."}):
            assert run(bin / "python", "-c", code, cwd=folder, **settings) == "10\n"
            assert "Example" in run(bin / "equilif", "train", "--help", cwd=folder, **settings)
            assert "train" in run(bin / "python", "-m", "equilif", "--help", cwd=folder, **settings)
    folder = tmp_path / "modules"
    for command in (bin / "equilif",), (bin / "python", "-m", "equilif"):
        out = folder / f"out{len(command)}"
        run(*command, "train", "digits", "--epochs", 1, "--out", out, cwd=folder, PYTHONPATH=".")
    learnt = {LEARNT.search(path.read_text())[1] for path in folder.glob("out*/history.json")}
    assert len(learnt) == 1
    output = run(bin / "equilif", "evaluate", out / "network.npz", "--json", "-", cwd=folder)
    assert json.loads(output)["accuracy"] > 0.8
    run(bin / "equilif", "evaluate", "digits-64", cwd=folder)
    assert "digits-64" in run(bin / "equilif", "models", cwd=folder)
    for arguments, extra in OTHER_EXTRAS.items():
        error = refused(bin / "equilif", *arguments.split(), cwd=folder)
        assert error.endswith(f" is not installed: pip install 'equilif[{extra}]'"), error
    here = tmp_path / "here"
    run(sys.executable, "-m", "equilif", "train", "--epochs", 1, "--out", here, cwd=ROOT)
    assert LEARNT.search((here / "history.json").read_text())[1] in learnt


@pytest.mark.long
def test_golden_dependencies(built, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    bin = tmp_path / "venv" / "bin"
    run(bin / "pip", "install", "-q", "--disable-pip-version-check", built[1], cwd=tmp_path)
    there = {
        p["name"].lower() for p in json.loads(run(bin / "pip", "list", "--format", "json", cwd=tmp_path))
    }
    assert there <= {"equilif", "numpy", "numba", "llvmlite", "pip", "setuptools", "wheel"}
    run(bin / "python", "-c", user_folder(tmp_path / "mine", "packages"), cwd=tmp_path / "mine")
    error = refused(bin / "equilif", "boards", cwd=tmp_path)
    assert error == "error: typer is not installed: pip install 'equilif[cli]'"
    code = "try: from equilif import Classifier\nexcept ModuleNotFoundError as e: print(e)"
    assert run(bin / "python", "-c", code, cwd=tmp_path).endswith("pip install 'equilif[cli,data]'\n")

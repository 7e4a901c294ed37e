"""Output files replace neither inputs nor existing files."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from equilif import cli
from equilif.commands import OUTPUTS
from equilif_golden import files
from equilif_golden.network import Network, save
from tests.cli import exit_code as run


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A working folder with a network, a table and a text file."""
    monkeypatch.chdir(tmp_path)
    net = Network.chain(64, 4, 10)
    save("n.npz", net, net.initial_weights())
    Path("t.csv").write_text("a,b,kind\n" + "".join(f"{k},{k % 3},{'xy'[k % 2]}\n" for k in range(20)))
    for name in ("note", "w.fst"):
        Path(name).write_bytes(b"mine")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize(
    "line",
    [
        "evaluate n.npz digits --json n.npz",
        "inspect t.csv --label kind --json t.csv",
        "inspect t.csv --label kind --json ./t.csv --overwrite",
        "evaluate n.npz digits --json n.npz --overwrite",
        "convert n.npz n.npz --overwrite",
        "save n.npz --like n.npz --port note --overwrite",
        "save note --like n.npz --port nowhere",
        "show n.npz --out note",
        "inspect t.csv --label kind --json note",
        "info --json note",
        "verify digits --samples 2 --waves w.fst",
    ],
)
def test_existing_files_are_not_replaced(line, work, capsys):
    before = content(work)
    assert run(line) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert content(work) == before


def test_overwrite(work):
    assert run("inspect t.csv --label kind --json note --overwrite") == 0
    assert (work / "note").read_bytes().startswith(b"{")


def test_link_to_input_is_refused(work):
    Path("link").symlink_to("t.csv")
    before = content(work)
    assert run("inspect t.csv --label kind --json link --overwrite") == 2
    with files.protected(["t.csv"]), pytest.raises(FileExistsError):
        files.write("link", b"")
    assert content(work) == before


def test_export_needs_overwrite(work):
    (work / "core").mkdir()
    edited = work / "core/equilif.v"
    edited.write_text("// edited")
    assert run("export core --lanes 2 --tiles 4") == 2
    assert edited.read_text() == "// edited"


def test_writing_commands_have_overwrite():
    for command in cli.app.registered_commands:
        parameters = set(inspect.signature(command.callback).parameters)
        has_it = {"overwrite", "resume"} & parameters  # --resume/--overwrite: one parameter
        assert has_it or not parameters & OUTPUTS, command.callback.__name__

"""Output files replace neither inputs nor existing files."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shutil
from pathlib import Path

import pytest

from equilif import cli
from equilif.commands.options import file_uses
from equilif_golden import files
from equilif_golden.network import Network, save
from tests.cli import exit_code as run
from tests.files import content


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


@pytest.mark.parametrize(
    "line",
    [
        "evaluate n.npz digits --json n.npz",
        "inspect t.csv --label kind --json ./t.csv --overwrite",
        "convert n.npz n.npz --overwrite",
        "save n.npz --like n.npz --port note --overwrite",
        "save note --like n.npz --port nowhere",
        "show n.npz --out note",
        "verify digits --samples 2 --waves w.fst",
    ],
)
def test_existing_files_are_not_replaced(line, work, capsys):
    before = content(work)
    assert run(line) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert content(work) == before


WORDS = (
    "train texts.csv --label kind --set data.text=words --set data.attention=true "
    "--set data.word_vectors=v.txt --epochs 1"
)
TABLES = ("t.csv", "test.csv", "run/network.npz", "run/history.json")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with the data of several runs, and the runs."""
    folder = tmp_path_factory.mktemp("runs")
    with contextlib.chdir(folder):
        for name, first in (("t", 0), ("test", 3)):
            rows = "".join(f"{k + first},{k % 3},{'xy'[k % 2]}\n" for k in range(16))
            Path(f"{name}.csv").write_text(f"a,b,kind\n{rows}")
        rows = "".join(f"{('good film', 'bad play')[k % 2]},{'xy'[k % 2]}\n" for k in range(16))
        Path("texts.csv").write_text(f"words,kind\n{rows}")
        vectors = (f"{w} 0.{k} 0.5\n" for k, w in enumerate("good film bad play".split()))
        Path("v.txt").write_text("".join(vectors))
        Path("letters.txt").write_text("abcdefghij" * 40)
        for line in (
            "train t.csv --label kind --set data.test=test.csv --epochs 1 --out run",
            f"{WORDS} --out words",
            "train-rates t.csv --label kind --epochs 1 --out rates",
            "init t.csv --label kind",
            f"train-text letters.txt {SMALL} --out letters",
        ):
            assert run(line) == 0, line
        for name in ("a", "b"):
            Path("classes", name).mkdir(parents=True)
            for k in range(4):
                Path("classes", name, f"{k}.csv").write_text("".join(f"{k + j}\n" for j in range(8)))
    return folder


SMALL = "--layers 1 --positions 4 --features 4 --heads 2 --hidden 4 --epochs 1 --set text.steps=2"


@pytest.mark.parametrize(
    "line",
    [
        "train t.csv --label kind --epochs 1 --out new --json new/network.npz",
        "train t.csv --label kind --epochs 1 --out new --json new",
        "stream t.csv --label kind --save new --out ./new",
        "stream t.csv --label kind --out - --json -",
    ],
)
def test_outputs_are_different_files(line, work, capsys):
    before = content(work)
    assert run(line) == 2
    assert "two options" in capsys.readouterr().err
    assert content(work) == before


def test_output_in_a_loop_of_links(work, capsys):
    Path("loop").symlink_to("loop")
    assert run("init digits --out loop/x") == 2
    assert "loop/x" in capsys.readouterr().err


INDIRECT = [
    *(f"evaluate run --json {f}" for f in TABLES),
    *(f"evaluate words --json {f}" for f in ("texts.csv", "v.txt")),
    *(f"deploy rates --json {f}" for f in ("t.csv", "rates/rates.pt")),
    "report run --out t.csv",
    "attention words --json texts.csv",
    "show run --json run/history.json",
    "init run --out new.toml --json run/network.npz",
    "generate letters --json letters/rates.pt",
    "train t.csv --label kind --set data.test=test.csv --epochs 1 --json test.csv --out new",
    f"{WORDS} --json v.txt --out new",
    "train t.csv --label kind --config net.toml --json net.toml --out new",
    "train --out run --json t.csv --epochs 2 --resume",
    f"train-text letters.txt {SMALL} --set text.teacher=letters --out letters",
    "train classes --epochs 1 --out classes/a",
    "train classes --epochs 1 --out new --json classes/a/x.json",
    "inspect classes --out classes/new",
]


@pytest.mark.parametrize("line", INDIRECT)
def test_what_is_read_is_not_replaced(line, runs, monkeypatch, capsys):
    """Files that a run or an option names, the files of a run, and folders of data."""
    monkeypatch.chdir(runs)
    before = content(runs)
    assert run(line if "--resume" in line else f"{line} --overwrite") == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
    assert content(runs) == before


def test_resumed_run_is_changed(runs, tmp_path, monkeypatch):
    shutil.copytree(runs, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    assert run("train t.csv --out run --epochs 2 --resume") == 0
    assert run("train-rates t.csv --out rates --epochs 2 --resume") == 0
    assert run("train t.csv --label kind --out run --epochs 1 --overwrite") == 0
    assert run("report run --overwrite") == run("report run --overwrite") == 0


@pytest.mark.parametrize("parts", [False, True])
def test_results_in_a_folder_of_data(parts, runs, tmp_path, monkeypatch):
    """They are no class: the data stay the same."""
    for part in ("train", "test") if parts else ("",):
        shutil.copytree(runs / "classes", tmp_path / "classes" / part, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "classes")
    for line in (
        "train . --epochs 1",
        "evaluate results/classes",
        "train . --epochs 2 --resume",
        "train . --epochs 1 --overwrite",
        "inspect . --json found.json",
    ):
        assert run(line) == 0, line
    assert list(json.loads(Path("found.json").read_text())["classes"]) == ["a", "b"]


def test_name_that_is_no_utf8(runs, tmp_path, monkeypatch):
    """It is printed with an escape, and opened as it is."""
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"t\xff.csv")
    Path(name).write_bytes((runs / "t.csv").read_bytes())
    assert run("train", name, "--label=kind", "--epochs=1", "--out=run") == 0
    assert run("evaluate run") == run("train --resume --epochs 2 --out run") == 0
    assert run("report run --json found.json") == 0
    assert r"t\xff.csv" in Path("run/report.html").read_text()
    assert json.loads(Path("run/history.json").read_text())["about"]["path"] == str(tmp_path / name)


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
    for command in cli.load():
        parameters = inspect.signature(command.callback, eval_str=True).parameters
        has_it = {"overwrite", "resume"} & set(parameters)  # --resume/--overwrite: one parameter
        writes = any(use.kind == "output" for use in file_uses(parameters).values())
        assert has_it or not writes, command.callback.__name__


def test_paths_are_declared():
    """A parameter that names a file says whether the command reads, writes or changes it."""
    for command in cli.load():
        parameters = inspect.signature(command.callback, eval_str=True).parameters
        paths = {name for name, p in parameters.items() if "Path" in str(p.annotation)}
        named = {name for name, p in parameters.items() if name in ("data", "network", "board")}
        declared = file_uses(parameters)
        assert paths | named <= set(declared), command.callback.__name__

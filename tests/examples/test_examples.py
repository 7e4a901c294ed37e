"""Every example does what it says.  Those that compile or place and route:  ./run examples"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.device import Device
from tests.standalone import client_of

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tried_and_listed():
    """By its name, in this file and in the list of examples."""
    text = Path(__file__).read_text()
    told = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*"):
        if path.name not in ("README.md", "__pycache__"):
            assert path.stem in text and f"({path.name})" in told, path.name


def test_a_network_of_another_shape_learns_and_runs_on_an_engine(capsys):
    golden = example("own_network").main()
    assert golden.network.feedforward == ()
    said = capsys.readouterr().out
    assert float(re.match(r"[\d.]+", said)[0]) > 90 and "the same weights" in said


def test_the_same_network_as_a_file():
    """examples/own_network.toml"""
    from equilif.data import images
    from equilif.training import netfile

    preset = netfile.read(EXAMPLES / "own_network.toml").preset("digits")
    described = preset.network(images.digits())
    graph = example("own_network").network()
    assert described.populations == graph.populations
    assert set(described.synapses) == set(graph.synapses)


def test_live_learning(monkeypatch):
    """The same predictions on the model of a board."""
    config = EngineConfig(lanes=4, tiles=256, value_groups=64, state_groups=32)
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client_of(Device(config)))
    live = example("live")
    assert live.main(count=400) > 0.4
    assert live.main("/dev/ttyUSB1", count=30) == live.main(count=30)


def test_another_neuron_in_python():
    lif, other = example("new_neuron").main(count=200).values()
    assert lif > 0.2 and other != lif


def test_images_of_a_folder_are_recalled_from_their_upper_half(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for kind in ("noise", "lines"):
        (tmp_path / kind).mkdir()
        for k in range(15):
            picture = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            pillow.fromarray(picture).save(tmp_path / kind / f"{k}.png")
    assert example("recall_images").main(str(tmp_path)) == 1.0


def test_the_leds_of_an_own_design_show_what_the_golden_model_says():
    pytest.importorskip("amaranth")
    found, expected = example("in_your_design").main(count=4)
    assert found == expected and len(set(found)) > 1


def test_the_export_behind_axi_says_what_the_golden_model_says():
    pytest.importorskip("amaranth")
    module = example("axi_export")
    assert module.TESTBENCH.name == "axi_testbench.v"
    found, expected = module.main()
    assert found == expected


def test_a_board_in_a_file_of_ones_own_is_taken_and_elaborates():
    pytest.importorskip("amaranth_boards")
    from equilif.hardware.boards import find
    from equilif_boards.build import Plan
    from equilif_golden.engine.compiler import Compiled
    from equilif_golden.network import Network

    board = find(str(EXAMPLES / "own_board.py"))
    Compiled(Network.chain(*board.network), board.config)
    assert not board.device.shortage(board.config)
    pins = next(text for name, text in Plan.of(board).files.items() if name.endswith(".pcf"))
    assert all(f" {pin}\n" in pins for pin in ("35", "6", "9", "11", "37"))


@pytest.mark.long
def test_a_board_in_simulation_learns_a_table(tmp_path):
    run(str(EXAMPLES / "wine.py"), "wine.csv", folder=tmp_path)
    done = run(str(EXAMPLES / "own_table.py"), "wine.csv", "kind", folder=tmp_path)
    assert "weights of board and golden model are equal" in done
    assert float(re.search(r"board ([\d.]+)%", done)[1]) > 85


@pytest.mark.long
def test_a_network_of_snntorch_learns_a_class_that_it_has_never_seen():
    pytest.importorskip("snntorch")
    before, between, after, exported = example("from_snntorch").main()
    assert before[0] > 0.8 and before[1] == between[1] == 0
    assert after[0] > 0.95 and after[1] > 0.85
    assert exported[0] > 0.95 and exported[1] > 0.85


@pytest.mark.long
def test_the_notebook_runs_from_digits_to_bitstream(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "digits_to_bitstream.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept"
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", ()))
    assert (
        "weights are equal" in said and "64-64-10 fits" in said and re.search(r"f_max [\d.]+ MHz", said)
    )


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_torch_dataset():
    pytest.importorskip("torch")
    assert example("train_torch_dataset").main(epochs=4) > 0.93


def test_paper_figure(tmp_path):
    """Vector files with text as text."""
    pytest.importorskip("matplotlib")
    pdf, svg = example("paper_figure").main(str(tmp_path), epochs=2)
    assert pdf.read_bytes().startswith(b"%PDF") and b"/Subtype /Image" not in pdf.read_bytes()
    assert "test accuracy" in svg.read_text()

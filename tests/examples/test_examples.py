"""Tests of the examples.  Those that compile or place and route:  ./run examples"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nbclient import NotebookClient

from equilif.data.sets import images
from equilif.hardware.boards import find
from equilif.hardware.driver import DriverNetwork
from equilif.hardware.export import driver_files
from equilif.training.settings import netfile
from equilif_boards.build import BuildPlan
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.network import Network
from tests.programs import program
from tests.standalone import client_of

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_and_listed():
    """Each name is in this file and in the list of examples."""
    text = Path(__file__).read_text()
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*"):
        if path.name not in ("README.md", "__pycache__"):
            assert path.stem in text and f"({path.name})" in listed, path.name


def test_own_network(capsys):
    golden = example("own_network").main()
    assert golden.network.feedforward == ()
    printed = capsys.readouterr().out
    assert float(re.match(r"[\d.]+", printed)[0]) > 90 and "the same weights" in printed


def test_deep_network_file():
    """The synapses of examples/deep_network.toml to the output have the feedback of the chain beside them."""
    described = netfile.read(EXAMPLES / "deep_network.toml").preset("mnist")
    assert described.learned_by == "nudged phases"
    scales = {s.pre: s.feedback_scale for s in described.smallest.synapses if s.post == "output"}
    assert scales == {"hidden2": 0.25, "hidden3": 0.5, "hidden5": 1.0, "bias": 1.0}


def test_own_network_file():
    """examples/own_network.toml"""
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
    lif, *others = example("new_neuron").main(count=200).values()
    assert lif > 0.2 and len({lif, *others}) == 3


def test_recall_images(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for kind in ("noise", "lines"):
        (tmp_path / kind).mkdir()
        for k in range(15):
            picture = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            pillow.fromarray(picture).save(tmp_path / kind / f"{k}.png")
    assert example("recall_images").main(str(tmp_path)) == 1.0


def test_in_your_design():
    pytest.importorskip("amaranth")
    actual, expected = example("in_your_design").main(count=4)
    assert actual == expected and len(set(actual)) > 1


def test_axi_export():
    pytest.importorskip("amaranth")
    module = example("axi_export")
    assert module.TESTBENCH.name == "axi_testbench.v"
    actual, expected = module.main()
    assert actual == expected


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("riscv64-unknown-elf-gcc"), reason="no riscv64-unknown-elf-gcc")
def test_litex_soc():
    """Every prediction, rate and weight of 20 samples that are learned, and of 4 that are predicted."""
    pytest.importorskip("litex", reason="extra litex")
    module = example("litex_soc")
    assert module.PROGRAM == ("litex_soc.c", "litex_soc.ld")
    result = module.main()
    weights = result.report["weights"]
    assert weights.shape[0] == 24 and weights.shape[1] >= 64 * 64 + 64 * 10
    assert np.diff(weights[:20], axis=0).any(axis=1).all()
    assert set(result.differences().values()) == {0}


@pytest.mark.parametrize("sizes", [(13, 40, 20, 3), (6, 3, 2), (64, 64, 10)])
def test_litex_report_has_the_layout_of_c(sizes, tmp_path):
    """An odd number of rates or weights is padded."""
    pytest.importorskip("litex", reason="extra litex")

    module = example("litex_soc")
    network = Network.chain(*sizes)
    compiled = DriverNetwork.compile(network, network.initial_weights(), module.CONFIG, learning_rate=0.1)
    for name, content in driver_files(module.CONFIG, compiled, "core").items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    struct = re.search(r"^struct sample \{.*?^\};$", (EXAMPLES / "litex_soc.c").read_text(), re.M | re.S)[0]
    expected = module.sample_type(compiled)
    parts = [f"offsetof(struct sample, {name}) == {expected.fields[name][1]}" for name in expected.names]
    parts.append(f"sizeof(struct sample) == {expected.itemsize}")
    (tmp_path / "main.c").write_text(
        f'#include "network.h"\n{struct}\n'
        + "\n".join(f'_Static_assert({part}, "{part}");' for part in parts)
    )
    subprocess.run(["gcc", "-fsyntax-only", "-I.", "main.c"], cwd=tmp_path, check=True)


def test_own_board():
    pytest.importorskip("amaranth_boards")

    board = find(str(EXAMPLES / "own_board.py"))
    Compiled(Network.chain(*board.network), board.config)
    assert not board.device.shortage(board.config)
    pins = next(text for name, text in BuildPlan.of(board).files.items() if name.endswith(".pcf"))
    assert all(f" {pin}\n" in pins for pin in ("35", "6", "9", "11", "37"))


@pytest.mark.long
def test_own_table_on_a_simulated_board(tmp_path):
    run(str(EXAMPLES / "wine.py"), "wine.csv", folder=tmp_path)
    done = run(str(EXAMPLES / "own_table.py"), "wine.csv", "kind", folder=tmp_path)
    assert "weights of board and golden model are equal" in done
    assert float(re.search(r"board ([\d.]+)%", done)[1]) > 85


@pytest.mark.long
def test_snntorch_and_back():
    pytest.importorskip("snntorch")
    before, after, exported = example("from_snntorch").main()
    assert before[0] > 0.8 and before[1] == 0
    assert after[0] > 0.95 and after[1] > 0.85
    assert exported[0] > 0.95 and exported[1] > 0.85


def notebook(name: str, folder: Path) -> tuple[str, list[Any]]:
    """Printed text and all outputs of a notebook, which is kept without them."""
    nbformat = pytest.importorskip("nbformat")
    content = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in content.cells), "outputs are not kept"
    NotebookClient(content, timeout=1200, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [o for cell in content.cells for o in cell.get("outputs", ())]
    return "".join(o.get("text", "") for o in outputs), outputs


@pytest.mark.long
def test_notebook(tmp_path):
    printed, _ = notebook("digits_to_bitstream", tmp_path)
    assert (
        "weights are equal" in printed
        and "64-64-10 fits" in printed
        and re.search(r"f_max [\d.]+ MHz", printed)
    )


@pytest.mark.regress
def test_text_notebook(tmp_path):
    """examples/spiking_transformer.ipynb"""
    for package in ("torch", "matplotlib"):
        pytest.importorskip(package)
    printed, outputs = notebook("spiking_transformer", tmp_path)
    bits = [float(b) for b in re.findall(r"([\d.]+) bits", printed)]
    assert len(bits) == 5 and bits[-1] < bits[0] and bits[-1] < 4
    assert len(printed.partition("def add_argument(self")[2]) > 60
    assert any("image/png" in o.get("data", {}) for o in outputs)


def run(*arguments: str, folder: Path) -> str:
    return program(sys.executable, *arguments, cwd=folder, COLUMNS="200").stdout


def test_torch_dataset():
    pytest.importorskip("torch")
    assert example("train_torch_dataset").main(epochs=4) > 0.93


def test_paper_figure(tmp_path):
    """Vector files with text as text."""
    pytest.importorskip("matplotlib")
    pdf, svg = example("paper_figure").main(str(tmp_path), epochs=2)
    assert pdf.read_bytes().startswith(b"%PDF") and b"/Subtype /Image" not in pdf.read_bytes()
    assert "test accuracy" in svg.read_text()


def test_sensor_keeps_old_states(tmp_path, monkeypatch):
    """With replay the old states are known after the new ones were learned; the table is the whole stream."""
    module = example("changing_sensor")
    monkeypatch.setattr(module, "SAMPLES", 900)
    table = tmp_path / "sensor.csv"
    module.main(str(table))
    assert len(table.read_text().splitlines()) == 901
    found = {name: course[1][0] for name, course in module.courses(every=300).items()}
    assert found["with replay"] > 0.8 > 0.6 > found["without"]


def test_microcontroller_learns_as_the_kernel(tmp_path):
    """Its own code for frames and files against the model of a board."""
    config = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16)
    network = Network.chain(10, 7, 3)
    driver = DriverNetwork.compile(network, network.initial_weights(), config, learning_rate=0.1)
    (tmp_path / "network.bin").write_bytes(driver.image())
    client = client_of(Device(config))
    board = example("microcontroller").EngineClient(client.port, tmp_path / "network.bin")
    kernel = Kernel(network, learning_rate=0.1)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (30, 10)).astype(np.uint8)
    y = rng.integers(0, 3, 30)
    for sample, label in zip(x, y, strict=True):
        before = kernel.predict(sample[None])[0]
        kernel.train(sample[None], [label], [0])
        assert board.learn(sample, int(label)) == before
    assert [board.predict(sample) for sample in x] == kernel.predict(x).tolist()

"""Runs that an earlier version saved: they load, go on to the same bits, and are evaluated.

``fixtures`` were written before presets and options became keys of one description.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from equilif.data import images
from equilif.training.history import HISTORY, NETWORK, read_history, saved_history
from equilif_golden import network as networks
from tests.cli import run

FIXTURES = Path(__file__).parent / "fixtures"
TABLE = FIXTURES / "own" / "table.csv"
#: how runs of equilibrium propagation go on, and the digest of their weights after three epochs, as the
#: version that wrote them ended
DIGESTS = {
    "train": ((), "03a7555ec79b67f91aaf31aab51352019f2ab3475d0f75193b130cec9a9e05ed"),
    "graph": ((), "7ca7d36a4baf30296c99e4b0f8f0513391161c17a2a3c8c062362e313f1d06ee"),
    "conv": ((), "4b5933dfe9bf7ae7c921d7911ec6977ca21703ddf657d9f823c882f2cf9ac422"),
    "own": ((TABLE,), "17e195350cd194491b66144cdceac08dcea574224e8716b51297dffc0adced95"),
}


@pytest.fixture
def saved(request, tmp_path) -> Path:
    """A copy of a run."""
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / request.param))


@pytest.mark.parametrize("saved", DIGESTS, indirect=True)
def test_old_run_resumes(saved):
    data, digest = DIGESTS[saved.name]
    run("train", *data, "--resume", "--epochs", 3, "--out", saved)
    assert read_history(saved / HISTORY).epochs[-1].weights == digest


@pytest.mark.parametrize("saved", ["train", "graph", "conv", "own", "rates"], indirect=True)
def test_old_network_is_evaluated(saved, tmp_path):
    data = (TABLE,) if saved.name == "own" else ()
    run("evaluate", saved / NETWORK, *data, "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    if saved.name == "rates":
        assert found["samples"] == 360
    else:
        assert found["accuracy"] == read_history(saved / HISTORY).epochs[-1].test_accuracy


def test_old_attention_network():
    history = read_history(FIXTURES / "vowels" / HISTORY)
    assert history.preset.loading == {"n_pos": 8} and history.preset.crop == 0.2


@pytest.mark.parametrize("name", ["rates", "rates-conv"])
def test_old_mean_rate_settings(name):
    history = saved_history(FIXTURES / name)
    network, _ = networks.load(FIXTURES / name / NETWORK)
    learned = history.preset
    assert learned.network(images.digits()) == network
    assert learned.epochs == len(history.epochs) == 1 and history.seed == 0
    assert (learned.hold_out, learned.batch) == (100 if network.maps else 0, 32)


@pytest.mark.parametrize("known", [("rates.json", "rates.pt", NETWORK), ("rates.pt", NETWORK)])
@pytest.mark.parametrize("saved", ["rates", "rates-conv"], indirect=True)
def test_old_rate_run_resumes(saved, known):
    """The checkpoint is enough; in the end the folder is one of this version."""
    pytest.importorskip("torch", exc_type=ImportError)
    before = saved_history(saved)
    for path in saved.iterdir():
        if path.name not in known:
            path.unlink()
    run("train-rates", "--resume", "--epochs", 2, "--out", saved)
    after = saved_history(saved)
    assert after.epochs[0] == before.epochs[0] and len(after.epochs) == 2
    assert after.knows(networks.load(saved / NETWORK)[1])
    assert {p.name for p in saved.iterdir()} == {HISTORY, "rates.pt", NETWORK, "learning_curve.png"}
    run("train-rates", "--resume", "--epochs", 3, "--out", saved)
    assert saved_history(saved).epochs[:2] == after.epochs


@pytest.mark.parametrize("saved", ["rates", "train"], indirect=True)
def test_old_run_is_reported(saved):
    run("report", saved)
    accuracy = saved_history(saved).epochs[-1].test_accuracy
    assert f"{100 * accuracy:.2f} %" in (saved / "report.html").read_text()


@pytest.mark.parametrize("saved", ["train", "conv"], indirect=True)
def test_old_run_to_network_file(saved, tmp_path):
    run("init", saved, "--out", tmp_path / "net.toml")
    run("show", tmp_path / "net.toml", "digits")

"""Runs saved by earlier versions: load, resume with equal results, evaluate.

``fixtures`` were written before presets and options became keys of one description, those of ``keys`` before
these keys had their present names.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from equilif.data import images
from equilif.training.history import HISTORY, NETWORK, read_history, saved_history
from equilif.training.records import read_identity
from equilif_golden import network as networks
from tests.cli import run

FIXTURES = Path(__file__).parent / "fixtures"
TABLE = FIXTURES / "own" / "table.csv"
SERIES = FIXTURES / "keys-attention" / "series.ts"
#: data arguments of runs on own data
DATA = {"own": (TABLE,), "keys-attention": (SERIES,)}
#: how runs of equilibrium propagation go on, and the digest of their weights after three epochs, as the
#: version that wrote them ended
DIGESTS = {
    "train": "03a7555ec79b67f91aaf31aab51352019f2ab3475d0f75193b130cec9a9e05ed",
    "graph": "7ca7d36a4baf30296c99e4b0f8f0513391161c17a2a3c8c062362e313f1d06ee",
    "conv": "4b5933dfe9bf7ae7c921d7911ec6977ca21703ddf657d9f823c882f2cf9ac422",
    "own": "17e195350cd194491b66144cdceac08dcea574224e8716b51297dffc0adced95",
    "keys": "a72b8714d95c5a1e30a71641b90dbcbae7f5974db8936ab1566d07518aef93b4",
    "keys-attention": "c2b2dd87fc187e71c0816df0d2c522d1f8043820a765d8d9546e6dad139a2ea9",
}


@pytest.fixture
def saved(request, tmp_path) -> Path:
    """A copy of a run."""
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / request.param))


@pytest.mark.parametrize("saved", DIGESTS, indirect=True)
def test_old_run_resumes(saved):
    run("train", *DATA.get(saved.name, ()), "--resume", "--epochs", 3, "--out", saved)
    assert read_history(saved / HISTORY).epochs[-1].weights == DIGESTS[saved.name]


@pytest.mark.parametrize("saved", [*DIGESTS, "rates", "keys-rates"], indirect=True)
def test_old_network_is_evaluated(saved, tmp_path):
    run("evaluate", saved / NETWORK, *DATA.get(saved.name, ()), "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    if saved.name in ("rates", "keys-rates"):
        assert found["samples"] == 360
    else:
        assert found["accuracy"] == read_history(saved / HISTORY).epochs[-1].test_accuracy


def test_keys_of_before_have_their_present_names():
    keys, rates, attention = (
        saved_history(FIXTURES / f"keys{name}") for name in ("", "-rates", "-attention")
    )
    assert (keys.preset.learning_rate, keys.preset.random_shift) == (0.05, 0.1)
    assert keys.preset.learning.schedule == "linear"
    assert (keys.epochs[0].learning_rate, rates.epochs[0].learning_rate) == (0.05, 3e-3)
    assert (rates.preset.batch_size, rates.preset.validation_samples) == (32, 100)
    assert rates.preset.horizontal_flip == 0.1
    assert rates.epochs[0].converged == 1.0 and (rates.epochs[0].forward_iterations or 0) > 6
    learning = attention.preset.learning
    assert (learning.token_dropout, learning.token_crop, learning.input_mask) == (0.1, 0.1, 1)
    assert attention.about.encoding.attention and attention.about.test_fraction == 0.3
    identity = read_identity(FIXTURES / "keys-attention" / NETWORK)
    assert identity == attention.about and identity.encoding.attention


def test_old_attention_network():
    history = read_history(FIXTURES / "vowels" / HISTORY)
    assert history.preset.loading == {"n_pos": 8} and history.preset.token_crop == 0.2


@pytest.mark.parametrize("name", ["rates", "rates-conv"])
def test_old_mean_rate_settings(name):
    history = saved_history(FIXTURES / name)
    network, _ = networks.load(FIXTURES / name / NETWORK)
    learned = history.preset
    assert learned.network(images.digits()) == network
    assert learned.epochs == len(history.epochs) == 1 and history.seed == 0
    assert (learned.validation_samples, learned.batch_size) == (100 if network.maps else 0, 32)


@pytest.mark.parametrize("known", [("rates.json", "rates.pt", NETWORK), ("rates.pt", NETWORK)])
@pytest.mark.parametrize("saved", ["rates", "rates-conv"], indirect=True)
def test_old_rate_run_resumes(saved, known):
    """Resume from the checkpoint; the folder then has the present format."""
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


def test_rates_with_keys_of_before_go_on(tmp_path):
    pytest.importorskip("torch", exc_type=ImportError)
    out = shutil.copytree(FIXTURES / "keys-rates", tmp_path / "run")
    run("train-rates", "--resume", "--epochs", 2, "--out", out)
    assert len(saved_history(out).epochs) == 2


@pytest.mark.parametrize("saved", ["rates", "train", "keys"], indirect=True)
def test_old_run_is_reported(saved):
    run("report", saved)
    accuracy = saved_history(saved).epochs[-1].test_accuracy
    assert f"{100 * accuracy:.2f} %" in (saved / "report.html").read_text()


@pytest.mark.parametrize("saved", ["train", "conv"], indirect=True)
def test_old_run_to_network_file(saved, tmp_path):
    run("init", saved, "--out", tmp_path / "net.toml")
    run("show", tmp_path / "net.toml", "digits")

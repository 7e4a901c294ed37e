"""Pretrained networks: values of their cards; commands accept their names."""

import json
import shlex

import pytest

from equilif.training.storage.history import digest
from equilif.training.storage.pretrained import FOLDER, Card, model_path
from equilif_golden import network as networks
from tests.cli import error_of, json_of, run
from tests.programs import python

CARDS = Card.all()


@pytest.mark.parametrize("name", CARDS)
def test_digest_of_weights(name):
    _, weights = networks.load(model_path(name))
    assert digest(weights) == CARDS[name].digest


def test_files_are_small():
    files = list(FOLDER.glob("*.npz"))
    assert {f.stem for f in files} == CARDS.keys()
    assert sum(f.stat().st_size for f in files) < 2 << 20


@pytest.mark.parametrize(
    "name",
    [
        "digits-64",
        *(pytest.param(n, marks=pytest.mark.regress) for n, c in CARDS.items() if n == "digits-conv"),
    ],
)
def test_training_again_gives_the_same_weights(name, tmp_path):
    """Networks whose data sets are built in."""
    card = CARDS[name]
    run(*shlex.split(card.command)[1:], "--out", tmp_path)
    _, weights = networks.load(tmp_path / "network.npz")
    assert digest(weights) == card.digest
    history = json.loads((tmp_path / "history.json").read_text())
    assert history["epochs"][-1]["test_accuracy"] == card.accuracy and history["seed"] == card.seed


def test_commands_take_names():
    report = json_of("evaluate", "digits-64")
    assert report["accuracy"] == CARDS["digits-64"].accuracy
    assert "hidden1" in run("show", "digits-64")
    run("program", "digits-64")
    assert "digits-46" in error_of("evaluate", "digits-46")
    assert "digits-64" in error_of("evaluate", "./digits-64")  # a path


def test_a_file_comes_before_a_pretrained_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits-64").write_text("not a network")
    assert "digits-64" in error_of("evaluate", "digits-64")


def test_list():
    models = json_of("models")["models"]
    assert models.keys() == CARDS.keys() and "icebreaker" in models["digits-64"]["boards"]


def test_list_without_boards():
    code = "import sys; sys.modules['amaranth'] = None; import equilif.cli as c; c.main()"
    printed = python(code, "models").stdout
    assert all(name in printed for name in CARDS) and "[hdl,boards]'" in printed.replace("\n", "")


def test_conversion_of_a_pretrained_network(tmp_path):
    pytest.importorskip("nir")
    run("convert", "digits-64", tmp_path / "digits.nir")
    assert (tmp_path / "digits.nir").stat().st_size > 0

"""Changes of a description by key: option --set."""

from __future__ import annotations

import re

import pytest

from equilif.data.sets import images
from equilif.training.options import changes
from equilif.training.settings import convolved
from equilif.training.settings.patches import FEEDBACK, patched, split, value
from equilif.training.settings.presets import PRESETS, RATES
from equilif.training.settings.tables import keys as table_keys
from equilif.training.storage.history import HISTORY, read_history
from tests.cli import error_of, json_of, run

DIGITS = PRESETS["digits"]


@pytest.mark.parametrize("name", PRESETS)
def test_same_value_changes_nothing(name):
    preset = PRESETS[name]
    assert patched(preset, {"learning.epochs": str(preset.epochs)}) == preset


def test_patch_convolutions():
    preset = convolved.preset(images.digits(), [convolved.ConvSpec(6), convolved.ConvSpec(8)])
    assert patched(preset, {"learning.learning_rate": "0.01"}) == preset.changed(learning_rate=0.01)


@pytest.mark.parametrize(
    "patches, changed",
    [
        (
            {"phases.free": "16", "phases.window": "8", "phases.nudged": "8"},
            {"free": 16, "window": 8, "nudged": 8},
        ),
        ({"learning.order": "standalone"}, {"order": "standalone"}),
        ({"learning.seeds": "[3, 1]"}, {"seeds": (3, 1)}),
        ({"start.bias": "0.1"}, {"bias": 0.1}),
        ({"population.hidden1.size": "12"}, {"hidden": (12,)}),
    ],
)
def test_keys_are_fields(patches, changed):
    assert patched(DIGITS, patches) == DIGITS.changed(**changed)


def test_patch_format_and_loader_option():
    assert patched(DIGITS, {"numbers.fraction": "10"}).numerics.fraction == 10
    changed = patched(PRESETS["vowels"], {"loading.n_pos": "4", "start.query": "0.2"})
    assert changed.loading["n_pos"] == 4 and changed.start.query == 0.2


def test_patch_rates():
    found = patched(
        RATES["imdb"], {"rates.learning_rate": "0.01", "loading.tokens": "50", "loading.drop": "9"}
    )
    assert (found.learning_rate, found.memory.size, found.loading["drop"]) == (0.01, 50, 9)
    assert patched(RATES["digits"], {"rates.excluded_classes": "3"}).excluded_classes == (3,)
    assert patched(RATES["digits"], {"phases.free": "40"}).schedule.free == 40
    one_way = patched(RATES["digits"], {FEEDBACK: "false"}).synapses
    assert [(s.pre, s.post) for s in one_way if not s.feedback] == [("hidden1", "output")]
    assert not patched(RATES["vowels"], {"rates.table_learning_rate": "0"}).learns_table
    assert patched(RATES["vowels"], {"rates.table_learning_rate": "2"}).learns_table


@pytest.mark.parametrize(
    "key, text, named",
    [
        ("phase.free", "8", "'phases'"),
        ("phases.fre", "8", "'free'"),
        ("population.hiden1.size", "8", "'hidden1'"),
        ("population.hidden1.sise", "8", "'size'"),
        ("synapse.0.rate", "1", "synapses have no names"),
        ("learning.order", "sorted", "shuffled, standalone"),
        ("learning.epochs", "1.5", "an integer"),
        ("learning.epochs", "1\nx = 2", "an integer"),
        ("rates.batch_size", "1", "learning.batch_size"),
    ],
)
def test_invalid_key_or_value(key, text, named):
    with pytest.raises(ValueError, match=re.escape(key)) as e:
        patched(DIGITS, {key: text})
    assert named in str(e.value)


@pytest.mark.parametrize("words", [["a"], ["a.b="], ["=3"], ["free=3"], ["a.b=1", "a.b=2"]])
def test_invalid_syntax(words):
    with pytest.raises(ValueError, match="--set"):
        split(words)


def test_unquoted_text():
    typed = {"3": 3, "0.5": 0.5, ".02": 0.02, "-5.": -5.0, "true": True, "[1]": [1], "a": "a", '"a b"': "a b"}
    assert [value(text) for text in typed] == list(typed.values())


@pytest.mark.parametrize(
    "option, key",
    [
        ({"hidden": ["7"]}, "population.hidden1.size=9"),
        ({"hidden": ["conv:4"]}, "population.maps1.shape=[4, 4, 4]"),
        ({"seed": 3}, "learning.seeds=[4]"),
        ({"epochs": 3}, "rates.epochs=4"),
    ],
)
def test_key_and_option_are_the_same(option, key):
    with pytest.raises(ValueError, match=f"--{next(iter(option))}.*{key.partition('=')[0]}"):
        changes([key], label=None, **option)
    changes([key], label=None)


def test_set_option_of_train(tmp_path):
    keys = ("learning.learning_rate=0.02", "phases.free=16", "start.scale=0.4", "run.every=5")
    patches = [word for key in keys for word in ("--set", key)]
    run("train", "digits", "--hidden", 4, "--epochs", 1, *patches, "--out", tmp_path)
    preset = read_history(tmp_path / HISTORY).preset
    assert preset == DIGITS.changed(hidden=(4,), epochs=1, learning_rate=0.02, free=16, scale=0.4)
    assert "--set learning.learning_rate" in error_of(
        "train", "--resume", "--set", "learning.learning_rate=1", "--out", tmp_path
    )
    run("train", "--resume", "--epochs", 2, "--set", "run.every=1", "--out", tmp_path)


@pytest.mark.parametrize(
    "command, option, key",
    [
        ("train", "--free", "phases.free"),
        ("train", "--test-fraction", "data.test_fraction"),
        ("train", "--conv", "--hidden conv:MAPS"),
        ("train", "--seeds", "--seed FIRST-LAST"),
        ("train-rates", "--weight-decay", "rates.weight_decay"),
        ("train-rates", "--validation-samples", "rates.validation_samples"),
        ("train-text", "--noise", "text.noise"),
        ("upload", "--learning-rate", "learning.learning_rate"),
    ],
)
def test_option_named_by_key(command, option, key):
    assert key in error_of(command, "digits", option, 3)


def test_duplicate_options(tmp_path):
    out = ("--out", tmp_path / "out")
    assert "learning.epochs" in error_of("train", "--epochs", 2, "--set", "learning.epochs=3", *out)
    assert "--overwrite" in error_of("train", "--resume", "--overwrite", *out)
    assert "conv:3" in error_of("train", "--hidden", 4, "--hidden", "conv:3", *out)
    assert not (tmp_path / "out").exists()


def test_keys_are_listed():
    keys = json_of("init", "--keys")["keys"]
    assert {"phases.free", "learning.epochs", "data.test_fraction", "run.every", "rates.learning_rate"} <= {
        k["key"] for k in keys
    }
    assert all(k["meaning"] for k in keys)
    listed = {k["key"] for k in keys if k["command"] == "train-rates"}
    assert {f"rates.{name}" for name in table_keys("rates")} < listed


def test_keys_are_listed_next_to_a_network_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.toml").touch()
    assert "learning.epochs" in run("init", "--keys")
    assert "net.toml" in error_of("init", "digits")

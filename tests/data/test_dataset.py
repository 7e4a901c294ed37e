"""Validation and digest of data sets."""

import inspect
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from equilif import make_data
from equilif.data import SOURCES, Name, names
from equilif.data.sets.dataset import DataSet
from equilif.data.sets.images import load
from equilif.training.settings.presets import PRESETS
from equilif_golden.network import TokenRows

X = np.arange(24, dtype=np.uint8).reshape(4, 6)
Y = np.array([0, 1, 2, 1])
SET = DataSet("small", X, Y, X[:2], Y[:2])
EMPTY = np.zeros((4, 0), np.uint8)
TOKENS = TokenRows(
    np.arange(10, dtype=np.int16).reshape(5, 2), np.arange(4, dtype=np.int32), np.array([0, 2, 3, 3, 4])
)
TEXT = DataSet("text", EMPTY, Y, EMPTY, Y, TOKENS, TOKENS, words=tuple("abcde"))

WRONG = {
    "part of 1": ({"x_train": X / 255}, r"training inputs.*0\.\.255.*np\.rint\(255 \* x\)"),
    "other width": ({"x_train": X.astype(np.int64)}, "uint8"),
    "above 255": ({"x_train": X.astype(np.int64) + 250}, r"0\.\.255"),
    "images": ({"x_train": X.reshape(4, 2, 3)}, r"shape \(samples, features\)"),
    "no sample": ({"x_test": X[:0], "y_test": Y[:0]}, "test"),
    "no features": ({"x_train": X[:, :0], "x_test": X[:2, :0]}, "inputs.*tokens"),
    "features differ": ({"x_test": X[:2, :5]}, "training.*6.*test.*5"),
    "labels in parts": ({"y_train": Y + 0.9}, "training labels.*float64"),
    "true and false": ({"y_train": Y > 0}, "training labels.*integers"),
    "negative labels": ({"y_train": Y - 1}, r"training labels.*-1\.\.1"),
    "huge labels": ({"y_train": Y << 40}, r"training labels.*0\.\.1048575"),
    "labels in a column": ({"y_train": Y[:, None]}, r"training labels.*\(4, 1\)"),
    "too few labels": ({"y_test": Y[:1]}, r"test labels.*\(1,\)"),
    "one class": ({"y_train": Y * 0, "y_test": Y[:2] * 0}, "class"),
    "a class that was not trained": ({"y_test": Y[:2] + 2}, "test.*3.*training.*2"),
    "shape of other images": ({"shape": (2, 2)}, r"shape.*6 inputs.*\(2, 2\)"),
    "shape of one dimension": ({"shape": (6,)}, r"shape.*\(6,\)"),
    "tokens of one part": ({"tokens_train": TOKENS}, "tokens"),
}
WRONG_TOKENS = {
    "offsets that fall": (TOKENS._replace(off=np.array([0, 3, 2, 3, 4])), "offsets"),
    "offsets beyond": (TOKENS._replace(off=np.array([0, 2, 3, 3, 10**9])), "offsets"),
    "rows beyond": (TOKENS._replace(rows=np.array([0, 1, 2, 5])), r"rows.*0\.\.4"),
    "table of reals": (TOKENS._replace(table=TOKENS.table / 2), "patterns.*integers"),
    "table of one dimension": (TOKENS._replace(table=TOKENS.table[:, 0]), "patterns"),
    "samples": (TOKENS._replace(off=np.array([0, 4])), "training tokens.*1 samples"),
    "width": (TOKENS._replace(table=TOKENS.table[:, :1]), "training tokens.*1.*test tokens.*2"),
    "words": (TOKENS._replace(table=TOKENS.table[:4]), "5 words.*4 rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_data_set(case):
    change, message = WRONG[case]
    with pytest.raises(ValueError, match=f"'small': .*{message}"):
        replace(SET, **change)


@pytest.mark.parametrize("case", WRONG_TOKENS)
def test_mismatched_tokens(case):
    tokens, message = WRONG_TOKENS[case]
    with pytest.raises(ValueError, match=f"'text': .*{message}"):
        replace(TEXT, tokens_train=tokens)


def test_data_set_is_read_only_copy(tmp_path):
    """Later changes of the source arrays have no effect."""
    mapped = np.memmap(tmp_path / "x", np.uint8, "w+", shape=X.shape)
    mapped[:] = X
    shown = X.copy()
    view = shown.view()
    view.flags.writeable = False  # a view of a writable array
    for x in (shown.copy(), shown, view, np.memmap(tmp_path / "x", np.uint8, "r", shape=X.shape)):
        y = Y.copy()
        data = DataSet("small", x, y, x[:2], y[:2])
        assert not np.shares_memory(data.x_train, x) and not np.shares_memory(data.y_train, y)
    tokens = TokenRows(*(a.copy() for a in TOKENS))
    text = DataSet("text", EMPTY, Y, EMPTY, Y, tokens, tokens)
    arrays = [data.x_train, data.y_train, data.x_test, data.y_test, *text.tokens_train, *text.tokens_test]
    assert not any(a.flags.writeable for a in arrays)
    assert not any(np.shares_memory(a, b) for a in text.tokens_train for b in tokens)
    assert text.tokens_train.table is text.tokens_test.table
    assert replace(data, name="other").x_train is data.x_train, "copied once"
    constant = np.frombuffer(X.tobytes(), np.uint8).reshape(X.shape)
    assert DataSet("small", constant, Y, X[:2], Y[:2]).x_train is constant
    with pytest.raises(ValueError, match="masked"):
        replace(data, x_train=np.ma.masked_equal(X, 3))


def test_digest_ignores_names():
    assert len(SET.digest) == 64 and SET.digest == replace(SET, name="other").digest
    assert TEXT.digest == replace(TEXT, words=()).digest
    assert SET.digest == replace(SET, x_train=np.asfortranarray(X), y_train=Y.astype(np.uint8)).digest


def test_digest_covers_every_array():
    other = X.copy()
    other[0, 0] ^= 1
    changed = [
        replace(SET, x_train=other),
        replace(SET, y_train=Y[::-1].copy()),
        replace(SET, x_test=other[:2]),
        replace(SET, y_test=Y[1:3]),
        replace(SET, x_train=X[:3], y_train=Y[:3]),
        replace(SET, x_train=X[:, :3], x_test=X[:2, :3]),
        replace(TEXT, tokens_train=TOKENS._replace(rows=TOKENS.rows[::-1].copy())),
        replace(TEXT, tokens_train=TOKENS._replace(off=np.array([0, 1, 3, 3, 4]))),
        replace(TEXT, tokens_test=TOKENS._replace(table=TOKENS.table + np.int16(1))),
    ]
    digests = {d.digest for d in (SET, TEXT, *changed)}
    assert len(digests) == 2 + len(changed)


def test_digest_of_digits():
    pytest.importorskip("sklearn")
    d = load("digits")
    assert d.digest == "92836929ae09405121bd146b3e7ba5ae15f8628f48601be018a6e05e0f29c39b"
    assert d.digest != load("digits", seed=1).digest


def test_table_of_data_sets():
    assert list(SOURCES) == list(Name) == [*names("images"), *names("sequences")]
    assert set(PRESETS) == set(Name) and {n for n, p in PRESETS.items() if p.memory} == set(
        names("sequences")
    )
    for source in SOURCES.values():
        assert next(iter(inspect.signature(source.load).parameters)) == "data"


def test_table_of_data_sets_needs_no_numpy():
    code = "import sys, equilif.data; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_encoding_equals_that_of_training():
    x = np.random.default_rng(0).normal(size=(40, 3)) * (1, 5, 100)
    y = np.arange(40) % 2
    data = make_data(x, y, x, y)
    assert np.array_equal(data.encode(x[:7]), data.x_train[:7])
    assert np.array_equal(SET.encode(X), X)


@pytest.mark.parametrize("data, raw", [(SET, X[:, :4]), (SET, X / 255), (TEXT, X), (SET, X[0])])
def test_samples_that_cannot_be_encoded(data, raw):
    with pytest.raises(ValueError, match=r"small|text"):
        data.encode(raw)

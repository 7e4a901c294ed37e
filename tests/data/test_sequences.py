"""Token data sets: ragged samples, and every data set from small valid and damaged files."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from equilif.data.base import ragged
from equilif.data.base import words as embeddings
from equilif.data.sets import recordings as sound
from equilif.data.sets import sequences
from equilif.data.sets import texts as movies
from equilif.data.sets.sequences import Ragged
from equilif.data.sound import signals
from tests.data_files import (
    TEST_PHRASES,
    TRAIN_PHRASES,
    TS,
    VECTORS,
    tone,
    write_ids,
    write_mels,
    write_phrases,
    write_ts,
)
from tests.files import write_wav

R = Ragged.of([[4, 5, 6], [], [7], [1, 2]], [0, 1, 2, 1])


# --------------------------------------------------------------------------------------------------


def test_ragged():
    assert len(R) == 4 and R.rows.dtype == np.int32 and R.off.dtype == R.labels.dtype == np.int64
    assert R.off.tolist() == [0, 3, 3, 4, 6] and R.lengths().tolist() == [3, 0, 1, 2]
    assert R.sample(0).tolist() == [4, 5, 6] and R.sample(1).tolist() == [] and R.sample(3).base is R.rows
    with pytest.raises(IndexError, match="sample 4 of 4"):
        R.sample(4)


@pytest.mark.parametrize("indices", [[3, 0, 0, 1], [], [1], np.array([2])])
def test_take(indices):
    t = R.take(indices)
    assert [t.sample(i).tolist() for i in range(len(t))] == [R.sample(i).tolist() for i in indices]
    assert t.labels.tolist() == [R.labels[i] for i in indices] and t.rows.dtype == np.int32


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_cut(n):
    first = R.cut(n)
    last = R.cut(n, last=True)
    for i in range(len(R)):
        assert (
            first.sample(i).tolist() == R.sample(i)[:n].tolist()
            and last.sample(i).tolist() == R.sample(i)[-n:].tolist()
        )
    assert first.labels.tolist() == last.labels.tolist() == R.labels.tolist()


def test_ragged_validation():
    with pytest.raises(ValueError, match="not 0"):
        R.cut(0)
    for off in ([0, 2], [0, 2, 3], [0, 3, 2], [1, 2, 2]):
        with pytest.raises(ValueError, match=f"{len(off)} offsets.*2 tokens.*2 samples"):
            Ragged(np.zeros(2, np.int32), np.array(off), np.zeros(2, np.int64))


# --------------------------------------------------------------------------------------------------


def texts(s, r):
    return [[s.words[t] for t in r.sample(i)] for i in range(len(r))]


@pytest.fixture
def reviews(tmp_path):
    """Two reviews per class and part in the layout of Maas, and word vectors."""
    (tmp_path / "glove.txt").write_text(VECTORS)
    for part in ("train", "test"):
        for sign, text in (
            ("neg", "The film, bad <br /><br />film. Don't!"),
            ("pos", "Good good FILM, the end"),
        ):
            folder = tmp_path / "aclImdb" / part / sign
            folder.mkdir(parents=True)
            (folder / "0_1.txt").write_text(text)
            (folder / "1_1.txt").write_text(
                "nothing known" if (part, sign) == ("test", "pos") else "the film"
            )
    return tmp_path


def test_imdb_folder(reviews):
    s = sequences.load("imdb", reviews)
    assert (s.name, s.d, s.n_classes, s.classes) == (
        "imdb",
        2,
        2,
        ("negative", "positive"),
    ) and s.table.dtype == np.int8
    # by frequency, then by name; the last one is the unknown word
    assert s.words == ("film", "the", "good", "bad", "do", "n't", "")
    assert texts(s, s.train) == [
        ["the", "film", "bad", "film", "do", "n't"],
        ["the", "film"],
        ["good", "good", "film", "the"],
        ["the", "film"],
    ]
    assert texts(s, s.test)[3] == [""] and not s.table[-1].any()
    assert s.train.labels.tolist() == s.test.labels.tolist() == [0, 0, 1, 1]
    assert texts(movies.imdb(reviews / "aclImdb", vectors=reviews / "glove.txt"), s.train) == texts(
        s, s.train
    )


def test_text_options(reviews):
    cut, last = (sequences.load("imdb", reviews, max_tokens=2, last=last) for last in (False, True))
    assert texts(cut, cut.train)[0] == ["the", "film"] and texts(last, last.train)[0] == ["do", "n't"]
    s = sequences.load("imdb", reviews, drop=2)
    assert texts(s, s.train) == [["bad", "do", "n't"], [""], ["good", "good"], [""]] and len(s.table) == 5
    values = [[0, 1], [1, 0], [3, 1], [-3, 1], [1, 1], [0, -2]]
    s = sequences.load("imdb", reviews)
    assert np.array_equal(s.table[:-1], embeddings.code(values, [5, 4, 2, 1, 1, 1]))
    s = sequences.load("imdb", reviews, weighted=False, top=1)
    assert np.array_equal(s.table[:-1], embeddings.code(values, top=1))
    (reviews / "other.vec").write_text("3 1\nbad 1\nfilm 2\ngood 3\n")
    assert sequences.load("imdb", reviews, vectors=reviews / "other.vec").table.shape == (4, 1)


def test_bigrams(reviews):
    """The most frequent pairs within training texts; their rows are zero."""
    plain = sequences.load("imdb", reviews)
    s = sequences.load("imdb", reviews, bigrams=1)
    assert s.words == (*plain.words[:-1], "the film", "") and not s.table[-2:].any()
    assert texts(s, s.train) == [
        ["the", "film", "the film", "bad", "film", "do", "n't"],
        ["the", "film", "the film"],
        ["good", "good", "film", "the"],
        ["the", "film", "the film"],
    ]
    assert texts(s, s.test)[3] == [""], "it has no known word and no such pair"
    many = sequences.load("imdb", reviews, bigrams=100)
    assert "film the" in many.words and "n't !" in many.words
    assert "! the" not in many.words, "one text ends so, and the next begins"
    with pytest.raises(ValueError, match="bigrams"):
        sequences.load("imdb", reviews, bigrams=-1)


def test_imdb_word_numbers(tmp_path):
    write_ids(tmp_path / "imdb.npz")
    (tmp_path / "glove.txt").write_text(VECTORS + "pad 1 2\nunk 1 2\n")
    s = sequences.load("imdb", tmp_path)
    assert texts(s, s.train) == texts(s, s.test) == [
        ["the", "do", "n't"],
        ["do", "n't"],
    ] and s.train.labels.tolist() == [1, 0]
    assert np.array_equal(sequences.load("imdb", tmp_path / "imdb.npz").train.rows, s.train.rows)


def test_missing_reviews(reviews, tmp_path):
    with pytest.raises(ValueError, match="aclImdb/train/pos"):
        sequences.load("imdb", tmp_path / "nowhere")
    for f in (reviews / "aclImdb/test/neg").iterdir():
        f.unlink()
    with pytest.raises(ValueError, match="aclImdb/test/neg"):
        sequences.load("imdb", reviews)


def test_missing_vectors(reviews, monkeypatch):
    monkeypatch.setattr(embeddings, "PACKAGE", "no-such-package-here")
    (reviews / "glove.txt").unlink()
    with pytest.raises(ValueError, match=r"\[text\]"):
        sequences.load("imdb", reviews)
    with pytest.raises(ValueError, match="nowhere.txt"):
        sequences.load("imdb", reviews, vectors=reviews / "nowhere.txt")


# --------------------------------------------------------------------------------------------------

UNLABELLED = "index\tsentence\n0\tthe film\n"  #: GLUE's test part


@pytest.mark.parametrize(
    "files",
    [
        {"train.tsv": TRAIN_PHRASES, "dev.tsv": TEST_PHRASES},
        {"SST-2/train.tsv": TRAIN_PHRASES, "SST-2/dev.tsv": TEST_PHRASES, "SST-2/test.tsv": UNLABELLED},
        {
            "sst2/train.tsv.gz": TRAIN_PHRASES,
            "sst2/dev.tsv.gz": TRAIN_PHRASES,
            "sst2/test.tsv.gz": TEST_PHRASES,
        },
        {"data/train-00000.parquet": TRAIN_PHRASES, "data/validation-00000.parquet": TEST_PHRASES},
        {"train.tsv": TRAIN_PHRASES.replace("\n", "\r\n"), "dev.tsv": TEST_PHRASES.replace("\n", "\r\n")},
    ],
    ids=["dev.tsv", "glue", "test.tsv.gz", "parquet", "crlf"],
)
def test_sst2(tmp_path, files):
    for name, content in files.items():
        write_phrases(tmp_path, name, content)
    (tmp_path / "glove.txt").write_text(VECTORS)
    s = sequences.load("sst2", tmp_path)
    assert (s.name, s.classes, s.d) == ("sst2", ("negative", "positive"), 2)
    assert texts(s, s.train)[:3] == [
        ["the", "good", "film"],
        ["good", "film"],
        ["do", "n't", "the", "bad", "film"],
    ]
    assert s.train.labels.tolist() == [1, 1, 0, 0, 0, 0, 1]
    assert texts(s, s.test) == [["bad", "film"], [""]] and s.test.labels.tolist() == [0, 1]


def test_sst2_validation_sentences(tmp_path):
    """A sentence held out takes along the phrases that occur in it alone."""
    more = TRAIN_PHRASES + "the good bad\t1\n"
    write_phrases(tmp_path, "train.tsv", more)
    (tmp_path / "glove.txt").write_text(VECTORS)
    s = sequences.load("sst2", tmp_path, validation_sentences=2)
    sentences = [line.split("\t")[0].split() for line in more.splitlines()[1:]]
    held = texts(s, s.test)
    whole = [["the", "good", "film"], ["do", "n't", "the", "bad", "film"], ["the", "good", "bad"]]
    (left,) = [w for w in whole if w not in held]
    assert len(held) == 2 and all(h in whole for h in held)
    there = " ".join(next(w for w in sentences if [t for t in w if t != '"'] == left))
    assert [" ".join(t) for t in texts(s, s.train)] == [p for w in sentences if (p := " ".join(w)) in there]
    with pytest.raises(ValueError, match="train.tsv: validation_sentences"):
        sequences.load("sst2", tmp_path, validation_sentences=3)


@pytest.mark.parametrize(
    "name, content, named",
    [
        ("train.tsv", "good film\t1\nbad film\t0\n", "train.tsv"),
        ("train.tsv", UNLABELLED, "no train.tsv"),
        ("train.tsv", TRAIN_PHRASES + "good\n", "train.tsv line 9 has 1 cells"),
        ("train.tsv", TRAIN_PHRASES + "good\t-1\n", "train.tsv line 9:"),
        ("dev.tsv", TEST_PHRASES + "good\tpositive\n", "dev.tsv line 4:"),
        ("dev.tsv", UNLABELLED, "no test.tsv"),
        ("train-0.parquet", TRAIN_PHRASES + "good\t2\n", "train-0.parquet row 8:"),
    ],
)
def test_broken_sst2(tmp_path, name, content, named):
    for part, intact in (("train", TRAIN_PHRASES), ("dev", TEST_PHRASES)):
        if not name.startswith(part):
            write_phrases(tmp_path, f"{part}.tsv", intact)
    write_phrases(tmp_path, name, content)
    (tmp_path / "glove.txt").write_text(VECTORS)
    with pytest.raises(ValueError, match=named):
        sequences.load("sst2", tmp_path)


def test_position():
    p = sequences.position([0, 0.25, 0.5, 0.625, 1], 5)
    assert p.dtype == np.int8 and p.tolist() == [
        [127, 0, 0, 0, 0],
        [0, 127, 0, 0, 0],
        [0, 0, 127, 0, 0],
        [0, 0, 64, 64, 0],
        [0, 0, 0, 0, 127],
    ]
    assert sequences.position([0.1, 0.9], 1).tolist() == [[127], [127]] and sequences.position(
        [0.1], 0
    ).shape == (1, 0)


@pytest.mark.parametrize("n", [1, 3, 4, 7, 50])
def test_pooling(n):
    lengths = [1, 4, 3, 11, 20, 7]
    off = np.concatenate(([0], np.cumsum(lengths)))
    x = np.random.default_rng(n).normal(size=(off[-1], 2))
    got, new = ragged.pooled(x, off, n)
    assert np.diff(new).tolist() == [min(k, n) for k in lengths]
    for i, k in enumerate(lengths):
        m = min(k, n)
        edges = [j * k // m for j in range(m + 1)]
        sizes = np.diff(edges)
        assert sizes.max() - sizes.min() <= 1
        own = x[off[i] : off[i + 1]]
        assert np.allclose(
            got[new[i] : new[i + 1]], [own[a:b].mean(axis=0) for a, b in zip(edges, edges[1:], strict=False)]
        )


def test_log_mel():
    f = signals.log_mel(tone(1000))
    # 0.3 s in steps of 10 ms, windows of 25 ms
    assert f.shape == (28, 20) and f.dtype == np.uint8
    bank = signals.mel_bank()
    assert bank.shape == (20, 129) and (bank.max(axis=1) > 0).all()
    assert (f.argmax(axis=1) == bank[:, 32].argmax()).all()  # 1 kHz is line 32 of 256 at 8 kHz
    quiet = signals.log_mel(tone(1000, level=0.05))
    assert np.abs(f.max(axis=1).astype(int) - quiet.max(axis=1) - 51).max() <= 1  # 20 dB of 100
    assert not signals.log_mel(np.zeros(800)).any() and signals.log_mel([0.1]).shape == (1, 20)


@pytest.fixture
def recordings(tmp_path):
    """Tones as digits: two speakers, three digits, seven recordings of each."""
    for digit in range(3):
        for speaker in ("ann", "bob_b"):
            for index in range(7):
                write_wav(
                    tmp_path / "recordings" / f"{digit}_{speaker}_{index}.wav",
                    tone(500 + 700 * digit, 0.1 + 0.1 * index),
                )
    return tmp_path


def test_spoken_wavs(recordings):
    s = sequences.load("spoken", recordings)
    assert (s.name, s.d, s.n_classes) == ("spoken", 28, 10) and s.table.dtype == np.int8
    assert (len(s.train), len(s.test)) == (3 * 2 * 2, 3 * 2 * 5) and len(s.table) == len(s.train.rows) + len(
        s.test.rows
    )
    assert s.train.lengths().max() == 32 and s.test.lengths().min() == 8
    assert sorted(np.concatenate((s.train.rows, s.test.rows))) == list(range(len(s.table)))
    for r in (s.train, s.test):
        for i in range(len(r)):
            rows = r.sample(i)
            n = len(r.sample(i))
            assert (np.diff(rows) == 1).all()
            assert np.array_equal(s.table[rows, 20:], sequences.position((np.arange(n) + 0.5) / n, 8))
    bands = s.table[s.train.rows, :20].astype(float)
    varied = bands.std(axis=0) > 0
    assert (
        varied.sum() > 10
        and np.abs(bands.mean(axis=0)).max() < 2
        and np.abs(bands[:, varied].std(axis=0) - 127 / 3).max() < 3
    )
    short = sequences.load("spoken", recordings / "recordings", max_tokens=4, n_pos=3)
    assert short.d == 23 and set(short.train.lengths()) == {4}


def test_spoken_excludes_speaker(recordings):
    s = sequences.load("spoken", recordings, leave_out="bob_b")
    assert len(s.train) == len(s.test) == 21
    with pytest.raises(ValueError, match="'eve'"):
        sequences.load("spoken", recordings, leave_out="eve")


def test_spoken_parts_missing(recordings):
    for path in recordings.glob("recordings/*_[56].wav"):
        path.unlink()
    with pytest.raises(ValueError, match="recordings:"):
        sequences.load("spoken", recordings)
    for path in recordings.glob("recordings/*_ann_*.wav"):
        path.rename(path.with_name(path.name[:-5] + "5.wav")) if path.name.endswith(
            "_0.wav"
        ) else path.unlink()
    for path in recordings.glob("recordings/*_bob_b_*.wav"):
        path.unlink()
    with pytest.raises(ValueError, match="recordings:"):
        sequences.load("spoken", recordings)


@pytest.mark.parametrize(
    "name, make, message",
    [
        ("0_ann_9.wav", lambda p: write_wav(p, tone(500), rate=16000), "8000"),
        ("0_ann_9.wav", lambda p: write_wav(p, tone(500), channels=2), " 2 channels"),
        ("0_ann_9.wav", lambda p: write_wav(p, []), "sound"),
        ("zero.wav", lambda p: write_wav(p, tone(500)), "digit_speaker_index.wav"),
        ("12_ann_0.wav", lambda p: write_wav(p, tone(500)), "digit_speaker_index.wav"),
    ],
)
def test_broken_recordings(recordings, name, make, message):
    make(recordings / "recordings" / name)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        sequences.load("spoken", recordings)


def test_spoken_prepared(tmp_path):
    write_mels(tmp_path / "fsdd.npz")
    s = sequences.load("spoken", tmp_path, max_tokens=3, n_pos=2)
    assert s.d == 6 and s.train.labels.tolist() == [1, 9] and s.test.labels.tolist() == [0]
    assert (
        s.test.sample(0).tolist() == [0, 1, 2]
        and s.train.rows.tolist() == [3, 4, 5, 6]
        and s.train.lengths().tolist() == [1, 3]
    )
    left = sequences.load("spoken", tmp_path / "fsdd.npz", leave_out="ann")
    assert left.test.labels.tolist() == [1] and left.train.labels.tolist() == [0, 9]


def test_missing_recordings(tmp_path):
    with pytest.raises(ValueError, match=f"recordings/.*wav.*{tmp_path}.*--data"):
        sequences.load("spoken", tmp_path)


@pytest.mark.parametrize(
    "layout", ["", "JapaneseVowels", "aeon/datasets/data/JapaneseVowels", "wheel", "the wheel itself"]
)
def test_vowels(tmp_path, layout):
    data = tmp_path
    if "wheel" in layout:
        with zipfile.ZipFile(tmp_path / "aeon-1.6.0-py3-none-any.whl", "w") as wheel:
            for part, label in (("TRAIN", 1), ("TEST", 2)):
                wheel.writestr(
                    f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts", TS.format(label)
                )
        data = tmp_path / "aeon-1.6.0-py3-none-any.whl" if "itself" in layout else tmp_path
    else:
        write_ts(tmp_path / layout)
    s = sequences.load("vowels", data, n_pos=4)
    assert (s.name, s.d, s.classes) == ("vowels", 6, ("1", "2")) and s.table.shape == (14, 6)
    assert (
        s.train.labels.tolist() == [0, 1, 0]
        and s.test.labels.tolist() == [1, 1, 0]
        and s.train.lengths().tolist() == [3, 2, 2]
    )
    x = np.array([[1, 4], [2, 5], [3, 6], [7, 9], [8, -10], [0, 2], [1, 3]], float)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    assert np.array_equal(s.table[:7, :2], np.rint(z * 127 / 3)) and np.array_equal(
        s.table[7:, :2], s.table[:7, :2]
    )


def test_missing_vowels(tmp_path, monkeypatch):
    monkeypatch.setattr(sound.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="JapaneseVowels_TRAIN.ts"):
        sequences.load("vowels", tmp_path)
    wheel = tmp_path / "aeon-1.6.0-py3-none-any.whl"
    wheel.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="whl"):
        sequences.load("vowels", tmp_path)
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("aeon/__init__.py", "")
    with pytest.raises(ValueError, match="whl"):
        sequences.load("vowels", tmp_path)


def test_vowels_of_installed_package(tmp_path, monkeypatch):
    write_ts(tmp_path / "site/aeon/datasets/data/JapaneseVowels")
    (tmp_path / "site/aeon/__init__.py").write_text("raise RuntimeError('it is heavy, its files are enough')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert len(sequences.load("vowels").train) == 3
    with pytest.raises(ValueError, match="JapaneseVowels_TRAIN.ts"):
        sequences.load("vowels", tmp_path / "nowhere")


# --------------------------------------------------------------------------------------------------


def test_unknown_data_set(tmp_path):
    with pytest.raises(ValueError, match="'mnist'"):
        sequences.load("mnist")
    with pytest.raises(ValueError, match="vowels"):
        sequences.load("vowels", tmp_path, leave_out="x")

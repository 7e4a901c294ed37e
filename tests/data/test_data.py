"""Data sets: valid and damaged IDX files."""

from __future__ import annotations

import numpy as np
import pytest

from equilif.data.sets import images as data
from tests.data_files import IMAGES, write_set


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
def test_idx_sets(tmp_path, layout, suffix):
    write_set(tmp_path / layout, suffix=suffix)
    d = data.load("mnist", tmp_path)
    assert d.x_train.tolist() == IMAGES.reshape(3, 4).tolist() and d.x_train.dtype == np.uint8
    assert d.y_test.tolist() == [2, 0, 1] and (d.n_features, d.n_classes) == (4, 3)
    assert d.image == (2, 2, 1)


def test_named_layout_has_priority(tmp_path):
    write_set(tmp_path)
    write_set(tmp_path / "FashionMNIST/raw", images=IMAGES + 100)
    assert data.load("fashion", tmp_path).x_train.min() == 100
    assert data.load("mnist", tmp_path).x_train.min() == 0


def test_missing_sets(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=f"IDX.*{tmp_path}.*--data.*torchvision.datasets.MNIST"):
        data.load("mnist", tmp_path)
    with pytest.raises(ValueError, match="cifar10"):
        data.load("cifar")


def test_digits_equal_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    d = data.load("digits")
    order = np.random.default_rng(0).permutation(1797)
    assert (np.vstack((d.x_train, d.x_test)) == np.floor(bunch.data * (255 / 16) + 0.5)[order]).all()
    assert (np.hstack((d.y_train, d.y_test)) == bunch.target[order]).all()


def test_digits_split():
    pytest.importorskip("sklearn")
    a = data.load("digits")
    b = data.load("digits")
    c = data.load("digits", seed=1)
    assert a.x_train.shape == (1437, 64) and a.x_test.shape == (360, 64) and a.n_classes == 10
    assert a.x_train.max() == 255 and a.x_train.min() == 0
    assert (a.x_train == b.x_train).all() and (a.x_train != c.x_train).any()


def test_random_shift_range():
    x = np.zeros((400, 25), np.uint8)
    x[:, 12] = np.arange(400) % 255 + 1  # one pixel in the middle of 5 x 5
    y = data.shifted(x, np.random.default_rng(0), 0.5).reshape(-1, 5, 5)
    assert np.array_equal(y.sum(axis=(1, 2)), x.sum(axis=1))
    rows, columns = np.nonzero(y)[1:]
    assert {(int(r), int(c)) for r, c in zip(rows, columns, strict=True)} == {
        (r, c) for r in (1, 2, 3) for c in (1, 2, 3)
    }
    assert 0.3 < np.mean((rows != 2) | (columns != 2)) < 0.6  # 1/2 x 8/9
    assert np.array_equal(data.shifted(x, np.random.default_rng(0), 0), x)


def test_random_shift_crops():
    x = np.ones((300, 9), np.uint8)
    y = data.shifted(x, np.random.default_rng(1), 1.0)
    assert set(y.sum(axis=1)) == {9, 6, 4}


def test_augmentation_keeps_colours_together():
    x = np.zeros((300, 4, 6, 3), np.uint8)
    x[:, 1, 2] = (1, 2, 3)
    flat = x.reshape(300, -1)
    moved = data.shifted(flat, np.random.default_rng(0), 1.0, (4, 6, 3)).reshape(x.shape)
    places = np.argwhere(moved[..., 0])
    assert (moved[moved[..., 0] > 0] == (1, 2, 3)).all() and len(places) == 300
    assert {(int(r), int(c)) for _, r, c in places} == {(r, c) for r in (0, 1, 2) for c in (1, 2, 3)}
    turned = data.mirrored(flat, np.random.default_rng(0), 1.0, (4, 6, 3)).reshape(x.shape)
    assert (turned == x[:, :, ::-1]).all()
    for move, expected in ((data.shifted, moved), (data.mirrored, turned)):
        first = x.transpose(0, 3, 1, 2).reshape(300, -1)
        found = move(first, np.random.default_rng(0), 1.0, (4, 6, 3), channels_first=True)
        assert (found.reshape(300, 3, 4, 6).transpose(0, 2, 3, 1) == expected).all()


def test_augmentation_of_grey_images_is_unchanged():
    x = np.random.default_rng(3).integers(0, 256, (50, 16), dtype=np.uint8)
    for move in (data.shifted, data.mirrored):
        known, found = (move(x, np.random.default_rng(4), 0.5, shape) for shape in ((), (4, 4)))
        assert (known == found).all() and (known != x).any()


def test_random_shift_needs_square_images():
    with pytest.raises(ValueError, match="12 pixels"):
        data.shifted(np.zeros((1, 12), np.uint8), np.random.default_rng(0), 0.5)

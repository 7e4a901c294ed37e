"""CIFAR-10 and CIFAR-100: generated files, from reading to a trained network."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equilif.data import own
from equilif.data.formats import cifar
from equilif.data.formats.cifar import HUNDRED, TEN, Version
from equilif.data.sets import images
from equilif.training.storage.history import read_history
from equilif_golden import network as networks
from equilif_golden.network import Input
from tests.cli import refused
from tests.cli import run_line as run
from tests.data_files import EACH, NAMES, batches, colours, records, write_archive
from tests.files import tar


def write_folder(folder: Path, version: Version = TEN, **changed: bytes | None) -> Path:
    """Write a set; ``changed``: other contents by file, None: missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in {**batches(version), **changed}.items():
        if raw is not None:
            (folder / name).write_bytes(raw)
    return folder


def pickled(folder: Path) -> Path:
    """A pickled batch that would write a file when unpickled."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (folder / "trapped",)

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    return folder


# -- reading ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["cifar-10-batches-bin", "", "cifar-10-binary.tar.gz", "itself"])
def test_pixel_order(place, tmp_path):
    data = tmp_path
    if place == "itself":
        data = write_archive(tmp_path / "a.tar.gz")
    elif place.endswith(".gz"):
        write_archive(tmp_path / place)
    else:
        write_folder(tmp_path / place)
    d = images.load("cifar10", data)
    assert (len(d.x_train), len(d.x_test)) == (5 * EACH, EACH)
    assert (d.x_train[7].reshape(32, 32, 3) == colours(7)).all()
    assert (d.x_test[0].reshape(32, 32, 3) == colours(5 * EACH)).all()
    assert d.y_train[:12].tolist() == [*range(10), 0, 1] and d.y_train.dtype == np.int64
    assert (d.image, d.n_features, d.n_classes) == ((32, 32, 3), 3072, 10)


def test_archive_with_two_sets(tmp_path):
    path = tmp_path / "two.tar.gz"
    files = {f"{place}/{name}": raw for place in "ab" for name, raw in batches(TEN).items()}
    path.write_bytes(tar(**files))
    with pytest.raises(ValueError, match=r"two\.tar\.gz"):
        cifar.read(path)


def test_patches_hold_all_colours(tmp_path):
    d = images.load("cifar10", write_folder(tmp_path))
    population = Input.of_shape("x", (16, 16, 12), patch=2)
    folded = d.x_train[7][population.fold].reshape(16, 16, 2, 2, 3)
    assert population.image == d.image
    assert (folded[1, 2, 1, 1] == (1, 2, 7)).all()  # pixel (3, 5)
    assert (folded.transpose(0, 2, 1, 3, 4).reshape(32, 32, 3) == colours(7)).all()


def test_folder_archive_and_name_agree(tmp_path):
    folder = write_folder(tmp_path / "cifar")
    archive = write_archive(tmp_path / "cifar.tar.gz")
    sets = [images.load("cifar10", folder), own.load(folder), own.load(archive)]
    assert len({d.digest for d in sets}) == 1 and all(d.image == (32, 32, 3) for d in sets)
    assert sets[1].about is not None and sets[1].about.labels == tuple(NAMES)
    assert sets[1].about.scaling.kind == "bytes"


def test_missing_class_names(tmp_path):
    folder = write_folder(tmp_path / "cifar", **{TEN.meanings: None})
    about = own.load(folder).about
    assert about is not None and about.labels == tuple(map(str, range(10)))


def test_cifar_100_fine_classes(tmp_path):
    names = [f"thing{k:02}" for k in range(100)]
    classes = records(HUNDRED, list(range(100)) * 3)
    changed = {"train.bin": classes, "test.bin": classes[: 3074 * 30]}
    changed[HUNDRED.meanings] = "\n".join(names).encode()
    for place in (
        write_folder(tmp_path / "hundred", HUNDRED, **changed),
        write_archive(tmp_path / "hundred.tar.gz", HUNDRED, **changed),
    ):
        d = own.load(place)
        assert d.about is not None and d.about.labels == tuple(names)
        assert d.y_train.tolist() == list(range(100)) * 3 and len(d.x_test) == 30
        assert (d.x_train[42].reshape(32, 32, 3) == colours(42)).all()


# -- errors ----------------------------------------------------------------------------------------
BAD = records(TEN, [3, 12, 1])
WRONG: dict[str, tuple[dict[str, bytes | None], str]] = {
    "truncated": ({"data_batch_2.bin": bytes(3073 * 4 - 1)}, "data_batch_2.bin has 12,291 bytes: a batch"),
    "records of the other set": ({"data_batch_1.bin": bytes(3074 * 7)}, "one record of 3,073 bytes"),
    "class out of range": ({"data_batch_4.bin": BAD}, "data_batch_4.bin: image 1 is of class 12"),
    "a batch is missing": ({"data_batch_3.bin": None}, "no data_batch_3.bin in"),
    "no test part": ({"test_batch.bin": None}, "no test_batch.bin in"),
    "too few names": ({TEN.meanings: b"cat\ndog\n"}, "names 2 classes, CIFAR-10 has 10"),
    "a name twice": ({TEN.meanings: b"\n".join([b"cat"] * 10)}, "batches.meta.txt names 10 classes"),
    "names that are no text": ({TEN.meanings: b"\xff\xfe"}, "batches.meta.txt is not UTF-8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_damaged_batches(case, tmp_path):
    changed, message = WRONG[case]
    folder = write_folder(tmp_path / "cifar", **changed)
    for load in (lambda: images.load("cifar10", folder), lambda: own.load(folder)):
        with pytest.raises(ValueError) as e:  # noqa: PT011
            load()
        assert message in str(e.value) and str(folder) in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("packed", [False, True])
def test_pickles_are_refused(packed, tmp_path):
    folder = pickled(tmp_path / "cifar-10-batches-py")
    place = folder
    if packed:
        place = tmp_path / "cifar-10-python.tar.gz"
        place.write_bytes(tar(**{f"cifar-10-batches-py/{p.name}": p.read_bytes() for p in folder.iterdir()}))
    data = place if packed else tmp_path
    for load in (lambda: images.load("cifar10", data), lambda: own.load(place)):
        with pytest.raises(ValueError, match="CIFAR-10") as e:
            load()
        assert "kriz/cifar-10-binary.tar.gz" in str(e.value)
    assert not (folder / "trapped").exists()


@pytest.mark.parametrize(
    "name, message",
    [
        ("data_batch_1.mat", "CIFAR-10"),
        ("meta", "CIFAR-100"),
        ("meta.mat", "CIFAR-100"),
    ],
)
def test_versions_for_other_languages(name, message, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=message):
        cifar.read(tmp_path)


def test_other_archive(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar(**{"notes.txt": b"x"}))
    with pytest.raises(ValueError, match="a.tar.gz"):
        own.load(tmp_path / "a.tar.gz")


def test_missing_set(tmp_path):
    with pytest.raises(ValueError, match="cifar-10-batches-bin"):
        images.load("cifar10", tmp_path)


def test_cifar_100_is_not_cifar_10(tmp_path):
    write_folder(tmp_path, HUNDRED)
    with pytest.raises(ValueError, match="CIFAR-100"):
        images.load("cifar10", tmp_path)


# -- commands --------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_train_evaluate_resume(folder):
    write_folder(folder / "data/cifar-10-batches-bin")
    options = (
        "--set phases.free=8 --set phases.nudged=4 --set phases.window=4 --set learning.random_shift=0.5"
    )
    run(f"train cifar10 --hidden 12 --epochs 1 {options} --out run --json output.json")
    network = networks.load("run/network.npz")[0]
    assert [p.size for p in network.populations] == [3072, 1, 12, 10]
    assert network.numerics.accumulator_width == 28  # 3,083 rows
    run("train --resume --epochs 2 --out run")
    assert len(read_history(Path("run/history.json")).epochs) == 2
    run("evaluate run/network.npz")
    run("init cifar10 --out net.toml")
    run("train cifar10 --config net.toml --epochs 1 --out b")
    error = refused("train cifar10 --data nowhere --out c")
    assert "no cifar-10-batches-bin" in error and not Path("c").exists()


def test_rate_trained_convolutions_spike(folder):
    pytest.importorskip("torch")
    write_archive(folder / "data" / "cifar-10-binary.tar.gz")
    options = (
        "--hidden conv:4 --hidden conv:6 --epochs 1 --set rates.batch_size=8 --set rates.random_shift=0.5"
    )
    run(f"train-rates cifar10 {options} --out run")
    network = networks.load("run/network.npz")[0]
    assert [p.shape for p in network.maps] == [(16, 16, 12), (14, 14, 4), (5, 5, 6)]
    run("evaluate run/network.npz --json output.json")
    assert json.loads(Path("output.json").read_text())["samples"] == EACH


def test_trained_convolutions_through_nir(folder):
    pytest.importorskip("nir", exc_type=ImportError)
    write_folder(folder / "data/cifar-10-batches-bin")
    options = "--epochs 1 --set learning.random_shift=0.5"
    run(f"train cifar10 --hidden conv:4 --hidden conv:6 {options} --out run")
    network, weights = networks.load("run/network.npz")
    assert [p.shape for p in network.maps] == [(16, 16, 12), (14, 14, 4), (5, 5, 6)]
    before = network.initial_weights(0, bias=0.1)
    assert all((weights[s.name] != before[s.name]).any() for s in network.synapses)
    run("convert run/network.npz there.nir")
    run("convert there.nir back.npz")
    again, same = networks.load("back.npz")
    assert again == network and all((same[name] == w).all() for name, w in weights.items())


def test_inspect_colour_images(folder):
    image = pytest.importorskip("matplotlib.image")
    write_archive(folder / "cifar-10-binary.tar.gz")
    run("inspect cifar-10-binary.tar.gz --out pictures --json output.json")
    report = json.loads(Path("output.json").read_text())
    assert (report["format"], report["shape"], report["inputs"]) == ("cifar", [32, 32, 3], 3072)
    assert report["classes"]["frog"] == {"training": 2, "test": 0} and report["scaling"] == "bytes"
    assert "images in colour: three inputs a pixel" in report["notes"]
    drawn = image.imread(Path("pictures") / report["files"][0])[..., :3]
    seen = {tuple(c) for c in np.rint(drawn.reshape(-1, 3) * 255).astype(int).tolist()}
    assert tuple(colours(0)[0, 0].tolist()) in seen  # upper half of the first image

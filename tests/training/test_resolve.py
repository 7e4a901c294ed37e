"""One path: a request through the command line, Python and Classifier gives one network, or no network."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("sklearn")

from equilif import Classifier
from equilif.data import own
from equilif.data.formats import Series
from equilif.training.resolve import Request, resolve
from equilif.training.run import Run
from equilif.training.storage.history import digest
from equilif_golden import network as networks
from equilif_golden.kernel import Kernel
from equilif_golden.learning import largest_rate
from equilif_golden.network import Network
from tests.cli import json_of, run
from tests.files import write_wav
from tests.listening import WORDS, word
from tests.sensors import CLASSES as MOVES
from tests.sensors import recording, save_csv
from tests.source_kinds import KINDS, write_vectors

CHAINS = ((), ("none",), ("9",), ("9", "8"), ("9", "8", "7"), ("9", "8", "7", "6"))
MAPS = (("conv:2",), ("conv:2", "conv:3"), ("conv:2:3:1", "5"), ("conv:2", "conv:3", "6", "5"))
FRONT_END = ("--set", "data.front_end=true")
BAG = ("--label", "kind", "--set", "data.text=said")
#: data by name or file, options of reading, networks
DATA = {
    "digits": ("digits", (), (*CHAINS, *MAPS)),
    "table": ("t.csv", KINDS["table"].options, CHAINS),
    "arrays": ("t.npz", (), CHAINS),
    "images": ("pictures", (), ((), ("none",), ("9", "8"), *MAPS)),
    "series": ("s.npz", (), ((), ("6", "5"))),
    "memory": ("s.npz", KINDS["memory"].options, ((), ("6",))),
    "bag of words": ("texts.csv", BAG, ((), ("6", "5"))),
    "texts": ("texts.csv", KINDS["texts"].options, ((), ("6",))),
    "sensor": ("moves", FRONT_END, ((), ("8",), ("8", "7"))),
    "words": ("words", FRONT_END, ((), ("8",))),
}
ROWS = ("table", "arrays", "images")  #: what Classifier takes
#: further keys of the network file
CHANGES = (
    {},
    {"phases.contrast": "phases"},
    {"phases.free": "8", "learning.learning_rate": "0.03"},
)


class NetworkCase(NamedTuple):
    kind: str
    hidden: tuple[str, ...]
    changes: dict[str, str]

    def __str__(self) -> str:
        return " ".join((self.kind, *self.hidden, *(f"{k}={v}" for k, v in self.changes.items())))

    @property
    def words(self) -> list[str]:
        """The same as typed."""
        path, options, _ = DATA[self.kind]
        given = [w for layer in self.hidden for w in ("--hidden", layer)]
        return [path, *options, *given, *(w for k, v in self.changes.items() for w in ("--set", f"{k}={v}"))]

    @property
    def request(self) -> Request:
        path, options, _ = DATA[self.kind]
        keys = dict(w.removeprefix("data.").split("=") for w in options if w.startswith("data."))
        reading = {k: True if v == "true" else v for k, v in keys.items()}
        if "--label" in options:
            reading["label"] = "kind"
        return Request(
            data=path,
            reading=reading,
            hidden=self.hidden or None,
            changes=self.changes,
            settings={"epochs": 1},
        )


CASES = [NetworkCase(kind, hidden, {}) for kind, (*_, nets) in DATA.items() for hidden in nets]
CASES += [
    NetworkCase(kind, hidden, changes)
    for kind, hidden in (("digits", ("9", "8")), ("arrays", ("9",)), ("images", ("conv:2",)))
    for changes in CHANGES[1:]
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Every kind of data, in a folder."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_vectors()
        for kind, path in (
            ("table", "t.csv"),
            ("arrays", "t.npz"),
            ("images", "pictures"),
            ("series", "s.npz"),
        ):
            KINDS[kind].write(Path(path), KINDS[kind].make())
        KINDS["texts"].write(Path("texts.csv"), KINDS["texts"].make())
        rng = np.random.default_rng(0)
        for name in MOVES:
            for k in range(3):
                save_csv(folder / "moves" / name / f"{k}.csv", recording(name, rng))
        for name in WORDS:
            for k in range(3):
                write_wav(folder / "words" / name / f"{k}.wav", word(name, rng))
    return folder


@pytest.mark.sampled(12)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_network(case, data, tmp_path, monkeypatch):
    """Weights and predictions of the command line, of Python and of Classifier."""
    monkeypatch.chdir(data)
    out = tmp_path / "run"
    run("train", *case.words, "--epochs", 1, "--out", out)
    network, weights = networks.load(out / "network.npz")
    found = json_of("evaluate", out / "network.npz")

    resolved = resolve(case.request)
    training = Run.start(resolved.description, resolved.data)
    training.epoch()
    assert training.network == network and digest(training.weights) == digest(weights)
    d = resolved.data
    predicted = Kernel(network, weights).predict(d.x_test, tokens=d.tokens_test)
    confusion = np.zeros((d.n_classes, d.n_classes), int)
    np.add.at(confusion, (d.y_test, predicted), 1)
    assert found["confusion"] == confusion.tolist()
    if case.kind not in ROWS or case.changes:
        return
    loaded = own.read(case.request.data, **case.request.reading)
    x, x_test = (part.x.reshape(-1, *loaded.about.shape) for part in (loaded.raw, loaded.raw_test))
    assert not isinstance(x, Series)
    model = Classifier(hidden=case.hidden or 128, epochs=1).fit(x, loaded.raw.labels)
    assert model.learner_.network == network and digest(model.learner_.weights) == digest(weights)
    names = np.array(loaded.about.labels)
    assert np.array_equal(model.predict(x_test), names[predicted])
    model.save(tmp_path / "model.npz")
    assert np.array_equal(Classifier.load(tmp_path / "model.npz").predict(x_test), names[predicted])


#: what cannot be, with the parameters of Classifier that say it
REFUSED = {
    "no neurons": (NetworkCase("arrays", ("0",), {}), {"hidden": (0,)}),
    "text": (NetworkCase("arrays", ("deep",), {}), {"hidden": "deep"}),
    "too many": (NetworkCase("arrays", ("100000",), {}), {"hidden": (100000,)}),
    "convolution of rows": (NetworkCase("arrays", ("conv:4",), {}), {"hidden": ("conv:4",)}),
    "convolution last": (NetworkCase("images", ("5", "conv:4"), {}), {"hidden": (5, "conv:4")}),
    "no maps": (NetworkCase("images", ("conv:0",), {}), {"hidden": ("conv:0",)}),
    "kernel beyond the image": (NetworkCase("images", ("conv:2:90",), {}), {"hidden": ("conv:2:90",)}),
    "learning rate": (NetworkCase("arrays", (), {"learning.learning_rate": "-1"}), {"learning_rate": -1}),
    "no epochs": (NetworkCase("arrays", (), {"learning.epochs": "0"}), {"epochs": 0}),
    "unknown key": (NetworkCase("arrays", (), {"learning.speed": "1"}), None),
    "attention of rows": (NetworkCase("arrays", (), {"loading.n_pos": "1"}), None),
    "convolution of tokens": (NetworkCase("memory", ("conv:4",), {}), None),
}


@pytest.mark.parametrize("case, parameters", REFUSED.values(), ids=REFUSED)
def test_one_refusal(case, parameters, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    run("train", *case.words, "--out", tmp_path / "run", code=2)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError):
        request = case.request
        resolve(
            Request(data=request.data, reading=request.reading, hidden=request.hidden, changes=case.changes)
        )
    if parameters is not None:
        with np.load("t.npz") as z, pytest.raises(ValueError):
            x = z["x"] if case.kind == "arrays" else np.zeros((9, 6, 8))
            Classifier(**parameters).fit(x, np.arange(len(x)) % 3)


def test_data_sets_in_memory():
    """A data set by name, and the same one loaded, are one request."""
    named = resolve(Request(data="digits", hidden=(9, 8)))
    again = resolve(Request(data=named.data, hidden=(9, 8)))
    assert (named.description, named.data.digest) == (again.description, again.data.digest)


def test_rate_of_a_saved_network(tmp_path):
    """The preset's, at most the largest of the network; a larger one that is asked for is an error later."""
    deep = Network.chain(64, 8, 6, 4, 10, feedback_scales=(0.5, 0.5, 0.5))
    for network in (deep, Network.chain(64, 8, 10)):
        path = tmp_path / "network.npz"
        Kernel(network, learning_rate=0.01).save(path)
        found = resolve(Request(data="digits", network=path))
        usual = resolve(Request(data="digits")).description.learning_rate
        assert found.description.learning_rate == min(usual, largest_rate(network))
        assert any("learning rate" in note for note in found.notes) == (network is deep)
        Kernel(network, learning_rate=found.description.rate(0))
    requested = Request(data="digits", network=path, settings={"learning_rate": 9.0})
    assert resolve(requested).description.learning_rate == 9.0

"""Report page of a run: structure, escaping, content.  tests/report/test_browser.py opens it in a browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shlex
import shutil
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from equilif.data.encoding.about import About
from equilif.data.encoding.scaling import fit
from equilif.data.sets import images
from equilif.report import metrics, page, run
from equilif.report.inputs import Inputs, ReceptiveFields
from equilif.training.analysis.evaluate import evaluate
from equilif.training.resolve import Request, resolve
from equilif.training.settings import tables
from equilif.training.settings.description import Description
from equilif.training.storage.history import HISTORY, NETWORK, digest
from equilif_golden import network
from tests.cli import error_of
from tests.cli import run as command
from tests.networks import PHASES
from tests.report.runs import CLASSES, COLUMNS, KINDS, table

VOID = {"meta", "link", "img", "br", "source"}


class ParsedPage(HTMLParser):
    """Parser of a page; AssertionError for wrong nesting."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.sections: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        given = dict(attrs)
        self.attributes.append((tag, given))
        if tag == "section":
            self.sections.add(str(given["id"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[run.SavedRun, Any, page.Report]]:
    """A run, its samples and its page, by kind."""
    found = {}
    for kind, make in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        data = make(folder)
        saved = run.read(folder)
        found[kind] = (saved, data, page.write(saved, data))
    return found


# -- the page --------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_page_is_self_contained(made, kind):
    saved, data, report = made[kind]
    parsed = ParsedPage(report.html)
    everywhere = {"learning", "mistakes", "sample", "network", "boards", "repeat"}
    assert everywhere <= parsed.sections
    assert ("fields" in parsed.sections) == (kind != "texts")
    addresses = [
        value
        for tag, given in parsed.attributes
        for name, value in given.items()
        if name in ("src", "href", "srcset", "action", "data")
    ]
    assert addresses and all(str(value).startswith("data:") for value in addresses)
    assert parsed.count["script"] == 0
    assert not re.search(r"url\(|@import|https?:", re.sub(r'"data:[^"]*"', "", report.html))
    assert all(given.get("alt") for tag, given in parsed.attributes if tag == "img")


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_valid(made, kind):
    parsed = ParsedPage(made[kind][2].html)
    kinds = Counter()
    for tag, given in parsed.attributes:
        address = given.get("src") or given.get("srcset")
        if tag in ("img", "source") and address:
            head, _, content = address.partition(";base64,")
            raw = base64.b64decode(content, validate=True)
            kinds[head] += 1
            if head == "data:image/png":
                assert image.imread(io.BytesIO(raw)).size
            else:
                assert raw.startswith(b"<?xml") and raw.rstrip().endswith(b"</svg>")
    assert kinds["data:image/svg+xml"] >= 4
    assert kinds["data:image/png"] >= {"digits": 16 + 12, "table": 0, "texts": 0}[kind]


def test_dark_scheme_colours(made):
    parsed = ParsedPage(made["digits"][2].html)
    light, dark = (
        base64.b64decode(next(str(g[name]) for t, g in parsed.attributes if t == tag).partition(",")[2])
        for tag, name in (("source", "srcset"), ("img", "src"))
    )
    assert light != dark and b"#e6e6e6" in light and b"#222222" in dark and b"#222222" not in light


def test_user_names_are_escaped(made):
    saved, data, report = made["table"]
    parsed = ParsedPage(report.html)
    assert parsed.count["script"] == 0
    for name in (*CLASSES, *COLUMNS, "own & <b>.csv"):
        assert " ".join(name.split()) in parsed.text


def test_page_shows_results(made):
    saved, data, report = made["digits"]
    text = ParsedPage(report.html).text
    found = evaluate(saved.network, saved.weights, data.x_test, data.y_test)
    assert f"{100 * found.accuracy:.2f} %" in text
    assert found.accuracy == saved.history.epochs[-1].test_accuracy == report.metrics["accuracy"]
    assert digest(saved.weights) in text and data.digest in text
    assert "equilif train digits --hidden 16 --epochs 2 --seed 0" in text
    assert f"{int((found.predictions != data.y_test).sum())} test samples of 360" in text
    assert report.metrics["confusion"] == found.confusion.tolist()
    json.dumps(report.metrics, allow_nan=False)


def test_texts_are_shown_as_words(made):
    saved, data, report = made["texts"]
    text = ParsedPage(report.html).text
    worst = report.metrics["worst"]
    tokens = data.tokens_test
    first = tokens.rows[tokens.off[worst[0]["at"]] : tokens.off[worst[0]["at"] + 1]]
    assert " ".join(data.words[row] for row in first) in text
    assert "What its queries look at" in text


def parsed(line):
    """Data, layers and changes of a training command."""
    _, name, source, *words = shlex.split(line)
    given = dict(w.split("=", 1) for k, w in zip(words, words[1:], strict=False) if k == "--set")
    hidden = [w for k, w in zip(words, words[1:], strict=False) if k == "--hidden"]
    epochs = [int(w) for k, w in zip(words, words[1:], strict=False) if k == "--epochs"]
    request = Request(
        data=source,
        hidden=hidden or None,
        changes=given,
        rates=name == "train-rates",
        settings={"epochs": epochs[0] if epochs else None},
    )
    return resolve(request).description


@pytest.mark.parametrize(
    "line",
    [
        "equilif train digits --hidden 9 --hidden 8",
        "equilif train digits --hidden 9 --hidden 8 --set phases.contrast=phases",
        "equilif train digits --hidden conv:3",
        "equilif train digits --hidden conv:3 --hidden conv:4 --hidden 5",
        "equilif train-rates digits --hidden 9 --hidden 8",
        "equilif train-rates digits --hidden 9 --hidden 8 --set synapse.feedback=true",
        "equilif train-rates digits --hidden conv:3 --hidden conv:4",
        "equilif train-rates digits --hidden conv:3 --hidden 4 --set synapse.feedback=true",
    ],
)
def test_command_of_several_layers(made, line):
    """The command of a report has the network and training of the command that made the run."""
    saved, _, _ = made["table"]
    learned = parsed(line)
    history = dataclasses.replace(saved.history, data="digits", about=None, preset=learned, epochs=())
    (again, _) = dataclasses.replace(saved, history=history).repeat(images.digits()).commands
    assert parsed(again) == learned


@pytest.mark.parametrize("known", (True, False), ids=("by options", "by a file"))
def test_command_reproduces_run(made, known, tmp_path, monkeypatch):
    """For unknown data the command uses a network file."""
    saved, data, _ = made["table"]
    repeat = saved.repeat(data if known else None)
    monkeypatch.chdir(tmp_path)
    *before, again, look = map(shlex.split, repeat.commands)
    assert look == ["equilif", "evaluate", str(saved.folder / NETWORK)]
    for words in before:
        command(*words[1:])
    assert again[:2] == ["equilif", "train"] and "--label" in again and ("--config" in again) != known
    command(*again[1:], "--out", tmp_path / "again")
    _, weights = network.load(tmp_path / "again" / NETWORK)
    assert digest(weights) == digest(saved.weights)


# -- content ---------------------------------------------------------------------------------------
def test_worst_mistakes_are_first(made):
    saved, data, _ = made["digits"]
    found = evaluate(saved.network, saved.weights, data.x_test, data.y_test)
    shown = metrics.examples(found, data.y_test, 360)
    margins = [e.margin for e in shown]
    assert margins == sorted(margins) and margins[0] < 0 < margins[-1]
    wrong = found.predictions != data.y_test
    assert [e.true != e.predicted for e in shown] == [bool(wrong[e.at]) for e in shown]
    assert all(e.true != e.predicted for e in shown[: wrong.sum()])
    closest = metrics.closest(found, data.y_test)
    assert closest.true == closest.predicted and closest == next(e for e in shown if e.margin > 0)


def test_values_in_column_units():
    rng = np.random.default_rng(0)
    x = np.stack([rng.uniform(3, 9, 50), rng.normal(0, 2, 50), np.full(50, 4.0)], axis=1)
    scaling = fit(x, ("a", "b", "c"), alike=False, missing="refuse")
    about = About(path="x", format="csv", labels=("0", "1"), shape=(3,), scaling=scaling)
    inputs = Inputs.of(scaling.n_inputs, about)
    back = inputs.original(scaling.apply(x, "x").x)
    assert np.isnan(back[:, 2]).all()
    assert np.abs(back[:, :2] - np.clip(x, *np.quantile(x, (0, 1), axis=0))[:, :2]).max() < 0.05


def test_receptive_fields():
    net = network.Network.chain(3, 2, 2)
    weights = net.initial_weights(0)
    scaling = fit(np.array([[1.0, -1], [2, 1], [3, 0]]), (), alike=False, missing="refuse")
    about = About(path="x", format="csv", labels=("0", "1"), shape=(2,), scaling=scaling)
    found = ReceptiveFields.of(net, weights, Inputs.of(3, about))
    assert found is not None
    w = weights["input-hidden1"] / net.numerics.one
    assert np.array_equal(found.weights, np.stack([w[0], w[1] - w[2]]))
    assert found.favours.tolist() == weights["hidden1-output"].argmax(axis=1).tolist()


def test_receptive_fields_of_maps():
    """A receptive field covers its part of the image; a folded input without a kernel is unfolded."""
    net = network.Network.conv((8, 8, 3), (5, 2), 4, patch=2)
    weights = net.initial_weights(0)
    found = ReceptiveFields.of(net, weights, Inputs.of(192, None, (8, 8, 3)))
    assert found is not None and found.shape == (4, 4, 3) and found.weights.shape == (48, 5)
    row = (1 * 2 + 0) * 12 + (0 * 2 + 1) * 3 + 2  # offset (1, 0), place (0, 1) in the patch, colour 2
    pixel = (2 * 4 + 1) * 3 + 2  # pixel (2, 1)
    assert (found.weights[pixel] * 4096 == weights["input-maps1"][row]).all()
    assert len(found.favours) == 5
    flat = network.Network.conv((4, 4), 3, patch=2)
    fields = ReceptiveFields.of(flat, w := flat.initial_weights(0), Inputs.of(16, None, (4, 4)))
    assert fields is not None and fields.shape == (4, 4)
    assert (fields.weights[flat.inputs[0].fold] * 4096 == w["input-output"]).all()


def test_board_rows(made):
    saved, data, report = made["digits"]
    rows = metrics.boards(saved.network, saved.weights, data, 0.05)
    assert all(b.short == "" and b.training and b.inference and b.inference > b.training for b in rows)
    wide = network.Network.chain(64, 900, 90, 10)
    rows = metrics.boards(wide, wide.initial_weights(), None, 0.05)
    assert all("this engine has" in b.short and b.training is None for b in rows)


# -- the command -----------------------------------------------------------------------------------
def test_report_command(made, tmp_path):
    saved, _, _ = made["digits"]
    shutil.copytree(saved.folder, tmp_path / "run")
    output = command("report", tmp_path / "run", "--json", tmp_path / "output.json")
    assert "on digits; wrote" in output
    assert ParsedPage((tmp_path / "run" / "report.html").read_text()).sections
    summary = json.loads((tmp_path / "output.json").read_text())
    assert summary["samples_missing"] is None and summary["data"] == "digits"
    assert "<p" not in json.dumps(summary)


def test_missing_samples(tmp_path):
    file = tmp_path / "own.csv"
    (tmp_path / "run").mkdir()
    table(tmp_path / "run", file)
    file.rename(tmp_path / "moved.csv")
    out = tmp_path / "out.html"
    assert "without samples" in command("report", tmp_path / "run", "--out", out)
    parsed = ParsedPage(out.read_text())
    assert f"there is no {file}" in parsed.text and "--data" in parsed.text
    assert "mistakes" not in parsed.sections and {"learning", "fields", "boards"} <= parsed.sections
    command("report", tmp_path / "run", "--out", out, "--overwrite", "--data", tmp_path / "moved.csv")
    assert "mistakes" in ParsedPage(out.read_text()).sections
    assert "could not be read" in error_of("report", tmp_path / "run", "--sample", 1)
    assert f"there is no {file}" in error_of("report", tmp_path / "run", "--data", file)


def test_report_needs_run(made, tmp_path):
    saved, _, _ = made["digits"]
    assert "holds no run" in error_of("report", tmp_path)
    assert f"there is no {tmp_path}/x" in error_of("report", tmp_path / "x")
    assert "must be in 0..359" in error_of("report", saved.folder, "--sample", 360)
    (tmp_path / HISTORY).write_text("{}")
    assert "is not a training history" in error_of("report", tmp_path)
    history = json.loads((saved.folder / HISTORY).read_text())
    (tmp_path / HISTORY).write_text(json.dumps({**history, "epochs": []}))
    assert "has not finished an epoch" in error_of("report", tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.name != HISTORY]


def test_command_has_changed_options(made):
    saved, data, _ = made["table"]
    preset = saved.history.preset
    other = dataclasses.replace(saved.history, preset=preset.changed(**PHASES))
    changed = dataclasses.replace(saved, history=other)
    own = {name: value for name, value in PHASES.items() if value != getattr(preset.schedule, name)}
    assert len(own) == len(PHASES) - 1
    words = " ".join(f"--set phases.{name}={value}" for name, value in own.items())
    assert words in changed.repeat(data).commands[-2]
    halved = tables.chain(*preset.hidden, learning_rate_scales=(0.5, 1.0))
    for other, words in (({"start": {"bias": 0.3}}, "--set start.bias=0.3"), (halved, "--config ")):
        preset = Description.of({**saved.history.preset.content(), **other}, saved.history.data)
        changed = dataclasses.replace(saved, history=dataclasses.replace(saved.history, preset=preset))
        assert words in changed.repeat(data).commands[-2]
    assert "0.5" in changed.repeat(data).net


def test_rate_run_has_spiking_accuracy(made, tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "rates"
    command(
        "train-rates", "digits", "--hidden", 8, "--epochs", 1, "--set", "rates.batch_size=512", "--out", out
    )
    command("report", out)
    saved = run.read(out)
    text = ParsedPage((out / "report.html").read_text()).text
    assert "test accuracy, as spikes" in text and "in floating point" in text
    assert f"{100 * saved.history.epochs[-1].test_accuracy:.2f} %" in text
    assert "equilif train-rates digits --hidden 8 --epochs 1 --set rates.batch_size=512 --seed 0" in text


def test_report_of_maps(tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "rates"
    command(
        "train-rates",
        "digits",
        "--hidden",
        "conv:6",
        "--hidden",
        64,
        "--epochs",
        1,
        "--set",
        "rates.batch_size=64",
        "--out",
        out,
    )
    command("report", out)
    text = (out / "report.html").read_text()
    assert "maps1[0]" in text and "maps1[5]" in text
    keys = "--set rates.batch_size=64 --set rates.learning_rate=0.001"
    keys += " --set phases.contrast=errors"
    line = f"equilif train-rates digits --hidden conv:6:3:1 --hidden 64 --epochs 1 {keys} --seed 0"
    assert sorted(run.read(out).repeat(None).commands[0].split()) == sorted(line.split())


def test_rate_run_on_own_data(made, tmp_path):
    pytest.importorskip("torch")
    _, data, _ = made["table"]
    out = tmp_path / "rates"
    command("train-rates", data.about.path, "--label", "kind", "--hidden", 8, "--epochs", 1, "--out", out)
    command("report", out)
    text = ParsedPage((out / "report.html").read_text()).text
    line = run.read(out).repeat(data).commands[0]
    assert " ".join(line.split()) in text and "--label kind" in line and "--hidden 8" in line
    assert all(name in text for name in COLUMNS)

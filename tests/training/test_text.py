"""Transformers on text and on associative recall: initial weights, loss, training, resumption, generation."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif.data.sets.characters import OTHER, Alphabet, Text, normalised, one_hot, read, windows  # noqa: E402
from equilif.training.backends.text import Writer  # noqa: E402
from equilif.training.names import CHECKPOINT, HISTORY  # noqa: E402
from equilif.training.run import Run  # noqa: E402
from equilif.training.settings import netfile  # noqa: E402
from equilif.training.settings.presets import FOLDER  # noqa: E402
from equilif.training.settings.presets import transformer as plan  # noqa: E402
from equilif.training.storage.history import read_history  # noqa: E402
from equilif_golden import network as networks  # noqa: E402
from equilif_golden.kernel import Kernel  # noqa: E402
from equilif_golden.network import Network, TransformerSizes  # noqa: E402
from equilif_golden.real import transformer  # noqa: E402
from equilif_golden.real.rates import Rates  # noqa: E402
from equilif_golden.real.trainer import Trainer, TrainerSettings  # noqa: E402
from tests.cli import PNG, error_of, output_and_json, run  # noqa: E402

#: digits in a row
TEXT = Text(
    Alphabet("0123456789" + OTHER),
    np.arange(2000, dtype=np.uint8) % 10,
    np.arange(500, dtype=np.uint8) % 10,
    positions=8,
)
SMALL = plan(TEXT, features=8, heads=2, hidden=12, epochs=2, steps=3, batch_size=4)
NET = SMALL.network()


# -- text ------------------------------------------------------------------------------------------
def test_text(tmp_path):
    (tmp_path / "a.txt").write_text("ab" * 30)
    (tmp_path / "b.txt").write_text("bbé\n" * 20)
    (tmp_path / "c.dat").write_bytes(b"\xff")
    found = read([tmp_path], symbols=3, positions=4)
    assert found.alphabet.characters == "ab" + OTHER
    assert len(found.train) == 126 and len(found.validation) == 14
    together = found.alphabet.decode([*found.train, *found.validation])
    assert together in {a + b for a, b in itertools.permutations(["ab" * 30, f"bb{OTHER}{OTHER}" * 20])}
    assert windows(found.train, np.array([0, 3]), 4).tolist() == [
        found.train[:4].tolist(),
        found.train[3:7].tolist(),
    ]
    assert one_hot(np.array([[1, 0]], np.uint8), 3).tolist() == [[0, 255, 0, 255, 0, 0]]


@pytest.mark.parametrize(
    "content, options, named",
    [
        (b"ab\xff", {}, "a.txt"),
        (b"a" * 49, {"positions": 4}, "49.*50"),
        (b"ab", {"pattern": "*.py"}, r"\*.py"),
        (b"a" * 50, {"symbols": 1, "positions": 4}, "symbols"),
    ],
)
def test_unusable_text(content, options, named, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=named):
        read([tmp_path], **options)


def test_alphabet():
    for characters in ("", OTHER, "ab", "aa" + OTHER):
        with pytest.raises(ValueError, match="alphabet"):
            Alphabet(characters)


# -- network ---------------------------------------------------------------------------------------
def test_initial_weights():
    """Features start at 1/2 within 0 .. 1, skip connections are the identity, attention is nearly uniform."""
    assert [s.name for s in transformer.skips(NET)] == [
        f"{a}-{b}"
        for a, b in (
            ("embedding", "mixed1"),
            ("mixed1", "features1"),
            ("features1", "mixed2"),
            ("mixed2", "features2"),
        )
    ]
    model = Rates(NET, transformer.initial_weights(NET, 0))
    codes = np.random.default_rng(0).integers(0, 10, (50, 8)).astype(np.uint8)
    x = torch.tensor(one_hot(codes, 11))
    rates = model(x)[0].detach()
    for name in ("embedding", "mixed1", "features1", "mixed2", "features2"):
        found = rates[:, model.part[name]]
        assert abs(float(found.mean()) - 0.5) < 0.15 and 0.08 < float(found.std()) < 0.25, name
        assert ((found > 0) & (found < 1)).double().mean() > 0.97, name
    hidden = rates[:, model.part["hidden2"]]
    assert 0.3 < float((hidden > 0).double().mean()) < 0.9
    for p in model.attention(x).values():
        even = torch.ones(8, 8).tril() / torch.arange(1, 9)[:, None]
        assert torch.allclose(p.sum(-1), torch.ones(50, 2, 8)) and float((p - even).abs().mean()) < 0.02
    eye = model.w["embedding-mixed1"].detach()
    assert (eye == torch.eye(8)).all()


def test_smaller_rates_inside_feed_forward_layers():
    """The same network, as long as no hidden rate is clipped, with its rates halved."""
    codes = np.random.default_rng(0).integers(0, 10, (5, 8)).astype(np.uint8)
    x = torch.tensor(one_hot(codes, 11))
    whole, half = (
        Rates(NET, transformer.initial_weights(NET, 0, hidden=factor), dtype=torch.float64)
        for factor in (1.0, 0.5)
    )
    rates, expected = half(x)[0].detach(), whole(x)[0].detach()
    for p in NET.lif:
        factor = 0.5 if p.name.startswith("hidden") else 1.0
        part = whole.part[p.name]
        assert expected[:, part].max() < 1 and expected[:, part].std() > 0.01
        assert (rates[:, part] - factor * expected[:, part]).abs().max() < 5e-3, p.name
    sizes = transformer.learning_rates(NET), transformer.learning_rates(NET, 0.5)
    assert sizes[1]["mixed1-hidden1"] == sizes[0]["mixed1-hidden1"] / 2
    assert sizes[1]["hidden1-features1"] == 2 * sizes[0]["hidden1-features1"]
    assert transformer.centres(NET, 0.5)["hidden1-features1"] == 0.075


def test_cross_entropy():
    drive = torch.tensor([[0.5, 0.1, -3.0, 2.0]], requires_grad=True)
    loss = transformer.cross_entropy(drive, torch.tensor([[0, 0]]))
    expected = [np.log(1 + np.exp(16 * (0.1 - 0.5))), np.log(1 + np.exp(16 * (2.0 + 3.0)))]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)
    (slope,) = torch.autograd.grad(loss, drive)
    assert (slope[0, [0, 2]] < 0).all() and (slope[0, [1, 3]] > 0).all()
    # beyond the clip and right: no gradient; no label: no loss
    settled = torch.tensor([[1.5, -0.5, 0.3, 0.1]], requires_grad=True)
    (slope,) = torch.autograd.grad(transformer.cross_entropy(settled, torch.tensor([[0, -1]])).sum(), settled)
    assert (slope == 0).all()


def test_centres_condition_without_a_change_of_the_gradient_flow():
    """A small step of a centred weight leaves the drive of mean rates, and lowers the loss."""
    model = Rates(NET, transformer.initial_weights(NET, 0), dtype=torch.float64)
    trainer = Trainer(
        model,
        TrainerSettings(steps=100, learning_rate=1e-4),
        loss=transformer.cross_entropy,
        centres={"mixed1-hidden1": 0.5},
    )
    w, bias = model.w["mixed1-hidden1"], model.w["bias-hidden1"]
    before = w.detach().clone(), (bias + 0.5 * w.sum(0)).detach().clone()
    codes = np.random.default_rng(0).integers(0, 10, (4, 9)).astype(np.uint8)
    given = torch.tensor(one_hot(codes[:, :-1], 11)), torch.tensor(codes[:, 1:].astype(np.int64))
    first = trainer.step([given[0]], given[1], 4)[0].mean()
    assert (w - before[0]).abs().max() > 5e-5
    # what is left is the step of the bias itself
    assert (bias + 0.5 * w.sum(0) - before[1]).abs().max() <= 1.01e-4
    assert trainer.step([given[0]], given[1], 4)[0].mean() < first


# -- attention learns ------------------------------------------------------------------------------
@pytest.mark.regress
def test_earlier_symbol():
    """The symbol two positions earlier, which only attention by position can reach; chance is 1/4."""
    net = Network.transformer(TransformerSizes(6, 4, 16, 1, 4, heads=2, hidden=8))
    model = Rates(net, transformer.initial_weights(net, 0))
    trainer = Trainer(
        model,
        TrainerSettings(steps=300, learning_rate=5e-3, warm_up=20, noise=0.02, clip=1.0),
        scales=transformer.learning_rates(net),
        centres=transformer.centres(net),
        loss=transformer.cross_entropy,
    )

    def drawn(n: int, rng: np.random.Generator) -> tuple[Any, Any]:
        codes = rng.integers(0, 4, (n, 6)).astype(np.uint8)
        labels = np.full((n, 6), -1)
        labels[:, 2:] = codes[:, :-2]
        return torch.tensor(one_hot(codes, 4)), labels

    rng = np.random.default_rng(0)
    for _ in range(300):
        x, labels = drawn(64, rng)
        trainer.step([x], torch.tensor(labels), 64)
    x, labels = drawn(200, np.random.default_rng(1))
    output = model.part["output"]
    with torch.no_grad():
        rates = model(x)[0][:, output].numpy()
    spikes = Kernel(net, model.quantised()).settle(x.numpy()).rates[:, 0, output]
    for found in (rates, spikes):
        right = found.reshape(200, 6, 4).argmax(-1) == labels
        assert right[:, 2:].mean() > 0.95


# -- runs ------------------------------------------------------------------------------------------
def test_text_is_that_of_the_run(tmp_path):
    Run.start(SMALL, TEXT).begin(tmp_path)
    for change in (
        {"alphabet": Alphabet("abcdefghij" + OTHER)},
        {"train": TEXT.train[::-1]},
        {"train": np.append(TEXT.train, TEXT.train[:1])},
        {"train": np.append(TEXT.train, TEXT.validation[:1]), "validation": TEXT.validation[1:]},
    ):
        with pytest.raises(ValueError, match="digest"):
            Run.resume(tmp_path, dataclasses.replace(TEXT, **change))
    assert not Run.resume(tmp_path, TEXT).history
    with pytest.raises(ValueError, match="text"):  # it was of no file
        Run.resume(tmp_path)


def test_moved_text_is_accepted(trained, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    moved = tmp_path / "moved.txt"
    shutil.copy(trained.parent / "digits.txt", moved)
    run("train-text", moved, "--resume", "--out", out)
    history = read_history(out / HISTORY)
    assert history.about.paths == (str(moved),) and history.data == "digits.txt"
    moved.write_text("0123456789" * 200 + "0")
    assert "other data" in error_of("train-text", "--resume", "--out", out)


def test_network_file(trained, tmp_path, monkeypatch):
    """The network of a run and its settings, trained once more; each wrong network is refused by its line."""
    monkeypatch.chdir(tmp_path)
    run("init", trained, "--out", "net.toml")
    given = Path("net.toml").read_text()
    digits = trained.parent / "digits.txt"
    run("train-text", digits, "--config", "net.toml", "--out", "run")
    for folder in (trained, Path("run")):
        assert networks.load(folder / "network.npz")[0] == netfile.read("net.toml").network()
    first, again = (read_history(folder / HISTORY) for folder in (trained, Path("run")))
    assert first.epochs[0].weights == again.epochs[0].weights
    assert "attention2" in run("show", trained) and "attention2" in run("show", "net.toml")
    for old, new, place in (
        ("shape = [8, 1, 11]", "shape = [8, 1, 12]", "population"),
        ("[text]", "[start]\nbias = 0.1\n[text]", "start"),
        ("[text]", "[learning]\nepochs = 1\nlearning_rate = 0.1\ndecay = 1.0\n[text]", "text"),
        ("spike_steps = 0", "spike_steps = 250", "spike_steps"),
    ):
        Path("bad.toml").write_text(given.replace(old, new))
        assert place in error_of("train-text", digits, "--config", "bad.toml", "--out", "x")
    assert "layers" in error_of("train-text", digits, "--config", "net.toml", "--layers", 1, "--out", "x")
    assert "[text]" in error_of("train-text", digits, "--config", FOLDER / "digits.toml", "--out", "x")
    assert "learning" in error_of("train", "digits", "--config", "net.toml", "--out", "x")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run on the digits in a row."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "digits.txt").write_text("0123456789" * 200)
    options = {"positions": 8, "features": 16, "heads": 2, "hidden": 16, "epochs": 1}
    printed, found = output_and_json(
        "train-text",
        folder / "digits.txt",
        *(f"--{name}={value}" for name, value in options.items()),
        *("--set", "text.batch_size=8", "--out", folder / "run"),
    )
    (epoch,) = found["epochs"]
    assert f"{epoch['test_loss']:.3f} bits" in printed
    assert epoch["test_loss"] < 0.5  # of log2 10
    assert epoch["test_accuracy"] > 0.8
    return folder / "run"


def test_generate(trained, tmp_path):
    net = trained / "network.npz"
    for extra in ((), ("--spikes",)):
        out = tmp_path / "found.json"
        options = "--prompt=3456 --length=9 --temperature=0 --overwrite --json"
        run("generate", net, *options.split(), out, *extra)
        assert json.loads(out.read_text())["text"] == "789012345", extra
    writer = Writer.load(net)
    p = writer.probabilities("0123456789" * 3)
    assert p.sum() == pytest.approx(1) and p.argmax() == writer.alphabet.encode("0")[0]
    drawn = ["".join(writer.generate("12", 30, temperature=9.0, seed=k, spikes=False)) for k in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    maps = writer.attention("0123")
    assert {name: m.shape for name, m in maps.items()} == dict.fromkeys(
        ("attention1", "attention2"), (2, 4, 4)
    )
    assert all(np.allclose(m.sum(-1), 1) and np.allclose(np.triu(m, 1), 0) for m in maps.values())


def test_teacher(trained, tmp_path):
    """A network of one layer learns what one of two layers knows; both have the same alphabet."""
    text, teacher = trained.parent, trained / "network.npz"
    small = ("--layers=1", "--features=8", "--heads=2", "--hidden=8", "--epochs=1", "--set", "text.steps=9")
    known = ("--positions=8", "--set", f"text.teacher={trained}", "--out", tmp_path / "run")
    run("train-text", text, *small, *known)
    found = Run.resume(tmp_path / "run")
    distillation = found.backend.trainer.distillation
    assert distillation is not None and found.plan.text.teacher == str(teacher)
    assert distillation.maps["features1"].weight.shape == (16, 8)
    x, y = found.backend.batch(found.data.train, np.arange(4))
    taught = distillation.teacher(x)
    expected = Writer.load(teacher).probabilities(found.data.alphabet.decode(found.data.train[:8]))
    assert torch.allclose(taught.logits.softmax(-1)[0, -1], torch.tensor(expected).float(), atol=1e-6)
    torch.manual_seed(1)
    run("train-text", text, *small, *known[:-1], tmp_path / "again")  # the same, whatever was drawn before
    assert Run.resume(tmp_path / "again").history[-1].weights == found.history[-1].weights

    other = ("--set", f"text.teacher={tmp_path / 'net.npz'}", "--out", tmp_path / "other")
    networks.save(tmp_path / "net.npz", *networks.load(teacher), networks.about(teacher))
    assert "positions" in error_of("train-text", text, *small, "--positions=4", *other)
    run("train-text", text, *small, "--positions=8", *other)
    shutil.copy(teacher, tmp_path / "net.npz")  # the same network in another file
    run("train-text", "--resume", "--out", tmp_path / "other")
    network, weights = networks.load(teacher)
    last = list(weights)[-1]
    networks.save(tmp_path / "net.npz", network, weights | {last: weights[last] ^ 1}, networks.about(teacher))
    message = error_of("train-text", "--resume", "--out", tmp_path / "other")
    assert CHECKPOINT in message and "net.npz" in message


def test_prompt_is_no_path(trained):
    prompt = "0123456789" * 40
    assert run("generate", trained, "--prompt", prompt, "--length=1").startswith(prompt)


def test_unknown_characters_are_named(trained):
    output = run("generate", trained, "--prompt=1\r\n2é", "--length=1")
    assert repr("\n") in output and repr("é") in output and repr("\r") not in output
    assert repr("1") not in output


def test_normal_form(tmp_path):
    """One alphabet for all ways to write a text."""
    composed = "ab\né\n" * 40
    found = []
    for name, content in {
        "plain": composed.encode(),
        "mark": composed.encode("utf-8-sig"),
        "windows": composed.replace("\n", "\r\n").encode(),
        "mac": composed.replace("\n", "\r").encode(),
        "decomposed": normalize("NFD", composed).encode(),
    }.items():
        (tmp_path / name).write_bytes(content)
        found.append(read([tmp_path / name], positions=4).digest)
    assert len(set(found)) == 1
    assert normalised("\ufeffe\u0301\r\n") == "é\n"


def test_attention_figure(trained, tmp_path):
    pytest.importorskip("matplotlib")
    run("generate", trained / "network.npz", "--prompt=01 \n2", "--length=1", "--out", tmp_path)
    assert (tmp_path / "attention.png").read_bytes().startswith(PNG)


def test_refused(trained, tmp_path):
    net = trained / "network.npz"
    with pytest.raises(ValueError, match="prompt"):
        Writer.load(net).inputs("")
    with pytest.raises(ValueError, match="text"):
        Run.start(SMALL)
    with pytest.raises(ValueError, match="77"):
        Run.start(SMALL, dataclasses.replace(TEXT, positions=7))
    other = Network.chain(3, 2)
    networks.save(tmp_path / "other.npz", other, other.initial_weights())
    out = ("--out", tmp_path / "x")
    for command, named in (
        (("train-text", "--resume", "--layers", 3, "--out", trained), "--layers"),
        (("train-text", "--resume", "--set", "text.noise=0.1", "--out", trained), "text.noise"),
        (("train-text", trained.parent, "--out", trained), "`equilif train-text --resume --out"),
        (("train", "--resume", "--out", trained), "equilif train-text"),
        (("evaluate", net), "generate"),
        (("report", trained), "characters"),
        (("deploy", trained), "train-text"),
        (("generate", tmp_path / "other.npz"), "train-text"),
        (("train-text", *out), "give the files"),
        (("train-text", trained.parent, "--set", "text.spike_steps=3000", *out), "spike_steps"),
        (("train-text", trained.parent, "--heads", 5, *out), "5"),
    ):
        assert named in error_of(*command)

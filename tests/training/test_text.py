"""Transformers on text and on associative recall: initial weights, loss, training, resumption, generation."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif.data.sets.characters import OTHER, Alphabet, Text, normalised, one_hot, read, windows  # noqa: E402
from equilif.training.backends.text import Settings, TextRun, Writer  # noqa: E402
from equilif.training.names import TEXT  # noqa: E402
from equilif.training.settings.tables import RatesTable  # noqa: E402
from equilif_golden import network as networks  # noqa: E402
from equilif_golden.kernel import Kernel  # noqa: E402
from equilif_golden.network import Network  # noqa: E402
from equilif_golden.real import transformer  # noqa: E402
from equilif_golden.real.rates import Rates  # noqa: E402
from equilif_golden.real.trainer import Trainer  # noqa: E402
from equilif_golden.schedule import Schedule  # noqa: E402
from tests.cli import PNG, error_of, run  # noqa: E402

SMALL = Settings(positions=8, features=8, heads=2, hidden=12, steps=20, batch_size=4, symbols=11)
NET = SMALL.network


def text(length: int = 2000) -> Text:
    """Digits in a row, of which the next one is known after two."""
    alphabet = Alphabet("0123456789" + OTHER)
    return Text(alphabet, np.arange(length, dtype=np.uint8) % 10, np.arange(500, dtype=np.uint8) % 10)


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
        (b"ab\xff", {}, "a.txt.*0xff"),
        (b"a" * 49, {"positions": 4}, "49.*50"),
        (b"ab", {"pattern": "*.py"}, r"\*.py"),
        (b"a" * 50, {"symbols": 1, "positions": 4}, r"symbols.*1"),
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
        model, steps=100, learning_rate=1e-4, loss=transformer.cross_entropy, centres={"mixed1-hidden1": 0.5}
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
    net = Network.transformer(6, 4, 16, 1, 4, heads=2, hidden=8)
    model = Rates(net, transformer.initial_weights(net, 0))
    trainer = Trainer(
        model,
        steps=300,
        learning_rate=5e-3,
        warm_up=20,
        noise=0.02,
        scales=transformer.learning_rates(net),
        centres=transformer.centres(net),
        loss=transformer.cross_entropy,
        clip=1.0,
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
def test_run_resumes_exactly(tmp_path):
    """Also within the last steps, which learn from spikes."""
    settings = replace(SMALL, spike_steps=16)
    whole, part = TextRun.start(settings, text()), TextRun.start(settings, text())
    whole.train(3)
    assert whole.trainer.spikes is None and whole.trainer.learning_rate < 0.2 * settings.learning_rate
    whole.train(4)
    assert 0.3 < whole.trainer.learning_rate / settings.learning_rate < 0.34
    whole.train(5)
    part.train(5)
    part.save(tmp_path)
    again = TextRun.resume(tmp_path, lambda settings: text())
    assert again.step == 5 and again.points == part.points and again.settings == settings
    again.train(7)
    assert again.trainer.spikes == Schedule(free=32, nudged=8, window=8)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.values, again.model.values, strict=True))
    points: list[object] = []
    again.finish(tmp_path, report=points.append)
    assert points == again.points[2:] and len(points) == 1
    assert TextRun.resume(tmp_path, lambda settings: text()).step == settings.steps


@pytest.mark.parametrize(
    "change",
    [
        lambda t: Text(Alphabet("abc" + OTHER), t.train % 3, t.validation % 3),
        lambda t: Text(t.alphabet, t.train[::-1], t.validation),
        lambda t: Text(t.alphabet, np.append(t.train, t.train[:1]), t.validation),
        lambda t: Text(t.alphabet, np.append(t.train, t.validation[:1]), t.validation[1:]),
    ],
)
def test_text_is_that_of_the_run(change, tmp_path):
    TextRun.start(SMALL, text()).save(tmp_path)
    with pytest.raises(ValueError, match="another text"):
        TextRun.resume(tmp_path, lambda settings: change(text()))
    TextRun.resume(tmp_path, lambda settings: text())


def test_moved_text_is_accepted(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    shutil.copy(trained.parent / "digits.txt", tmp_path / "moved.txt")
    run("train-text", tmp_path / "moved.txt", "--resume", "--out", tmp_path / "run")
    (tmp_path / "moved.txt").write_text("0123456789" * 200 + "0")
    assert "another text" in error_of(
        "train-text", tmp_path / "moved.txt", "--resume", "--out", tmp_path / "run"
    )


@pytest.mark.parametrize("name", ["text", "teacher"])
def test_checkpoint_without_digest(name, tmp_path):
    TextRun.start(SMALL, text()).save(tmp_path)
    found = torch.load(tmp_path / TEXT, weights_only=True)
    del found[name]
    torch.save(found, tmp_path / TEXT)
    with pytest.raises(ValueError, match=f"{TEXT}.*{name}"):
        TextRun.resume(tmp_path, lambda settings: text())


def test_bad_checkpoints(tmp_path):
    run = TextRun.start(SMALL, text())
    run.save(tmp_path)
    raw = (tmp_path / TEXT).read_bytes()
    for spoiled in (raw[:-100], b"", b"x" * 100):
        (tmp_path / TEXT).write_bytes(spoiled)
        with pytest.raises(ValueError, match=TEXT):
            TextRun.resume(tmp_path, lambda settings: text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run on the digits in a row."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "digits.txt").write_text("0123456789" * 200)
    options = {"positions": 8, "features": 16, "heads": 2, "hidden": 16, "steps": 250, "batch-size": 8}
    printed = run(
        "train-text",
        folder / "digits.txt",
        *(f"--{name}={value}" for name, value in options.items()),
        *("--out", folder / "run", "--json", folder / "printed.json"),
    )
    found = json.loads((folder / "printed.json").read_text())
    assert f"{found['bits_per_character']:.3f}" in printed
    assert found["bits_per_character"] < 0.5  # of log2 10
    return folder / "run"


def test_generate(trained, tmp_path):
    net = trained / "network.npz"
    for extra in ((), ("--spikes",)):
        out = tmp_path / "found.json"
        run(
            "generate",
            net,
            "--prompt=3456",
            "--length=9",
            "--temperature=0",
            "--json",
            out,
            *extra,
            "--overwrite",
        )
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
    small = ("--positions=8", "--layers=1", "--features=8", "--heads=2", "--hidden=8", "--steps=10")
    run("train-text", text, *small, "--teacher", teacher, "--out", tmp_path / "run")
    found = TextRun.resume(tmp_path / "run", lambda s: read([text], symbols=96, positions=8))
    distillation = found.trainer.distillation
    assert distillation is not None and found.settings.teacher == str(teacher)
    assert distillation.maps["features1"].weight.shape == (16, 8)
    x, y = found.batch(found.text.train, np.arange(4))
    taught = distillation.teacher(x)
    assert torch.allclose(
        taught.logits.softmax(-1)[0, -1],
        torch.tensor(
            Writer.load(teacher).probabilities(found.text.alphabet.decode(found.text.train[:8]))
        ).float(),
        atol=1e-6,
    )
    assert "positions" in error_of(
        "train-text", text, *small, "--positions=4", "--teacher", teacher, "--out", tmp_path / "x"
    )
    networks.save(tmp_path / "net.npz", *networks.load(teacher), networks.about(teacher))
    run("train-text", text, *small, "--teacher", tmp_path / "net.npz", "--out", tmp_path / "other")
    shutil.copy(teacher, tmp_path / "net.npz")  # the same network in another file
    run("train-text", text, "--resume", "--out", tmp_path / "other")
    network, weights = networks.load(teacher)
    last = list(weights)[-1]
    networks.save(tmp_path / "net.npz", network, weights | {last: weights[last] ^ 1}, networks.about(teacher))
    assert "net.npz" in error_of("train-text", text, "--resume", "--out", tmp_path / "other")


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


@pytest.mark.parametrize("learning_rate", [0.0, 1e3, -1.0, float("nan")])
def test_range_of_the_learning_rate(learning_rate):
    """That of train-rates."""
    for kind in (Settings, RatesTable):
        with pytest.raises(ValueError, match="learning_rate"):
            kind(learning_rate=learning_rate, **({} if kind is Settings else {"epochs": 1}))


def test_attention_figure(trained, tmp_path):
    pytest.importorskip("matplotlib")
    run(
        "generate",
        trained / "network.npz",
        "--prompt=01 \n2",
        "--length=1",
        "--out",
        tmp_path,
    )
    assert (tmp_path / "attention.png").read_bytes().startswith(PNG)


def test_refused(trained, tmp_path):
    net = trained / "network.npz"
    with pytest.raises(ValueError, match="prompt"):
        Writer.load(net).inputs("")
    assert "--layers" in error_of("train-text", trained, "--resume", "--layers", 3, "--out", trained)
    assert "--overwrite" in error_of("train-text", trained.parent, "--out", trained)
    assert "generate" in error_of("evaluate", net)
    other = Network.chain(3, 2)
    networks.save(tmp_path / "other.npz", other, other.initial_weights())
    assert "train-text" in error_of("generate", tmp_path / "other.npz")
    assert "spike_steps" in error_of(
        "train-text", trained.parent, "--steps=5", "--spike-steps=6", "--out", tmp_path / "x"
    )
    assert "5" in error_of("train-text", trained.parent, "--heads", 5, "--out", tmp_path / "x")

"""Commands: help, results, errors.

All tests here share one Verilated engine, which is cached.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import typer

from equilif import cli, commands, results
from equilif.commands.options import CHANGED, INPUT, OUTPUT
from equilif.data.sets import images as data
from equilif.data.sets import sequences
from equilif.hardware import verify
from equilif.training.analysis.trace import record
from equilif.training.backends import phases
from equilif.training.run import Run
from equilif.training.settings import netfile, tables
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import HISTORY, NETWORK, digest
from equilif_golden import files, network
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.port import Region
from equilif_golden.kernel import Kernel
from equilif_golden.schedule import Schedule
from equilif_sim import verilated
from tests.cli import BOARD, PNG, error_of, json_of, output_and_json, refused, run
from tests.programs import python

#: models has no option to show
COMMANDS = sorted(set(typer.main.get_command(cli.app).commands) - {"models"})


@pytest.fixture(scope="module", autouse=True)
def one_engine() -> Iterator[None]:
    """Avoid the seconds of Verilog generation that find a cached engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verilated, "_build", functools.cache(verilated._build))
        yield


# -- help and errors -------------------------------------------------------------------------------
@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_example(command):
    output = run(command, "--help")
    assert f"Example:  equilif {command}" in output
    assert "--json" in output


def test_help_lists_every_command():
    output = run("--help")
    assert all(f" {command} " in output for command in COMMANDS)


def test_lazy_imports_are_modules():
    """Another name would load its module at once: an error, and nothing is loaded."""
    code = (
        "import sys; from equilif_golden.lazy import lazy\n"
        "with lazy():\n    from equilif_golden import kernel\n    import equilif_golden.fixed as fixed\n"
        "assert not {'numpy', 'numba'} & sys.modules.keys()\n"
        "try:\n    with lazy():\n        from equilif_golden.fixed import Fixed\n"
        "except ImportError:\n    assert fixed.Fixed and kernel.Kernel and 'numba' in sys.modules\n"
        "    from equilif_golden.kernel import Kernel\n    assert Kernel is kernel.Kernel\n"
        "else:\n    raise AssertionError"
    )
    python(code, cwd=Path(cli.__file__).parent.parent)


@pytest.mark.parametrize("words, loaded", [(["--help"], True), (["train", "--help"], False)])
def test_help_imports_nothing_heavy(words, loaded):
    """Nor does the help of a command load the modules of others."""
    code = (
        f"import sys; sys.argv = ['equilif', *{words}]\n"
        "try:\n    import equilif.cli as c; c.main()\nexcept SystemExit: pass\n"
        "heavy = 'numpy', 'numba', 'torch', 'amaranth', 'matplotlib', 'sklearn'\n"
        f"assert ('equilif.commands.boards' in sys.modules) == {loaded}\n"
        "print('heavy:', *[m for m in heavy if m in sys.modules])"
    )
    assert python(code, cwd=Path(cli.__file__).parent.parent).stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize(
    "line, word",
    [
        ("train mnist --data /nowhere", "/nowhere"),
        ("train --set learning.learning_rate=5", "largest"),
        ("train --resume --out /nowhere", "/nowhere"),
        ("train imdb --data /nowhere", "/nowhere"),
        ("gradient vowels", "gradient"),
        ("verify --board etch-a-sketch", BOARD),
        (f"verify --board {BOARD} --sdram", "SDRAM"),
        ("verify --sdram", "--board"),
        ("export export --name=", "--name"),
        (f"verify --network wide.npz --board {BOARD}", "128"),
        ("evaluate other.npz digits", "64"),
        ("verify --network other.npz", "digits"),
    ],
)
def test_bad_input(line, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, sizes in (("wide.npz", (64, 700, 10)), ("other.npz", (5, 4, 3))):
        net = network.Network.chain(*sizes)
        network.save(name, net, net.initial_weights())
    assert word in refused(line)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.npz", "wide.npz"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "package, advice, arguments",
    [
        ("torch", "[torch]'", ("gradient",)),
        ("torch", "[torch]'", ("train-text", "a.txt")),
        ("amaranth", "[hdl,sim]'", ("verify",)),
        ("amaranth_boards", "[hdl,boards]'", ("build", BOARD)),
        ("sklearn", "scikit-learn", ("train",)),
        ("nir", "[nir]'", ("convert", "a.npz", "a.nir")),
        ("distributed", "[sweep]'", ("sweep",)),
    ],
)
def test_missing_package(package, advice, arguments, tmp_path):
    code = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = {list(arguments)!r}\n"
        "import equilif.cli as c; c.main()"
    )
    error = python(code, status=2, cwd=tmp_path).stderr
    assert error.count("\n") == 1 and "pip install" in error and advice in error
    assert not list(tmp_path.iterdir())


def test_training_needs_no_matplotlib(tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        f"sys.argv[1:] = ['train', '--epochs', '1', '--out', {str(tmp_path)!r}]\n"
        "import equilif.cli as c; c.main()"
    )
    printed = python(code, cwd=Path(cli.__file__).parent.parent).stdout
    assert "pip install" in printed and "[plot]'" in printed
    assert {p.name for p in tmp_path.iterdir()} == {NETWORK, HISTORY}


@pytest.mark.parametrize("kind, begin", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figure_formats(kind, begin, tmp_path):
    """The same figure gives the same file, in every format."""
    for folder in ("a", "b"):
        run("--figures", kind, "recall", "--stored", 8, "--steps", 2, "--out", tmp_path / folder)
    a, b = ((tmp_path / folder / f"recall.{kind}").read_bytes() for folder in ("a", "b"))
    assert a.startswith(begin) and a == b
    run("recall", "--stored", 8, "--steps", 2, "--out", tmp_path / "c")  # the format is that of one command
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["recall.png"]


# -- train and evaluate ----------------------------------------------------------------------------
def test_training_saves_everything(digits_run):
    printed, history = (
        json.loads((digits_run / "printed.json").read_text()),
        json.loads((digits_run / HISTORY).read_text()),
    )
    assert printed["command"] == "train" and printed["accuracy"] > 0.85
    assert printed["epochs"] == history["epochs"] and [r["epoch"] for r in history["epochs"]] == [1, 2]
    assert history["sizes"] == "64-64-10" and history["seed"] == PRESETS["digits"].seeds[0]
    assert (digits_run / "learning_curve.png").read_bytes().startswith(PNG)
    assert not list(digits_run.glob("*.part"))
    assert digest(network.load(digits_run / NETWORK)[1]) == history["epochs"][-1]["weights"]


def test_resume_finished_run(digits_run):
    before = (digits_run / NETWORK).read_bytes()
    assert "after 2 epochs" in run("train", "--resume", "--out", digits_run)
    assert (digits_run / NETWORK).read_bytes() == before


def test_resume_between_two_files(digits_run, tmp_path):
    """The history may be an epoch ahead of the network: that epoch is repeated with the same result."""
    preset = PRESETS["digits"]
    first = Run.start(preset.changed(epochs=2), data.load("digits"), preset.seeds[0])
    first.epoch()
    first.save(tmp_path)
    (tmp_path / HISTORY).write_bytes((digits_run / HISTORY).read_bytes())
    run("train", "--resume", "--out", tmp_path)
    assert digest(network.load(tmp_path / NETWORK)[1]) == digest(network.load(digits_run / NETWORK)[1])


def test_resume_refuses_network_of_other_run(digits_run, tmp_path):
    other = network.Network.chain(64, 64, 10)
    network.save(tmp_path / NETWORK, other, other.initial_weights(99))
    (tmp_path / HISTORY).write_bytes((digits_run / HISTORY).read_bytes())
    assert "is not from the run of" in error_of("train", "--resume", "--out", tmp_path)
    (tmp_path / HISTORY).write_text("{}")
    assert "is not a training history of equilif" in error_of("train", "--resume", "--out", tmp_path)


@pytest.mark.parametrize("spoilt", [False, True], ids=["", "a library trips over it"])
def test_interrupted_epoch_keeps_last_one(spoilt, digits_run, tmp_path, monkeypatch):
    run("train", "--epochs", 1, "--out", tmp_path)
    before = (tmp_path / NETWORK).read_bytes()

    def interrupt(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            if spoilt:  # as zipfile does when it is interrupted
                raise ValueError("can't close what is half written")

    monkeypatch.setattr(phases, "Progress", interrupt)
    run("train", "--resume", "--epochs", 2, "--out", tmp_path, "--json", tmp_path / "printed.json", code=130)
    assert (tmp_path / NETWORK).read_bytes() == before and not (tmp_path / "printed.json").exists()
    monkeypatch.undo()
    run("train", "--resume", "--epochs", 2, "--out", tmp_path)
    assert digest(network.load(tmp_path / NETWORK)[1]) == digest(network.load(digits_run / NETWORK)[1])


def test_files_are_written_atomically(tmp_path):
    results.write_json(tmp_path / "a.json", {"x": np.int64(1), "y": np.arange(2), "z": tmp_path})
    with pytest.raises(TypeError):
        results.write_json(tmp_path / "a.json", {"x": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1, "y": [0, 1], "z": str(tmp_path)}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_evaluate_agrees_with_training(digits_run):
    output, found = output_and_json("evaluate", digits_run / NETWORK)
    assert found["accuracy"] == json.loads((digits_run / HISTORY).read_text())["epochs"][-1]["test_accuracy"]
    assert f"{found['accuracy']:.2%} of 360 test samples" in output
    confusion = np.array(found["confusion"])
    assert confusion.shape == (10, 10) and confusion.sum() == found["samples"] == 360
    assert np.trace(confusion) / 360 == found["accuracy"]
    assert (
        0 < found["silent"]["hidden1"] < 1
        and 0 <= found["full"]["hidden1"] < 0.5
        and found["spikes_per_sample"] > 10
    )


def test_preset_json_round_trip():
    for name, preset in PRESETS.items():
        assert preset.data == name in (*data.NAMES, *sequences.NAMES)
        assert Description.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset and (
            preset.memory is not None
        ) == (name in sequences.NAMES)
        x, y = np.zeros((2, 0 if preset.memory else 64), np.uint8), np.array([0, 9])
        tokens = (
            network.TokenRows(np.zeros((1, 50), np.int16), np.zeros(2, np.int32), np.arange(3))
            if preset.memory
            else None
        )
        made = data.DataSet(name, x, y, x, y, tokens, tokens)
        net = preset.network(made)
        for epoch in range(preset.epochs):
            Kernel(net, preset.initial_weights(net, 0, made), learning_rate=preset.rate(epoch))


def test_heads_have_different_initial_queries():
    content = {**tables.memory(4, 3), "start": {"query": 0}, "loading": {"n_pos": 3}}
    net = network.Network.attention(4, 5, 3, 2)
    w = Description.of(content, "spoken").initial_weights(net, 0)["bias-query"]
    np.testing.assert_array_equal(w.reshape(3, 5), np.eye(5, dtype=int)[2:] * 127 * 32)


# -- sequences -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def phrases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose words determine their class, with vectors of four dimensions."""
    folder = tmp_path_factory.mktemp("phrases")
    rng = np.random.default_rng(0)
    words = [*(f"good{i}" for i in "abcd"), *(f"bad{i}" for i in "abcd"), *(f"word{i}" for i in "abcdefgh")]
    vectors = [(2 * w.startswith("good") - 2 * w.startswith("bad"), *rng.normal(size=3)) for w in words]
    (folder / "glove.txt").write_text(
        "".join(f"{w} {' '.join(map(str, v))}\n" for w, v in zip(words, vectors, strict=True))
    )
    lines = ["sentence\tlabel\n"]
    for i in range(300):
        telling = rng.choice(words[:4] if i % 2 else words[4:8], 2)
        others = rng.choice(words[8:], int(rng.integers(1, 9)))
        text = " ".join(rng.permutation([*telling, *others]))
        lines.append(f"{text}\t{i % 2}\n")
    (folder / "train.tsv").write_text("".join(lines[:251]))
    (folder / "dev.tsv").write_text("".join([lines[0], *lines[251:]]))
    return folder


@pytest.mark.regress
def test_sequence_run(phrases, digits_run, tmp_path):
    # an exponential rate does not depend on the number of epochs, so a run can be lengthened
    preset = PRESETS["sst2"].changed(hidden=(8,), schedule="exponential", decay=0.95)
    (tmp_path / "net.toml").write_text(netfile.written(preset))
    options = ("sst2", "--data", phrases, "--config", tmp_path / "net.toml")
    output = run("train", *options, "--epochs", 8, "--out", tmp_path / "whole")
    assert "64 tokens of 4 x 8 heads-8-2" in output
    whole = json.loads((tmp_path / "whole" / HISTORY).read_text())["epochs"]
    assert whole[-1]["test_accuracy"] > 0.9
    run("train", *options, "--epochs", 2, "--out", tmp_path / "parts")
    run("train", "--resume", "--epochs", 8, "--data", phrases, "--out", tmp_path / "parts", "sst2")
    assert [e["weights"] for e in json.loads((tmp_path / "parts" / HISTORY).read_text())["epochs"]] == [
        e["weights"] for e in whole
    ]
    found = json_of("evaluate", tmp_path / "whole" / NETWORK, "--data", phrases)
    assert found["accuracy"] == whole[-1]["test_accuracy"]
    texts = (phrases / "dev.tsv").read_text().splitlines()[1:]
    longest = max(range(len(texts)), key=lambda j: len(texts[j].split()))
    options = ("--sample", longest, "--data", phrases, "--out", tmp_path)
    output, shown = output_and_json("attention", tmp_path / "whole" / NETWORK, *options)
    (found,) = shown["samples"]
    p, telling = np.array(found["p"]), [w.startswith(("good", "bad")) for w in found["tokens"]]
    assert (
        p.shape == (8, len(telling))
        and abs(p.sum(axis=1) - 1).max() < 0.1
        and all(w in output for w in found["tokens"])
    )
    assert p[:, telling].mean(axis=1).max() > 1.5 * p.mean(), "a query looks at the words that tell the class"
    assert (tmp_path / "attention.png").read_bytes().startswith(PNG)
    assert "no attention layer over tokens" in error_of("attention", digits_run / NETWORK)
    options = ("--data", phrases, "--network", tmp_path / "whole" / NETWORK, "--lanes", 2, "--samples", 6)
    found = json_of("verify", "sst2", *options)
    assert (
        found["ok"]
        and found["training"]["samples"] == found["inference"]["samples"] == 6
        and found["compared"]["weights"] > 0
    )


# -- recall ----------------------------------------------------------------------------------------
def test_recall_command(tmp_path):
    output, found = output_and_json("recall", "digits", "--stored", 50, "--blank", 0.25, "--out", tmp_path)
    assert (
        found["stored"] == 50
        and found["fixed"]["nearest"] > 0.95 > found["hebb"]["nearest"]
        and f"{found['fixed']['exact']:.1%}" in output
    )
    assert (tmp_path / "recall.png").read_bytes().startswith(PNG)


def test_learning_rate_schedules():
    preset = PRESETS["digits"].changed(epochs=5, learning_rate=0.08, decay=0.5)
    rates = {
        form: [preset.changed(schedule=form).rate(e) for e in range(5)]
        for form in ("exponential", "linear", "cosine")
    }
    np.testing.assert_allclose(rates["exponential"], [0.08, 0.04, 0.02, 0.01, 0.005])
    np.testing.assert_allclose(rates["linear"], [0.08, 0.07, 0.06, 0.05, 0.04])
    np.testing.assert_allclose(
        rates["cosine"], [0.08, 0.06 + 0.02 * 2**-0.5, 0.06, 0.06 - 0.02 * 2**-0.5, 0.04]
    )


# -- gradient, build, info -------------------------------------------------------------------------
def test_gradient_command():
    pytest.importorskip("torch")
    output, found = output_and_json("gradient", "--epochs", 1, "--samples", 100)
    reports = found["reports"]
    assert set(reports) == set(found["methods"]) == set(found["layers"]) == {"untrained", "1 epoch"}
    assert {"errors", "nudged phases, beta 0.5"} < set(found["methods"]["untrained"]["methods"])
    assert list(found["layers"]["untrained"]) == ["hidden1", "output"] and "drift" in output
    assert all(f["integer_ep"]["sum"] > 0.9 for f in reports["untrained"]["synapses"].values())
    assert all(name in output for name in reports["untrained"]["synapses"])


def test_info_command():
    found = json_of("info")
    assert found["packages"]["numpy"] == np.__version__ and set(found["tools"]) >= {
        "verilator",
        "iverilog",
        "yosys",
        "nextpnr-ice40",
    }
    assert found["boards"][BOARD]["engine"]["lanes"] == 4


# -- RTL -------------------------------------------------------------------------------------------
def test_verify_command():
    output, found = output_and_json("verify", "--samples", 60, "--board", BOARD)
    assert "0 mismatches" in output and found["ok"] and found["mismatches"] == 0 and found["mismatch"] is None
    assert found["training"]["samples"] == found["inference"]["samples"] == 60
    assert found["compared"]["predictions"] == found["compared"]["spike_counts"] == 120
    assert found["compared"]["rates"] == 60 * 2 * 74 + 60 * 74
    # at the start, after 50, at the end
    assert found["compared"]["weights"] == 3 * network.Network.chain(64, 64, 10).n_weights
    for kind in ("training", "inference"):
        assert found[kind]["cycles"] > found[kind]["ideal"] > 100 and found[kind]["spikes"] > 10


def test_verify_takes_keys_of_the_network():
    """As the option of the same name, which changes a network that is there."""
    found = []
    for options in ((), ("--free", 9), ("--set", "phases.free=9")):
        found.append(json_of("verify", "--samples", 2, "--board", BOARD, *options)["inference"]["cycles"])
    assert found[0] != found[1] == found[2]


def test_verify_without_feedback(tmp_path):
    """Test samples only: the network does not learn."""
    forward = network.Network.chain(64, 12, 8, 10, feedback=False)
    network.save(tmp_path / NETWORK, forward, forward.initial_weights(scale=1.5))
    options = ("--samples", 30, "--board", BOARD)
    output, found = output_and_json("verify", "--network", tmp_path / NETWORK, *options)
    assert "0 mismatches" in output
    assert (found["training"]["samples"], found["inference"]["samples"]) == (0, 30)
    assert found["compared"]["rates"] == 30 * 30 and found["inference"]["spikes"] > 10


@pytest.mark.long
def test_verify_with_weights_in_the_sdram(tmp_path, monkeypatch):
    wide = network.Network.chain(64, 256, 160, 10)
    network.save(tmp_path / NETWORK, wide, wide.initial_weights())
    options = ("--network", tmp_path / NETWORK, "--samples", 3, "--board", "ulx3s-25f", "--sdram")
    found = json_of("verify", *options)
    assert found["ok"] and found["training"]["samples"] == 3 and found["training"]["spikes"] > 10
    monkeypatch.setattr(verilated.VerilatedEngine, "violations", ["RAS"])
    assert "RAS" in run("verify", *options, code=1)


def faulty(monkeypatch: pytest.MonkeyPatch, sample: int, fault: Callable[[Any, Any], Any]) -> None:
    """An RTL engine that calls ``fault`` after each training sample."""

    class FaultyChip(Chip):
        n = -1

        def sample(self, x, y=None, **options):
            result = super().sample(x, y, **options)
            self.n += 1
            return fault(self, result) if self.n == sample else result

    monkeypatch.setattr(verify, "Chip", FaultyChip)


def test_verify_reports_wrong_weight(monkeypatch):
    """A weight changes after sample 7; the check at sample 49 finds it and the trace locates it.  Its input
    is always 0.
    """

    def flip(rtl, result):
        w = rtl.weights
        # pixel 0 is blank in every digit, so nothing else changes
        w["input-hidden1"][0, 3] += 1
        rtl.load_weights(w)
        return result

    faulty(monkeypatch, 7, flip)
    output = run("verify", "--samples", 60, "--board", BOARD, code=1)
    assert "training sample 7, synapse input-hidden1, element [0, 3]" in output


def test_verify_reports_wrong_rate(monkeypatch):
    def spoil(rtl, result):
        address = rtl.outputs[0] + 2
        value = rtl.engine.read(Region.VALUE, address, 1)
        rtl.engine._put(Region.VALUE, address, value ^ 1 << 8)
        return result

    faulty(monkeypatch, 5, spoil)
    assert "training sample 5, output[2]" in run("verify", "--samples", 20, "--board", BOARD, code=1)


def test_verify_reports_wrong_spike_count(monkeypatch):
    faulty(monkeypatch, 4, lambda rtl, result: dataclasses.replace(result, spikes=result.spikes + 1))
    output = run("verify", "--samples", 20, "--board", BOARD, code=1)
    assert "training sample 4" in output and "equal until then: 4 predictions" in output


def test_demo_command(tmp_path):
    options = ("--epochs", 1, "--samples", 30, "--skip-bitstream", "--board", BOARD)
    output = run("demo", "--out", tmp_path, *options)
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["ok"] and all(claim["holds"] for claim in found["claims"]) and "✗" not in output
    rtl = found["rtl"]
    assert rtl["mismatches"] == 0
    assert (rtl["training"]["samples"], rtl["inference"]["samples"]) == (30, 360)
    for name in ("learning_curve.png", "confusion.png", "settling.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)
    assert (tmp_path / NETWORK).exists() and not list(tmp_path.glob("*.part"))


def test_demo_without_tools(tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTPNR_ICE40", "no-such-nextpnr")
    output = run("demo", "--out", tmp_path, "--epochs", 1, "--samples", 5, "--board", BOARD, code=1)
    found = json.loads((tmp_path / "results.json").read_text())
    wrong = [claim for claim in found["claims"] if not claim["holds"]]
    assert (
        [claim["text"] for claim in wrong] == ["bitstream"]
        and "no-such-nextpnr is not on the PATH" in wrong[0]["found"]
        and "✗" in output
    )


def test_trace_ends_with_measured_rates():
    """The sliding rates at the end of each phase are the rates that learning uses, for every leak."""
    d = data.load("digits")
    for schedule in (Schedule(), Schedule(free=17, nudged=9, leak=3)):
        net = network.Network.chain(64, 12, 10, schedule=schedule)
        for k in range(3):
            t = record(net, net.initial_weights(1), d.x_train[k], int(d.y_train[k]))
            ends = (schedule.free - 1, schedule.free + schedule.nudged - 1, -1)
            for end, phase in zip(ends, (t.result.free, t.result.plus, t.result.minus), strict=True):
                np.testing.assert_array_equal(t.rates[end], phase["output"][0])
            assert (
                np.isnan(t.rates[: schedule.window - 1]).all()
                and not np.isnan(t.rates[schedule.window - 1 :]).any()
            )


def test_trace_of_errors_has_the_free_phase():
    d = data.load("digits")
    net = network.Network.chain(64, 12, 10, schedule=Schedule(free=9, window=8, contrast="errors"))
    t = record(net, net.initial_weights(1), d.x_train[0], int(d.y_train[0]))
    assert len(t.rates) == len(t.spikes["output"]) == 9
    np.testing.assert_array_equal(t.rates[-1], t.result.free["output"][0])


def test_flash_of_a_simulation_is_read_and_written(tmp_path):
    """Its file may exist; any other file that a command names is not overwritten by it."""
    file = tmp_path / "flash.bin"
    file.touch()
    with commands._outputs({"flash": file}, {"flash": CHANGED}, overwrite=False):
        files.check(file)
    declared = {"network": INPUT}
    with commands._outputs({"network": file}, declared, overwrite=False), pytest.raises(FileExistsError):
        files.check(file)


# -- extension -------------------------------------------------------------------------------------
def count_lines(
    path: Annotated[Path, typer.Argument(help="Text."), INPUT],
    out: Annotated[Path | None, typer.Option(help="Output file."), OUTPUT] = None,
    json: commands.Json = None,
) -> dict[str, Any]:
    """Count the lines of a text: a command that only this test knows."""
    lines = path.read_text().splitlines()
    if not lines:
        raise ValueError(f"{path} is empty: give a text")
    if out:
        files.write(out, str(len(lines)).encode())
    return {"lines": len(lines), "ok": len(lines) < 3}


def test_a_new_command_needs_no_other_file(tmp_path, monkeypatch):
    """See docs/how_to/add_a_command.md."""
    monkeypatch.setattr(commands, "LOADED", {**commands.LOADED})
    commands.panel("Own")(count_lines)
    text, out = tmp_path / "text.txt", tmp_path / "out.txt"
    text.write_text("a\nb\n")
    assert "count-lines" in run("--help") and "--overwrite" in run("count-lines", "--help")
    found = json_of("count-lines", text, "--out", out)
    assert (
        found.items() >= {"command": "count-lines", "lines": 2, "ok": True}.items() and out.read_text() == "2"
    )
    assert str(out) in error_of("count-lines", text, "--out", out)
    assert str(text) in error_of("count-lines", text, "--out", text, "--overwrite")
    text.write_text("a\nb\nc\n")
    run("count-lines", text, "--out", out, "--overwrite", code=1)
    text.write_text("")
    assert str(text) in error_of("count-lines", text)

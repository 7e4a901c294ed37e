"""Network files: reading, writing, diagrams, training; errors with line and key."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equilif.data import Name
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.hardware.resources import NetworkResources
from equilif.report import run as reported
from equilif.show import network as show_network
from equilif.training.settings import netfile, tables
from equilif.training.settings.description import Description, Sizes, schema
from equilif.training.settings.patches import patched
from equilif.training.settings.presets import FOLDER, PRESETS, RATES, own, suited
from equilif.training.storage.history import HISTORY, NETWORK, read_history
from equilif_golden import network as networks
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows
from equilif_golden.places import PlacedError
from equilif_golden.schedule import Schedule
from tests.cli import error_of, output_and_json, run
from tests.networks import GRAPH as TANGLED
from tests.programs import python
from tests.random_networks import networks as random_networks

#: inputs, two hidden populations, a skip connection and a backward synapse
GRAPH = """\
[population.input]
kind = "input"

[population.bias]
kind = "constant"

[population.a]
size = 12

[population.b]
size = 8

[population.output]
kind = "output"

[[synapse]]
from = ["input", "bias"]
to = "a"

[[synapse]]
from = ["a", "bias"]
to = "b"

[[synapse]]
from = ["b", "input", "bias"]
to = "output"
learning_rate_scale = 0.5

[[synapse]]
from = "output"
to = "a"

[phases]
free = 24
nudged = 12
window = 8

[learning]
epochs = 2
learning_rate = 0.05
decay = 0.9
"""
MEMORY = """\
[population.bias]
kind = "constant"

[population.memory]
kind = "attention"
size = 6
dynamic_patterns = true

[population.query]
kind = "relay"
heads = 2

[population.output]
kind = "output"

[[synapse]]
from = "memory"
to = "query"

[[synapse]]
from = "bias"
to = "query"
learning_rate_scale = 2

[[synapse]]
from = ["query", "bias"]
to = "output"

[phases]
nudged = 16
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "net.toml"
    path.write_text(text)
    return path


# -- presets ---------------------------------------------------------------------------------------
def test_several_hidden_populations_learn_from_errors():
    base = PRESETS["mnist"]
    assert suited(base, None) == suited(base, (30,)) == base
    found = suited(base, (30, 20))
    assert (found.hidden, found.feedback, found.schedule.contrast) == ((30, 20), False, "errors")
    assert found.learning == base.learning and found.data == base.data
    for change in ({"phases.contrast": "phases"}, {"synapse.feedback": "true"}):
        found = suited(base, (30, 20, 10, 5), change)
        assert found.hidden == (30, 20, 10, 5) and found.schedule.contrast == "phases"
        weaker = {s.to: s.feedback_scale for s in found.synapse if s.feedback_scale != 1}
        assert weaker == {"hidden2": 0.5, "hidden3": 0.5, "hidden4": 0.5}


def test_several_hidden_populations_after_attention_learn_from_errors():
    """Queries receive no rates, so that the layer is evaluated once for each sample."""
    base = PRESETS["imdb"]
    found = suited(base, (30, 20))
    assert (found.hidden, found.schedule.contrast) == ((30, 20), "errors")
    assert [s.feedback for s in found.synapses if s.pre in ("query", "hidden1", "hidden2")] == 3 * [False]
    assert (found.learning, found.loading, found.memory) == (base.learning, base.loading, base.memory)
    assert not found.smallest.windowed and found.smallest.trainable
    assert patched(base, {"synapse.feedback": "false"} | {"phases.contrast": "errors"}).hidden == base.hidden
    assert suited(RATES["imdb"], (30, 20)) == RATES["imdb"]


def test_several_hidden_populations_in_floating_point():
    """Without feedback, so that rates settle in one sweep at every depth."""
    base = RATES["mnist"]
    assert suited(base, (30,)) == base
    found = suited(base, (30, 20))
    assert (found.hidden, found.feedback, found.schedule.contrast) == ((30, 20), False, "errors")
    assert found.rates == base.rates and found.schedule.free == base.schedule.free
    assert suited(base, (30, 20), {"synapse.feedback": "true"}) == base


FILES = sorted(FOLDER.rglob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER)))
def test_preset_files_are_canonical(path):
    text = path.read_text()
    name = re.match("# A network, and how it learns (.*)[.]", text)[1]
    assert text == netfile.written(Description.of(tomllib.loads(text), name), brief=True)


@pytest.mark.parametrize("presets, folder", [(PRESETS, FOLDER), (RATES, FOLDER / "rates")])
def test_one_preset_for_each_data_set(presets, folder):
    assert sorted(p.name for p in folder.glob("*.toml")) == sorted(f"{name}.toml" for name in Name)
    assert list(presets) == list(Name) and len(presets) == len(Name)
    with pytest.raises(KeyError):
        presets["zzz"]


def test_json_schema(tmp_path):
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema())
    validator.check_schema(schema())
    for path in FILES:
        validator.validate(tomllib.loads(path.read_text()))
    preset = PRESETS["digits"].content()
    for table, key, value in (("phases", "free", 600), ("learning", "etta", 1), ("start", "bias", "x")):
        wrong = {**preset, table: {**preset[table], key: value}}
        (error,) = validator.iter_errors(wrong)
        assert error.path[0] == table
    run("init", "--schema", tmp_path / "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text()) == schema()


def test_presets_need_no_tomlkit():
    """tomlkit is only used for line numbers in errors."""
    code = "import sys; sys.modules['tomlkit'] = None; "
    code += "from equilif.training.settings.presets import PRESETS as p; "
    code += "print(p['digits'].hidden, p['imdb'].heads)"
    assert python(code).stdout == "(64,) 16\n"


# -- round trip ------------------------------------------------------------------------------------
@given(st.tuples(*3 * [st.booleans()]).flatmap(lambda kind: random_networks(*kind)))
@settings(deadline=None, max_examples=60)
def test_round_trip(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("net") / "net.toml"
    path.write_text(netfile.written(Description.of_network(network, sized=True)))
    assert netfile.read(path).network() == network


@given(random_networks(memories=True))
@settings(deadline=None, max_examples=30)
def test_sizes_from_data(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("net") / "net.toml"
    width = network.dynamic_attention.relay.width if network.dynamic_attention else 0
    rows = network.shape(network.table)[0] if network.table else 1
    sizes = Sizes(network.n_inputs, network.n_outputs, width, rows=rows)
    path.write_text(netfile.written(Description.of_network(network)))
    file = netfile.read(path)
    if network.dynamic_attention and network.inputs:  # no data set has both
        made = file.description._network(sizes)
    else:
        made = file.description.network(sizes)
    assert made == network


def test_chain_and_attention_presets(tmp_path):
    """Preset files of chains and attention networks accept --hidden and similar options."""
    for preset in PRESETS.values():
        assert preset.changed(hidden=(9, 8)).hidden == (9, 8)
    path = write(tmp_path, netfile.written(own(images.digits()).changed(hidden=(3, 2), leak=4)))
    preset = netfile.read(path).preset("d")
    assert preset.hidden == (3, 2) and preset.schedule.leak == 4
    assert netfile.read(write(tmp_path, netfile.written(PRESETS["mnist"]))).preset("mnist").hidden == (128,)


def test_learning_rate_scales_are_kept(tmp_path):
    content = {**PRESETS["digits"].content(), **tables.chain(5, 4, learning_rate_scales=(1.0, 0.5, 2.0))}
    preset = Description.of(content, "digits")
    assert [s.learning_rate_scale for s in preset.changed(hidden=(7, 6)).synapse] == [1.0, 0.5, 2.0]
    assert netfile.read(write(tmp_path, netfile.written(preset))).preset("digits") == preset


def test_several_inputs(tmp_path):
    text = GRAPH.replace(
        "[population.bias]", '[population.more]\nkind = "input"\nsize = 4\n\n[population.bias]'
    )
    text = text.replace('["a", "bias"]', '["a", "more", "bias"]')
    network = netfile.read(write(tmp_path, text)).network(images.digits())
    assert {p.name: p.size for p in network.inputs} == {"input": 60, "more": 4}


def test_windows_file(tmp_path):
    """Byte order mark and CRLF line ends."""
    path = tmp_path / "net.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GRAPH.replace("\n", "\r\n").encode())
    assert netfile.read(path).description == netfile.read(write(tmp_path / "..", GRAPH)).description
    path.write_bytes(b"\xef\xbb\xbf" + GRAPH.replace("\n", "\r\n").replace("size = 8", "size = -8").encode())
    with pytest.raises(PlacedError) as e:
        netfile.read(path)
    assert e.value.line == 11


# -- errors ----------------------------------------------------------------------------------------
#: rule: text of GRAPH, its replacement (! marks the line of the error), place of the error
WRONG = [
    ("size = 12", "sizes = 12 !", "population.a.sizes"),
    ("[population.a]\nsize = 12", "[population.a] !", "population.a.size"),
    ("size = 12", "size = 12\nheads = 2 !", "population.a.heads"),
    ("size = 8", "size = -8 !", "population.b.size"),
    ("[population.b]", "[population.'size heads'] !", "population.size heads"),
    ("[population.b]", "[populations.b] !", "populations"),
    ('[population.output]\nkind = "output"', "[population.output]\nsize = 3", ""),
    (
        '[[synapse]]\nfrom = ["input", "bias"]',
        '[population.c]\nkind = "output" !\n\n[[synapse]]\nfrom = ["input", "bias"]',
        "population.c.kind",
    ),
    ("size = 8", 'size = 8\n[population.c] !\nkind = "input"', "population.c.size"),
    ("size = 8", 'size = 8\n[population.c] !\nkind = "relay"\nheads = 2', "population.c"),
    ('from = ["input", "bias"]', 'from = ["imput", "bias"] !', "synapse.0.from"),
    ('from = "output"\nto = "a"', 'from = "output"\nto = "A" !', "synapse.3.to"),
    ('from = "output"', 'from_ = "output" !', "synapse.3.from_"),
    ('[[synapse]]\nfrom = "output"', "[[synapse]] !", "synapse.3"),
    ('[[synapse]]\nfrom = "output"\nto = "a"', '[[synapse]] !\nfrom = "a"\nto = "b"', "synapse.3"),
    ("learning_rate_scale = 0.5", "feedback = false !", "synapse.2.feedback"),
    # of two synapses with the same populations, the wrong one
    (
        "learning_rate_scale = 0.5",
        'stride = 2 !\n[[synapse]]\nfrom = "b"\nto = "output"',
        "synapse.2.stride",
    ),
    ("window = 8", "window = 6 !", "phases.window"),
    ("nudged = 12", "nudged = 4 !", "phases.nudged"),
    ("window = 8", "beta = 1e-9 !", "phases.beta"),
    ("window = 8", "leak = 1 !", "phases.leak"),
    ("free = 24", "free = 20\nearly_exit = 4 !", "phases.early_exit"),
    ("learning_rate = 0.05\n", "", "learning"),
    ("decay = 0.9", "decay = 1979-05-27 !", "learning.decay"),
    ("decay = 0.9", "decay = 0.9\nwindow = 3 !", "learning.window"),
    ("decay = 0.9", "decay = 0.9\n[loading] !\ndrop = 3", "loading"),
    ("[learning]", "[rates] !\nepochs = 1\n\n[learning]", "rates"),
    ("size = 12", "size = 12\nsize = 13 !", ""),
    ("decay = 0.9", "decay = !", ""),
]


def check_error(error: PlacedError, path: Path, marked: str, place: str) -> None:
    """One line that names the file, and the place with its line."""
    lines = [n for n, line in enumerate(marked.splitlines(), 1) if line.endswith(" !")]
    found = ".".join(map(str, error.place))
    assert (error.file, found) == (path, place) and (not lines or error.line == lines[0])
    assert "\n" not in str(error) and len(str(error)) < 400 and str(path) in str(error)


@pytest.mark.parametrize("old, new, place", WRONG, ids=[f"{new[:30]}" for _, new, _ in WRONG])
def test_invalid_file_names_line_and_key(old, new, place, tmp_path):
    assert old in GRAPH
    marked = GRAPH.replace(old, new, 1)
    path = write(tmp_path, marked.replace(" !", ""))
    with pytest.raises(PlacedError) as e:
        netfile.read(path)
    check_error(e.value, path, marked, place)


def test_data_named_as_a_key(tmp_path):
    """The name of the data is no key of the file."""
    file = netfile.read(write(tmp_path, GRAPH))
    with pytest.raises(PlacedError) as e:
        file.network(dataclasses.replace(tokens(4), name="window"))
    assert (e.value.place, e.value.file, e.value.line) == ((), file.path, None)


def test_stored_patterns_need_size(tmp_path):
    text = MEMORY.replace("dynamic_patterns = true\n", "").replace(
        "[population.bias]", '[population.x]\nkind = "input"\n\n[population.bias]'
    )
    text = text.replace('["query", "bias"]', '["query", "x", "bias"]')
    with pytest.raises(PlacedError) as e:
        netfile.read(write(tmp_path, text))
    assert e.value.place == ("population", "query", "size")
    write(tmp_path, text.replace("heads = 2", "heads = 2\nsize = 8"))
    network = netfile.read(tmp_path / "net.toml").network(images.digits())
    assert network.attention_layers[0].attention.size == 6 and network.n_weights > 6 * 4


@pytest.mark.parametrize(
    "content, line",
    [
        (b"", None),
        (b"\x00", 1),
        (b"[population.a]\nsize = 3\n\xff", 3),
        (b"population = 3", 1),
        (b"[[population]]\nsize = 3", 1),
        (b"[population]\na = 3", 2),
        (b"[population.a]\nsize = 3", None),
        (b"[population.a]\nsize = 3\n[synapse]\nfrom = 'a'", 3),
        (b"[population.a]\nsize = " + b"[" * 150 + b"]" * 150, None),
        (b"x = " + b"[" * 100_000, None),
        (b"#" * (netfile.MAX_BYTES + 1), None),
        (b"x = " + b"9" * 5000, None),
        (b"\x89PNG\r\n\x1a\n", 1),
    ],
)
def test_not_a_network_file(content, line, tmp_path):
    path = tmp_path / "net.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="net.toml") as e:
        netfile.read(path)
    assert getattr(e.value, "line", None) == line and "\n" not in str(e.value) and len(str(e.value)) < 400


LINES = """\
inline = {x = {y = 1}}
[population.a]
size = 3
[x]
list = [
  1,
]
[[synapse]]
from = "a"
[[synapse]]
from = [
  "a"]
[population.b]
x.y = 3
"""


@pytest.mark.parametrize(
    "place, line",
    [
        (("population", "a", "size"), 3),
        (("population", "a"), 2),
        (("x", "list"), 5),
        (("synapse", 0), 8),
        (("synapse", 1, "from"), 11),
        (("inline", "x", "y"), 1),
        (("population", "b", "x", "y"), 14),
        (("population", "b", "x"), 14),
        (("nothing",), None),
        ((), None),
    ],
)
def test_line_numbers(place, line):
    """A value without a line number has that of its parent; a comment may have the mark that finds lines."""
    assert netfile.line_of(LINES, place) == line
    assert netfile.line_of(f"# {3 * netfile.MARK}\n{LINES}", place) == (line and line + 1)


# -- mismatched data -------------------------------------------------------------------------------
def tokens(n: int, width: int = 3) -> DataSet:
    """Two samples of ``n`` tokens."""
    rows = TokenRows(np.zeros((1, width), np.int16), np.zeros(2 * n, np.int32), np.array([0, n, 2 * n]))
    x = np.zeros((2, 0), np.uint8)
    y = np.array([0, 1])
    return DataSet("words", x, y, x, y, rows, rows)


LEARNING = "[learning]\nepochs = 1\nlearning_rate = 0.01\ndecay = 1.0\n"
ROWS = f"""
[population.rows]
kind = "input"
shape = [8, 1, 8]

[population.features]
shape = [8, 1, 2]

[population.attention]
kind = "self_attention"
shape = [8, 1, 4]
energy = true

[population.output]
kind = "output"

[[synapse]]
from = "rows"
to = "features"
kernel = 1

[[synapse]]
from = "features"
to = "attention"
kernel = 1

[[synapse]]
from = "features"
to = "output"

{LEARNING}"""


@pytest.mark.parametrize(
    "text, old, new, data, place",
    [
        (GRAPH, '"input"', '"input"\nsize = 9 !', "digits", "population.input.size"),
        (GRAPH, '"output"', '"output"\nsize = 9 !', "digits", "population.output.size"),
        (GRAPH, "", "", 4, ""),
        (GRAPH, "[population.input]", "[population.input] !", None, "population.input.size"),
        (MEMORY, "patterns = true", "patterns = true !", "digits", "population.memory.dynamic_patterns"),
        (MEMORY, "size = 6", "size = 6 !", 9, "population.memory.size"),
        (MEMORY, "size = 6", "size = 6\ntable_rows = 9 !", 4, "population.memory.table_rows"),
        (MEMORY, "heads = 2", "heads = 2\nsize = 8 !", 4, "population.query.size"),
        (MEMORY, "[population.bias]", "[numbers]\nfraction = 11 !\n[population.bias]", 4, "numbers.fraction"),
        (ROWS, "1, 8]", "1, 8]\nchannels_first = true !", "digits", "population.rows.channels_first"),
        (ROWS.replace("8, 1", "8, 2"), "2, 8]", "2, 4] !", "digits", "population.rows.shape"),
        (ROWS.replace("8, 1", "4, 1"), "1, 8]", "1, 16] !", "digits", "population.rows.shape"),
        (ROWS.replace("8, 1", "1, 8"), "8, 8]", "8, 8] !", "digits", "population.rows.shape"),
        (f"{MEMORY}{LEARNING}[loading]\npos", "pos", "pos = 3 !", "vowels", "loading.pos"),
        (f"{MEMORY}{LEARNING}[loading]\nn_pos", "n_pos", "n_pos = [] !", "vowels", "loading.n_pos"),
    ],
)
def test_data_errors_have_line(text, old, new, data, place, tmp_path):
    marked = text.replace(old, new, 1)
    path = write(tmp_path, marked.replace(" !", ""))
    with pytest.raises(PlacedError) as e:
        file = netfile.read(path)
        if data == "vowels":
            file.preset(data)
        file.network(images.digits() if data == "digits" else data and tokens(data))
    check_error(e.value, path, marked, place)


def test_rows_of_an_image_as_positions(tmp_path):
    """Self-attention over the rows of an image learns."""
    data = images.digits()
    network = netfile.read(write(tmp_path, ROWS)).network(data)
    kernel = Kernel(network, learning_rate=0.05)
    before = kernel.weights["features-attention"].copy()
    kernel.train(data.x_train[:2], data.y_train[:2], np.arange(2))
    assert (kernel.weights["features-attention"] != before).any()


def test_relay_width_from_tokens(tmp_path):
    network = netfile.read(write(tmp_path, MEMORY)).network(tokens(4))
    assert network["query"].size == 6 and network.dynamic_attention is not None


def test_learning_table_is_optional(tmp_path):
    text = GRAPH[: GRAPH.index("[learning]")]
    file = netfile.read(write(tmp_path, text))
    assert file.network(images.digits()).n_outputs == 10
    with pytest.raises(ValueError, match=r"\[learning\]"):
        file.preset("digits")


# -- commands --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of GRAPH, and the file."""
    folder = tmp_path_factory.mktemp("own")
    path = write(folder, GRAPH)
    run("train", "digits", "--config", path, "--out", folder / "run")
    return folder


def test_train_and_evaluate_network_file(trained):
    history = read_history(trained / "run" / HISTORY)
    assert history.sizes == "64-12-8-10" and history.epochs[-1].test_accuracy > 0.5
    network, _ = networks.load(trained / "run" / NETWORK)
    assert network == netfile.read(trained / "net.toml").network(images.digits())
    output = run("evaluate", trained / "run" / NETWORK)
    assert f"{history.epochs[-1].test_accuracy:.2%}" in output


def test_run_contains_network_file(trained, tmp_path):
    run("init", trained / "run", "--out", tmp_path / "net.toml")
    preset = read_history(trained / "run" / HISTORY).preset
    assert netfile.read(tmp_path / "net.toml").preset("digits") == preset
    for number, source in enumerate((trained / "run", "digits")):
        out = tmp_path / f"{number}.toml"
        run("init", source, "--set", "learning.epochs=7", "--out", out)
        expected = (preset, PRESETS["digits"])[number].changed(epochs=7)
        assert netfile.read(out).preset("digits") == expected
    commands = reported.read(trained / "run").repeat(None).commands
    assert [line.split()[1] for line in commands] == ["init", "train", "evaluate"]
    assert commands[0].endswith("--out run.toml") and "--config run.toml --seed 0" in commands[1]


def test_options_override_file(trained, tmp_path):
    net = ("--config", trained / "net.toml")
    changes = ("--set", "learning.learning_rate=0.02", "--set", "phases.beta=0.25")
    run("train", "digits", *net, "--epochs", 1, *changes, "--out", tmp_path)
    preset = read_history(tmp_path / HISTORY).preset
    assert (preset.epochs, preset.learning_rate, preset.schedule.beta) == (1, 0.02, 0.25)
    message = error_of("train", "digits", *net, "--hidden", 3, "--out", tmp_path / "other")
    assert "hidden" in message


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        (("train", "{}", "--out", "out"), "as --config"),
        (("train", "imdb", "--config", "{}", "--out", "out"), "imdb has tokens"),
        (("train", "--config", FOLDER / "rates" / "digits.toml", "--out", "out"), "there is no [learning]"),
        (("train", "--config", "nowhere.toml", "--out", "out"), "there is no nowhere.toml"),
        (("train", "--resume", "--config", "{}", "--out", "out"), "leave out --config"),
        (("verify", "--config", "{}", "--network", "x.npz"), "network and config both"),
        (("program", "{}"), "line 1: population 'input'"),
        (("boards", "--network", "nowhere.toml"), "'nowhere.toml'"),
        (("show", "digits", "digits"), "leave digits out"),
        (("show", "nowhere.toml"), "there is no nowhere.toml"),
        (("show", "{}", "--label", "kind"), "--label is for DATA"),
        (("show", "{}", "--out", "net.gif"), "'net.gif'"),
        (("init", "--out", "net.txt"), "'net.txt'"),
        (("init", "--label", "kind", "--out", "other.toml"), "--label"),
        (("init", "--hidden", 3, "--set", "population.hidden1.size=4", "--out", "a.toml"), "are the same"),
    ],
)
def test_unsupported_commands(arguments, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, GRAPH)
    assert wanted in error_of(*(str(a).format(path) for a in arguments))
    assert [p.name for p in tmp_path.iterdir()] == ["net.toml"] and path.read_text() == GRAPH


def test_init_for_own_data(tmp_path):
    rows = "".join(f"{k % 7},{k % 3 - 1.5},{'xy'[k % 2]}\n" for k in range(40))
    (tmp_path / "table.csv").write_text(f"a,b,kind\n{rows}")
    net = tmp_path / "net.toml"
    found = run("init", tmp_path / "table.csv", "--label", "kind", "--hidden", 5, "--out", net)
    assert f"train {tmp_path / 'table.csv'} --label kind --config {net}" in re.sub(r"\s+", " ", found)
    assert netfile.read(net).network() == Network.chain(3, 5, 2)
    options = ("--label", "kind", "--config", net, "--epochs", 1, "--out", tmp_path / "r")
    run("train", tmp_path / "table.csv", *options)
    assert read_history(tmp_path / "r" / HISTORY).sizes == "3-5-2"
    run("init", "digits", "--out", net, "--overwrite")
    assert netfile.read(net).preset("digits") == PRESETS["digits"]


def test_program_and_boards_take_file(tmp_path):
    network = Network.chain(64, 20, 10)
    path = write(tmp_path, netfile.written(Description.of_network(network, sized=True)))
    assert "for 4 lanes" in run("program", path)
    assert f"icebreaker holds {path}" in run("boards", "--network", path)
    networks.save(tmp_path / "n.npz", network, network.initial_weights())
    assert f"icebreaker holds {tmp_path / 'n.npz'}" in run("boards", "--network", tmp_path / "n.npz")


# -- show ------------------------------------------------------------------------------------------
def test_show_output(tmp_path):
    path = write(tmp_path, GRAPH)
    printed, found = output_and_json("show", path, "digits")
    network = netfile.read(path).network(images.digits())
    assert found["weights"] == network.n_weights and found["bits"] == 16 * network.n_weights
    assert {p["name"]: p["size"] for p in found["populations"]}["a"] == 12
    assert [(s["pre"], s["post"]) for s in found["synapses"]] == [(s.pre, s.post) for s in network.synapses]
    assert found["steps"] == {"inference": 24, "training": 48}
    assert f"{network.n_weights:,} weights of 16 bits" in printed and "0.5" in printed
    assert {b["board"]: b["short"] for b in found["boards"]}["icebreaker"] == ""


@pytest.mark.parametrize("contrast", ["phases", "errors"])
@pytest.mark.parametrize("feedback", [True, False])
def test_show_synapses_that_learn(contrast, feedback, tmp_path):
    """Without feedback all learn from errors, none by nudged phases; as in training."""
    network = Network.chain(6, 5, 4, 3, feedback=feedback, schedule=Schedule(contrast=contrast))
    networks.save(tmp_path / "n.npz", network, network.initial_weights())
    printed, found = output_and_json("show", tmp_path / "n.npz")
    trains = feedback or contrast == "errors"
    assert {s["learns"] for s in found["synapses"]} == {trains}
    assert trains == network.trainable == ("cannot learn" not in printed)
    if not trains:
        with pytest.raises(ValueError, match=network.feedforward[0].name):
            Kernel(network, learning_rate=0.1)


@pytest.mark.parametrize(
    "key, value, needs",
    [("error_gain", 2, 'contrast = "errors"'), ("min_windows", 3, "early_exit = 8\nfree = 24\nnudged = 12")],
)
def test_phases_without_effect(key, value, needs, tmp_path):
    """Refused in a file and with --set, unless it has the default; a saved network with one is readable."""
    chain = netfile.written(Description.of(tables.chain(5), "digits"))
    start = chain.split("[phases]")[0]
    path = write(tmp_path, f"{start}[phases]\n{key} = {value}\n")
    with pytest.raises(ValueError, match=f"line .*{key}"):
        netfile.read(path)
    out = tmp_path / "run"
    changed = f"phases.{key}={value}"
    assert key in error_of("train", "digits", "--set", changed, "--epochs", 1, "--out", out)
    netfile.read(write(tmp_path, f"{start}[phases]\n{key} = {value}\n{needs}\n"))
    default = getattr(Schedule(), key)
    netfile.read(write(tmp_path, f"{start}[phases]\n{key} = {default}\n"))
    network = Network.chain(4, 3, 2, schedule=Schedule(**{key: value}))
    path = write(tmp_path, netfile.written(Description.of_network(network, sized=True)))
    assert getattr(netfile.read(path).network().schedule, key) == default


def test_show_capacity_errors(tmp_path):
    wide = Network.chain(784, 128, 10)
    networks.save(tmp_path / "wide.npz", wide, wide.initial_weights())
    assert "6403 tiles of 4x4" in run("show", tmp_path / "wide.npz")


def test_unconnected_population(tmp_path):
    path = write(tmp_path, GRAPH + '\n[population.lonely]\nkind = "lif"\nsize = 3\n')
    assert "'lonely'" in run("show", path)
    assert "'lonely'" in run("train", "digits", "--config", path, "--epochs", 1, "--out", tmp_path / "run")
    assert "no synapse" not in run("show", write(tmp_path, GRAPH))


def test_show_without_data(tmp_path):
    printed = run("show", write(tmp_path, GRAPH))
    assert "sizes of input, output" in printed and "icebreaker" not in printed


def test_diagram_output(tmp_path):
    path = write(tmp_path, GRAPH)
    run("show", path, "digits", "--out", tmp_path / "net.md")
    text = (tmp_path / "net.md").read_text()
    assert text.startswith("```mermaid\nflowchart") and text.endswith("```\n")
    assert "--out" in error_of("show", path, "--out", tmp_path / "net.png")


@pytest.mark.parametrize(
    "network",
    [
        TANGLED,
        Network.chain(784, 300, 200, 100, 50, 20, 10),
        Network.attention(64, 50, 8, 32, 16, 4),
        Network.attention(400, 50, 16, 64, 2, table_rows=20_000, table_learning_rate_scale=0.25),
    ],
    ids=["graph", "chain", "attention", "table"],
)
def test_diagram_of_network(network):
    check_diagram(network)


@given(st.tuples(*3 * [st.booleans()]).flatmap(lambda kind: random_networks(*kind)))
@settings(deadline=None, max_examples=10)
def test_diagram_of_random_network(network):
    check_diagram(network)


NODE = r'  p\d+[(\[]+"([\w .,;#&]|<br>)*"[)\]]+'
ARROW = r'  (p\d+) <?-\.?-?>(\|"([\w .,;#&]|<br>)+"\|)? (p\d+)'


def check_diagram(network: Network) -> None:
    """A box for each population and an arrow for each synapse, but for biases; names close no label."""
    description = Description.of_network(network, sized=True)
    found = NetworkResources.of("n", description, network)
    assert json.loads(json.dumps(found.to_dict()))["weights"] == network.n_weights
    lines = show_network.diagram(found).splitlines()[2:-1]
    shown = {p.name for p in found.populations if p.kind != "constant"}
    assert len([line for line in lines if re.fullmatch(NODE, line)]) == len(shown)
    arrows = [m for line in lines if (m := re.fullmatch(ARROW, line))]
    nodes = dict(zip([p.name for p in found.populations if p.name in shown], itertools.count(), strict=False))
    expected = [(f"p{nodes[s.pre]}", f"p{nodes[s.post]}") for s in found.synapses if s.pre in shown]
    assert [(m[1], m[4]) for m in arrows] == expected and len(lines) == len(shown) + len(arrows)


def test_diagram_escapes_names():
    network = Network.chain(4, 3, 2)
    found = NetworkResources.of("n", Description.of_network(network, sized=True), network)
    name = 'a"]\nb-->c<b>`|#;'
    populations = (dataclasses.replace(found.populations[0], name=name), *found.populations[1:])
    text = show_network.diagram(dataclasses.replace(found, populations=populations, synapses=()))
    assert len(text.splitlines()) == 3 + len([p for p in populations if p.kind != "constant"])
    assert name in re.sub(r"#(\d+);", lambda m: chr(int(m[1])), text) and name not in text


# -- docs ------------------------------------------------------------------------------------------
DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "how_to" / "own_networks.md"
KEYS = DOCS / "reference" / "network_files.md"


def test_page_lists_every_key():
    assert netfile.table() in KEYS.read_text(), "python -m equilif.training.settings.netfile  makes the table"
    assert all(key.meaning for table in netfile.TABLES for key in netfile.keys(table).values())


def test_page_examples_are_valid(tmp_path):
    first, memory, maps = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.S)
    with pytest.raises(ValueError, match="hidden"):
        netfile.read(write(tmp_path, first)).preset("digits").changed(hidden=(3,))
    rest = first[first.index("[population.output]") :].replace('"hidden", "input", "bias"', '"query", "bias"')
    rest = re.sub(r'\[\[synapse\]\]\nfrom = \["input", "bias"\].*?\n\n', "", rest, flags=re.S)
    bias = '[population.bias]\nkind = "constant"\n\n'
    text = bias + memory + "\n" + rest
    assert netfile.read(write(tmp_path, text)).preset("words").memory is not None
    output = rest.replace('"query", "bias"', '"maps1", "bias"')
    images = netfile.read(write(tmp_path, f"{bias}{maps}\n{output}"))
    assert [g.shape for g in images.description.population.values()][1:3] == [(14, 14, 4), (12, 12, 16)]

"""A sensor in the commands: recordings are learned, heard by the golden model, and by boards.

The recordings have the six channels of the iCEBreaker, whole numbers of 12 bits.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from equilif import lesson
from equilif.data import own
from equilif.data.encoding.sensor import TOP, SensorWindows, WindowSize
from equilif.data.formats import Series
from equilif.hardware import boards
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif.listening import SensorRecognizer
from equilif.training.lesson_settings import LessonSettings
from equilif.training.run import Run
from equilif.training.settings import presets
from equilif.training.storage import saved
from equilif_boards import BOARDS
from equilif_golden.engine.chip import read_weights
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region
from equilif_golden.front_end import live
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.sensor import ChannelScaling, Sensor
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import FrontEndKind
from equilif_golden.network import Network
from tests.cli import error_of, json_of, run
from tests.files import write_wav
from tests.listening import ListeningBoard, silence
from tests.runs import trained
from tests.sensors import CHANNELS, CLASSES, STEPS, recording, save_csv
from tests.standalone import client_of

CONFIG = BOARDS["icebreaker"].with_front_end("adc").config


def save_series(path, series, labels):
    np.savez(path, x=np.concatenate(series), offsets=np.cumsum([0, *map(len, series)]), y=np.array(labels))


@pytest.fixture(scope="module")
def moves(tmp_path_factory):
    """Recordings as folders of CSV files and as a test file of series; a run that has learned them."""
    root = tmp_path_factory.mktemp("sensor")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for k in range(6):
            save_csv(root / "moves" / name / f"{k}.csv", recording(name, rng))
    labels = [name for name in CLASSES for _ in range(2)]
    save_series(root / "test.npz", [recording(name, rng) for name in labels], labels)
    data = own.load(root / "moves", front_end=True)
    training = trained(Run.start(presets.own(data).changed(epochs=30, hidden=[16]), data, 0))
    assert training.history[-1].test_accuracy == 1
    training.save(root / "run")
    return root


@pytest.fixture(scope="module")
def network(moves):
    return moves / "run" / "network.npz"


# -- data ------------------------------------------------------------------------------------------
def test_samples_of_recordings(tmp_path):
    """Inputs are those of the golden front end after power-on; a recording is in one part."""
    rng = np.random.default_rng(1)
    lengths = [1, 3, 2, 1, 2, 1]
    series = [recording(CLASSES[k % 2], rng, n)[: n * STEPS + k] for k, n in enumerate(lengths)]
    series = [np.concatenate([x, x[:k]]) for k, x in enumerate(series)]  # less than a sample is left over
    save_series(tmp_path / "a.npz", series, [CLASSES[k % 2] for k in range(6)])
    data = own.load(tmp_path / "a.npz", front_end=True)
    about = data.about
    assert len(data.x_train) + len(data.x_test) == sum(lengths) and about.encoding.sensor.low == ()
    values = [np.array([s.values for s in Sensor(CHANNELS, 4, 6).feed(x)]) for x in series]
    assert [len(v) for v in values] == lengths
    inputs = [about.scaling.sensor.inputs(v) for v in values]
    for x, k in zip(inputs, range(6), strict=True):
        there = [any((row == other).all() for other in data.x_test) for row in x]
        assert all(there) or not any(there)
        part, y = (data.x_test, data.y_test) if there[0] else (data.x_train, data.y_train)
        for row in x:
            assert k % 2 in y[(part == row).all(axis=1)]
    trained = [v for v, x in zip(values, inputs, strict=True) if any((x[0] == t).all() for t in data.x_train)]
    expected = ChannelScaling.of(np.concatenate(trained), CHANNELS)
    assert (about.scaling.sensor.center == expected.center).all()
    assert (about.scaling.sensor.scale == expected.scale).all()


def test_values_in_other_units():
    """The training range of a channel becomes that of the ADC; what is beyond is clipped and counted."""
    x = np.array([[-1.0, 5.0], [1.0, 5.0], [3.0, 5.0]] * 32)
    sensor = SensorWindows.fit(Series.of([x]), WindowSize())
    assert (sensor.low, sensor.high) == ((-1.0, 5.0), (3.0, 6.0))
    readings, clipped = sensor.readings([[-9.0, 5.0], [1.0, 5.5], [3.0, 7.0]], "values")
    assert readings.tolist() == [[0, 0], [2048, 2048], [TOP, TOP]] and clipped == 2


def test_folder_and_file_are_the_same(moves, tmp_path):
    paths = sorted((moves / "moves").rglob("*.csv"))
    series = [np.loadtxt(p, delimiter=",") for p in paths]
    save_series(tmp_path / "a.npz", series, [p.parent.name for p in paths])
    a, b = (own.load(p, front_end=True) for p in (moves / "moves", tmp_path / "a.npz"))
    assert a.digest == b.digest and a.about.scaling == b.about.scaling
    assert own.load(moves / "moves").about.encoding.sensor is None


def test_named_channels(moves, tmp_path):
    rng = np.random.default_rng(0)
    names = ["ax", "ay", "az", "gx", "gy", "gz"]
    for name in CLASSES:
        for k in range(3):
            path = tmp_path / "named" / name / f"{k}.csv"
            save_csv(path, recording(name, rng))
            path.write_text(",".join(names) + "\n" + path.read_text())
    data = own.load(tmp_path / "named", front_end=True)
    assert data.about.scaling.names[:7] == tuple(f"{n}, mean 1" for n in names) + ("ax, energy 1",)
    assert data.about.encoding.read_names(data.about.scaling.names) == tuple(names)
    path.write_text(path.read_text().replace("ax", "temperature"))
    with pytest.raises(ValueError, match="temperature"):
        own.load(tmp_path / "named", front_end=True)


@pytest.mark.parametrize(
    "content, named",
    [
        ("", "empty"),
        ("a,b\n", "1.csv"),
        ("1,2\n1,2,3\n", "line 2"),
        ("a,b\n1,x\n", "'x'"),
        ("1,2,3\n", "3 channels"),
        ("1,2\n", "1.csv"),
    ],
)
def test_unusable_csv_recordings(content, named, tmp_path):
    for name in "pq":
        for k in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{k}.csv").write_text("a,b\n" + "1,2\n3,4\n" * 50)
    (tmp_path / "q" / "1.csv").write_text(content)
    with pytest.raises(ValueError, match=named):
        own.load(tmp_path)


def test_other_windows(moves):
    """Their numbers come back from the file of a network."""
    found = own.read(moves / "moves", front_end=True, window=3, windows=4)
    assert found.about.encoding.sensor.steps == 32 and found.data.n_features == 48
    assert len(found.data.x_train) == 3 * len(own.load(moves / "moves", front_end=True).x_train)
    assert own.reload(found.about).digest == found.data.digest


@pytest.mark.parametrize(
    "steps, channels, options, named",
    [
        (95, 6, {}, "95.*96"),
        (96, 16, {}, "16"),
        (96, 6, {"windows": 65}, "65"),
        (96, 6, {"front_end": False, "windows": 2}, "front_end"),
        (96, 6, {"gap": True}, "missing"),
        (96, 6, {"constant": True}, "windows"),
    ],
)
def test_unusable_series(steps, channels, options, named, tmp_path):
    options = {"front_end": True, **options}
    x = np.random.default_rng(0).integers(0, 4096, (4, steps, channels)).astype(float)
    if options.pop("gap", False):
        x[1, 2, 3] = np.nan
    if options.pop("constant", False):
        x[:] = 7
    save_series(tmp_path / "a.npz", list(x), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=named):
        own.load(tmp_path / "a.npz", **options)


def test_windows_are_for_a_sensor(spoken):
    with pytest.raises(ValueError, match=r"data\.windows"):
        own.read(spoken / "words", front_end=True, windows=3)


# -- listen ----------------------------------------------------------------------------------------
def test_listen(moves, network, tmp_path):
    found = json_of("listen", network, moves / "test.npz", "--out", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<section") == 1 + 1 + 4 and "6 samples classified" in page
    assert found["accuracy"] == 1 and len(found["samples"]) == 6
    assert [s["expected"] for s in found["samples"]] == [n for n in CLASSES for _ in range(2)]
    assert [round(s["end"], 2) for s in found["samples"][:2]] == [0.96, 1.92]


def test_listen_to_a_stream(moves, network, tmp_path):
    """A recording without classes, with a sample in which the ADC is not connected."""
    rng = np.random.default_rng(5)
    parts = [
        recording("slow", rng),
        np.zeros((STEPS, CHANNELS)),
        recording("fast", rng),
        np.ones((9, CHANNELS)),
    ]
    save_csv(tmp_path / "a.csv", np.concatenate(parts))
    found = json_of("listen", network, tmp_path / "a.csv")
    assert [s["label"] for s in found["samples"]] == ["slow", None, "fast"] and "accuracy" not in found
    assert "ADC" in found["samples"][1]["reason"]


def test_classes_that_the_network_has_not(network, tmp_path):
    """They are not rated."""
    rng = np.random.default_rng(6)
    save_series(tmp_path / "a.npz", [recording(n, rng) for n in ("fast", "still")], ["fast", "asleep"])
    assert "2 samples, right: 1 of 1 whose class" in run("listen", network, tmp_path / "a.npz")


def test_channels_by_name(tmp_path):
    """`equilif listen` and `equilif evaluate` take channels in the order of the header, and no others."""
    rng = np.random.default_rng(7)
    order = [3, 0, 5, 1, 4, 2]
    header = [f"c{k}" for k in range(CHANNELS)]
    for name in CLASSES:
        for k in range(6):
            x = recording(name, rng) * [1, 1, 0.5, 0.25, 1, 1]
            for part, names, values in (
                ("named", header, x),
                ("permuted", [header[k] for k in order], x[:, order]),
                ("nameless", [], x[:, order]),
                ("others", ["other", *header[1:]], x),
            ):
                path = tmp_path / part / name / f"{k}.csv"
                save_csv(path, values)
                path.write_text(",".join(names) + "\n" * bool(names) + path.read_text())
    data = own.load(tmp_path / "named", front_end=True)
    assert data.about.encoding.sensor.low
    training = Run.start(presets.own(data).changed(epochs=1, hidden=[4]), data, 0)
    training.epoch(folder=tmp_path / "run")
    network = tmp_path / "run" / "network.npz"

    def found(command, source):
        return json_of(command, network, source)

    for command in ("evaluate", "listen"):
        first, second = (found(command, tmp_path / part) for part in ("named", "permuted"))
        assert first["accuracy"] == second["accuracy"]
        for part in ("nameless", "others"):
            assert "c0" in error_of(command, network, tmp_path / part)
    assert first["samples"] != [] and [s["label"] for s in first["samples"]] == [
        s["label"] for s in second["samples"]
    ]
    path = tmp_path / "permuted" / "fast" / "0.csv"
    names, *rows = path.read_text().splitlines()
    path.write_text("\n".join([names, ",".join(["1e6"] * CHANNELS), *rows[1:]]))
    assert found("listen", path)["clipped"] == CHANNELS and "6 values" in run("listen", network, path)


def changed(x, at, value):
    x = x.astype(float)
    x[at] = value
    return x


@pytest.mark.parametrize(
    "x, named",
    [
        (np.full((96, 5), 9), "(5,)"),
        (np.full((95, 6), 9), "95"),
        (changed(np.full((96, 6), 9), (3, 2), 4096), "4096"),
        (changed(np.full((96, 6), 9), (3, 2), -1), "-1"),
        (changed(np.full((96, 6), 9), (3, 2), 0.5), "0.5"),
        (changed(np.full((96, 6), 9), (3, 2), np.nan), "missing"),
    ],
)
def test_unusable_recordings(x, named, network, tmp_path):
    save_csv(tmp_path / "a.csv", x)
    assert named in error_of("listen", network, tmp_path / "a.csv")
    assert named in error_of("simulate", "icebreaker", "--network", network, "--sensor", tmp_path / "a.csv")


@pytest.mark.parametrize(
    "words, named",
    [
        (("listen", "SENSOR", "a.wav"), "a.wav"),
        (("listen", "SENSOR", "words"), "WAV"),
        (("listen", "SENSOR"), "FILE"),
        (("listen", "SENSOR", "a.csv", "--out", "a.html", "--learn", "new"), "--out"),
        (("listen", "SENSOR", "a.csv", "--learn", "new", "--utterances", 3), "--port"),
        (("listen", "SENSOR", "none.csv"), "none.csv"),
        (("listen", "WORDS", "a.csv"), "a.csv"),
        (("listen", "digits-64", "a.csv"), "front_end"),
        (("simulate", "ulx3s-25f", "--microphone", "a.wav", "--network", "SENSOR"), "sensor"),
        (("simulate", "icebreaker", "--sensor", "a.csv", "--network", "WORDS"), "hears words"),
        (("simulate", "icebreaker", "--sensor", "a.csv", "--network", "digits-64"), "front_end"),
        (("simulate", "ulx3s-25f", "--sensor", "a.csv", "--network", "SENSOR"), "adc"),
        (("simulate", "icebreaker", "--sensor", "a.csv"), "--network"),
        (("simulate", "icebreaker", "--sensor", "a.csv", "--network", "SENSOR", "--learn", 3), "0 to 2"),
        (("simulate", "icebreaker", "--sensor", "a.csv", "--network", "SENSOR", "--lanes", 4), "--lanes"),
        (("simulate", "icebreaker", "--sensor", "a.csv", "--network", "SENSOR", "--flash", "f"), "--flash"),
        (("simulate", "icebreaker", "--sensor", "a.csv", "--network", "SENSOR", "--link", "x"), "--link"),
        (
            ("simulate", "icebreaker", "--sensor", "a.csv", "--microphone", "a.wav", "--network", "SENSOR"),
            "two",
        ),
    ],
)
def test_sensor_and_words(words, named, moves, network, spoken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_csv(tmp_path / "a.csv", np.full((96, 6), 9))
    write_wav(tmp_path / "a.wav", silence(0.1))
    places = {
        "SENSOR": network,
        "WORDS": spoken / "run" / "network.npz",
        "words": spoken / "words",
    }
    assert named in error_of(*(places.get(w, w) for w in words))


@pytest.mark.parametrize("label", ["fast", "other"])
def test_learn_a_recording(label, moves, network, tmp_path, monkeypatch):
    """Network and memory are those of a lesson of the golden kernel; the next lesson has the samples."""
    settings = LessonSettings(stored=2, passes=3)
    monkeypatch.setattr("equilif.commands.listening.SETTINGS", settings)
    x = recording("still", np.random.default_rng(3), 2) - 500
    save_csv(tmp_path / "a.csv", x)
    target = tmp_path / "learned.npz"
    run("listen", network, tmp_path / "a.csv", "--learn", label, "--save", target)
    before, after = SensorRecognizer(saved.read(network)), SensorRecognizer(saved.read(target))
    assert after.labels == (*CLASSES, *(["other"] if label == "other" else []))
    memory = lesson.memory(after.saved)
    assert len(memory) == 8 and memory.labels[-2:].tolist() == [after.labels.index(label)] * 2
    values = np.array([s.values for s in Sensor(CHANNELS, 4, 6).feed(x)])
    assert (memory.x[-2:] == before.scaling.inputs(values)).all()
    weights, net = before.saved.weights, before.saved.network
    if label == "other":
        net, weights = lesson.with_class(net, weights)
    kernel = Kernel(net, weights, learning_rate=settings.learning_rate)
    lesson.learn(kernel, memory, settings)
    assert all((kernel.weights[s.name] == after.saved.weights[s.name]).all() for s in net.plastic)
    with pytest.raises(ValueError, match="70"):
        lesson.SensorSamples.load(lesson.memory_path(target, memory.unit), Network.chain(70, 4, 3))


# -- boards ----------------------------------------------------------------------------------------
@pytest.fixture
def board(network, monkeypatch):
    """A function that makes the board at the port, in which some samples end."""

    def at_port(*samples):
        made = ListeningBoard(CONFIG, saved.read(network).network, samples)
        monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: made)
        return made

    return at_port


def test_listen_to_a_board(board, network):
    x = np.arange(72)
    board(x, None, int(Verdict.STUCK), live.LOST, x, None)
    found = json_of("listen", network, "--port", "x")["samples"]
    assert [s["label"] for s in found] == ["slow", None, None, "slow"]
    assert "ADC" in found[1]["reason"] and "lost" in found[2]["reason"]


def test_learn_from_a_board(board, network, tmp_path, monkeypatch):
    settings = LessonSettings(stored=1, passes=2)
    monkeypatch.setattr("equilif.commands.listening.SETTINGS", settings)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 72))
    made = board(x[0], None, int(Verdict.STUCK), x[1], None)
    target = tmp_path / "learned.npz"
    run("listen", network, "--port", "x", "--learn", "fast", "--utterances", 2, "--save", target)
    after = SensorRecognizer(saved.read(target))
    memory = lesson.memory(after.saved)
    assert (memory.x[-2:] == x).all() and memory.labels.tolist() == [0, 1, 2, 0, 0]
    kernel = Kernel(after.saved.network, saved.read(network).weights, learning_rate=settings.learning_rate)
    lesson.learn(kernel, memory, settings)
    there = read_weights(made, Compiled(after.saved.network, CONFIG))
    for s in after.saved.network.plastic:
        assert (kernel.weights[s.name] == after.saved.weights[s.name]).all()
        assert (kernel.weights[s.name] == there[s.name]).all()


def test_restore(network, monkeypatch):
    """Weights and table are in the board."""
    device = Device(CONFIG, front_end=FrontEndKind.SENSOR, max_samples=1)
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client_of(device))
    run("restore", network)
    listener = SensorRecognizer(saved.read(network))
    found = listener.saved
    table = live.Table(found.network, listener.scaling, 72).content(CONFIG)
    there = device.engine.read(Region.VALUE, live.table_first(CONFIG), live.TABLE_BYTES)
    assert (there & 0xFF == table).all()
    weights = read_weights(device.engine, Compiled(found.network, CONFIG))
    assert all((weights[s.name] == found.weights[s.name]).all() for s in found.network.plastic)


WORDS = EngineConfig(lanes=8, tiles=2048, value_groups=512, state_groups=64, program_words=2048)


@pytest.mark.parametrize("command", [("restore",), ("listen", "--port", "x")])
@pytest.mark.parametrize(
    "config, front_end, network_of, named",
    [
        (WORDS, FrontEndKind.SENSOR, "WORDS", "front end of a sensor"),
        (CONFIG, FrontEndKind.MICROPHONE, "SENSOR", "front end of a microphone"),
        (CONFIG, FrontEndKind.SENSOR, "OTHER", "12 windows of 8"),
        (CONFIG, FrontEndKind.SENSOR, "NARROW", "3 channels"),
    ],
)
def test_another_front_end(
    command,
    config,
    front_end,
    network_of,
    named,
    others,
    network,  # noqa: F811
    spoken,
    monkeypatch,
):
    """One error, before anything is written to the board."""
    places = {**others, "SENSOR": network, "WORDS": spoken / "run" / "network.npz"}
    client = client_of(Device(config, front_end=front_end))
    client.identify()
    sent = client.traffic.sent
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client)
    assert named in error_of(command[0], places[network_of], *command[1:])
    assert client.traffic.sent == sent


@pytest.fixture(scope="module")
def others(moves, tmp_path_factory):
    """Networks for other front ends."""
    root = tmp_path_factory.mktemp("others")
    narrow = [np.loadtxt(p, delimiter=",")[:, :3] for p in sorted((moves / "moves").rglob("*.csv"))]
    save_series(root / "narrow.npz", narrow, [k // 6 for k in range(18)])
    found = {}
    for name, path, options in (
        ("OTHER", moves / "moves", {"window": 3, "windows": 12}),
        ("NARROW", root / "narrow.npz", {}),
    ):
        data = own.load(path, front_end=True, **options)
        Run.start(presets.own(data), data, 0).save(root / name)
        found[name] = root / name / "network.npz"
    return found


def held(found):
    """Builds that hold a network, of a command."""
    return [f"{b['board']} {b['options']}".strip() for b in found["boards"] if not b["short"]]


@pytest.mark.parametrize(
    ("name", "reason"), [("SENSOR", "no front end"), ("NARROW", "3 channels"), ("WORDS", "no microphone")]
)
def test_commands_name_the_same_boards(name, reason, others, network, spoken, moves, tmp_path):
    """Only builds with the front end of the samples hold a network."""
    pytest.importorskip("matplotlib")
    path = {**others, "SENSOR": network, "WORDS": spoken / "run" / "network.npz"}[name]

    def found(*arguments):
        return json_of(*arguments)

    shown = found("show", path)
    held_by = {
        f.build for f in boards.fits(saved.read(path).network, saved.read(path).encoding) if not f.short
    }
    expected = {"SENSOR": {"icebreaker --front-end adc"}, "NARROW": set()}
    assert set(held(shown)) == held_by == expected.get(name, held_by)
    assert all("--front-end" in build for build in held_by)
    assert any(reason in b["short"] for b in shown["boards"])
    assert held(found("boards", "--network", path)) == held(shown)
    if name != "NARROW":  # it has not been trained
        report = found("report", path.parent, "--out", tmp_path / "r.html")
        assert held({"boards": [{**b, "board": b["name"]} for b in report["boards"]]}) == held(shown)
    if name == "SENSOR":
        assert found("inspect", moves / "moves", "--set", "data.front_end=true")["boards"] == held(shown)


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_simulated_board(moves, network, tmp_path):
    """Answers are those of the golden model, which has heard half of the range before; then it learns."""
    played = ("--sensor", moves / "test.npz", "--network", network)
    answers = json_of("simulate", "icebreaker", *played)["answers"]
    listener = SensorRecognizer(saved.read(network))
    front_end = listener.sensor.front_end()
    front_end.feed(np.full((STEPS, CHANNELS), 2048))
    readings = np.concatenate([r.readings for r in listener.recordings(moves / "test.npz")])
    values = np.array([s.values for s in front_end.feed(readings)])
    expected = Kernel(listener.saved.network, listener.saved.weights).predict(listener.scaling.inputs(values))
    assert [a["text"] for a in answers] == [f"C{k:02}" for k in expected]
    assert [a["end"] for a in answers[:2]] == [0.96, 1.92]
    save_csv(tmp_path / "a.csv", recording("slow", np.random.default_rng(1), 3))
    simulated = Simulated(BOARDS["icebreaker"].with_front_end("adc"))
    answers = list(simulated.sense(network, tmp_path / "a.csv", 1, 0.05))
    assert [a["text"] for a in answers] == ["L01"] * 3 and answers[0]["label"] == "slow"
    front_end = listener.sensor.front_end()
    front_end.feed(np.full((STEPS, CHANNELS), 2048))
    values = np.array([s.values for s in front_end.feed(np.loadtxt(tmp_path / "a.csv", int, delimiter=","))])
    kernel = Kernel(listener.saved.network, listener.saved.weights, learning_rate=0.05)
    kernel.train(listener.scaling.inputs(values), [1, 1, 1], [0, 1, 2])
    there = read_weights(Client(simulated.board), Compiled(listener.saved.network, CONFIG))
    for s in listener.saved.network.plastic:
        assert (there[s.name] == kernel.weights[s.name]).all()

"""The exported C driver on the golden bus model and on the RTL equals the kernel, without a bus error."""

import dataclasses
import os
import re
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from equilif import Kernel, Network
from equilif.data.sets import images
from equilif.hardware.driver import LAYOUT, MAGIC, STATE_MAGIC, DriverNetwork, declarations, read_saved
from equilif.hardware.export import driver_files, licensed
from equilif.training.storage.history import digest
from equilif.training.storage.identity import NetworkIdentity
from equilif_golden import network as networks
from equilif_golden.blocks.plasticity import DITHER_WIDTH
from equilif_golden.engine.compiler import CapacityError, Compiled, engine_for
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.port import Region, dither_position
from equilif_golden.link.bus import BusModel
from equilif_golden.link.registers import REGISTERS, constants
from equilif_golden.network import Attention, Population, Relay, Synapse, TokenRows, TransformerSizes
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_hdl.link.bus import AxiEngine
from equilif_sim.tools.run import simulate
from tests.cli import error_of
from tests.cli import run as command_line
from tests.networks import GRAPH, memory_case, sample, with_energy
from tests.programs import program

ENGINE = EngineConfig(lanes=4, tiles=160, value_groups=64, state_groups=32, program_words=256)
DIGITS = Network.chain(64, 8, 10)
LONGER = dataclasses.replace(DIGITS, schedule=dataclasses.replace(DIGITS.schedule, free=9))
FOLDED = Network.conv((8, 8), (5, 3), 6, patch=2)
EVENTS = Network.conv((4, 3, 5), (5, 2), 6, channels_first=True)
ATTENTION = Network(
    (
        Population("x", 6, "input"),
        Population("bias", 1, "constant"),
        Attention("stored", 5, sharpness=4),
        Relay("recall", 6, heads=2),
        Population("out", 4),
    ),
    (
        Synapse("stored", "recall", 0.5),
        Synapse("x", "recall"),
        Synapse("recall", "out"),
        Synapse("bias", "out"),
    ),
    "out",
    Schedule(free=32, nudged=16, window=8),
)
TOKENS = Network.attention(5, 6, 2, 9, 3)
MIXED = Network(
    (Population("x", 7, "input"), *TOKENS.populations),
    (Synapse("x", "hidden1"), *TOKENS.synapses),
    "output",
    TOKENS.schedule,
)
CASES = {
    "attention": (ATTENTION, dataclasses.replace(ENGINE, program_words=512)),
    "chain": (DIGITS, ENGINE),
    "graph": (GRAPH, dataclasses.replace(ENGINE, lanes=8, pipeline=Pipeline.SPRAM)),
    "tokens": (TOKENS, dataclasses.replace(ENGINE, program_words=512)),
    "tokens and inputs": (MIXED, dataclasses.replace(ENGINE, program_words=512, lanes=8)),
    "convolution": (FOLDED, dataclasses.replace(ENGINE, convolution=True)),
    "self-attention": (with_energy(), engine_for(with_energy(), lanes=4)),
    "channels first": (EVENTS, dataclasses.replace(ENGINE, convolution=True)),
}
SMALL_TOKENS = Network.attention(3, 3, 1, 3, 2)
#: networks of few accesses, and engines with little more memory than they need
SMALL = {
    name: (network, EngineConfig(**{"lanes": 2, "value_groups": 32, "state_groups": 16, **sizes}))
    for name, network, sizes in (
        ("chain", Network.chain(5, 2, 3), {"tiles": 10, "program_words": 150}),
        (
            "tokens",
            Network(
                (Population("x", 3, "input"), *SMALL_TOKENS.populations),
                (Synapse("x", "hidden1"), *SMALL_TOKENS.synapses),
                "output",
                SMALL_TOKENS.schedule,
            ),
            {"tiles": 21, "program_words": 306},
        ),
        (
            "convolution",
            Network.conv((4, 4), (2, 2), 2, patch=2),
            {"tiles": 23, "program_words": 183, "convolution": True},
        ),
    )
}
LEARNING_RATE = 0.05
COUNTER = 1234567
#: values of enum equilif_result
RESULTS = (
    "OK NO_ENGINE VERSION TOO_SMALL PROGRAM NO_PROGRAM BUSY TIMEOUT LABEL INFERENCE TOKENS IMAGE BUS OWNER "
    "STATE"
).split()
#: of the trial
FILES = ("samples", "results", "saved")
VERSION = constants(ENGINE)["VERSION"]
TRIAL = Path(__file__).with_name("driver_trial.c")
FAULTS = Path(__file__).with_name("driver_faults.c")


def build(folder, network, engine, learning_rate=LEARNING_RATE, options=(), program=TRIAL, about=None):
    """Compile the driver with a network of random weights, as the executable ``trial``."""
    rng = np.random.default_rng(3)
    weights = {s.name: rng.integers(-1500, 1501, network.shape(s)) for s in network.plastic}
    compiled = DriverNetwork.compile(
        network, weights, engine, learning_rate=learning_rate, counter=COUNTER, about=about
    )
    for name, content in driver_files(engine, compiled, "core").items():
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else licensed(path, content).encode())
    checks = "-std=c99 -Wall -Wextra -Wconversion -Werror -pedantic -O1 -g"
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(
        ["gcc", *checks.split(), *sanitizers, *options, "-I.", program, "core.c", "-o", "trial"],
        cwd=folder,
        check=True,
    )
    return Kernel(network, weights, learning_rate=learning_rate, counter=COUNTER, threads=1)


def run(folder, bus, x, labels, n_learned, network="arrays", tokens=None):
    """Exit code of the driver as a name of an error, and what it recorded."""
    write_samples(folder, x, labels, n_learned, tokens)
    environment = os.environ | {"ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "exitcode=99"}
    with subprocess.Popen(
        command(folder, network), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as driver:
        while request := driver.stdout.read(9):
            kind, offset, word = struct.unpack("<cII", request)
            if kind == b"W":
                bus.write(offset, word)
            else:
                driver.stdin.write(struct.pack("<I", bus.read(offset)))
                driver.stdin.flush()
    results = folder / "results"
    return RESULTS[driver.returncode], results.read_bytes() if results.exists() else b""


def write_samples(folder, x, labels, n_learned, tokens=None):
    """The file that the program reads."""
    content = [struct.pack("<2I", n_learned, len(x) - n_learned)]
    for values, label, t in zip(x, labels, tokens or [None] * len(x), strict=True):
        patterns = np.zeros((0, 0)) if t is None else t.table[t.rows_of(0)]
        content += [struct.pack("<2I", label, len(patterns)), patterns.astype("<i2").tobytes(), bytes(values)]
    (folder / "samples").write_bytes(b"".join(content))


def command(folder, network="arrays"):
    return [
        str(folder / "trial"),
        str(network),
        str(folder / "samples"),
        str(folder / "results"),
        str(folder / "saved"),
    ]


def compare(golden, engine, x, labels, n_learned, recorded, tokens=None):
    """Predictions, rates, weights and counter are those of the kernel."""
    network = golden.network
    n = len(x)
    n_rates = sum(q.size for q in network.lif)
    n_weights = Compiled(network, engine).n_tiles * engine.lanes**2
    samples = np.dtype([("prediction", "<u4"), ("rates", "<u2", n_rates)])
    saved = np.dtype([("weights", "<i2", n_weights), ("counter", "<u4")])
    each = np.frombuffer(recorded, samples, n)
    states = np.frombuffer(recorded, saved, 2, n * samples.itemsize)
    initial = golden_words(golden, engine)
    for j in range(n):
        t = tokens and tokens[j]
        assert each["prediction"][j] == golden.predict(x[j : j + 1], tokens=t)[0], j
        target = one_hot(labels[j : j + 1], network.n_outputs) if j < n_learned else None
        free, plus, minus = golden.rates(x[j : j + 1], target, tokens=t)[0][0]
        expected = free * 257 if target is None else plus + 256 * minus
        assert np.array_equal(each["rates"][j], expected), j
        if j < n_learned:
            golden.train(x[j : j + 1], labels[j : j + 1], tokens=t)
    words = [golden_words(golden, engine), initial]
    assert not np.array_equal(*words)
    assert np.array_equal(states["weights"], words)
    assert list(states["counter"]) == [dither_position(golden.counter), dither_position(COUNTER)]


@pytest.mark.parametrize("case", CASES)
def test_driver_equals_kernel(case, tmp_path):
    """From the arrays and, on a used engine, from the image."""
    network, engine = CASES[case]
    n_learned, n = 8, 12
    _, x, labels, tokens = memory_case(network, np.random.default_rng(1), n)
    if case == "chain":
        digits = images.digits()
        x, labels = digits.x_train[:n], digits.y_train[:n]
    golden = build(tmp_path, network, engine)
    result, recorded = run(tmp_path, BusModel(engine), x, labels, n_learned, tokens=tokens)
    assert result == "OK"
    used = BusModel(engine)
    used.engine.plus[:], used.engine.minus[:], used.engine.w[:] = 77, 78, 79  # by another network
    assert run(tmp_path, used, x, labels, n_learned, tmp_path / "network.bin", tokens)[1] == recorded
    compare(golden, engine, x, labels, n_learned, recorded, tokens)


def test_transformer(tmp_path):
    """Inference: predictions and rates."""
    network = Network.transformer(
        TransformerSizes(5, 3, 4, 1, 4, heads=2), schedule=Schedule(free=8, window=4)
    )
    engine = engine_for(network, lanes=4)
    golden = build(tmp_path, network, engine, learning_rate=0.0)
    x, labels = sample(network, 6)
    result, recorded = run(tmp_path, BusModel(engine), x, labels, 0)
    assert result == "OK"
    free = golden.rates(x)[0][:, 0]
    each = np.frombuffer(recorded, np.dtype([("prediction", "<u4"), ("rates", "<u2", free.shape[1])]), len(x))
    assert np.array_equal(each["rates"] & 255, free)
    assert np.array_equal(each["prediction"], golden.predict(x)) and len(set(each["prediction"])) > 1


@pytest.mark.regress
def test_driver_on_rtl(tmp_path):
    n_learned, n = 20, 24
    x, labels = sample(DIGITS, n)
    golden = build(tmp_path, DIGITS, ENGINE)
    write_samples(tmp_path, x, labels, n_learned)
    assert simulate(
        AxiEngine(ENGINE),
        "equilif_sim.link.driver",
        tmp_path / "simulation",
        simulator="verilator",
        config={"command": command(tmp_path)},
    )
    compare(golden, ENGINE, x, labels, n_learned, (tmp_path / "results").read_bytes())


def test_saved_weights(tmp_path):
    """Learned by the driver, then a network.npz: the weights of the kernel, which goes on learning alike."""
    digits = images.digits()
    x, labels = digits.x_train[:40], digits.y_train[:40]
    golden = build(tmp_path, DIGITS, ENGINE, about={"data": "digits"})
    assert run(tmp_path, BusModel(ENGINE), x, labels, len(x))[0] == "OK"
    golden.train(x, labels)
    like, out = tmp_path / "like.npz", tmp_path / "network.npz"
    arguments = ("save", out, "--like", like, "--weights", tmp_path / "saved")
    for network, about in ((DIGITS, {"data": "letters"}), (DIGITS, None), (LONGER, {"data": "digits"})):
        networks.save(like, network, network.initial_weights(), about)
        assert "saved" in error_of(*arguments) and not out.exists()
    networks.save(like, DIGITS, DIGITS.initial_weights(), {"data": "digits"})
    printed = command_line(*arguments)
    learned = Kernel.load(out)
    assert learned.network == DIGITS and networks.about(out) == {"data": "digits"}
    assert digest(learned.weights) == digest(golden.weights) and digest(golden.weights)[:16] in printed
    for kernel in (learned, golden):
        kernel.set_learning_rate(LEARNING_RATE)
        kernel.train(x[::-1], labels[::-1])
    assert digest(learned.weights) == digest(golden.weights)


def saved(*, engine=ENGINE, words=None, about=None, extra=b"", **changed):
    """A file of the driver; ``changed``: fields of its state."""
    if words is None:
        words = Compiled(DIGITS, engine).weight_words(DIGITS.initial_weights())
    fields = {
        "magic": STATE_MAGIC,
        "layout": LAYOUT,
        "version": constants(engine)["VERSION"],
        "identity": NetworkIdentity.of(DIGITS, about).words(),
        "counter": 0,
        "num_weights": words.size,
    } | changed
    identity = fields.pop("identity")
    head = struct.pack("<9I", *[*fields.values()][:3], *identity, *[*fields.values()][3:])
    content = words.astype("<i2").tobytes() + extra
    return head + struct.pack("<I", zlib.crc32(head + content)) + content


def test_saved_weights_of_each_engine(tmp_path):
    """On any number of lanes; the counter comes back."""
    file = tmp_path / "saved"
    for lanes in (2, 4, 8, 16, 32):
        file.write_bytes(saved(engine=smaller(lanes=lanes), counter=dither_position(77)))
        found, counter = read_saved(file, DIGITS, None)
        assert counter == 77 and digest(found) == digest(DIGITS.initial_weights())


OLD_STATE = struct.pack("<2I", VERSION, 0) + saved()[40:]


@pytest.mark.parametrize(
    "content, named",
    [
        (b"", "0 bytes"),
        (saved(extra=b"\0"), "688"),
        (saved()[:-2], str(len(saved()) - 42)),
        (saved(num_weights=5), "not 5"),
        (saved(version=0x0402), "EQLS"),
        (saved(layout=LAYOUT - 1), "EQLS"),
        (OLD_STATE, "EQLS"),
        (saved(version=VERSION & ~0xFF00), "lanes"),
        (saved(counter=1 << 31), str(1 << 31)),
        (saved(words=np.full((len(saved()) - 40) // 2, 5)), "elements"),
        (saved()[:-1] + b"\x11", "checksum"),
        (saved(about={"labels": ["a", "b"]}), "data"),
        (saved(identity=NetworkIdentity.of(LONGER, None).words()), "structure"),
    ],
)
def test_damaged_saved_weights(content, named, tmp_path):
    file = tmp_path / "saved"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=named):
        read_saved(file, DIGITS, None)


def test_saved_weights_are_a_file_or_a_pipe(tmp_path):
    """Of limited size: no device, no more than the network needs."""
    with pytest.raises(ValueError, match="pipe"):
        read_saved(Path("/dev/zero"), DIGITS, None)
    source, pipe = tmp_path / "source", tmp_path / "pipe"
    os.mkfifo(pipe)
    for content, fits in ((saved(), True), (saved() + bytes(1 << 20), False)):
        source.write_bytes(content)
        with subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', source, pipe]):
            if fits:
                assert digest(read_saved(pipe, DIGITS, None)[0]) == digest(DIGITS.initial_weights())
            else:
                with pytest.raises(ValueError, match="688"):
                    read_saved(pipe, DIGITS, None)


def test_driver_refuses_other_states(tmp_path):
    """Of another network, engine or layout, or damaged."""
    build(tmp_path, *SMALL["chain"], program=FAULTS)
    subprocess.run([tmp_path / "trial", "states"], check=True)


def test_saved_weights_name_their_file(tmp_path):
    like, file, out = tmp_path / "like.npz", tmp_path / "saved", tmp_path / "out.npz"
    networks.save(like, DIGITS, DIGITS.initial_weights())
    file.write_bytes(saved()[:-2])
    for options, named in ([], file.name), (["--port", "/dev/nowhere"], "--port"):
        assert named in error_of("save", out, "--like", like, "--weights", file, *options)
        assert not out.exists()


def golden_words(golden, engine):
    return Compiled(golden.network, engine).weight_words(golden.weights).ravel()


def test_two_engines_share_a_driver(tmp_path):
    """With another engine's header, in one program."""
    for name, engine, lanes in (("left", ENGINE, 4), ("right", dataclasses.replace(ENGINE, lanes=8), 8)):
        folder = tmp_path / name
        folder.mkdir()
        compiled = DriverNetwork.compile(DIGITS, DIGITS.initial_weights(), engine, learning_rate=0.1)
        for file, content in driver_files(engine, compiled, name).items():
            (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        (folder / "use.c").write_text(
            f"""#include "network.h"
            #if EQUILIF_LANES != {lanes}
            #error another engine
            #endif
            const struct equilif_network *{name}(void) {{ return &equilif_network; }}"""
        )
    (tmp_path / "main.c").write_text(
        """#include "left/left.h"
        uint32_t equilif_read32(uintptr_t address) { (void)address; return 0; }
        void equilif_write32(uintptr_t address, uint32_t word) { (void)address; (void)word; }
        const struct equilif_network *left(void), *right(void);
        int main(void)
        {
            struct equilif_engine e;
            return equilif_load(&e, 0, left()) != EQUILIF_ERROR_NO_ENGINE ||
                   equilif_load(&e, 4096, right()) != EQUILIF_ERROR_NO_ENGINE ||
                   left()->version == right()->version;
        }"""
    )
    sources = ["main.c", "left/left.c", "left/use.c", "right/use.c"]
    subprocess.run(["gcc", "-Wall", "-Werror", *sources, "-o", "both"], cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "both"], check=True)


# -- errors ----------------------------------------------------------------------------------------
class FaultyBus(BusModel):
    """Registers that read as given, and writes that are lost."""

    def __init__(self, config, registers=(), lost=()):
        super().__init__(config)
        self.registers = {REGISTERS[name].offset: value for name, value in dict(registers).items()}
        self.lost = [REGISTERS[name].offset for name in lost]

    def read(self, offset):
        return self.registers.get(offset, 0) if offset in self.registers else super().read(offset)

    def write(self, offset, word, strobe=15):
        if offset not in self.lost:
            super().write(offset, word, strobe)


class WideCounter(BusModel):
    """An engine whose counter is out of range."""

    def _element(self):
        return super()._element() | (self.region == Region.COUNTER) << DITHER_WIDTH


class ForgetfulBus(BusModel):
    """An engine that loses its program after each sample."""

    def _run(self, *, learn):
        super()._run(learn=learn)
        self.engine.program = []


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    build(folder, DIGITS, ENGINE, options=["-DEQUILIF_MAX_POLLS=50"])
    return folder


def smaller(**sizes):
    return dataclasses.replace(ENGINE, **sizes)


@pytest.mark.parametrize(
    "bus, result",
    [
        (FaultyBus(ENGINE, {"ID": 0xFFFFFFFF}), "NO_ENGINE"),
        (BusModel(smaller(lanes=8)), "VERSION"),
        (BusModel(smaller(attention=False)), "VERSION"),
        (FaultyBus(ENGINE, {"NUMERICS": 0}), "VERSION"),
        (BusModel(smaller(tiles=40)), "TOO_SMALL"),
        (BusModel(smaller(value_groups=16, state_groups=16)), "TOO_SMALL"),
        (BusModel(smaller(state_groups=4)), "TOO_SMALL"),
        (BusModel(smaller(program_words=64)), "TOO_SMALL"),
        (FaultyBus(ENGINE, {"STATUS": 4}), "BUSY"),
        (FaultyBus(ENGINE, {"STATUS": 0xFFFFFFFF}), "BUS"),
        (FaultyBus(ENGINE, {"STATUS": 16 | 8}), "BUS"),
        (FaultyBus(ENGINE, {"PREDICTION": 10}), "BUS"),
        (FaultyBus(ENGINE, {"PREDICTION": 0xFFFFFFFF}), "BUS"),
        (FaultyBus(ENGINE, lost=["DATA"]), "BUS"),
        (FaultyBus(ENGINE, lost=["LOAD"]), "PROGRAM"),
        (FaultyBus(ENGINE, {"STATUS": 8}), "TIMEOUT"),
        (WideCounter(ENGINE), "BUS"),
        (ForgetfulBus(ENGINE), "NO_PROGRAM"),
    ],
)
def test_engine_errors(built, bus, result):
    x, labels = sample(DIGITS, 2)
    assert run(built, bus, x, labels, 2)[0] == result


@pytest.mark.parametrize(
    "case", ["chain", *(pytest.param(name, marks=pytest.mark.regress) for name in ("tokens", "convolution"))]
)
def test_every_fault_of_the_bus(case, tmp_path):
    """Each kind at each access of load, learn, predict, rates, save and restore: an error or the right
    result, and after an error nothing but a load.  Two driver structures on one engine notice each other.
    """
    build(tmp_path, *SMALL[case], options=["-DEQUILIF_MAX_POLLS=20"], program=FAULTS)
    printed = program(tmp_path / "trial", "bus").stdout
    counts = re.search(r"(\d+) positions, (\d+) kinds: (\d+) errors, (\d+) right, 0 wrong", printed)
    assert counts, printed
    positions, kinds, errors, right = map(int, counts.groups())
    assert positions > 500 and kinds == 48 and errors + right == positions * kinds and errors > right


@pytest.mark.parametrize("case", ["chain", "tokens"])
def test_images_of_wrong_numbers(case, tmp_path):
    """With the right checksum: refused, or used within their memory and that of the engine."""
    build(tmp_path, *SMALL[case], options=["-DEQUILIF_MAX_POLLS=20"], program=FAULTS)
    trial = (tmp_path / "trial", "images", tmp_path / "network.bin", 20_000)
    printed = program(*trial, UBSAN_OPTIONS="print_stacktrace=1").stdout
    accepted, loaded = map(int, re.search(r"(\d+) accepted, (\d+) loaded", printed).groups())
    assert 0 < loaded < accepted < 10_000


def test_wrong_calls(built):
    assert run(built, BusModel(ENGINE), [], [], 0)[0] == "NO_PROGRAM", "before a load"
    assert run(built, BusModel(ENGINE), sample(DIGITS, 1)[0], [10], 1)[0] == "LABEL"


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-4],
        lambda b: b[:40],
        lambda b: b[:-1] + b"\x55",
        lambda b: b"",
        lambda b: b[:4] + struct.pack("<I", LAYOUT - 1) + b[8:],
    ],
)
def test_damaged_image(built, damage):
    image = built / "damaged.bin"
    image.write_bytes(damage((built / "network.bin").read_bytes()))
    x, labels = sample(DIGITS, 1)
    assert run(built, BusModel(ENGINE), x, labels, 1, image)[0] == "IMAGE"


def test_inference_alone(tmp_path):
    build(tmp_path, DIGITS, ENGINE, learning_rate=0.0)
    x, labels = sample(DIGITS, 2)
    assert run(tmp_path, BusModel(ENGINE), x, labels, 1)[0] == "INFERENCE"
    assert run(tmp_path, BusModel(ENGINE), x, labels, 0)[0] == "OK"


def test_network_too_large():
    weights = DIGITS.initial_weights()
    with pytest.raises(CapacityError, match=r"\d+ tiles"):
        DriverNetwork.compile(DIGITS, weights, smaller(tiles=8), learning_rate=0.1)


def test_fields_have_the_order_of_the_struct():
    """Names in Python and in C are the same."""
    declared = re.search(r"struct equilif_network \{(.*?)\};", declarations(), re.S)[1]
    words = re.sub(r"/\*.*?\*/", "", declared)
    names = [n for group in re.findall(r"^ *uint32_t (.*?);", words, re.M) for n in group.split(", ")]
    assert names.pop() == "identity[4]"
    compiled = DriverNetwork.compile(DIGITS, DIGITS.initial_weights(), ENGINE, learning_rate=0.0)
    assert names == list(compiled.fields)
    for name, value in (
        ("IMAGE_MAGIC", f"0x{MAGIC:08X}u"),
        ("STATE_MAGIC", f"0x{STATE_MAGIC:08X}u"),
        ("LAYOUT", f"{LAYOUT}u"),
    ):
        assert f"#define EQUILIF_{name} {value}" in declarations()


# -- the command -----------------------------------------------------------------------------------
def test_command(tmp_path):
    """The files of the library; the learning rate is that of the run."""
    train = ("train", "digits", "--epochs=1", "--hidden=4", "--set=learning.learning_rate=0.03125")
    command_line(*train, "--out", tmp_path / "run")
    file = tmp_path / "run" / "network.npz"
    out = tmp_path / "out"
    command_line("export", out, "--lanes", 4, "--name", "core", "--network", file)
    assert {path.name for path in out.iterdir()} == {
        *(f"core.{end}" for end in ("v", "vlt", "core", "tcl", "xdc", "h", "c")),
        *("registers.md", "network.h", "network.bin"),
    }
    kernel = Kernel.load(file)
    config = EngineConfig(lanes=4)
    for learning_rate, same in ((0.03125, True), (0.0625, False)):
        compiled = DriverNetwork.compile(
            kernel.network,
            kernel.weights,
            config,
            learning_rate=learning_rate,
            counter=kernel.counter,
            about=networks.about(file),
        )
        assert ((out / "network.bin").read_bytes() == compiled.image()) == same
    for path in out.iterdir():
        assert path.suffix == ".bin" or all(
            re.search(pattern, path.read_text()[:300], re.M)
            for pattern in (r"equilif \w[\w.]*\.$", "SPDX-License-Identifier: BSD-2-Clause")
        ), path


@pytest.mark.parametrize(
    "options, message",
    [
        (("--tiles", 4, "--lr", 0.1), "tiles of 4x4 weights, this engine has 4; give --tiles"),
        ((), "--learning-rate"),
        (("--lr", 0.1, "--bus", "none"), "AXI"),
        (("--lr", 0.1, "--name", "Network"), "network.h"),
    ],
)
def test_bad_options(options, message, tmp_path):
    file = tmp_path / "network.npz"
    networks.save(file, DIGITS, DIGITS.initial_weights())
    assert message in error_of("export", tmp_path / "out", "--network", file, *options)
    assert not (tmp_path / "out").exists()


def test_learning_rate_without_network(tmp_path):
    error_of("export", tmp_path / "out", "--lr", 0.1)


def test_embedding_table_is_refused():
    """It learns on the host, which has no memory for it."""
    network = Network.attention(6, 8, 2, 16, 3, table_rows=20, table_learning_rate_scale=1.0)
    with pytest.raises(ValueError, match=network.table.pre):
        DriverNetwork.compile(network, network.initial_weights(), ENGINE, learning_rate=0.1)


def test_too_many_tokens(tmp_path):
    """One more than the network takes."""
    network, engine = CASES["tokens"]
    build(tmp_path, network, engine)
    tokens = TokenRows(np.zeros((6, 6), np.int16), np.arange(6, dtype=np.int32), np.array([0, 6]))
    assert run(tmp_path, BusModel(engine), [[]], [0], 1, tokens=[tokens])[0] == "TOKENS"

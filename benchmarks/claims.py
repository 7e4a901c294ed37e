"""Claims of README and docs, and their commands."""

from __future__ import annotations

from typing import NamedTuple

#: pattern for ``shows``: the complete output
OUTPUT = r"(?s).+"


class Claim(NamedTuple):
    """A claim.  ``shows``: regular expression for the result, its first match in the output or the group of
    it; empty: the last line.
    """

    name: str
    text: str
    command: str
    shows: str = ""


CLAIMS = (
    Claim(
        "random-programs",
        "random programs on every engine: RTL = engine model, every memory compared",
        "python -m pytest tests/engine/test_engine.py -k random_programs -m 'not long'",
    ),
    Claim(
        "same-bits",
        "training in RTL = reference",
        "python -m pytest tests/engine/test_engine.py -k networks_learn -m 'not long'",
    ),
    Claim(
        "kernel",
        "reference = kernel = engine model on random networks",
        "python -m pytest tests/test_kernel.py",
    ),
    Claim(
        "blocks",
        "RTL blocks = their golden functions, latency and cycles included",
        "python -m pytest tests/blocks -m 'not long'",
    ),
    Claim(
        "primitives-proven",
        "proofs of arithmetic and small blocks, for all inputs",
        "python -m pytest tests/formal -k 'not netlist' -m 'not long'",
    ),
    Claim(
        "proofs-long",
        "proofs of larger blocks",
        "python -m pytest tests/formal -m long -k 'not netlist'",
    ),
    Claim(
        "netlist-ice40",
        "training on the iCE40 netlist = reference",
        "python -m pytest tests/engine/test_netlist.py -k icebreaker -m regress",
    ),
    Claim(
        "netlist-ecp5",
        "training on the ECP5 netlist, with absorbed registers, = reference",
        "python -m pytest tests/engine/test_netlist.py -k ecp5 -m long",
    ),
    Claim(
        "netlist-gowin",
        "training on the Gowin netlists of both Tang Nano boards, the 20K with half its lanes, = reference",
        "python -m pytest tests/engine/test_netlist.py -k gowin -m long",
    ),
    Claim(
        "netlists-proven",
        "netlists of blocks = RTL, for all inputs",
        "python -m pytest tests/formal/test_netlist.py -m 'long or not long'",
    ),
    Claim("cycles", "the cycle model is exact", "python -m pytest tests/engine/test_engine.py -k cycles"),
    Claim(
        "bad-frames",
        "10,000 bad frames are rejected without side effects",
        "python -m pytest tests/link/test_host.py -k ten_thousand_bad_frames -m long",
    ),
    Claim(
        "checker",
        "the program checker rejects what the golden model rejects",
        "python -m pytest tests/engine/test_checker.py -m 'not long'",
    ),
    Claim("bus", "AXI bus = its model", "python -m pytest tests/link/test_bus.py -m 'not long'"),
    Claim(
        "sdram",
        "SDRAM controller: 10 million cycles of random traffic, no timing violated, every word compared",
        "python -m pytest tests/test_sdram.py -k random_traffic -m regress",
    ),
    Claim(
        "power-cuts",
        "standalone training keeps its weights when power is cut at any cycle",
        "python -m pytest tests/link/test_standalone_rtl.py -k power_cuts -m long",
    ),
    Claim(
        "resets",
        "reset in any cycle, random contents of all memories at power-up",
        "python -m pytest tests/engine/test_faults.py -m 'not long'",
    ),
    Claim(
        "bad-line",
        "a line that loses, damages or repeats one frame in twenty",
        "python -m pytest tests/host/test_simulated.py -k one_frame",
    ),
    Claim(
        "bad-port",
        "a port that is unplugged at any step",
        "python -m pytest tests/host/test_hostile_host.py -k port",
    ),
    Claim(
        "accumulators",
        "accumulators never wrap",
        "python -m pytest tests/test_kernel.py -k nothing_wraps",
    ),
    Claim(
        "pages",
        "links, paths, names, commands and examples of the documentation",
        "python -m pytest tests/repository/test_docs.py",
    ),
    Claim(
        "digits",
        "accuracy on digits, 64-64-10",
        "equilif train digits --seed 0",
        shows=r"test accuracy [\d.]+% after \d+ epochs",
    ),
    Claim(
        "digits-rtl",
        "a complete training run in RTL, every number compared",
        "equilif verify digits --full",
        shows=r"\d+ mismatches.*",
    ),
    Claim("gradient", "the integer update against the gradient", "equilif gradient", shows=OUTPUT),
    Claim(
        "recall",
        "1,000 images of MNIST recalled from their upper halves",
        "equilif recall mnist --data {data} --stored 1000 --blank 0.5",
        shows=r"(?s)(.+a cue);",
    ),
    Claim(
        "rates",
        "64-64-10 trained by implicit differentiation on the digits",
        "equilif train-rates digits",
        shows=r"test accuracy [\d.]+% in floating point after \d+ epochs",
    ),
    Claim(
        "fine-tuning",
        "a class added to a trained network of the digits by training on the engine",
        "python -m benchmarks fine_tuning digits",
        shows=r"(?s)(deployed.+)",
    ),
    *(
        Claim(
            f"against-backpropagation{name}",
            f"accuracy of Equilibrium Propagation and of backpropagation on the digits, {network}",
            f"equilif bench accuracy{layers} --seeds 5",
            shows=r"(?s)(.+)\nsaved",
        )
        for name, network, layers in (
            ("", "64-64-10", ""),
            ("-deep", "64-64-32-16-10", " --hidden 64 --hidden 32 --hidden 16"),
            (
                "-maps",
                "convolutions of 16 and 32 maps",
                " --hidden conv:16 --hidden conv:32 --set learning.epochs=8",
            ),
        )
    ),
    Claim(
        "methods",
        "the integer update and other methods of learning, two hidden layers",
        "equilif gradient digits --hidden 64 --hidden 32",
        shows=r"(?s)(.+?)\npopulations",
    ),
    Claim(
        "cost-of-learning",
        "accuracy, cycles and spikes of networks that learn by nudged phases or by errors",
        "python -m benchmarks paper cost",
        shows=r"(?s)(.+)",
    ),
    Claim(
        "rate-convergence",
        "average rates against their fixed point over time",
        "python -m benchmarks paper convergence",
        shows=OUTPUT,
    ),
    Claim(
        "state-memory",
        "state of a neuron during training, and that of backpropagation through time",
        "python -m benchmarks paper memory",
        shows=OUTPUT,
    ),
    Claim(
        "embedding-table",
        "cycles and bytes of a training sample with an embedding table",
        "python -m benchmarks tables",
        shows=OUTPUT,
    ),
    Claim(
        "rates-of-self-attention",
        "error of rates, and cycles, of a transformer",
        "python -m benchmarks self_attention",
        shows=OUTPUT,
    ),
    Claim(
        "energy",
        "operations and estimated energy of a sample, RTL = engine model",
        "equilif energy digits --network digits-64",
        shows=r"(?s)(.+)\nAn estimate",
    ),
    Claim(
        "interchange",
        "spikes of exported networks in snnTorch = those of the golden model",
        "python -m benchmarks interchange",
        shows=r"(?s).+file \{[^\n]+",
    ),
    Claim(
        "speed",
        "training of MNIST 784-128-10 on one core, batch 1: speed relative to PyTorch",
        "equilif bench learning --data {data} --seconds 20",
        shows=r"(?m)^mnist +PyTorch, batch 1 +[\d,]+ +([\d.]+)",
    ),
    Claim(
        "speed-compiled",
        "training of MNIST 784-128-10 on one core, batch 1: speed relative to compiled backpropagation",
        "equilif bench learning --data {data} --seconds 20",
        shows=r"(?m)^mnist +Numba, batch 1 +[\d,]+ +([\d.]+)",
    ),
    Claim("bitstream", "a bitstream of the iCEBreaker", "equilif build icebreaker", shows=r"f_max.*"),
)


class TrainedNetwork(NamedTuple):
    """A trained network on record; ``short``: its row in README.md."""

    data: str
    network: str
    epochs: int
    command: str
    short: str = ""


#: longer phases of earlier presets
LONG = (
    "--set phases.free=24 --set phases.nudged=12 --set phases.window=8 --set learning.learning_rate=0.02 "
    "--set learning.random_shift=0.5"
)
NETWORKS = {
    "digits": TrainedNetwork("digits 8x8", "64-64-10", 20, "equilif train digits", "digits 64-64-10"),
    "digits-maps": TrainedNetwork(
        "digits 8x8",
        "convolutions of 16 and 32 maps",
        100,
        "equilif train digits --hidden conv:16 --hidden conv:32",
        "digits, convolutions of 16 and 32 maps",
    ),
    "mnist-64": TrainedNetwork("MNIST", "784-64-10", 20, "equilif train mnist --hidden 64"),
    "mnist-128": TrainedNetwork("MNIST", "784-128-10", 20, "equilif train mnist", "MNIST 784-128-10"),
    "mnist-224": TrainedNetwork(
        "MNIST", "784-224-10", 15, f"equilif train mnist {LONG} --hidden 224 --epochs 15"
    ),
    "mnist-256": TrainedNetwork(
        "MNIST", "784-256-10", 20, "equilif train mnist --hidden 256", "MNIST 784-256-10"
    ),
    "mnist-512": TrainedNetwork(
        "MNIST", "784-512-10", 20, f"equilif train mnist {LONG} --hidden 512 --epochs 20"
    ),
    "mnist-2-phases": TrainedNetwork(
        "MNIST",
        "784-128-64-10",
        40,
        "equilif train mnist --hidden 128 --hidden 64 --set phases.contrast=phases",
    ),
    "mnist-deep": TrainedNetwork(
        "MNIST",
        "784-128-64-32-10",
        20,
        "equilif train mnist --hidden 128 --hidden 64 --hidden 32",
        "MNIST 784-128-64-32-10",
    ),
    "mnist-deep-5": TrainedNetwork(
        "MNIST", "784-64-64-64-64-64-10", 20, "equilif train mnist" + 5 * " --hidden 64"
    ),
    "digits-deep-phases": TrainedNetwork(
        "digits 8x8",
        "64-64-32-16-10",
        40,
        "equilif train digits --hidden 64 --hidden 32 --hidden 16 --set phases.contrast=phases",
        "digits 64-64-32-16-10",
    ),
    "digits-maps-phases": TrainedNetwork(
        "digits 8x8",
        "convolutions of 24 and 48 maps",
        100,
        "equilif train digits --hidden conv:24 --hidden conv:48 --set phases.contrast=phases",
    ),
    "mnist-deep-phases": TrainedNetwork(
        "MNIST",
        "784-128-64-32-10",
        40,
        "equilif train mnist --hidden 128 --hidden 64 --hidden 32 --set phases.contrast=phases",
        "MNIST 784-128-64-32-10",
    ),
    "mnist-deep-5-phases": TrainedNetwork(
        "MNIST",
        "784-64-64-64-64-64-10, skip connections",
        20,
        "equilif train mnist --config examples/deep_network.toml",
    ),
    "mnist-maps-phases": TrainedNetwork(
        "MNIST",
        "convolutions of 24 and 48 maps",
        16,
        "equilif train mnist --hidden conv:24 --hidden conv:48 --set phases.contrast=phases",
        "MNIST, convolutions of 24 and 48 maps",
    ),
    "mnist-maps": TrainedNetwork(
        "MNIST",
        "convolutions of 24 and 48 maps",
        12,
        "equilif train mnist --hidden conv:24 --hidden conv:48",
        "MNIST, convolutions of 24 and 48 maps",
    ),
    "fashion-maps": TrainedNetwork(
        "Fashion-MNIST",
        "a convolution of 128 maps",
        24,
        "equilif train fashion --hidden conv:128:3:1 --epochs 24",
        "Fashion-MNIST, a convolution of 128 maps",
    ),
    "fashion-maps-2": TrainedNetwork(
        "Fashion-MNIST",
        "convolutions of 64 and 128 maps",
        24,
        "equilif train fashion --hidden conv:64 --hidden conv:128",
    ),
    "fashion-256": TrainedNetwork(
        "Fashion-MNIST", "784-256-10", 20, "equilif train fashion", "Fashion-MNIST 784-256-10"
    ),
    "imdb": TrainedNetwork(
        "IMDB, 400 tokens, trainable embeddings",
        "16 queries, 64 hidden",
        8,
        "equilif train imdb",
        "IMDB sentiment, 16 queries, trainable embeddings",
    ),
    "sst2": TrainedNetwork(
        "SST-2, up to 64 tokens, trainable embeddings", "8 queries, 64 hidden", 5, "equilif train sst2"
    ),
    "spoken": TrainedNetwork(
        "spoken digits", "16 queries, 128 hidden", 30, "equilif train spoken", "spoken digits, 16 queries"
    ),
    "vowels": TrainedNetwork("JapaneseVowels", "8 queries, 128 hidden", 40, "equilif train vowels"),
}

"""Speed of bit-accurate training: samples a second on one core, 784-128-10, three phases and the update of
every weight included.  Also inference on all cores, and the seconds that a first call takes to compile.

    python -m benchmarks.golden_speed                      random images with the density of MNIST's
    python -m benchmarks.golden_speed --data DIR           MNIST itself, from its IDX files
    python -m benchmarks.golden_speed --json FILE          result with the machine that it was measured on

The bar is 10,000 samples a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from equilif.data import images as data
from equilif_golden.kernel import Kernel, default_threads
from equilif_golden.network import Network
from equilif_golden.samples import Epoch

SIZES = (784, 128, 10)
DENSITY = 0.19  # of non-zero pixels in MNIST's training images (19.1 %)
LEARNING_RATE = 0.01
BAR = 10_000


def samples(folder: Path | None, n: int) -> tuple[np.ndarray, np.ndarray, str]:
    """(n, 784) images, (n,) labels and what they are."""
    if folder is not None:
        d = data.load("mnist", folder)
        return d.x_train[:n], d.y_train[:n], "mnist"
    rng = np.random.default_rng(0)
    x = rng.integers(1, 256, (n, SIZES[0])) * (rng.random((n, SIZES[0])) < DENSITY)
    return x.astype(np.uint8), rng.integers(0, SIZES[-1], n), f"random, {DENSITY:.0%} non-zero"


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    work()
    return clock() - start


class Speed(NamedTuple):
    """Of training, several times from the same initial weights."""

    runs: list[float]  #: samples a second of CPU time
    inference: float  #: samples a second by the clock on the wall, the best of as many
    spikes: float  #: a sample


def measure(x: np.ndarray, labels: np.ndarray, repeats: int) -> Speed:
    network = Network.chain(*SIZES)
    runs = []
    epoch = Epoch(0, 0, 0)
    for _ in range(repeats):
        kernel = Kernel(network, lr=LEARNING_RATE)
        start = time.process_time()
        epoch = kernel.train(x, labels)
        runs.append(len(x) / (time.process_time() - start))
    kernel = Kernel(network)
    fastest = min(seconds(lambda: kernel.predict(x), time.perf_counter) for _ in range(repeats))
    return Speed(runs, len(x) / fastest, epoch.spikes / epoch.samples)


def compile_seconds() -> float:
    """CPU time of the first calls, with nothing stored from before."""
    code = (
        "import time, numpy as np\n"
        "from equilif_golden.kernel import Kernel\n"
        "from equilif_golden.network import Network\n"
        "x = np.zeros((1, 8), np.uint8)\n"
        "kernel = Kernel(Network.chain(8, 4, 2), lr=0.01)\n"
        "start = time.process_time()\n"
        "kernel.train(x, [0])\n"
        "kernel.predict(x)\n"
        "print(time.process_time() - start)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=environment
        )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    x, labels, what = samples(args.data, args.samples)
    to_compile = compile_seconds()
    Kernel(Network.chain(*SIZES), lr=LEARNING_RATE).train(
        x[:1], labels[:1]
    )  # from what is stored, or compiled
    Kernel(Network.chain(*SIZES)).predict(x[:1])
    speed = measure(x, labels, args.repeats)
    median = statistics.median(speed.runs)
    runs = ", ".join(f"{s:,.0f}" for s in sorted(speed.runs))
    reached = "reached" if median >= BAR else "MISSED"
    print(f"training   {median:,.0f} samples a second on one core (median of {args.repeats}: {runs})")
    print(f"inference  {speed.inference:,.0f} samples a second on {default_threads()} threads")
    print(f"compiling  {to_compile:.1f} s, once")
    print(f"{'-'.join(map(str, SIZES))}, {what}, {len(x):,} samples, {speed.spikes:.0f} spikes a sample")
    print(f"the bar of {BAR:,} is {reached}")
    if args.json:
        args.json.write_text(
            json.dumps(
                {
                    "samples_per_second": median,
                    "runs": speed.runs,
                    "inference": speed.inference,
                    "threads": default_threads(),
                    "compile_seconds": to_compile,
                    "bar": BAR,
                    "sizes": SIZES,
                    "data": what,
                    "samples": len(x),
                    "spikes_per_sample": speed.spikes,
                    "schedule": asdict(Network.chain(*SIZES).schedule),
                    "machine": platform.machine(),
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                    "numba": numba.__version__,
                },
                indent=2,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
